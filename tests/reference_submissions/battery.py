"""The table of reference submissions, and what runs one of them as the harness would."""

import contextlib
from pathlib import Path

import numpy as np
from least_squares import workload as least_squares

from finishline.feed import Feed
from finishline.frameworks import FRAMEWORKS
from finishline.frameworks.base import SingleRank, create_runtime
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.submission import find_submission, load_submission
from finishline.trainer import Pace, Trainer
from finishline.tuning import SearchSpace, to_hyperparameters

ROOT = Path(__file__).parents[2] / "reference_submissions"
ALGORITHMS = sorted(path.name for path in ROOT.iterdir() if path.name[0] not in "._")
SUBMISSIONS = [
    (algorithm, framework)
    for algorithm in ALGORITHMS
    for framework in FRAMEWORKS
    if (ROOT / algorithm / framework).is_dir()
]
IN_JAX = [algorithm for algorithm, framework in SUBMISSIONS if framework == "jax"]
IN_PYTORCH = [algorithm for algorithm, framework in SUBMISSIONS if framework == "pytorch"]
IN_BOTH = [algorithm for algorithm in IN_JAX if algorithm in IN_PYTORCH]

NUM_PARAMETERS = 3 * least_squares.NUM_INPUTS + 1
_SEED = 7

# By how much parameters of size 1 may differ after 15 steps on two devices and on one, where it is
# more than rounding: eigenvectors that are not unique.
DEVICE_TOLERANCES = {"soap": 5e-2}

# Where the points of the search space, which are for networks, are too large or small for the
# problems of these tests.
LEARNING_RATES = {
    "ademamix": 0.005,
    "lion": 0.005,
    "lookahead": 0.01,
    "momentum": 0.03,
    "nesterov": 0.03,
    "radam": 0.02,
    "sam": 0.01,
    "sgd": 0.2,
}


def search_space(algorithm):
    """None for a submission that tunes itself."""
    path = ROOT / algorithm / "tuning_search_space.json"
    return SearchSpace.load(path) if path.exists() else None


def _point(algorithm, changes):
    space = search_space(algorithm)
    if space is None:
        return None
    point = space.points(1, seed=0)[0]
    rate = LEARNING_RATES.get(algorithm, point["learning_rate"])
    return point | {"learning_rate": rate} | changes


