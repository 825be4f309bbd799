import subprocess
import sys

import pytest

from finishline.seeds import TrialSeeds, derive_seed, tuning_seed


def test_a_seed_is_the_same_for_ever():
    assert derive_seed(0, "data", "mnist", 1, 2) == 3633623232030641002
    assert derive_seed() == 2858069222894195974


def test_seed_does_not_depend_on_the_process():
    code = "from finishline.seeds import derive_seed; print(derive_seed(7, 'a'))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) == derive_seed(7, "a")


@pytest.mark.parametrize(
    ("parts", "others"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((1,), ("1",)),
        ((1, 23), (12, 3)),
        (("a,b",), ("a", "b")),
        (('a", "b',), ("a", "b")),
        ((), ("",)),
    ],
)
def test_different_parts_give_different_seeds(parts, others):
    assert derive_seed(*parts) != derive_seed(*others)


def test_seeds_have_63_bits():
    seeds = [derive_seed(i) for i in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    assert len(set(seeds)) == 1000


def test_submissions_share_data_and_initialisation():
    one = TrialSeeds.derive(0, "nadamw_jax", "mnist", 1, 2)
    other = TrialSeeds.derive(0, "momentum_pytorch", "mnist", 1, 2)
    assert (one.data, one.init) == (other.data, other.init)
    assert one.submission != other.submission


@pytest.mark.parametrize(
    "changed", [{"root": 1}, {"workload": "digits"}, {"study": 2}, {"trial": 3}]
)
def test_every_other_part_changes_all_seeds(changed):
    parts = {"root": 0, "submission": "a", "workload": "mnist", "study": 1, "trial": 2}
    one, other = TrialSeeds.derive(**parts), TrialSeeds.derive(**(parts | changed))
    assert one.data != other.data
    assert one.init != other.init
    assert one.submission != other.submission
    assert len({one.data, one.init, one.submission}) == 3


def test_tuning_seed_differs_by_submission_and_study():
    seeds = {tuning_seed(0, name, "mnist", study) for name in ("a", "b") for study in (1, 2)}
    assert len(seeds) == 4
