"""Made-up images in CIFAR-10's original archives, for tests, benchmarks and ``cifar_mini``."""

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workloads.cifar import archive
from workloads.cifar.shapes import draw_shapes


def write_originals(
    data_dir: Path, *, num_train: int = 200, num_test: int = 40, as_pickles: bool = False
) -> None:
    """Writes one archive to ``<data_dir>/cifar10/`` with made-up images, equally many a class.

    Args:
      data_dir: where the data sets lie.
      num_train: training images, validation images included; CIFAR-10 has 50,000.
      num_test: test images; CIFAR-10 has 10,000.
      as_pickles: whether to write the archive of pickles instead of that of binary records.
    """
    folder = data_dir / "cifar10"
    folder.mkdir(parents=True, exist_ok=True)
    train = draw_shapes(num_train, seed=0)
    batches = [
        archive.Images(*arrays)
        for arrays in zip(
            *(np.array_split(array, len(archive.TRAIN_BATCHES)) for array in train), strict=True
        )
    ]
    batches.append(draw_shapes(num_test, seed=1))
    names = (*archive.TRAIN_BATCHES, archive.TEST_BATCH)
    if as_pickles:
        files = {
            f"cifar-10-batches-py/{name}": _pickled(name, batch)
            for name, batch in zip(names, batches, strict=True)
        }
    else:
        files = {
            f"cifar-10-batches-bin/{name}.bin": _records(batch)
            for name, batch in zip(names, batches, strict=True)
        }
    write_archive(
        folder / (archive.PYTHON_ARCHIVE if as_pickles else archive.BINARY_ARCHIVE), files
    )


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    """Writes ``files``, by name, as a tar.gz."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _rows(images: archive.Images) -> np.ndarray:
    """The pixels as they are stored: uint8, (n, 3072), colour by colour."""
    return images.pixels.transpose(0, 3, 1, 2).reshape(len(images.labels), -1)


def _records(images: archive.Images) -> bytes:
    labels = images.labels.astype(np.uint8)
    return np.concatenate([labels[:, None], _rows(images)], axis=1).tobytes()


def _pickled(name: str, images: archive.Images) -> bytes:
    """A batch as Python 2 pickled it: all strings are byte strings."""
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(
        {
            b"data": _rows(images),
            b"labels": images.labels.tolist(),
            b"batch_label": f"made-up {name}".encode(),
            b"filenames": [f"image_{i}.png".encode() for i in range(len(images.labels))],
        }
    )
    # NumPy's module had this name until NumPy 2.
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _save_bytes(pickler: Any, content: bytes) -> None:
    """Writes bytes with the opcodes of Python 2's ``str``, which Python 3 does not write."""
    if len(content) < 256:
        pickler.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
    else:
        pickler.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
    pickler.memoize(content)


class _Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 did."""

    dispatch: ClassVar[dict[type, Callable[..., None]]] = {
        **pickle._Pickler.dispatch,
        bytes: _save_bytes,
    }
