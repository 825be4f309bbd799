"""What cannot run is told in one sentence with file and line, before any training."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from finishline.compat.check import check_sources
from finishline.compat.plan import make_plan
from finishline.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, source: str, **helpers: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in {"submission": source, **helpers}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(content))
    return folder / "submission.py"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import torch\nimport no_such_package", [":2 imports no_such_package", "pip install"]),
        ("from no_such_package.deep import x", [":1 imports no_such_package.deep"]),
        ("from algoperf import specs", [":1 uses algoperf.specs", "did you mean spec?"]),
        ("import algoperf.workloads.mnist", [":1 uses", "'workloads'", "docs/compatibility.md"]),
        (
            "from algoperf import spec\n\ndef f(x: spec.Tensors): pass",
            [":3 uses algoperf.spec.Tensors", "did you mean Tensor?"],
        ),
        (
            "from algorithmic_efficiency import jax_sharding_utils\n"
            "def update_params():\n    jax_sharding_utils.get_batch_sharding()",
            [":3 uses", "get_batch_sharding", "did you mean get_batch_dim_sharding?"],
        ),
        ("from algoperf.pytorch_utils import pytorch_set_up", [":1", "did you mean pytorch_setup"]),
        ("import helper", ["helper.py:1 is not valid Python"]),
    ],
)
def test_faults(tmp_path, source, words):
    path = write(tmp_path / "entry", source, helper="def f(:\n")
    with pytest.raises(UserError) as raised:
        check_sources(path, is_on=True)
    for word in [str(path.parent), *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import no_such_package\nexcept ImportError:\n    no_such_package = None",
        "def f():\n    import no_such_package",
        "if False:\n    import no_such_package",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import no_such_package",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from algoperf import nothing",
        "from algoperf import spec\ndef unused():\n    spec.NOTHING",
        "from algoperf import spec\ndef update_params():\n    if 0:\n        spec.NOTHING",
        "from __future__ import annotations\nfrom algoperf import spec\ndef f(x: spec.NOTHING): 0",
        "from algoperf import spec, random_utils, profiler, pytorch_utils, jax_sharding_utils",
        "import algoperf.spec as s\nfrom algoperf.spec import *\ns.TrainingCompleteError",
        "import xml.etree.ElementTree, numpy.linalg, torch.optim.lr_scheduler",
    ],
)
def test_what_may_be_meant_for_elsewhere_is_let_through(tmp_path, source):
    check_sources(write(tmp_path / "entry", source), is_on=True)


def test_without_the_layer_its_packages_are_missing(tmp_path):
    path = write(tmp_path / "entry", "import algoperf.spec")
    with pytest.raises(UserError, match=r":1 imports algoperf.*leave out --nocompat"):
        check_sources(path, is_on=False)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import jax\njax.no_such_name", [":2 cannot be loaded", "no_such_name"]),
        ("from jax import no_such_name", [":1 cannot be loaded", "no_such_name"]),
        ("import helper", ["helper.py:2 cannot be loaded", "no_such_name"]),
        (
            "import jax\ndef update_params():\n    x = helper()\n    return x\n"
            "def helper():\n    return jax.numpy.no_such_name(1)",
            [":6 uses jax.numpy.no_such_name", "jax.numpy", "no 'no_such_name'"],
        ),
        (
            "import jax.numpy as jnp\ndef update_params():\n    jnp.arrange(3)",
            [":3 uses jax.numpy.arrange", "did you mean arange?"],
        ),
        ("x: 'int' = undefined_name", [":1 cannot be loaded", "undefined_name"]),
    ],
)
def test_missing_names_of_libraries(tmp_path, source, words):
    path = write(tmp_path / "entry", source, helper="import jax\njax.no_such_name\n")
    code = (
        "from finishline.compat.layer import Layer\nfrom finishline.errors import SubmissionError\n"
        f"try:\n    Layer({str(path)!r}, []).load()\nexcept SubmissionError as e:\n    print(e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    for word in [str(path.parent), *words]:
        assert word in done.stdout


@pytest.mark.parametrize(
    ("source", "shims"),
    [
        ("import jax\njax.tree_util.tree_map", []),
        ("import jax\njax.tree_map(f, x)", ["jax.tree_map"]),
        ("import jax as j\ndef f():\n    j.tree_map", ["jax.tree_map"]),
        ("from jax import tree_map", ["jax.tree_map"]),
        ("from jax import numpy as n\nn.clip(x, a_min=0)", ["jax.numpy.clip(a_min=)"]),
        ("import jax.numpy as jnp\njnp.clip(x, 0, 1)\njnp.clip(x, min=0)", []),
        ("import jax\n# jax.pmap\n'jax.pmap'", []),
        (
            "from functools import partial\nimport jax\n@partial(jax.pmap)\ndef f(): 0",
            ["pmap layout"],
        ),
        ("from jax import pmap", ["pmap layout"]),
        ("import jax\nfrom jax.random import KeyArray", ["jax.random.KeyArray"]),
        ("import algoperf.spec\nimport jax", ["algoperf"]),
    ],
)
def test_shims_follow_from_the_source(tmp_path, source, shims):
    assert list(make_plan(write(tmp_path / "entry", source), "jax", None).shims) == shims


@pytest.mark.parametrize(
    ("source", "is_mapped"),
    [
        ("torch.zeros(1, device='cuda')", True),
        ("torch.zeros(1, device='cuda:1')", True),
        ("x.cuda()", True),
        ("device = 'cuda' if torch.cuda.is_available() else 'cpu'", False),
        ("x.device.type == 'cuda'", False),
        ("'''Runs on cuda.'''", False),
    ],
)
def test_cuda_is_mapped_where_it_is_named(tmp_path, monkeypatch, source, is_mapped):
    path = write(tmp_path / "entry", f"import torch\n{source}")
    monkeypatch.setattr("finishline.compat.plan.count_gpus", lambda framework: 0)
    plan = make_plan(path, "pytorch", None)
    assert (plan.shims == ("cuda on the CPU",)) is is_mapped
    assert bool(plan.warnings) is is_mapped
    monkeypatch.setattr("finishline.compat.plan.count_gpus", lambda framework: 1)
    assert make_plan(path, "pytorch", None).shims == ()


@pytest.mark.parametrize(
    ("call", "point", "is_active"),
    [
        ("workload.model_fn(params)", {"dropout_rate": 0.1}, True),
        ("workload.model_fn(params)", {"learning_rate": 0.1}, False),
        ("workload.model_fn(params)", None, False),
        ("workload.model_fn(params, dropout_rate=0.0)", {"dropout_rate": 0.1}, False),
    ],
)
def test_dropout_by_hyperparameter(tmp_path, call, point, is_active):
    path = write(tmp_path / "entry", f"import torch\nfrom algoperf import spec\n{call}")
    shims = make_plan(path, "pytorch", point).shims
    assert ("dropout_rate by hyperparameter" in shims) is is_active
