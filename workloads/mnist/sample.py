"""Made-up files in MNIST's original format, for tests and benchmarks."""

import gzip
import struct
from pathlib import Path

import numpy as np


def write_originals(
    data_dir: Path, *, num_train: int = 120, num_test: int = 20, compress: bool = False
) -> dict[str, np.ndarray]:
    """Writes the four IDX files to ``<data_dir>/mnist/`` with random pixels and labels.

    Args:
      data_dir: where the data sets lie.
      num_train: number of training images, validation images included; MNIST has 60,000.
      num_test: number of test images; MNIST has 10,000.
      compress: whether the files are gzip-compressed, with ``.gz`` after their names.

    Returns:
      The uint8 arrays by file name, without ``.gz``: images (n, 28, 28) and labels (n,).
    """
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", num_train), ("t10k", num_test)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        arrays |= {f"{part}-images-idx3-ubyte": images, f"{part}-labels-idx1-ubyte": labels}
    folder = data_dir / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(_idx(array), compresslevel=1))
        else:
            (folder / name).write_bytes(_idx(array))
    return arrays


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
