import math

from finishline.workload import Target
from scoring.targets import resolve_target


def target(value=0.9, test=math.nan):
    return Target(metric="accuracy", minimize=False, validation=value, test=test)


def test_given_targets_go_first():
    assert resolve_target("w", [target(0.8)], {"w": target(0.7)}).validation == 0.7
    assert resolve_target("w", [target(0.8)], {"v": target(0.7)}) is None


def test_most_trials_decide_and_no_order():
    assert resolve_target("w", [target(0.8), target(0.8, test=0.1)], None).validation == 0.8
    many = [target(0.8), target(0.7), target(0.8)]
    assert resolve_target("w", many, None).validation == 0.8
    assert resolve_target("w", [target(0.8), target(0.7)], None).validation == 0.7
    assert resolve_target("w", [target(0.7), target(0.8)], None).validation == 0.7


def test_targets_of_the_project_are_the_last_source(monkeypatch):
    class Known:
        target = target(0.6)

    monkeypatch.setattr("scoring.targets.all_workloads", lambda: {"known": Known})
    assert resolve_target("known", [], None).validation == 0.6
    assert resolve_target("unknown", [], None) is None
