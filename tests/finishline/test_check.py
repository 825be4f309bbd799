"""The checker: each kind of defect gives its sentence, and what is right passes."""

import json
import os
import re
import shutil

import pytest

from finishline.checking.checker import check
from finishline.checking.files import Limits
from finishline.checking.folder import PLACEHOLDER, Folder
from finishline.checking.report import Level
from finishline.checking.requirements import CONSTRAINTS
from finishline.frameworks import FRAMEWORKS
from finishline.new import create
from finishline.submission import REFERENCE_SUBMISSIONS

REFERENCE_NAMES = sorted(p.name for p in REFERENCE_SUBMISSIONS.iterdir() if p.name[0] not in "._")
INFO = "submission_info.yml"
SPACE = "tuning_search_space.json"
SOURCE = "pytorch/submission.py"
POINT = {"learning_rate": 0.01, "beta2": 0.99, "weight_decay": 0.0}


@pytest.fixture
def good(tmp_path):
    """A submission in both frameworks with which all is well."""
    folder = create("algorithm", FRAMEWORKS, tmp_path)
    edit(folder / INFO, PLACEHOLDER, "Ada Lovelace")
    return folder


def edit(path, old, new):
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text))


def lines_of(folder, level=Level.PROBLEM, **limits):
    """The findings of one level, as ``section: finding``."""
    report = check(Folder.open(folder), Limits(**limits))
    return [
        f"{section.name}: {finding}"
        for section in report.sections
        for finding in section.findings
        if finding.level is level
    ]


def write(name, content):
    return lambda folder: (folder / name).write_text(content)


def info(old, new):
    return lambda folder: edit(folder / INFO, old, new)


def source(old, new):
    return lambda folder: edit(folder / SOURCE, old, new)


def points(count, **changes):
    return write(SPACE, json.dumps([POINT | changes] * count))


def needs(line):
    return write("requirements.txt", f"# a package\n{line}\n")


# What is done to a good folder -> section, place and words of the one problem that it has then.
PROBLEMS = {
    "link": (lambda f: os.symlink("/etc/passwd", f / "x.py"), "files: x.py: .*symbolic link"),
    "link to a folder": (lambda f: os.symlink("/", f / "x"), "files: x: .*symbolic link"),
    "pipe": (lambda f: os.mkfifo(f / "pipe.py"), "files: pipe.py: .*neither a file"),
    "compiled": (write("pytorch/fast.so", "x"), "files: pytorch/fast.so: .*submit the source"),
    "packed": (write("code.zip", "x"), "files: code.zip: .*submit the source"),
    "two places": (
        lambda f: shutil.copy(f / SOURCE, f),
        "files: submission.py: .*jax/submission.py, so that it is not clear",
    ),
    "no metadata": (
        lambda f: (f / INFO).unlink(),
        "metadata: There is no submission_info.yml; add",
    ),
    "misnamed metadata": (
        lambda f: (f / INFO).rename(f / "submissions_info.yaml"),
        "metadata: .*rename submissions_info.yaml",
    ),
    "no YAML": (write(INFO, "a: [1\nb: 2"), f"metadata: {INFO}:2: .*not valid YAML"),
    "no UTF-8": (lambda f: (f / INFO).write_bytes(b"a: \xff"), "not valid YAML"),
    "no fields": (write(INFO, "- a\n- b\n"), f"metadata: {INFO}: holds no fields"),
    "a field twice": (info("license:", "version: '2'\nlicense:"), f"{INFO}:4: has 'version' twice"),
    "no license": (info("license.*\n", ""), f"{INFO}: lacks 'license'; add `license: Apache-2.0`"),
    "unknown license": (info("Apache-2.0", "mine"), f"{INFO}:4: .*'mine', which is not an SPDX"),
    "version as a number": (
        info('"0.1"', "0.10"),
        f"{INFO}:2: .*0.1, which YAML reads as a number",
    ),
    "no version": (info('"0.1"', '"final"'), f"{INFO}:2: .*'final', which is not a version"),
    "no name": (info("submission_name: .*", "submission_name:"), f"{INFO}:1: .*None.* is not text"),
    "empty authors": (info("Ada Lovelace", "''"), f"{INFO}:3: .*'authors'.*is empty"),
    "empty list": (info("Ada Lovelace", "[]"), f"{INFO}:3: .*'authors'.*is not text"),
    "unknown ruleset": (info("external", "extern"), f"{INFO}:5: .*'extern', which is none of"),
    "unknown framework": (info("PyTorch", "TensorFlow"), f"{INFO}:6: .*is not of JAX, PyTorch"),
    "framework without code": (
        lambda f: shutil.rmtree(f / "jax"),
        f"metadata: {INFO}:6: names JAX, for which there is no submission.py",
    ),
    "code without framework": (
        info("JAX, PyTorch", "JAX"),
        f"{INFO}:6: does not name PyTorch, for which there is pytorch/submission.py",
    ),
    "moved pin": (needs("numpy<2"), "requirements.txt:2: asks for numpy<2, but .* numpy=="),
    "option": (needs("-r other.txt"), "requirements.txt:2: '-r other.txt' is an option of pip"),
    "editable": (needs("-e ."), "requirements.txt:2: '-e .' is an option"),
    "address": (needs("a @ git+https://b.c/d.git"), "requirements.txt:2: .*an address"),
    "link to a wheel": (needs("https://b.c/d.whl"), "requirements.txt:2: .*an address"),
    "wheel beside it": (needs("./d.whl"), "requirements.txt:2: .*a path"),
    "no requirement": (needs("two words"), "requirements.txt:2: .*is not a requirement"),
    "twice": (
        needs("einops==0.8\nEinops==0.8"),
        "requirements.txt:3: names einops again, .* line 2",
    ),
    "goes on": (needs("einops \\"), "requirements.txt:2: .*goes on"),
    "no Python": (
        source("def get_batch_size", "def get_batch_size("),
        f"API: {SOURCE}:.*not valid",
    ),
    "helper is no Python": (write("jax/helper.py", "def"), "API: jax/helper.py:1 is not valid"),
    "nested too deeply": (write("jax/x.py", "-" * 100_000 + "1"), "API: .*jax/x.py cannot be read"),
    "no function": (source("def data_selection", "def data"), f"API: {SOURCE} .*data_selection"),
    "no argument": (source("    eval_results,\n", ""), f"API: {SOURCE}:.*'eval_results'"),
    "no search space": (lambda f: (f / SPACE).unlink(), f"search space: There is no {SPACE}"),
    "search space and self": (info("external", "self"), f"search space: {INFO}: .*tunes itself"),
    "search space is not valid": (write(SPACE, "[1]"), f"search space: {SPACE}, point 1 is 1"),
    "few points": (points(4), f"search space: {SPACE}: lists 4 points, fewer than the 5"),
}

