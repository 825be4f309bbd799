"""What holds for every reference submission: a new folder is a new row of ``battery``'s table."""

import logging
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import yaml
from battery import ALGORITHMS, IN_BOTH, IN_JAX, ROOT, SUBMISSIONS, search_space
from least_squares import workload as problem
from two_layers import workload as two_layers

from finishline.frameworks import FRAMEWORKS
from finishline.submission import check_submission, find_submission
from finishline.workload import all_workloads

FRAMEWORK_NAMES = {"jax": "JAX", "pytorch": "PyTorch"}
NUM_TRIALS = 5  # of a study under external tuning

# By how much parameters of size 1 may differ after 50 steps, where it is more than rounding:
# inverse roots of nearly singular matrices, and eigenvectors that are not unique.
TOLERANCES = {"shampoo": 2e-3, "soap": 5e-2}

every_submission = pytest.mark.parametrize(("algorithm", "framework"), SUBMISSIONS)


@pytest.fixture(scope="module", params=SUBMISSIONS, ids="-".join)
def history(request, race, tmp_path_factory):
    """What several tests look at: 24 steps with an evaluation and a checkpoint, then 77 more."""
    checkpoint = tmp_path_factory.mktemp("checkpoint") / "state"
    run = race(*request.param)
    before = run.loss()
    run.train(12)
    run.prepare_for_eval()
    saved = run.save(checkpoint)
    values = run.train(12)
    run.train(77)
    run.prepare_for_eval()
    return SimpleNamespace(
        submission=request.param,
        run=run,
        checkpoint=checkpoint,
        saved=saved,
        values=values,
        losses=(before, run.loss()),
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_folder_is_complete(algorithm):
    frameworks = [framework for name, framework in SUBMISSIONS if name == algorithm]
    space = search_space(algorithm)
    info = yaml.safe_load((ROOT / algorithm / "submission_info.yml").read_text())
    assert frameworks
    assert space is None or len(space.points(NUM_TRIALS, seed=0)) == NUM_TRIALS
    assert info["submission_name"] == algorithm
    assert info["ruleset"] == ("self" if space is None else "external")
    assert info["framework"].split(", ") == [FRAMEWORK_NAMES[name] for name in frameworks]
    assert all(info[name] for name in ("authors", "version", "description"))


@every_submission
def test_source_passes_the_check(algorithm, framework):
    submission = find_submission(ROOT / algorithm, framework)
    assert submission.name == f"{algorithm}_{framework}"
    assert (submission.search_space_path is None) == (search_space(algorithm) is None)
    check_submission(submission)


@every_submission
def test_batch_size_is_known_for_every_workload(race, algorithm, framework):
    """A workload of later gets one, too."""
    module = race(algorithm, framework).module
    for name in [*all_workloads(), "no_such_workload"]:
        batch_size = module.get_batch_size(name)
        assert type(batch_size) is int
        assert batch_size > 0


@pytest.mark.parametrize("algorithm", IN_BOTH)
def test_frameworks_agree_step_by_step(race, algorithm):
    in_jax, in_pytorch = race(algorithm, "jax"), race(algorithm, "pytorch")
    for name in all_workloads():
        assert in_jax.module.get_batch_size(name) == in_pytorch.module.get_batch_size(name)
    atol = TOLERANCES.get(algorithm, 1e-5)
    for _ in range(problem.WORKLOAD.step_hint + 5):
        np.testing.assert_allclose(in_jax.train(1), in_pytorch.train(1), atol=atol)
    np.testing.assert_allclose(in_jax.prepare_for_eval(), in_pytorch.prepare_for_eval(), atol=atol)


@pytest.mark.parametrize("algorithm", IN_BOTH)
def test_frameworks_agree_on_matrices(race, algorithm):
    """Convolutions and matrices of hidden layers, which some algorithms treat in their own way."""
    in_jax, in_pytorch = (race(algorithm, name, problem=two_layers) for name in FRAMEWORKS)
    before = in_jax.loss()
    for _ in range(5):
        np.testing.assert_allclose(
            in_jax.train(10), in_pytorch.train(10), rtol=1e-3, atol=TOLERANCES.get(algorithm, 1e-4)
        )
    assert in_jax.loss() < before


def test_loss_falls(history):
    before, after = history.losses
    assert after < 0.5 * before


def test_scalars_are_logged_now_and_then_and_without_a_synchronisation(history):
    rows = history.run.logger.rows
    assert 0 < len(rows) <= history.run.step / 10
    for _, metrics in rows:
        if hasattr(history.run.module, "recipe"):  # a plain one shows the least that there must be
            assert {"loss", "grad_norm", "learning_rate"} <= metrics.keys()
        on_device = metrics.keys() - {"learning_rate"}
        assert not any(isinstance(metrics[name], float) for name in on_device)


def test_batches_are_not_changed(history):
    """The data pipeline and the next step may read the same memory."""
    batches = history.run.batches
    assert len(batches) >= history.run.step / 2  # data echoing takes two steps on each
    for index, (on_host, on_device) in enumerate(batches):
        expected = problem.batch(index)
        for batch in (on_host, on_device):
            assert batch.keys() == expected.keys()
            for name, array in expected.items():
                np.testing.assert_array_equal(np.asarray(batch[name]), array)


def test_training_again_gives_the_same_bits(race, history):
    run = race(*history.submission)
    run.train(12)
    run.prepare_for_eval()
    np.testing.assert_array_equal(run.train(12), history.values)


def test_training_goes_on_from_a_checkpoint_bit_for_bit(race, history, tmp_path):
    run = race(*history.submission)
    run.restore(history.checkpoint, **history.saved)
    run.save(tmp_path / "restored")
    states = [run.read_state(path) for path in (tmp_path / "restored", history.checkpoint)]
    np.testing.assert_equal(*jax.tree.map(np.asarray, states))
    np.testing.assert_array_equal(run.train(12), history.values)


@pytest.mark.parametrize("algorithm", IN_JAX)
def test_jax_compiles_nothing_after_the_first_step_and_evaluation(race, algorithm, caplog):
    def compiled():
        return [r.getMessage() for r in caplog.records if r.getMessage().startswith("Compiling")]

    run = race(algorithm, "jax")
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        run.train(1)
        run.prepare_for_eval()
        assert compiled(), "JAX logs its compilations in other words now"
        caplog.clear()
        run.train(5)
        run.prepare_for_eval()
        run.train(3)
        assert compiled() == []
