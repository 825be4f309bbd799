"""Hints for the reviewer: each kind is found in a made-up source, and none in an innocent one."""

import textwrap

import pytest

from finishline.checking.folder import Folder
from finishline.checking.hints import check_source
from finishline.checking.report import Level
from finishline.submission import REFERENCE_SUBMISSIONS

REFERENCE_NAMES = sorted(p.name for p in REFERENCE_SUBMISSIONS.iterdir() if p.name[0] not in "._")

# A source whose line 2 is what a reviewer is to look at -> words of the sentence.
SUSPICIOUS = {
    "environment": ("import os\nhost = os.environ['HOST']", "environment"),
    "environment, imported": ("\nfrom os import getenv", "environment"),
    "environment, renamed": ("import os as o\no.putenv('A', 'b')", "environment"),
    "threads": ("\nimport threading", "side by side"),
    "pools": ("\nfrom concurrent.futures import ThreadPoolExecutor", "side by side"),
    "streams": ("import torch\nstream = torch.cuda.Stream()", "side by side"),
    "callbacks": ("import jax\njax.pure_callback(f, x)", "Python from the device"),
    "subprocesses": ("\nimport subprocess", "starts programs"),
    "shell": ("import os\nos.system('ls')", "starts programs"),
    "signals": ("\nimport signal", "moments"),
    "processes": ("import os\nos.kill(1, 9)", "processes"),
    "network": ("\nimport socket", "network"),
    "downloads": ("import torch\ntorch.hub.load('a', 'b')", "network"),
    "requests": ("\nfrom urllib import request", "network"),
    "opening": ("path = 'x'\nopen(path)", "files"),
    "reading": ("from pathlib import Path\nPath('x').read_text()", "files"),
    "loading": ("import numpy as np\ntable = np.load('x.npy')", "files"),
    "listing": ("import os\nos.listdir('/')", "files"),
    "its own place": ("\nhere = __file__", "files"),
    "collector": ("\nimport gc", "objects at run time"),
    "frames": ("import sys\nsys._getframe()", "objects at run time"),
    "C": ("\nimport ctypes", "below Python"),
    "modules": ("import sys\nsys.modules['time'] = None", "replaced"),
    "mocks": ("\nfrom unittest import mock", "replaced"),
    "patched clock": ("import time\ntime.monotonic = lambda: 0.0", "`time.monotonic` is set"),
    "patched method": (
        "import torch\ntorch.optim.Optimizer.step = f",
        "`torch.optim.Optimizer.step` is set",
    ),
    "patched by name": ("import time\nsetattr(time, 'time', f)", "`time` is set"),
    "patched workload": ("workload = 1\nworkload.loss_fn = f", "does not change its workload"),
    "harness": ("\nfrom finishline import referee", "finishline.spec"),
    "private parts": ("workload = 1\nworkload._dataset", "not part of the API"),
    "dynamic code": ("code = 'x'\nexec(code)", "source does not show"),
    "packed code": ("\nimport zlib", "source does not show"),
    "sleeping": ("import time\ntime.sleep(3)", "waits"),
    "seeds in torch": ("import torch\ntorch.manual_seed(0)", "seed of its own"),
    "seeds in jax": ("import jax\nkey = jax.random.key(0)", "seed of its own"),
    "seeds in numpy": ("import numpy as np\nrng = np.random.default_rng(3)", "seed of its own"),
    "options": ("import torch\ntorch.backends.cuda.matmul.allow_tf32 = True", "option"),
    "name in a conditional": ("name = 'x'\nflag = name == 'imagenet_vit'", "names a workload"),
    "part of a name": ("name = 'x'\nif 'imagenet' in name: pass", "names a workload"),
    "a variant": ("\nlr = {'criteo1tb_resnet': 0.1}", "names a workload"),
    "name in match": ("match f():\n  case 'wmt': pass", "names a workload"),
    "type": ("workload = 1\nkind = type(workload)", "tell workloads apart"),
    "size": ("workload = 1\nif workload.num_train_examples == 997: pass", "tell workloads apart"),
    "step count": ("global_step = 1\nif global_step < 2_000: pass", "workload.step_hint"),
    "length of a schedule": ("f = max\nf(T_max=186_666)", "workload.step_hint"),
    "named step count": ("\nWARMUP_STEPS = 9_999", "workload.step_hint"),
    "long text": (f"\ntext = {'x' * 3_000!r}", "3,000 characters"),
    "long bytes": (f"\ndata = {bytes(2_001)!r}", "2,001 characters"),
    "long list": (f"\npoints = {list(range(150))}", "150 values"),
    "nested list": (f"\ntable = {[list(range(20))] * 8}", "160 values"),
}

