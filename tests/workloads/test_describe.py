"""``python -m workloads.describe``: all of every workload, without data, and its page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from finishline.benchmark import bases, load_version, versions_of
from finishline.workload import all_workloads, find_workload
from workloads import describe, wording
from workloads.description import describe as describe_one
from workloads.description import describe_all
from workloads.handbook import handbook

PAGE = Path(__file__).resolve().parents[2] / "docs" / "workloads.md"
WORKLOADS = all_workloads()


@pytest.fixture(scope="module")
def described():
    return describe_all(WORKLOADS.values())


def test_the_command_writes_json_of_the_workloads_named(tmp_path):
    command = [sys.executable, "-m", "workloads.describe", "digits", "mnist", "--json"]
    command += ["--data_dir", str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    content = json.loads(output)
    assert list(content) == ["digits", "mnist"]
    assert content["mnist"]["parameters"] == {"jax": 101_770, "pytorch": 101_770}
    assert content["mnist"]["dataset"]["is_prepared"] is False
    assert list(tmp_path.iterdir()) == []


def test_every_workload_is_described_in_full(described):
    assert list(described) == list(WORKLOADS)
    for name, one in described.items():
        assert one["task"], f"{name} has no task"
        # PyTorch's LSTMs have a second bias, which does nothing.
        surplus = 4 * one["model"].get("num_recurrent", 0) * one["model"].get("width", 0)
        assert one["parameters"]["jax"] == one["parameters"]["pytorch"] - surplus > 0
        assert one["dataset"]["num_examples"].keys() == {"train", "validation", "test"}
        assert one["target"]["metric"] in one["metrics"]
        assert json.loads(json.dumps(wording.without_nan(one)))


def test_published_workloads_have_the_numbers_of_each_version_and_class(described):
    for name, one in described.items():
        if name not in bases():
            assert set(one["versions"]) == {"any"}
            continue
        assert set(one["versions"]) == {version.name for version in versions_of(name)}
        for version, numbers in one["versions"].items():
            assert set(numbers["hardware"]) == set(load_version(version).hardware)


def test_a_variant_names_its_base(described):
    assert described["criteo1tb_layernorm"]["variant_of"] == "criteo1tb"
    assert described["criteo1tb"]["variant_of"] is None
    assert described["criteo1tb_layernorm"]["suites"] == ["variants"]
    assert described["criteo1tb"]["suites"] == ["full", "qualification"]


def test_a_framework_that_is_not_installed_has_no_count(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    one = describe_one(find_workload("digits"))
    assert one["parameters"] == {"jax": None, "pytorch": None}
    assert wording.parameters(one) == "no framework installed"


def test_one_is_told_in_full(capsys, tmp_path):
    assert describe.main(["imagenet_resnet_silu", "--data_dir", str(tmp_path)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    for words in (
        "variant of imagenet_resnet",
        "imagenet (not prepared",
        "1,281,167 train, 50,000 validation, 10,000 test",
        "accuracy >= 0.75445 on validation, 0.6323 on test",
        "8xV100: 63,008 s (17 h 30 min), evaluated every 510 s; 186,666 steps, float32",
        "4xA100: 49,918 s (13 h 52 min), evaluated every 1,996 s; 195,999 steps, TF32",
        "quirks: same_padding",
        "activation=silu",
        "25,557,032",
    ):
        assert words in output


def test_several_are_a_table_with_what_is_prepared(capsys, data_dir):
    find_workload("digits").dataset.prepare(data_dir)
    assert describe.main(["digits", "quadratic_deep", "--data_dir", str(data_dir)]) == 0
    header, digits, quadratic = (
        line.split() for line in capsys.readouterr().out.splitlines() if line[:1].strip()
    )
    assert header[0] == "name"
    assert (digits[0], quadratic[0]) == ("digits", "quadratic_deep")
    assert "yes" in digits
    assert digits[-1] == "223,690"


def test_what_hinders_comparisons_is_told(described, capsys):
    one = described["finewebedu_lm"]
    assert one["target"]["test"] is None
    assert f"`finewebedu_lm`: {one['remark']}\n" in handbook({"finewebedu_lm": one})
    assert describe.main(["finewebedu_lm"]) == 0
    output = capsys.readouterr().out
    assert "ppl <= 22.2995 on validation, none on test" in output
    assert "AlgoPerf has no test split" in " ".join(output.split())


def test_an_unknown_name_is_one_sentence(capsys):
    assert describe.main(["digts"]) == 2
    output = capsys.readouterr()
    assert output.err == "describe: There is no workload 'digts'; did you mean digits?\n"
    assert output.out == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (120, "120 s"),
        (0.5, "0.5 s"),
        (3600, "3,600 s (1 h 00 min)"),
        (8915, "8,915 s (2 h 29 min)"),
    ],
)
def test_durations(seconds, words):
    assert wording.duration(seconds) == words


def test_different_counts_are_both_told():
    assert wording.parameters({"parameters": {"jax": 1, "pytorch": 2}}) == "jax 1, pytorch 2"
    assert wording.parameters({"parameters": {"jax": 1000, "pytorch": None}}) == "1,000"


def test_the_page_is_current(described):
    assert PAGE.read_text() == handbook(described), "run `make docs`"
