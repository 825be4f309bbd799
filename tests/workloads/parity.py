"""One workload in both frameworks: same weights and same batch, so what comes out is comparable."""

import contextlib
import functools
import itertools
from collections.abc import Mapping

import jax
import numpy as np
import torch

from finishline.data.pipeline import training_batches
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.workload import WorkloadDefinition, all_workloads

# Compiling is most of the work here, so it is done with little optimisation.
QUICK_COMPILATION = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


# Options of models that draw at random in training, whatever the dropout rate.
RANDOM = ("num_freq_masks", "num_time_masks")


def distinct_workloads() -> dict[str, WorkloadDefinition]:
    """All workloads, shrunk and without chance; of those that are the same then, the first."""
    found: dict[str, WorkloadDefinition] = {}
    seen = set()
    for name, workload in all_workloads().items():
        shrunk = workload.shrunk()
        without_chance = {option: 0 for option in RANDOM if option in shrunk.model}
        shrunk = shrunk.variant(name, model={**shrunk.model, **without_chance})
        key = (shrunk.package, repr(sorted(shrunk.model_config.items())), shrunk.dataset.name)
        if key not in seen:
            seen.add(key)
            found[name] = shrunk
    return found


def cast(tree, dtype):
    """The arrays of a tree, those of floats as ``dtype``."""
    return jax.tree.map(
        lambda a: np.asarray(a).astype(dtype) if np.asarray(a).dtype.kind == "f" else np.asarray(a),
        tree,
    )


class Parity:
    """A workload, its weights and its batches.

    Args:
      workload: the workload, small.
      data_dir: where its data lie.
      batch_size: examples a batch.
    """

    def __init__(self, workload: WorkloadDefinition, data_dir, batch_size: int):
        self.workload = workload
        source = workload.open(data_dir, "train")
        batches = training_batches(source, batch_size=batch_size, seed=1)
        self.batches = {True: next(batches), False: source.gather(np.arange(batch_size))}
        batches.close()
        self.model = workload.build_model("jax")
        self.initial = self.draw(0)
        self.variables = self._made_up()

    def draw(self, seed: int) -> Mapping:
        """Initial flax variables."""
        return jax.device_get(self._init(jax.random.key(seed, impl="rbg"), self.batches[False]))

    @functools.cached_property
    def _init(self):
        init = functools.partial(self.model.init, train=False, dropout_rate=0.0)
        return jax.jit(init, compiler_options=QUICK_COMPILATION)

    def _made_up(self) -> Mapping:
        """Variables away from 0 and 1, where errors would not show."""
        generator = np.random.default_rng(1)

        def move(path, leaf):
            noise = generator.normal(0.0, 0.1, leaf.shape)
            if path[-1].key == "var":
                noise = np.abs(noise)
            return (leaf + noise * (leaf.std() or 1.0)).astype(leaf.dtype)

        return jax.tree_util.tree_map_with_path(move, self.initial)

    def torch_model(self, dtype="float32") -> torch.nn.Module:
        """The PyTorch model with the made-up variables."""
        model = self.workload.build_model("pytorch")
        state = flax_to_torch_state_dict(
            self.variables["params"], self.variables.get("batch_stats", {})
        )
        model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
        return model.to(getattr(torch, dtype))

    def jax_results(self, dtype: str, train: bool) -> dict[str, np.ndarray]:
        """Logits and losses; in training also gradients and new running statistics.

        Names and layouts are PyTorch's.
        """
        workload, model = self.workload, self.model
        with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
            variables, batch = cast(self.variables, dtype), cast(self.batches[train], dtype)

            def mean_loss(params, batch):
                logits, updated = model.apply(
                    variables | {"params": params},
                    batch,
                    train=train,
                    dropout_rate=0.0,
                    mutable=["batch_stats"],
                )
                loss = jax_loss(workload.loss_type, batch["targets"], logits)
                mean = loss["summed"] / loss["n_valid_examples"]
                return mean, (logits, loss["per_example"], updated)

            function = jax.value_and_grad(mean_loss, has_aux=True) if train else mean_loss
            compiled = jax.jit(function, compiler_options=QUICK_COMPILATION)
            results = jax.device_get(compiled(variables["params"], batch))
        (_, (logits, losses, updated)), gradients = results if train else (results, {})
        gradients = flax_to_torch_state_dict(gradients, {})
        return {
            "logits": scores(logits),
            "losses": losses,
            **{f"gradient of {name}": array for name, array in gradients.items()},
            **flax_to_torch_state_dict({}, updated.get("batch_stats", {})),
        }

    def torch_results(self, dtype: str, train: bool) -> dict[str, np.ndarray]:
        """The same of PyTorch."""
        model = self.torch_model(dtype).train(train)
        tensors = self.tensors(train, dtype)
        logits = model(tensors, dropout_rate=0.0)
        loss = torch_loss(self.workload.loss_type, tensors["targets"], logits)
        gradients = {}
        if train:
            (loss["summed"] / loss["n_valid_examples"]).backward()
            gradients = {f"gradient of {n}": p.grad.numpy() for n, p in model.named_parameters()}
        saved = model.state_dict()
        return {
            "logits": scores(logits).detach().numpy(),
            "losses": loss["per_example"].detach().numpy(),
            **gradients,
            **{name: b.numpy() for name, b in model.named_buffers() if name in saved},
        }

    def tensors(self, train: bool, dtype: str = "float32") -> dict[str, torch.Tensor]:
        """A batch in PyTorch."""
        batch = cast(self.batches[train], dtype)
        return {name: torch.tensor(array) for name, array in batch.items()}


def scores(logits):
    """The logits themselves, which speech models return together with paddings."""
    return logits[0] if isinstance(logits, tuple) else logits


def errors(actual: Mapping, expected: Mapping, floor: float) -> dict[str, float]:
    """Relative errors in norm, by name.

    Some gradients are zero but for rounding, such as that of a bias before a normalisation: a
    gradient counts as at least ``floor`` times the norm of them all.
    """
    gradients = [np.linalg.norm(a) for name, a in expected.items() if name.startswith("gradient")]
    least = floor * np.linalg.norm(gradients) if gradients else 0.0
    found = {}
    for name, value in expected.items():
        norm = np.linalg.norm(value)
        scale = max(norm, least) if name.startswith("gradient") else norm
        found[name] = float(np.linalg.norm(actual[name] - value) / scale)
    return found


def take(iterator, count: int) -> list:
    """The first ``count`` items, of an iterator that is closed then."""
    items = list(itertools.islice(iterator, count))
    iterator.close()
    return items
