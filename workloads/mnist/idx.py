"""Reads the IDX files in which MNIST is distributed.

An IDX file of unsigned bytes is, in big-endian order: two zero bytes, the type (8), the number of
dimensions, each dimension as 4 bytes, then the data. Source: https://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from finishline.errors import UserError

_UNSIGNED_BYTE = 8


def find(folder: Path, name: str) -> Path | None:
    """``folder/name``, or the same with ``.gz``, whichever is there."""
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path, num_dimensions: int) -> np.ndarray:
    """The uint8 array in an IDX file, gzip-compressed if its name ends in ``.gz``.

    Raises:
      UserError: it is damaged, or it has another type or number of dimensions.
    """
    content = _decompressed(path)
    header_size = 4 + 4 * num_dimensions
    magic = bytes((0, 0, _UNSIGNED_BYTE, num_dimensions))
    if content[:4] != magic:
        raise _damaged(path, f"starts with the bytes {content[:4].hex()} instead of {magic.hex()}")
    if len(content) < header_size:
        raise _damaged(path, "ends within its header")
    shape = struct.unpack(f">{num_dimensions}I", content[4:header_size])
    expected = header_size + math.prod(shape)
    if len(content) != expected:
        raise _damaged(path, f"holds {len(content)} bytes instead of {expected}")
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _decompressed(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, "is not a complete gzip file") from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} {what}; replace it by an undamaged copy of the original file.")
