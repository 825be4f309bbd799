"""Reading the HDF5 file of one scan.

The data set ``kspace`` holds what was measured: complex64, (slices, height, width).
``reconstruction_esc`` is the image of all measurements: float32, (slices, size, size). The
attribute ``max`` is the largest value of that image in all slices. Source: Zbontar et al., 2018,
arXiv:1811.08839, section 4 and appendix.
"""

from io import BufferedIOBase
from typing import NamedTuple

import numpy as np

from finishline.errors import UserError

_FIELDS = {"kspace": "c", "reconstruction_esc": "f"}  # with the kind of their numbers


class Volume(NamedTuple):
    """One scan.

    Attributes:
      kspace: complex64, (slices, height, width).
      targets: the true images: float32, (slices, size, size).
      maximum: the attribute ``max``, or 0 without it.
    """

    kspace: np.ndarray
    targets: np.ndarray
    maximum: float


def read_volume(file: BufferedIOBase, name: str, size: int) -> Volume:
    """Reads one scan.

    Args:
      file: the HDF5 file.
      name: what to call it in errors.
      size: height and width of the images, in pixels.

    Raises:
      UserError: it is damaged or no scan of fastMRI; the message names it.
    """
    import h5py

    try:
        with h5py.File(file, "r") as content:
            for field in _FIELDS:
                if field not in content:
                    raise _unusable(name, f"has no {field!r}")
            kspace, targets = (content[field][()] for field in _FIELDS)
            maximum = float(content.attrs.get("max", 0.0))
    except (OSError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise _unusable(name, f"is no readable HDF5 file ({error})") from error
    _check(kspace, targets, name, size)
    return Volume(kspace.astype(np.complex64), targets.astype(np.float32), maximum)


def _check(kspace: np.ndarray, targets: np.ndarray, name: str, size: int) -> None:
    for (field, kind), array in zip(_FIELDS.items(), (kspace, targets), strict=True):
        if array.dtype.kind != kind:
            raise _unusable(name, f"has {field!r} of dtype {array.dtype}")
        if array.ndim != 3:
            raise _unusable(name, f"has {field!r} of shape {list(array.shape)}")
        if not np.isfinite(array).all():
            raise _unusable(name, f"has values in {field!r} that are not finite")
    if targets.shape[1:] != (size, size):
        raise _unusable(
            name, f"has images of shape {list(targets.shape[1:])} instead of {[size, size]}"
        )
    if min(kspace.shape[1:]) < size:
        raise _unusable(
            name, f"has 'kspace' of shape {list(kspace.shape)}, which is less than the image"
        )
    if not len(kspace) == len(targets) > 0:
        raise _unusable(name, f"has {len(kspace)} slices in 'kspace' and {len(targets)} images")


def _unusable(name: str, what: str) -> UserError:
    return UserError(f"{name} {what}; replace it by an undamaged copy of the original.")