NOTES = {
    "other name": (info("algorithm", "other"), f"{INFO}:1: .*will call it 'algorithm'"),
    "unknown field": (info("license", "licence: MIT\nlicense"), f"{INFO}:4: .*mean 'license'"),
    "no authors yet": (info("Ada Lovelace", PLACEHOLDER), f"{INFO}:3: still has no authors"),
    "no exact version": (needs("einops"), "requirements.txt:2: einops has no exact version"),
    "other requirements": (write("requirements_all.txt", "q"), "requirements_all.txt: is not read"),
    "leftover": (write(".DS_Store", ""), "files: .DS_Store: does not belong"),
    "unknown hyperparameter": (
        source(r"hyperparameters\.beta2", "hyperparameters.beta_2"),
        f"search space: {SOURCE}:.*hyperparameters.beta_2, which {SPACE} lacks",
    ),
}


def test_a_good_submission_passes_without_a_word(good):
    report = check(Folder.open(good))
    assert report.exit_code == 0
    assert [str(finding) for section in report.sections for finding in section.findings] == []


@pytest.mark.parametrize(("damage", "sentence"), PROBLEMS.values(), ids=PROBLEMS)
def test_defect_has_its_sentence(good, damage, sentence):
    damage(good)
    (line,) = lines_of(good)
    assert re.search(sentence, line), line
    assert re.fullmatch(r"[^\n]*\.", line)
    assert str(good) not in line


@pytest.mark.parametrize(("damage", "sentence"), NOTES.values(), ids=NOTES)
def test_blemish_is_noted_and_does_not_fail(good, damage, sentence):
    damage(good)
    assert check(Folder.open(good)).exit_code == 0
    (line,) = lines_of(good, Level.NOTE)
    assert re.search(sentence, line), line


def test_all_defects_are_told_at_once(good):
    (good / INFO).write_text("submission_name: algorithm\n")
    edit(good / SOURCE, "def data_selection", "def select_data")
    edit(good / SOURCE, "def get_batch_size", "def get_size")
    lines = lines_of(good)
    assert [line for line in lines if line.startswith("metadata") and "lacks" in line] == [
        line for line in lines if "metadata" in line
    ]
    assert len(lines) == 6 + 2


def test_limits_of_size(good):
    (good / "notes.txt").write_bytes(bytes(3_000))
    assert lines_of(good) == []
    (line,) = [line for line in lines_of(good, file_bytes=2_999) if "notes" in line]
    assert re.fullmatch(r"files: notes.txt: has 2.93 KiB, above the 2.93 KiB .*\.", line)
    assert "more than 4 files" in lines_of(good, num_files=4)[0]
    (line,) = lines_of(good, total_bytes=3_000)
    assert re.fullmatch(r"files: The files have .* together, above 2.93 KiB; .*\.", line)


def test_what_is_too_large_or_no_file_is_not_read(good):
    os.symlink("/dev/zero", good / "endless.py")
    report = check(Folder.open(good))
    assert report.exit_code == 1
    assert [section.name for section in report.sections if not section.was_skipped] == ["files"]


def test_self_tuning(good):
    (good / SPACE).unlink()
    edit(good / INFO, "external", "self-tuning")
    assert lines_of(good) == []


def test_one_file_for_a_framework_at_the_top(good):
    (good / SOURCE).rename(good / "submission.py")
    shutil.rmtree(good / "jax")
    shutil.rmtree(good / "pytorch")
    edit(good / INFO, "JAX, PyTorch", "PyTorch")
    assert lines_of(good) == []
    assert list(Folder.open(good).submissions) == ["pytorch"]


@pytest.mark.parametrize("place", ["jax", "jax/submission.py"])
def test_a_part_of_the_folder_stands_for_it(good, place):
    folder = Folder.open(good / place)
    assert folder.home == good
    assert check(folder).exit_code == 0


def test_framework_that_is_asked_for_must_be_there(good):
    shutil.rmtree(good / "jax")
    report = check(Folder.open(good, "jax"))
    (finding,) = report.sections[0].findings
    assert "neither submission.py nor jax/submission.py" in finding.message


def test_pins_of_the_benchmark_may_be_repeated(good):
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("optax")]
    (good / "requirements.txt").write_text("\n".join([*pins, "numpy>=2  # any", "einops==0.8.1"]))
    assert lines_of(good) == lines_of(good, Level.NOTE) == []


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_reference_submissions_pass(name):
    report = check(Folder.open(REFERENCE_SUBMISSIONS / name))
    assert report.exit_code == 0
    assert [str(finding) for section in report.sections for finding in section.findings] == []
