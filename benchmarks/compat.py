"""What the compatibility layer costs a step: the same JAX submission with it and by hand.

Usage: ``python -m benchmarks.compat [--layouts=jit,pmap] [--blocks=15] [--steps=200]``

Both loops run in this process on the workload digits, in blocks of steps that take turns; a block
is measured by the processor time of the process, which other load on the machine disturbs less. By
hand means: today's names in the source, and for ``jax.pmap`` parameters replicated by flax and
batches reshaped beforehand. The figure is the median over the blocks of the paired ratios.
"""

import importlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from finishline import commandline
from finishline.frameworks.environment import prepare_environment

flags.DEFINE_integer("blocks", 15, "Paired measurements of each layout.", lower_bound=1)
flags.DEFINE_list("layouts", ["jit", "pmap"], "Layouts to measure.")
flags.DEFINE_integer("steps", 200, "Steps of a block.", lower_bound=1)
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")

_ROOT = Path(__file__).resolve().parent.parent
_SUBMISSIONS = _ROOT / "tests" / "compat" / "submissions"
_BATCH_SIZE = 128
_POINT = {"learning_rate": 1e-3, "one_minus_beta1": 0.1, "dropout_rate": 0.0}
# What the layer supplies, written out.
_BY_HAND = {
    "from algoperf import jax_sharding_utils, spec": "from finishline import spec\n"
    "from finishline.compat.algoperf import jax_sharding_utils",
    "from algorithmic_efficiency import spec": "from finishline import spec",
    "jax.tree_map": "jax.tree.map",
    "jax.tree_leaves": "jax.tree.leaves",
    "a_min=": "min=",
    "a_max=": "max=",
}


def main(argv: list[str]) -> int:
    """Measures both layouts and prints a line for each."""
    del argv
    prepare_environment("jax")
    for layout in flags.FLAGS.layouts:
        name = f"{layout}_layout"
        by_hand = _Loop(*_by_hand(name, layout))
        supplied = _Loop(*_supplied(name))
        ratios = []
        for block in range(flags.FLAGS.blocks + 1):
            first, second = (by_hand, supplied) if block % 2 else (supplied, by_hand)
            seconds = {loop: loop.run(flags.FLAGS.steps) for loop in (first, second)}
            if block:  # the first compiles
                ratios.append(seconds[supplied] / seconds[by_hand])
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{layout}: {100 * (middle - 1):+.2f} % (quartiles {100 * (low - 1):+.2f} % and "
            f"{100 * (high - 1):+.2f} %) over {len(ratios)} blocks of {flags.FLAGS.steps} steps",
            flush=True,
        )
    return 0


class _Loop:
    """One way of training: a submission's module, its workload, parameters and batches."""

    def __init__(self, module: Any, runtime: Any, model: tuple[Any, Any], batches: Iterator[Any]):
        from finishline.feed import Keys
        from finishline.tuning import to_hyperparameters

        self._module, self._workload, self._batches = module, runtime.workload, batches
        self._params, self._model_state = model
        self._hyperparameters = to_hyperparameters(_POINT)
        self._keys, self._step = Keys(0, runtime.step_keys), 0
        self._state = module.init_optimizer_state(
            self._workload, self._params, self._model_state, self._hyperparameters, None
        )

    def run(self, steps: int) -> float:
        """Trains; returns seconds of processor time."""
        import jax

        before = time.process_time()
        for _ in range(steps):
            _, key = self._keys.of(self._step)
            self._state, self._params, self._model_state = self._module.update_params(
                workload=self._workload,
                current_param_container=self._params,
                current_params_types=None,
                model_state=self._model_state,
                hyperparameters=self._hyperparameters,
                batch=next(self._batches),
                loss_type=None,
                optimizer_state=self._state,
                eval_results=[],
                global_step=self._step,
                rng=key,
            )
            self._step += 1
        jax.block_until_ready(self._params)
        return time.process_time() - before


def _supplied(name: str) -> tuple[Any, Any, tuple[Any, Any], Iterator[Any]]:
    """The published form, with all that the layer does for it."""
    from finishline.compat.layer import Layer
    from finishline.compat.plan import make_plan
    from finishline.feed import Feed

    path = _SUBMISSIONS / name / "submission.py"
    layer = Layer(str(path), list(make_plan(path, "jax", _POINT).shims))
    runtime, source = _runtime(layer.runtime_module)
    model = runtime.init_model(0, _example(source))
    feed = Feed(_batches(source), runtime.place)
    return layer.load(), runtime, model, feed


def _by_hand(name: str, layout: str) -> tuple[Any, Any, tuple[Any, Any], Iterator[Any]]:
    """The same with today's names and the arrays as ``jax.pmap`` wants them."""
    from finishline.feed import Feed

    text = (_SUBMISSIONS / name / "submission.py").read_text()
    for old, new in _BY_HAND.items():
        text = text.replace(old, new)
    folder = tempfile.mkdtemp()
    Path(folder, f"{name}_by_hand.py").write_text(text)
    sys.path.insert(0, folder)
    module = importlib.import_module(f"{name}_by_hand")
    runtime, source = _runtime(None)
    model = runtime.init_model(0, _example(source))
    if layout == "jit":
        return module, runtime, model, Feed(_batches(source), runtime.place)
    from flax import jax_utils

    reshaped = (
        {key: array.reshape(1, *array.shape) for key, array in batch.items()}
        for batch in _batches(source)
    )
    placed = itertools.chain.from_iterable(map(runtime.place, _chunks(reshaped)))
    return module, runtime, jax_utils.replicate(model), placed


def _chunks(batches: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(batches, 8)):
        yield chunk


def _runtime(module: str | None) -> tuple[Any, Any]:
    from finishline.frameworks.base import create_runtime
    from finishline.workload import find_workload

    definition = find_workload("digits")
    data_dir = Path(flags.FLAGS.data_dir)
    definition.dataset.prepare(data_dir)
    source = definition.open(data_dir, "train")
    counts = dict(definition.dataset.num_examples)
    return create_runtime("jax", definition, counts, module=module), source


def _example(source: Any) -> Any:
    import numpy as np

    return source.gather(np.zeros(1, dtype=np.int64))


def _batches(source: Any) -> Any:
    from finishline.data.pipeline import training_batches

    return training_batches(
        source, batch_size=_BATCH_SIZE, seed=0, position=0, rank=0, world_size=1
    )


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    commandline.run(main)
