"""Submissions in the style of each class of the published ones train here, and can be resumed."""

import dataclasses
import math

import pytest


@dataclasses.dataclass(frozen=True)
class Style:
    """A class of published submissions.

    Attributes:
      name: the folder in ``submissions``.
      framework: 'jax' or 'pytorch'.
      shims: what its source calls for.
      lost: a word of what its checkpoints cannot hold, so that a resume is refused; or None.
      steps: after which it is stopped.
    """

    name: str
    framework: str
    shims: tuple[str, ...] = ("algoperf",)
    lost: str | None = None
    steps: int = 160


PMAP = Style(
    "pmap_layout",
    "jax",
    (
        "algorithmic_efficiency",
        "pmap layout",
        "jax.numpy.clip(a_max=, a_min=)",
        "jax.tree_leaves",
        "jax.tree_map",
        "dropout_rate by hyperparameter",
    ),
)
OLD_NAME = Style(
    "old_name_torch",
    "pytorch",
    ("algorithmic_efficiency", "dropout_rate by hyperparameter"),
)
STYLES = (
    PMAP,
    OLD_NAME,
    Style("jit_layout", "jax", ("algoperf", "jax.numpy.clip(a_max=)")),
    Style("swap_jax", "jax", lost="structure"),
    Style("iterator_torch", "pytorch", ("algorithmic_efficiency",)),
    Style("double_forward_torch", "pytorch"),
    Style("complete_torch", "pytorch", steps=200),
    Style("closures_torch", "pytorch", lost="optimizer_state['rate']"),
    Style("cuda_torch", "pytorch", ("algoperf", "cuda on the CPU")),
)
# One with batch norm, one without.
WORKLOADS = ("digits", "criteo1tb_mini")
QUICK = (("pmap_layout", "digits"), ("complete_torch", "digits"), ("iterator_torch", "digits"))


def cases():
    for style in STYLES:
        for workload in WORKLOADS:
            marks = () if (style.name, workload) in QUICK else (pytest.mark.slow,)
            yield pytest.param(style, workload, marks=marks, id=f"{style.name}-{workload}")


@pytest.mark.parametrize(("style", "workload"), list(cases()))
def test_trains_and_resumes(stepwise, style, workload):
    whole = stepwise.run(style.name, style.framework, workload, steps=style.steps)
    assert whole["shims"] == list(style.shims)
    assert len(whole["losses"]) >= 5
    assert all(map(math.isfinite, whole["losses"]))
    assert whole["losses"][-1] < whole["initial_loss"]
    assert whole["step"] >= 160
    ended = "max_global_steps" if style.steps == 160 else "training_complete"
    assert whole["ended"] == ended
    if style.lost:
        assert style.lost in " ".join(whole["lost"])
        return
    assert whole["lost"] == []
    resumed = stepwise.run(
        style.name,
        style.framework,
        workload,
        steps=style.steps,
        resumed_from=str(whole["out"] / "step_96"),
    )
    assert resumed["steps"] == [step for step in whole["steps"] if step > 96]
    assert resumed["losses"] == pytest.approx(whole["losses"][3:], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pmap_layout", "jit_layout"])
def test_two_devices(stepwise, name):
    whole = stepwise.run(name, "jax", "digits", steps=64, num_devices=2)
    assert whole["losses"][-1] < 0.5 * whole["initial_loss"]
    resumed = stepwise.run(
        name,
        "jax",
        "digits",
        steps=64,
        num_devices=2,
        resumed_from=str(whole["out"] / "step_32"),
    )
    assert resumed["losses"] == pytest.approx(whole["losses"][1:], rel=1e-3)
