import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from finishline.errors import UserError
from finishline.submission import (
    check_submission,
    find_submission,
    load_submission,
    own_traceback,
)

REFERENCE = Path(__file__).parents[2] / "reference_submissions"

VALID = """
import torch

def get_batch_size(workload_name):
    return 64

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state=None):
    return optimizer_state, current_param_container, model_state

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)
"""


@pytest.fixture(autouse=True)
def restore_imports(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path, source=VALID):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return path


@pytest.mark.parametrize(
    ("file", "argument", "name"),
    [
        ("sgd/pytorch/submission.py", "sgd/pytorch/submission.py", "sgd_pytorch"),
        ("sgd/pytorch/submission.py", "sgd/pytorch", "sgd_pytorch"),
        ("sgd/pytorch/submission.py", "sgd", "sgd_pytorch"),
        ("sgd/submission.py", "sgd", "sgd_pytorch"),
        ("sgd_pytorch/submission.py", "sgd_pytorch", "sgd_pytorch"),
        ("cheats/patch_clock.py", "cheats/patch_clock.py", "patch_clock_pytorch"),
    ],
)
@pytest.mark.parametrize("is_absolute", [True, False])
def test_find(tmp_path, monkeypatch, file, argument, name, is_absolute):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / file)
    found = find_submission(tmp_path / argument if is_absolute else argument, "pytorch")
    assert (found.path, found.name, found.framework) == (path, name, "pytorch")


def test_find_the_search_space(tmp_path):
    path = write(tmp_path / "sgd/pytorch/submission.py")
    assert find_submission(path, "pytorch").search_space_path is None
    above = write(tmp_path / "sgd/tuning_search_space.json", "[]")
    assert find_submission(path, "pytorch").search_space_path == above
    beside = write(tmp_path / "sgd/pytorch/tuning_search_space.json", "[]")
    assert find_submission(path, "pytorch").search_space_path == beside


def test_source_hash_covers_what_the_submission_consists_of(tmp_path):
    path = write(tmp_path / "sgd/pytorch/submission.py")

    def source_hash():
        return find_submission(path, "pytorch").source_hash

    hashes = [source_hash()]
    for name in ("pytorch/helper.py", "pytorch/parts/a.py", "tuning_search_space.json"):
        write(tmp_path / "sgd" / name, "1")
        hashes.append(source_hash())
    write(tmp_path / "sgd/pytorch/helper.py", "2")
    hashes.append(source_hash())
    assert len(set(hashes)) == 5
    for name in ("pytorch/notes.txt", "pytorch/__pycache__/a.pyc", "pytorch/data/b.json"):
        write(tmp_path / "sgd" / name, "1")
    assert source_hash() == hashes[-1]


