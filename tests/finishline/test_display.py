"""What a person sees: from the set-up on, and never a number that is not known."""

import io

import pytest
from rich.console import Console

from finishline.clock import Account, Ledger
from finishline.display import LiveDisplay, logged_loss
from finishline.study import StudyConfig, plan_study


@pytest.fixture
def shown(tmp_path, data_dir, monkeypatch):
    """A started ``LiveDisplay``, its ledger, and a function that gives what it has written."""
    config = StudyConfig(
        submission_path="reference_submissions/nadamw",
        framework="jax",
        workload="digits",
        data_dir=data_dir,
        experiment_dir=tmp_path,
    )
    (trial, *_) = plan_study(config)
    written = io.StringIO()
    display = LiveDisplay(Console(file=written, force_terminal=True, width=100))
    ledger = Ledger()
    display.start(trial, ledger)

    def look() -> str:
        text = written.getvalue()
        written.truncate(0)
        written.seek(0)
        return text

    yield display, ledger, look
    display._live.stop()


def test_the_panel_is_there_during_the_set_up(shown):
    _, _, look = shown
    text = look()
    assert "setting up" in text
    assert "not measured yet" in text
    assert "nan" not in text


def test_losses_are_shown_as_soon_as_they_are_known(shown):
    display, ledger, look = shown
    look()
    ledger.switch(Account.SUBMISSION)
    display.step(7)
    display.scalars(7, {"grad_norm": 3.0, "loss": 1.25})
    display.tick()
    text = look()
    assert "setting up" not in text
    assert "logged by the submission 1.2500" in text
    assert "validation 0." not in text
    display.evaluation(9, {"validation/loss": 0.5, "train/loss": 0.25, "validation/accuracy": 0.9})
    display._next_refresh = 0.0
    display.tick()
    text = look()
    assert "training 0.2500, validation 0.5000, logged by the submission 1.2500" in text


def test_waiting_for_data_is_shown_as_a_share(shown, monkeypatch):
    display, ledger, look = shown
    look()
    ledger.switch(Account.SUBMISSION)
    monkeypatch.setattr(ledger, "seconds", lambda account: 8.0)
    display.data_wait(2.0)
    display.tick()
    assert "waited for data 25 % of the submission time" in look()


def test_a_logged_loss_is_found_by_its_name():
    assert logged_loss({"accuracy": 0.5, "train_loss": 2.0}, 3.0) == 2.0
    assert logged_loss({"accuracy": 0.5}, 3.0) == 3.0
    assert logged_loss({}, None) is None
