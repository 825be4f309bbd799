import json

import pytest

from scoring import document
from scoring.scores import Options
from scoring.versions import load_benchmark

V100 = {"gpu_model_name": "Tesla V100-SXM2-16GB", "gpu_count": 8}


@pytest.fixture
def benchmark(tmp_path):
    """Two trials of one study on fake hardware, 1000 s of budget, evaluations every 100 s."""
    content = {
        "benchmark_version": "7.0",
        "num_studies": 1,
        "num_trials": {"external": 2, "self": 1},
        "self_tuning_budget_factor": 2.0,
        "hardware": {"8xV100": {"gpu_model": "V100", "gpu_count": 8}},
        "workloads": {
            "digits": {
                "target_metric_name": "accuracy",
                "validation_target_value": 0.9,
                "max_allowed_runtime_sec": {"8xV100": 1000},
                "eval_period_time_sec": {"8xV100": 100},
            }
        },
    }
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps(content))
    return load_benchmark(str(path))


def rows(period=100.0, number=6):
    """The last evaluation meets the target."""
    values = [0.1] * (number - 1) + [0.95]
    return [(period * (index + 1), value) for index, value in enumerate(values)]


def strict(root, benchmark, **options):
    return document.build(root, Options(benchmark=benchmark, is_strict=True, **options))[0]


def test_a_submission_by_the_rules(root, add_trial, benchmark):
    for trial in (1, 2):
        path = add_trial(trial=trial, rows=rows(), status=None)
        (path / "meta_data_0.json").write_text(json.dumps(V100))
    scores = strict(root, benchmark)
    assert scores["violations"] == []
    assert scores["submissions"][0]["score"] == 1.0


def change_meta(**changes):
    def change(path):
        meta = json.loads((path / "meta.json").read_text())
        (path / "meta.json").write_text(json.dumps({**meta, **changes}))

    return change


def change_machine(path):
    (path / "meta.json").unlink()
    content = {"gpu_model_name": "NVIDIA A100", "gpu_count": 4}
    (path / "meta_data_0.json").write_text(json.dumps(content))


def resume(path, *, explained):
    log = path / "eval_measurements.csv"
    first, *others = log.read_text().splitlines()
    lines = [f"{first},preemption_count", *(f"{line},1" for line in others)]
    log.write_text("\n".join(lines))
    if explained:
        (path / "events.jsonl").write_text('{"index": 0, "event": "resumed"}\n')


@pytest.mark.parametrize(
    ("given", "change", "rule", "reason"),
    [
        (rows(), change_machine, "hardware", "ran on 4 x NVIDIA A100 instead of 8xV100"),
        (rows(), change_meta(machine={"gpus": []}), "hardware", "no GPU"),
        (rows(), change_meta(tuning_ruleset="self"), "tuning_ruleset", "'self'"),
        (rows(), change_meta(max_global_steps=7), "budget", "at most 7 steps"),
        (rows(), change_meta(benchmark_version="6.0"), "version", "6.0 instead of 7.0"),
        (
            rows(),
            change_meta(target={"metric": "accuracy", "minimize": False, "validation": 0.5}),
            "target",
            "accuracy >= 0.5 instead of accuracy >= 0.9",
        ),
        (rows(number=11), None, "budget", "1100 s, beyond its budget of 1000 s"),
        (rows(period=20.0), None, "eval_period", "every 20 s instead of every 100 s"),
        (rows(period=160.0), None, "eval_period", "every 160 s"),
        (rows(), lambda path: resume(path, explained=False), "resumes", "resumed 1 times"),
    ],
)
def test_violations_of_a_trial(root, add_trial, benchmark, given, change, rule, reason):
    add_trial("sound", trial=1, rows=rows())
    add_trial("sound", trial=2, rows=rows())
    path = add_trial(trial=1, rows=given)
    add_trial(trial=2, rows=[(100.0, 0.1)])
    if change is not None:
        change(path)
    scores = strict(root, benchmark)
    (violation,) = scores["violations"]
    assert (violation["path"], violation["rule"]) == ("a/study_0/digits_jax/trial_1", rule)
    assert reason in violation["reason"]
    assert {one["name"]: one["score"] for one in scores["submissions"]} == {"sound": 1, "a": 0}
    (trial,) = (one for one in scores["trials"] if one["path"] == violation["path"])
    assert (trial["status"], trial["time"]) == ("rule_violation", None)
    assert document.build(root, Options(benchmark=benchmark))[0]["violations"] == []


def test_a_resume_that_the_events_explain(root, add_trial, benchmark):
    resume(add_trial(trial=1, rows=rows()), explained=True)
    add_trial(trial=2, rows=rows())
    assert strict(root, benchmark)["violations"] == []


def test_self_tuning_has_a_longer_budget_and_one_trial(root, add_trial, benchmark):
    add_trial(rows=rows(number=11))
    assert strict(root, benchmark, ruleset="self")["violations"] == []


def test_numbers_of_studies_and_trials(root, add_trial, benchmark):
    for trial in (1, 2, 3):
        add_trial(trial=trial, rows=rows(number=8 - trial))
    add_trial("b", 0, rows=rows())
    add_trial("b", 1, rows=rows())
    add_trial("b", 1, trial=2, rows=rows())
    scores = strict(root, benchmark)
    assert [tuple(one.values()) for one in scores["violations"]] == [
        ("a/study_0", "num_trials", "digits: 3 trials instead of 2"),
        ("b", "num_studies", "digits: 2 studies instead of 1"),
        ("b/study_0", "num_trials", "digits: 1 trials instead of 2"),
    ]
    times = {one["submission"]: one["time"] for one in scores["results"]}
    assert times == {"a": 600.0, "b": 600.0}
