import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scoring import document
from scoring.scores import Options

REPOSITORY = Path(__file__).parents[2]
SCHEMA = json.loads((REPOSITORY / "scoring" / "schema.json").read_text())
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": int | float,
}


def check(value, schema, where="document"):
    """The part of JSON Schema that ``schema.json`` uses."""
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        is_bool = isinstance(value, bool)
        fits = [isinstance(value, TYPES[one]) for one in names if not is_bool or one == "boolean"]
        assert any(fits), f"{where}: {value!r} is no {names}"
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        assert set(schema.get("required", ())) <= set(value), where
        for key, one in value.items():
            assert key in properties or others is not False, f"{where}.{key}"
            check(one, properties.get(key) or others or {}, f"{where}.{key}")
    if isinstance(value, list):
        for index, one in enumerate(value):
            check(one, schema.get("items", {}), f"{where}[{index}]")


@pytest.fixture
def logs(root, add_trial):
    for study in range(3):
        for submission, time in {"a": 10.0, "b": 12.0 + study}.items():
            for workload in ("digits", "mnist"):
                add_trial(submission, study, workload, time=time * (1 + study))
    path = add_trial("b", 0, "digits", 2, rows=[(1.0, 0.5), ("x", 0.5)])
    (path / "hparams.json").write_text('{"learning_rate": NaN, "layers": [1, {"deep": Infinity}]}')
    add_trial("c", workload="digits", rows=None)
    return root


@pytest.mark.parametrize("bootstrap", [0, 20])
def test_the_document_follows_its_schema(logs, bootstrap):
    found, curves = document.build(
        logs, Options(bootstrap=bootstrap, reference="a", keep_curves=True)
    )
    check(json.loads(json.dumps(found, allow_nan=False)), SCHEMA)
    assert list(found) == SCHEMA["required"]
    assert set(curves) <= {one["path"] for one in found["trials"]}
    assert curves["a/study_0/digits_jax/trial_1"] == ([5.0, 10.0], [7.0, 7.0], [0.1, 0.95])
    assert len(curves) == 12
    (damaged,) = (one for one in found["trials"] if one["status"] == "unreadable_log")
    assert damaged["hyperparameters"] == {"learning_rate": None, "layers": [1, {"deep": None}]}


def test_the_schema_check_finds_faults(logs):
    found, _ = document.build(logs, Options())
    for change in ({"more": 1}, {"rules": None}, {"submissions": [{}]}, {"reference": 3}):
        with pytest.raises(AssertionError):
            check({**found, **change}, SCHEMA)


def test_what_trials_spent_and_how_sure_the_ranks_are(logs):
    found, _ = document.build(logs, Options(bootstrap=50))
    first, second, third = found["submissions"]
    assert [first["name"], second["name"], third["name"]] == ["a", "b", "c"]
    assert first["ledger"]["submission"] == 2 * (10.0 + 20.0 + 30.0)
    assert first["ledger"]["setup"] is None
    assert first["rank_probabilities"][0] + second["rank_probabilities"][0] >= 1.0
    assert third["score_interval"] == [0.0, 0.0]
    assert second["leave_one_submission_out"]["a"] == {"score": 1.0, "rank": 1}
    assert set(second["leave_one_workload_out"]) == {"digits", "mnist"}
    assert any(one["kind"] == "studies" for one in found["warnings"])


def test_time_zone_and_locale_make_no_difference(logs, tmp_path):
    outputs = set()
    code = "import sys; from scoring.score_submissions import main; sys.exit(main(sys.argv))"
    for number, settings in enumerate(
        ({"TZ": "UTC", "LC_ALL": "C"}, {"TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8"})
    ):
        out = tmp_path / str(number)
        flags = [f"--submission_directory={logs}", f"--output_dir={out}", "--nohtml"]
        done = subprocess.run(
            [sys.executable, "-c", code, *flags, "--bootstrap=10"],
            cwd=REPOSITORY,
            env={**os.environ, **settings, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        files = sorted(out.glob("[!.]*"))
        outputs.add(tuple((file.name, file.read_bytes()) for file in files))
    assert len(outputs) == 1
