"""A least-squares problem as the smallest workload of each framework."""

import sys
from pathlib import Path

import numpy as np
import pytest

from finishline.submission import load_submission
from finishline.tuning import to_hyperparameters

ROOT = Path(__file__).parents[2] / "reference_submissions"
STEP_HINT = 60
BATCH_SIZE = 8
WEIGHTS = np.linspace(-1.0, 1.0, 6, dtype=np.float32)
HYPERPARAMETERS = {
    "nadamw": {
        "learning_rate": 0.05,
        "beta1": 0.9,
        "beta2": 0.99,
        "weight_decay": 0.1,
        "warmup_factor": 0.1,
    },
    "momentum": {
        "learning_rate": 0.02,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "warmup_factor": 0.1,
        "decay_steps_factor": 0.8,
        "end_factor": 0.1,
    },
    "schedule_free_adamw": {
        "learning_rate": 0.05,
        "beta1": 0.9,
        "beta2": 0.99,
        "weight_decay": 0.1,
        "warmup_factor": 0.1,
    },
    "template": {"learning_rate": 0.05},
}


class ToyWorkload:
    """Mean of (w0 . x + w1 - y)^2; the last example of every batch has weight 0."""

    step_hint = STEP_HINT

    def __init__(self):
        self.metrics_logger = self
        self.logged = []

    def append_scalar_metrics(self, metrics, global_step):
        self.logged.append((global_step, metrics))

    def loss_fn(self, label_batch, logits_batch, mask_batch=None, label_smoothing=0.0):
        per_example = mask_batch * (logits_batch - label_batch) ** 2
        return {
            "summed": per_example.sum(),
            "n_valid_examples": mask_batch.sum(),
            "per_example": per_example,
        }


class JaxToyWorkload(ToyWorkload):
    def model_fn(
        self,
        params,
        augmented_and_preprocessed_input_batch,
        model_state,
        mode,
        rng,
        update_batch_norm,
        dropout_rate=None,
    ):
        inputs = augmented_and_preprocessed_input_batch["inputs"]
        return inputs @ params["linear"]["kernel"] + params["linear"]["bias"], model_state


class PyTorchToyWorkload(ToyWorkload):
    def model_fn(
        self,
        params,
        augmented_and_preprocessed_input_batch,
        model_state,
        mode,
        rng,
        update_batch_norm,
        dropout_rate=None,
    ):
        return params(augmented_and_preprocessed_input_batch["inputs"])[:, 0], model_state


def numpy_batch(step):
    rng = np.random.default_rng(step)
    return {
        "inputs": rng.normal(size=(BATCH_SIZE, WEIGHTS.size - 1)).astype(np.float32),
        "targets": rng.normal(size=BATCH_SIZE).astype(np.float32),
        "weights": np.array([1.0] * (BATCH_SIZE - 1) + [0.0], np.float32),
    }


class Race:
    """Runs a reference submission on the toy workload, as the harness would."""

    def __init__(self, algorithm, framework, **hyperparameters):
        self.framework = framework
        self.module = load_submission(ROOT / algorithm / framework / "submission.py")
        self.hyperparameters = to_hyperparameters(HYPERPARAMETERS[algorithm] | hyperparameters)
        self.workload = JaxToyWorkload() if framework == "jax" else PyTorchToyWorkload()
        self.params = self._initial_params()
        self.model_state = None
        self.optimizer_state = self.module.init_optimizer_state(
            self.workload, self.params, None, self.hyperparameters, None
        )
        self.step = 0

    def _initial_params(self):
        if self.framework == "jax":
            import jax.numpy as jnp

            return {
                "linear": {"kernel": jnp.asarray(WEIGHTS[:-1]), "bias": jnp.asarray(WEIGHTS[-1])}
            }
        import torch

        model = torch.nn.Linear(WEIGHTS.size - 1, 1)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(WEIGHTS[None, :-1]))
            model.bias.copy_(torch.from_numpy(WEIGHTS[-1:]))
        return model

    def batches(self):
        while True:
            batch = numpy_batch(self.step)
            if self.framework == "jax":
                import jax

                yield jax.device_put(batch)
            else:
                import torch

                yield {name: torch.from_numpy(array) for name, array in batch.items()}

    def train(self, steps):
        for _ in range(steps):
            batch = self.module.data_selection(
                self.workload,
                self.batches(),
                self.optimizer_state,
                self.params,
                self.model_state,
                self.hyperparameters,
                self.step,
                None,
            )
            self.optimizer_state, self.params, self.model_state = self.module.update_params(
                batch=batch, **self._arguments()
            )
            self.step += 1
        return self.weights()

    def prepare_for_eval(self):
        self.optimizer_state, self.params, self.model_state = self.module.prepare_for_eval(
            **self._arguments()
        )
        return self.weights()

    def _arguments(self):
        return {
            "workload": self.workload,
            "current_param_container": self.params,
            "current_params_types": None,
            "model_state": self.model_state,
            "hyperparameters": self.hyperparameters,
            "loss_type": None,
            "optimizer_state": self.optimizer_state,
            "eval_results": [],
            "global_step": self.step,
            "rng": None,
        }

    def weights(self):
        if self.framework == "jax":
            layer = self.params["linear"]
            return np.append(np.asarray(layer["kernel"]), np.asarray(layer["bias"]))
        return np.concatenate([p.detach().numpy().ravel() for p in self.params.parameters()])

    @staticmethod
    def gradient(w, step):
        """The gradient of the loss of one batch at ``w``, in NumPy."""
        batch = numpy_batch(step)
        error = (batch["inputs"] @ w[:-1] + w[-1] - batch["targets"]) * batch["weights"]
        return np.append(error @ batch["inputs"], error.sum()) * 2 / batch["weights"].sum()

    def mean_loss(self):
        """The loss over many batches."""
        w = self.weights()
        batches = [numpy_batch(step) for step in range(50)]
        errors = [(b["inputs"] @ w[:-1] + w[-1] - b["targets"]) * b["weights"] for b in batches]
        return float(np.mean(np.square(errors)))


@pytest.fixture
def race(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Race
