"""Reads CIFAR-10 from the archives in which it is distributed.

There are two with the same content, and either will do: ``cifar-10-python.tar.gz`` holds pickled
dictionaries, ``cifar-10-binary.tar.gz`` holds records of one label byte and 3,072 pixel bytes (32
rows of 32 pixels, all red, then all green, then all blue). Each has five training batches and one
test batch of 10,000 images.

Source: Krizhevsky, 2009, "Learning Multiple Layers of Features from Tiny Images",
https://www.cs.toronto.edu/~kriz/cifar.html
"""

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from finishline.errors import UserError

PYTHON_ARCHIVE = "cifar-10-python.tar.gz"
BINARY_ARCHIVE = "cifar-10-binary.tar.gz"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
IMAGE_SIZE = 32
NUM_CLASSES = 10

_PIXEL_BYTES = 3 * IMAGE_SIZE * IMAGE_SIZE


class Images(NamedTuple):
    """Labelled images.

    Attributes:
      pixels: uint8, (n, 32, 32, 3): rows, columns, red-green-blue.
      labels: int32, (n,), 0 to 9.
    """

    pixels: np.ndarray
    labels: np.ndarray


def find(folder: Path) -> Path | None:
    """The archive in ``folder``, of either kind."""
    candidates = (folder / PYTHON_ARCHIVE, folder / BINARY_ARCHIVE)
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path) -> dict[str, Images]:
    """The training images and the test images, by 'train' and 'test', in their original order.

    Args:
      path: an archive; its name tells its kind.

    Raises:
      UserError: it is damaged; the message names it and says what is wrong.
    """
    is_python = path.name == PYTHON_ARCHIVE
    decode, suffix = (_decode_pickle, "") if is_python else (_decode_records, ".bin")
    names = [f"{name}{suffix}" for name in (*TRAIN_BATCHES, TEST_BATCH)]
    contents = _read_members(path, names)
    batches = [_decoded(path, name, contents[name], decode) for name in names]
    train = [np.concatenate(arrays) for arrays in zip(*batches[:-1], strict=True)]
    return {"train": Images(*train), "test": batches[-1]}


def _read_members(path: Path, names: list[str]) -> dict[str, bytes]:
    """The content of the files ``names`` in the archive, whatever folder they are in."""
    contents = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in names and (file := archive.extractfile(member)) is not None:
                    contents[name] = file.read()
            while content.read(2**20):  # to the checksum at the end of the file
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise _damaged(path, "is not an intact tar.gz file") from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise _damaged(path, f"has no {', '.join(missing)}")
    return contents


def _decoded(path: Path, name: str, content: bytes, decode: Callable[[bytes], Images]) -> Images:
    try:
        images = decode(content)
    except ValueError as error:
        raise _damaged(path, f"holds a damaged {name} ({error})") from error
    if images.labels.size == 0 or not 0 <= images.labels.min() <= images.labels.max() < NUM_CLASSES:
        raise _damaged(path, f"holds a damaged {name} (labels must be 0 to {NUM_CLASSES - 1})")
    return images


def _decode_records(content: bytes) -> Images:
    if len(content) % (1 + _PIXEL_BYTES):
        raise ValueError(f"{len(content)} bytes are not a multiple of {1 + _PIXEL_BYTES}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXEL_BYTES)
    return _images(records[:, 1:], records[:, 0])


def _decode_pickle(content: bytes) -> Images:
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        rows, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if rows.dtype != np.uint8 or rows.shape != (len(labels), _PIXEL_BYTES) or labels.ndim != 1:
        raise ValueError(f"data are {rows.dtype}{list(rows.shape)} and labels {list(labels.shape)}")
    return _images(rows, labels)


def _images(rows: np.ndarray, labels: np.ndarray) -> Images:
    """Images of rows of 3,072 pixel bytes, colour by colour."""
    planes = rows.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return Images(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels.astype(np.int32))


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers, numbers, strings and NumPy arrays, and runs no code of the file's choice.

    ``pickle.Unpickler`` alone would call any function that a file names.
    """

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The object that the file names, if CIFAR-10's files need it."""
        if (module_name, global_name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed")
        return super().find_class(module_name, global_name)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} {what}; replace it by an undamaged copy of the original file.")
