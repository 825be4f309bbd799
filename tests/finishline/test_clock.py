"""The ledger adds up to the wall time."""

import datetime
import itertools
import time

import pytest

from finishline.clock import Account, Ledger


def test_accounts_add_up_to_the_wall_time():
    started = time.monotonic()
    ledger = Ledger()
    for account, _ in zip(itertools.cycle(Account), range(40), strict=False):
        ledger.switch(account)
        time.sleep(0.005)
    wall = time.monotonic() - started
    assert ledger.total() == pytest.approx(wall, rel=0.005)
    assert sum(ledger.as_dict().values()) == pytest.approx(wall, rel=0.01)
    assert min(ledger.as_dict().values()) > 0.04


def test_a_ledger_continues_an_earlier_one():
    ledger = Ledger({"submission": 7.0, "setup": 1.0})
    assert ledger.seconds(Account.SUBMISSION) == 7.0
    assert ledger.total() >= 8.0


def test_the_ledger_of_a_trial_adds_up_to_its_wall_time(make_runner):
    runner = make_runner(
        framework="pytorch",
        workload="digits",
        submission_path="reference_submissions/nadamw",
        max_global_steps=200,
    )
    runner.run()
    (end,) = runner.events_of("trial_ended")
    started = (runner.run_dir / "hparams.json").stat().st_mtime
    ended = datetime.datetime.fromisoformat(end["time"]).timestamp()
    assert sum(end["ledger"].values()) == pytest.approx(ended - started, rel=0.005)
    assert end["ledger"]["submission"] > 0.5
    assert all(seconds > 0 for seconds in end["ledger"].values())
    assert 0 < end["data_wait_sec"] < 0.2 * end["ledger"]["submission"]  # digits are in memory
    waits = [event["data_wait_sec"] for event in runner.events_of("evaluation")]
    assert waits == sorted(waits)
    assert waits[-1] <= end["data_wait_sec"]