@pytest.mark.parametrize(
    ("argument", "framework", "words"),
    [
        ("sgd/pytorch/submision.py", "pytorch", ["submision.py", "did you mean submission.py?"]),
        ("nowhere/submission.py", "pytorch", ["no submission", "nowhere"]),
        ("sgd", "jax", ["jax/submission.py", "--framework=pytorch"]),
        ("empty", "jax", ["empty", "Python file"]),
        ("sgd/notes.txt", "jax", ["notes.txt", ".py"]),
        ("sgd", "pytroch", ["'pytroch'", "use pytorch"]),
        ("sgd", "tensorflow", ["'tensorflow'", "jax or pytorch"]),
    ],
)
def test_what_cannot_be_found(tmp_path, argument, framework, words):
    write(tmp_path / "sgd/pytorch/submission.py")
    write(tmp_path / "sgd/notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        find_submission(tmp_path / argument, framework)
    for word in words:
        assert word in str(caught.value)


def check(tmp_path, source, framework="pytorch"):
    check_submission(find_submission(write(tmp_path / "a/submission.py", source), framework))


UPDATE = VALID[VALID.index("def update_params") : VALID.index("def data_selection")]
BATCH_SIZE = VALID[VALID.index("def get_batch_size") : VALID.index("def init_optimizer")]


@pytest.mark.parametrize(
    "source",
    [
        VALID,
        VALID.replace("train_state=None", "train_state"),
        VALID.replace("rng, train_state=None", "rng, extra=1"),
        VALID.replace(", train_state=None", ""),
        VALID.replace(UPDATE, "from helper import update_params\n"),
        VALID.replace(UPDATE, "from helper import *\n"),
        VALID.replace(UPDATE, "def update_params(**kwargs):\n    pass\n"),
        VALID.replace(UPDATE, "def update_params(workload, *args, **kwargs):\n    pass\n"),
        VALID.replace(UPDATE, "from functools import partial\nupdate_params = partial(print)\n"),
        VALID.replace(BATCH_SIZE, "get_batch_size = {'mnist': 16}.__getitem__\n"),
        VALID.replace(
            BATCH_SIZE, "if True:\n    def get_batch_size(workload_name):\n        pass\n"
        ),
        VALID.replace("import torch", "import torch, optax"),
        VALID.replace("import torch", "from . import helper"),
        VALID + "raise RuntimeError('the check ran this file')\n",
        VALID + "PATTERN = '\\d'\n",
    ],
)
def test_valid_submissions_pass_without_being_run(tmp_path, source):
    check(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (VALID + "x = = 1\n", ["submission.py:18", "not valid Python"]),
        ("\0", ["submission.py"]),
        (VALID.replace(UPDATE, ""), ["does not define update_params"]),
        (VALID.replace("def get_batch_size", "def batch_size"), ["get_batch_size(workload_name)"]),
        (VALID.replace("eval_results, ", ""), [":10", "update_params", "'eval_results'"]),
        (VALID.replace("eval_results", "eval_result"), ["update_params", "'eval_results'"]),
        (VALID.replace("train_state=None", "extra"), ["update_params", "'extra'"]),
        (VALID.replace("model_params, model_state", "model_state, model_params"), ["order"]),
        (VALID.replace("input_queue, ", ""), ["data_selection", "'input_queue'"]),
        (
            VALID + "def prepare_for_eval(workload):\n    pass\n",
            ["prepare_for_eval", "'current_param_container'"],
        ),
        (VALID.replace("import torch", "import jax"), ["imports jax", "--framework=jax"]),
        (VALID.replace("import torch", "from flax import linen"), ["imports flax"]),
        (VALID.replace("import torch", "import optax.contrib as o"), ["imports optax"]),
    ],
)
def test_faults_are_told_in_one_sentence(tmp_path, source, words):
    with pytest.raises(UserError) as caught:
        check(tmp_path, source)
    message = str(caught.value)
    for word in ["submission.py", *words]:
        assert word in message
    assert "\n" not in message


def test_torch_submission_for_jax(tmp_path):
    with pytest.raises(UserError, match=r"imports torch .*--framework=pytorch"):
        check(tmp_path, VALID, "jax")


def test_no_framework_is_imported():
    code = (
        "import sys; import finishline.tuning; from finishline.submission import *;"
        f"s = find_submission({str(REFERENCE / 'nadamw')!r}, 'jax'); check_submission(s);"
        "finishline.tuning.SearchSpace.load(s.search_space_path);"
        "print({'jax', 'torch', 'optax', 'flax', 'scipy', 'pandas'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REFERENCE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "set()"


def test_load_from_a_package_with_relative_imports(tmp_path):
    write(tmp_path / "sgd/jax/__init__.py", "")
    write(tmp_path / "sgd/jax/helper.py", "SIZE = 3")
    write(
        tmp_path / "sgd/jax/submission.py",
        "from .helper import SIZE\nimport jax\ndef get_batch_size(name): return SIZE",
    )
    module = load_submission(tmp_path / "sgd/jax/submission.py")
    assert module.get_batch_size("mnist") == 3
    assert hasattr(module.jax, "jit")  # the framework, not the folder


def test_load_from_a_plain_folder(tmp_path, monkeypatch):
    write(tmp_path / "my_helper.py", "SIZE = 3")
    write(tmp_path / "submission.py", "import my_helper\nimport dataclasses\nSIZE = my_helper.SIZE")
    monkeypatch.chdir(tmp_path)
    assert load_submission("submission.py").SIZE == 3


def test_load_with_absolute_imports_from_its_own_tree(tmp_path):
    folder = tmp_path / "my_submissions/self_tuning/muon"
    write(folder / "__init__.py", "")
    write(folder / "muon.py", "SIZE = 3")
    write(folder / "helper.py", "from my_submissions.self_tuning.muon.muon import SIZE")
    write(folder / "submission.py", "from .helper import SIZE")
    write(folder / "broken.py", "def")
    assert load_submission(folder / "submission.py").SIZE == 3
    assert str(tmp_path) in sys.path


def test_errors_of_the_submission_are_passed_on(tmp_path):
    path = write(tmp_path / "submission.py", "def f():\n    1 / 0\nf()")
    with pytest.raises(ZeroDivisionError) as caught:
        load_submission(path)
    lines = own_traceback(caught.value, path).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].strip() == f'File "{path}", line 3, in <module>'
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_traceback_without_own_frames_is_complete(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert "test_submission.py" in own_traceback(caught.value, tmp_path / "submission.py")