INNOCENT = '''
"""A text about mnist, os.environ and threading.

{long}
"""
import os.path
import time

import torch
import torch.nn.functional as F

from finishline import spec
from finishline.recipes.pytorch import update_params

BATCH_SIZES = {{"mnist": 16, "imagenet_vit": 1024}}
LOG_EVERY = 1000


def get_batch_size(workload_name):
    if workload_name == "imagenet_resnet":
        return 512
    return BATCH_SIZES.get(workload_name, 64)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    requests, glob, signal, random = [], 1, 2, torch.rand(3)  # no modules here
    requests.append(glob)
    started = time.monotonic()
    total = int(0.8 * workload.step_hint)
    for name, parameter in model_params.named_parameters():
        parameter.requires_grad = "embed" not in name
        parameter.grad = None
    torch.optim.lr_scheduler.CosineAnnealingLR(None, T_max=workload.step_hint)
    if workload.loss_type == spec.LossType.CTC_LOSS and workload.step_hint > total:
        random.open()
    if workload.global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        pass
    betas = [0.9, 0.99]
    model_params.train()
    return F.relu(random), started, betas, signal
'''


def hints(tmp_path, source):
    folder = tmp_path / "algorithm"
    folder.mkdir()
    (folder / "submission.py").write_text(source)
    section = check_source(Folder.open(folder))
    assert all(finding.level is Level.HINT for finding in section.findings)
    return section.findings


@pytest.mark.parametrize(("source", "words"), SUSPICIOUS.values(), ids=SUSPICIOUS)
def test_what_a_reviewer_looks_at_is_found(tmp_path, source, words):
    found = hints(tmp_path, source)
    assert [finding.place for finding in found if words in finding.message] == ["submission.py:2"]


@pytest.mark.parametrize(("source", "words"), SUSPICIOUS.values(), ids=SUSPICIOUS)
def test_it_is_one_sentence_with_file_and_line(tmp_path, source, words):
    for finding in hints(tmp_path, source):
        assert "\n" not in finding.message
        assert finding.message[-1] in ".?"
        assert len(finding.message) < 200


def test_innocent_source_gets_no_hint(tmp_path):
    assert hints(tmp_path, INNOCENT.format(long="x" * 3_000)) == ()


def test_a_table_of_batch_sizes_that_also_steers_something_else_is_told(tmp_path):
    source = INNOCENT.format(long="") + "\nRATE = 0.1 * BATCH_SIZES.get(NAME)\n"
    assert {finding.line for finding in hints(tmp_path, source)} == {15}


def test_a_name_that_get_batch_size_keeps_is_told(tmp_path):
    source = """\
    NAME = None
    SEEN = {}

    def get_batch_size(workload_name):
        global NAME
        NAME = workload_name
        SEEN["name"] = workload_name
        return 64
    """
    found = hints(tmp_path, textwrap.dedent(source))
    assert [finding.line for finding in found] == [5, 7]
    assert all("get_batch_size keeps" in finding.message for finding in found)


def test_what_is_nested_too_deeply_is_told(tmp_path):
    (finding,) = hints(tmp_path, f"x = 1{' + 1' * 900} < global_step < 200\n")
    assert "too deeply" in finding.message


def test_helpers_beside_the_submission_are_read_too(tmp_path):
    folder = tmp_path / "algorithm"
    (folder / "jax" / "inner").mkdir(parents=True)
    (folder / "jax" / "submission.py").write_text("import jax\n")
    (folder / "jax" / "inner" / "helper.py").write_text("import socket\n")
    (finding,) = check_source(Folder.open(folder)).findings
    assert finding.place == "jax/inner/helper.py:1"


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_reference_submissions_get_no_hint(name):
    assert check_source(Folder.open(REFERENCE_SUBMISSIONS / name)).findings == ()
