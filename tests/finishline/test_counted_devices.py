"""By default a trial gets the GPUs that CUDA shows and the installed framework can use."""

import pytest

from finishline import devices
from finishline.devices import count_devices
from finishline.frameworks.environment import prepare_environment

VISIBLE = {
    None: 4,
    "": 1,
    "-1": 1,
    "2": 1,
    "0,1": 2,
    "0, 3": 2,
    "0,7,1": 1,
    "1,-1,2": 1,
    "GPU-8a3b,GPU-99": 2,
    "MIG-1f": 1,
    "NoDevFiles": 1,
}


@pytest.fixture
def four_gpus(monkeypatch, tmp_path):
    for number in range(4):
        (tmp_path / f"0000:0{number}:00.0").mkdir()
    monkeypatch.setattr(devices, "_GPUS", tmp_path)


@pytest.mark.parametrize("listed", VISIBLE)
def test_visible_gpus_are_counted_as_cuda_counts_them(four_gpus, monkeypatch, listed):
    monkeypatch.setitem(devices._SEES_GPUS, "pytorch", lambda environment: True)
    environment = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert count_devices("pytorch", environment) == VISIBLE[listed]


@pytest.mark.parametrize("cuda", ["'12.8'", "None"])
def test_pytorch_without_cuda_gets_one_device(four_gpus, monkeypatch, tmp_path, cuda):
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('is not to be imported')")
    (package / "version.py").write_text(f"__version__ = '2.13.0'\ncuda = {cuda}\n")
    monkeypatch.setattr(
        devices.importlib.util,
        "find_spec",
        lambda name: type("Spec", (), {"origin": str(package / "__init__.py")}),
    )
    (tmp_path / "gpus" / "0").mkdir(parents=True)
    (tmp_path / "gpus" / "1").mkdir()
    monkeypatch.setattr(devices, "_GPUS", tmp_path / "gpus")
    assert count_devices("pytorch", {}) == (1 if cuda == "None" else 2)


@pytest.mark.parametrize(
    ("installed", "platforms", "count"),
    [
        ("jax_cuda12_plugin", None, 4),
        ("jax_cuda13_plugin", "", 4),
        ("jax_cuda13_plugin", "cuda,cpu", 4),
        ("jax_cuda12_plugin", "cpu", 1),
        ("jax", None, 1),
    ],
)
def test_jax_without_its_plugin_gets_one_device(
    four_gpus, monkeypatch, installed, platforms, count
):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name == installed or None)
    environment = {} if platforms is None else {"JAX_PLATFORMS": platforms}
    assert count_devices("jax", environment) == count


def test_a_machine_without_gpus_has_one_device(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_GPUS", tmp_path / "none")
    assert count_devices("jax", {"CUDA_VISIBLE_DEVICES": "0,1"}) == 1


def test_ranks_that_were_frozen_long_are_not_aborted():
    environment = {"TORCH_NCCL_ENABLE_MONITORING": "1"}
    prepare_environment("pytorch", 2, environment)
    assert environment["TORCH_NCCL_ENABLE_MONITORING"] == "0"
