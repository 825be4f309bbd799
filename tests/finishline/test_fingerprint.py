import collections
import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from finishline.fingerprint import Fingerprint, changed


class Holder:
    """An object of a submission's own class."""

    def __init__(self, value):
        self.value = value


def count_up(start=0):
    count = start

    def step():
        nonlocal count
        count += 1
        return count

    return step


def append_to(items):
    return lambda: items.append(1)


@pytest.mark.parametrize(
    "value",
    [
        3,
        float("nan"),
        "text",
        [1, {"a": (2.0, None)}],
        np.arange(3),
        jnp.arange(3),
        torch.arange(3),
        torch.float32,
        Holder([1, 2]),
        functools.partial(max, 1),
        count_up(),
        optax.adamw(optax.cosine_decay_schedule(0.1, 10)).update,
        {1, 2},
        collections.deque([1]),
        collections.OrderedDict(a=1),
        lambda x, y=2: x + y,
        Holder(Holder(lambda: 0)),
    ],
)
def test_what_has_not_changed_is_equal(value):
    assert Fingerprint(value) == Fingerprint(value)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (count_up(), lambda f: f()),
        (append_to([]), lambda f: f()),
        (Holder(1), lambda holder: setattr(holder, "value", 2)),
        ([1], lambda items: items.append(2)),
        (torch.zeros(2), lambda x: x.add_(1)),
        (np.zeros(2), lambda x: x.__setitem__(0, 1)),
        (functools.partial(append_to([])), lambda f: f()),
        ({"key": Holder([])}, lambda d: d["key"].value.append(1)),
    ],
)
def test_a_change_shows(value, change):
    before = Fingerprint(value)
    change(value)
    assert Fingerprint(value) != before


def test_what_cannot_be_looked_into_may_have_changed():
    generator = (i for i in range(3))
    for value in (generator, iter([1]), torch.Generator()):
        assert Fingerprint(value) != Fingerprint(value)


def test_an_object_that_holds_itself():
    holder = Holder(None)
    holder.value = holder
    assert Fingerprint(holder) != Fingerprint(holder)


def test_what_a_resume_restores_is_no_change():
    model = torch.nn.Linear(2, 2)
    value = lambda: model.parameters()  # noqa: E731
    known = {id(model)}
    before = Fingerprint(value, known), Fingerprint(value)
    with torch.no_grad():
        model.weight.add_(1)
    assert (Fingerprint(value, known), Fingerprint(value)) != before
    assert Fingerprint(value, known) == before[0]


def test_what_is_new_has_changed():
    before = {"a": Fingerprint(1), "b": Fingerprint(2)}
    assert changed(before, {"a": Fingerprint(1), "b": Fingerprint(3), "c": Fingerprint(1)}) == [
        "b",
        "c",
    ]