class Race:
    """A reference submission on a small problem, always from the same start.

    Args:
      algorithm: name of the folder.
      framework: 'jax' or 'pytorch'.
      problem: the module of the workload.
      num_devices: how many to train on; in PyTorch, each is a process.
      part: which examples of each batch this process gets.
      hyperparameters: what to change in the first point of the search space, whose learning rate
        is that of ``LEARNING_RATES``.
    """

    def __init__(
        self,
        algorithm,
        framework,
        *,
        problem=least_squares,
        num_devices=1,
        part=slice(None),
        **hyperparameters,
    ):
        self._problem = problem
        counts = dict.fromkeys(("train", "validation", "test"), 1000)
        self.runtime = create_runtime(framework, problem.WORKLOAD, counts, num_devices=num_devices)
        self.workload = self.runtime.workload
        self.workload.metrics_logger = self.logger = Logger()
        self.runtime.blank_model(problem.batch(0))
        self.runtime.seed_everything(_SEED)
        self.hyperparameters = to_hyperparameters(_point(algorithm, hyperparameters))
        self.module = load_submission(find_submission(ROOT / algorithm, framework).path)
        self.batches = []
        self._framework = framework
        self._part = part
        self._trainer = Trainer(
            self.module,
            self.runtime,
            SingleRank(),
            hyperparameters=self.hyperparameters,
            seed=_SEED,
            eval_results=[],
            evaluate=lambda trainer, last_because: None,
            report=lambda step: None,
        )
        self._trainer.clock_readings = {"accumulated_submission_time": 0.0, "resumed_at": 0.0}
        self._start(self._initial_arrays(), step=0, position=0)
        self.runtime.throttle(self._trainer.params)  # compiles what the harness has of its own

    def _start(self, arrays, step, position):
        trainer = self._trainer
        trainer.init_optimizer_state(*self.runtime.load_snapshot(arrays))
        trainer.step = step
        batches = Batches(self._problem, position, self._part)
        trainer.feed = Feed(batches, self._place)

    def _place(self, batches):
        placed = list(self.runtime.place(batches))
        self.batches += zip(batches, placed, strict=True)
        return placed

    def _initial_arrays(self):
        params, statistics = self._problem.PARAMS, self._problem.STATISTICS
        if self._framework == "pytorch":
            return flax_to_torch_state_dict(params, statistics)
        from flax.traverse_util import flatten_dict

        trees = {"params": params} | ({"batch_stats": statistics} if statistics else {})
        return flatten_dict(trees, sep="/")

    @property
    def optimizer_state(self):
        return self._trainer.optimizer_state

    @property
    def step(self):
        return self._trainer.step

    def train(self, num_steps):
        """Trains for so many steps, without an evaluation; returns ``values()``."""
        with contextlib.suppress(Paused):
            self._trainer.run(PauseAfter(self.step + num_steps))
        return self.values()

    def prepare_for_eval(self):
        """Lets the submission prepare an evaluation, if it wants to; returns ``values()``."""
        self._trainer._evaluate(None)
        return self.values()

    def values(self):
        """The parameters, in the order of the problem's gradient, then the running statistics."""
        arrays = self.snapshot()
        if self._framework == "jax":
            from flax.traverse_util import unflatten_dict

            tree = unflatten_dict(arrays, sep="/")
            arrays = flax_to_torch_state_dict(tree["params"], tree.get("batch_stats", {}))
        assert arrays.keys() == set(self._problem.NAMES)
        return np.concatenate([arrays[name].ravel() for name in self._problem.NAMES])

    def snapshot(self):
        return self.runtime.snapshot(self._trainer.params, self._trainer.model_state)

    def loss(self):
        """The mean loss over many batches, as the referee evaluates it."""
        batches = [self._problem.batch(index) for index in range(50)]
        trainer = self._trainer
        return self.runtime.evaluate(trainer.params, trainer.model_state, batches)["loss"]

    def save(self, path):
        """Writes a checkpoint's state to ``path``; returns what else ``restore`` wants."""
        self.runtime.save_state(self.optimizer_state, path)
        position = self._trainer.feed.position
        return {"arrays": self.snapshot(), "step": self.step, "position": position}

    def read_state(self, path):
        """What ``save`` wrote to ``path``, as nested containers of arrays and scalars."""
        if self._framework == "jax":
            from flax.serialization import msgpack_restore

            return msgpack_restore(path.read_bytes())
        import torch

        return torch.load(path, weights_only=True)

    def restore(self, path, arrays, step, position):
        """Goes on from what ``save`` wrote, in the worker's order."""
        self._start(arrays, step, position)
        self._trainer.optimizer_state = self.runtime.load_state(self.optimizer_state, path)


class Batches:
    """The endless training data from ``position`` on: the examples ``part`` of each batch."""

    def __init__(self, problem, position, part):
        self.position = position
        self._problem = problem
        self._part = part

    def __iter__(self):
        return self

    def __next__(self):
        batch = self._problem.batch(self.position // self._problem.BATCH_SIZE)
        self.position += self._problem.BATCH_SIZE
        return {name: array[self._part] for name, array in batch.items()}

    def close(self):
        pass


class Paused(Exception):
    pass


class PauseAfter(Pace):
    def __init__(self, step):
        self.next_look = step

    def look(self, step):
        raise Paused


class Logger:
    def __init__(self):
        self.rows = []

    def append_scalar_metrics(self, metrics, global_step):
        self.rows.append((global_step, metrics))
