import json
import math

import pytest

from finishline.errors import UserError
from finishline.workload import Target
from scoring.targets import load_targets_file, resolve_target


def target(value=0.9, test=math.nan):
    return Target(metric="accuracy", minimize=False, validation=value, test=test)


def write(tmp_path, content):
    path = tmp_path / "targets.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def entry(metric, value=0.5, **more):
    return {"target_metric_name": metric, "validation_target_value": value, **more}


@pytest.mark.parametrize(
    ("metric", "minimize"),
    [
        *[(name, True) for name in ("ce_loss", "error_rate", "ctc_loss", "wer")],
        *[(name, True) for name in ("l1_loss", "loss", "ppl")],
        *[(name, False) for name in ("mean_average_precision", "ssim", "accuracy", "bleu")],
    ],
)
def test_directions_of_algoperf(tmp_path, metric, minimize):
    file = load_targets_file(write(tmp_path, {"workloads": {"w": entry(metric)}}))
    assert (file.targets["w"].metric, file.targets["w"].minimize) == (metric, minimize)
    assert file.targets["w"].validation == 0.5


def test_a_direction_of_ones_own(tmp_path):
    content = {"workloads": {"w": entry("regret", minimize=True)}}
    assert load_targets_file(write(tmp_path, content)).targets["w"].minimize


def test_base_workloads_are_the_scored_ones(tmp_path):
    workloads = {name: entry("loss") for name in ("a", "b", "b_tanh")}
    content = {"workloads": workloads, "held_out_workloads": ["b_tanh"]}
    file = load_targets_file(write(tmp_path, content))
    assert (file.base_workloads, file.held_out_workloads) == (("a", "b"), ("b_tanh",))
    content["base_workloads"] = ["b"]
    assert load_targets_file(write(tmp_path, content)).base_workloads == ("b",)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        {},
        {"workloads": {}},
        {"workloads": {"w": entry("regret")}},
        {"workloads": {"w": entry("loss", math.inf)}},
        {"workloads": {"w": {"target_metric_name": "loss"}}},
        {"workloads": {"w": entry("loss")}, "base_workloads": ["v"]},
    ],
)
def test_other_formats_are_refused_in_one_sentence(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_targets_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_targets_file(tmp_path / "none.json")


def test_given_targets_go_first():
    assert resolve_target("w", [target(0.8)], {"w": target(0.7)}).validation == 0.7
    with pytest.raises(UserError, match="no target for the workload 'w'"):
        resolve_target("w", [target(0.8)], {"v": target(0.7)})


def test_recorded_targets_must_agree():
    assert resolve_target("w", [target(0.8), target(0.8, test=0.1)], None).validation == 0.8
    with pytest.raises(UserError, match=r"accuracy >= 0.7 and accuracy >= 0.8"):
        resolve_target("w", [target(0.8), target(0.7)], None)


def test_targets_of_the_project_are_the_last_source(monkeypatch):
    class Known:
        target = target(0.6)

    monkeypatch.setattr("scoring.targets.all_workloads", lambda: {"known": Known})
    assert resolve_target("known", [], None).validation == 0.6
    with pytest.raises(UserError, match="no target for the workload 'unknown'"):
        resolve_target("unknown", [], None)
