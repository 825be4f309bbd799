"""Data for every workload: what is not generated is made up, in the original file format."""

import gzip
import struct

import numpy as np
import pytest

from finishline.workload import all_workloads

NUM_MNIST = {"train": 120, "t10k": 20}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder, compress=False):
    """MNIST's four files with random content; returns the arrays by file name."""
    generator = np.random.default_rng(0)
    arrays = {}
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in NUM_MNIST.items():
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        arrays |= {f"{part}-images-idx3-ubyte": images, f"{part}-labels-idx1-ubyte": labels}
    for name, array in arrays.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / name).write_bytes(idx_bytes(array))
    return arrays


@pytest.fixture(scope="session")
def mnist_writer():
    return write_mnist


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A data directory in which the data of all workloads are prepared."""
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder / "mnist")
    for workload in all_workloads().values():
        workload.dataset.prepare(folder)
    return folder
