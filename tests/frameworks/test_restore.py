"""A resume puts the values of the checkpoint into the one model that is there."""

import weakref

import numpy as np
import pytest

from finishline.frameworks.base import create_runtime
from finishline.workload import find_workload

COUNTS = dict.fromkeys(("train", "validation", "test"), 40)
EXAMPLE = {"inputs": np.zeros((1, 8, 8, 1), np.float32), "targets": np.zeros(1, np.int32)}


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_restored_values_are_the_saved_ones(framework):
    runtime = create_runtime(framework, find_workload("digits"), COUNTS)
    saved = runtime.snapshot(*runtime.init_model(1, EXAMPLE))
    fresh = [runtime.init_model(2, EXAMPLE)]
    assert any((runtime.snapshot(*fresh[0])[name] != saved[name]).any() for name in saved)
    restored = runtime.snapshot(*runtime.restore(fresh.pop(), saved))
    assert restored.keys() == saved.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(restored[name], array)


def test_an_optimizer_keeps_the_parameters_that_it_has():
    runtime = create_runtime("pytorch", find_workload("digits"), COUNTS)
    saved = runtime.snapshot(*runtime.init_model(1, EXAMPLE))
    model = runtime.init_model(2, EXAMPLE)
    parameters = list(model[0].parameters())
    params, _ = runtime.restore(model, saved)
    assert params is model[0]
    assert all(a is b for a, b in zip(params.parameters(), parameters, strict=True))


def test_arrays_that_cannot_be_changed_are_free_before_the_new_ones_come(monkeypatch):
    import jax

    runtime = create_runtime("jax", find_workload("digits"), COUNTS)
    saved = runtime.snapshot(*runtime.init_model(1, EXAMPLE))
    fresh = [runtime.init_model(2, EXAMPLE)]
    first = weakref.ref(jax.tree.leaves(fresh[0])[0])
    load = runtime.load_snapshot
    alive = []
    monkeypatch.setattr(
        runtime, "load_snapshot", lambda arrays: alive.append(first() is not None) or load(arrays)
    )
    # Called as it is without the checks of annotations, which hold arguments.
    type(runtime).restore.__wrapped__(runtime, fresh.pop(), saved)
    assert alive == [False]
