import json
import math
from pathlib import Path

import pytest

from finishline.errors import UserError
from scoring.versions import VERSIONS, load_benchmark

TARGETS = Path(__file__).parents[3] / "shared" / "golden" / "targets.json"


def write(tmp_path, content):
    path = tmp_path / "targets.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


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
    file = load_benchmark(write(tmp_path, {"workloads": {"w": entry(metric)}}))
    assert (file.targets["w"].metric, file.targets["w"].minimize) == (metric, minimize)
    assert file.targets["w"].validation == 0.5


def test_a_direction_of_ones_own(tmp_path):
    content = {"workloads": {"w": entry("regret", minimize=True)}}
    assert load_benchmark(write(tmp_path, content)).targets["w"].minimize


def test_base_workloads_are_the_scored_ones(tmp_path):
    workloads = {name: entry("loss") for name in ("a", "b", "b_tanh")}
    content = {"workloads": workloads, "held_out_workloads": ["b_tanh"]}
    file = load_benchmark(write(tmp_path, content))
    assert (file.base_workloads, file.held_out) == (("a", "b"), {"b_tanh": "b"})
    content["base_workloads"] = ["b"]
    assert load_benchmark(write(tmp_path, content)).base_workloads == ("b",)


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
        {"workloads": {"w": entry("loss")}, "held_out_workloads": ["v"]},
        {"workloads": {"w": entry("loss")}, "held_out_workloads": ["w_tanh"]},
        {"workloads": {"w": entry("regret", minimize=1)}},
        {"workloads": {"w": entry("loss", max_allowed_runtime_sec=3)}},
    ],
)
def test_other_formats_are_refused_in_one_sentence(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_benchmark(path)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_benchmark(str(tmp_path / "none.json"))


@pytest.mark.skipif(
    not TARGETS.is_file(), reason=f"the published targets are not there ({TARGETS})"
)
@pytest.mark.parametrize("version", VERSIONS)
def test_workloads_and_targets_of_the_versions(version):
    benchmark, content = load_benchmark(version), json.loads(TARGETS.read_text())[version]
    assert benchmark.version == version
    assert sorted(benchmark.base_workloads) == sorted(content["base_workloads"])
    assert sorted(benchmark.held_out) == sorted(content["held_out_workloads"])
    assert {name: (one.metric, one.validation) for name, one in benchmark.targets.items()} == {
        name: (one["metric"], one["validation_target"]) for name, one in content["targets"].items()
    }


@pytest.mark.parametrize(
    ("version", "workload", "ruleset", "hardware", "budget", "period", "steps"),
    [
        ("0.5", "fastmri", "external", None, 8859, 80, 36189),
        ("0.5", "ogbg_model_size", "self", "8xV100", 3 * 18477, 240, 80000),
        ("0.6", "fastmri", "self", None, 1.5 * 4430, 80, 18094),
        ("0.6", "fastmri", "external", "4xA100", 2745, 110, 18094),
        ("1.0", "finewebedu_lm", "external", None, 31967, 2571, 72000),
        ("1.0", "wmt", "external", "8xV100", None, None, 120000),
    ],
)
def test_budgets(version, workload, ruleset, hardware, budget, period, steps):
    benchmark = load_benchmark(version)
    assert benchmark.budget(workload, ruleset, hardware) == budget
    assert benchmark.eval_period(workload, hardware) == period
    assert benchmark.step_hints[workload] == steps


def test_every_version_has_all_numbers():
    for version in VERSIONS:
        benchmark = load_benchmark(version)
        assert benchmark.num_studies == {"0.5": 5, "0.6": 3, "1.0": 3}[version]
        assert benchmark.num_trials == {"external": 5, "self": 1}
        for workload in (*benchmark.base_workloads, *benchmark.held_out):
            for hardware in benchmark.hardware:
                assert benchmark.budget(workload, "external", hardware) > 0
                assert benchmark.eval_period(workload, hardware) > 0
