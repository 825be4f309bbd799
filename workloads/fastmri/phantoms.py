"""Made-up scans in the files that fastMRI distributes.

A scan cuts a body of ellipsoids, as Shepp and Logan did ("The Fourier reconstruction of a head
section", 1974, IEEE Transactions on Nuclear Science 21), into slices. Its brightness changes
smoothly in space, its phase too, as that of an uneven magnetic field, and what is measured is
noisy. As in real scans, k-space has twice the height of the image, and a width that varies.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NOISE = 0.02  # standard deviation, where the brightest tissue has about 1
MINI_SCANS = {"train": 64, "val": 32}
MINI_SLICES = 16

_NUM_TISSUES = 14


def write_mini(folder: Path, size: int) -> None:
    """Writes the archives of ``fastmri_mini`` to ``folder``; see ``write_archive`` for ``size``."""
    for part, count in MINI_SCANS.items():
        path = folder / f"knee_singlecoil_{part}.tar.gz"
        write_archive(path, part, [MINI_SLICES] * count, size)


def write_archive(path: Path, part: str, num_slices: Sequence[int], size: int) -> None:
    """Writes an archive of scans, always the same ones for the same arguments.

    Args:
      path: the file; it is compressed as its suffix says.
      part: 'train' or 'val'.
      num_slices: the slices of each scan.
      size: height and width of the images, in pixels; fastMRI's is 320.
    """
    first = {"train": 1_000_000, "val": 2_000_000}[part]
    options = {".gz": {"compresslevel": 1}, ".xz": {"preset": 0}}.get(path.suffix, {})
    mode = f"w:{path.suffix[1:] if options else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for number, count in enumerate(num_slices, first):
            content = scan_file(number, count, size)
            member = tarfile.TarInfo(f"singlecoil_{part}/file{number}.h5")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def scan_file(number: int, num_slices: int, size: int) -> bytes:
    """The HDF5 file of the scan ``number``."""
    import h5py

    rng = np.random.Generator(np.random.Philox(key=number))
    shape = (2 * size, round(1.15 * size) + int(rng.integers(6)))
    images = _draw(num_slices, shape, size, rng)
    top, left = ((length - size) // 2 for length in shape)
    middle = np.abs(images[:, top : top + size, left : left + size])
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content["kspace"] = _kspace(images).astype(np.complex64)
        content["reconstruction_esc"] = middle.astype(np.float32)
        content.attrs["max"] = float(middle.max())
        content.attrs["acquisition"] = "phantom"
    return file.getvalue()


def _kspace(images: np.ndarray) -> np.ndarray:
    """The centred, orthonormal Fourier transform over the last two axes."""
    from scipy import fft

    axes = (-2, -1)
    return fft.fftshift(fft.fft2(fft.ifftshift(images, axes=axes), norm="ortho"), axes=axes)


def _draw(
    num_slices: int, shape: tuple[int, int], size: int, rng: np.random.Generator
) -> np.ndarray:
    """Complex images of one scan, (num_slices, *shape); the body fills ``size`` pixels."""
    z = np.linspace(-0.6, 0.6, num_slices).reshape(-1, 1, 1)
    y, x = (
        (np.arange(n) - n // 2).reshape(axes) * (2 / size)
        for n, axes in zip(shape, ((1, -1, 1), (1, 1, -1)), strict=True)
    )
    brightness = 0.5 * _ellipsoid(x, y, z, np.zeros(3), rng.uniform(0.7, 0.95, 3), 0.0, size)
    inside = brightness > 0.25
    for _ in range(_NUM_TISSUES):
        middle = rng.uniform(-0.6, 0.6, 3)
        radii = rng.uniform(0.08, 0.4, 3)
        tissue = _ellipsoid(x, y, z, middle, radii, rng.uniform(0, np.pi), size)
        brightness += rng.uniform(-0.35, 0.5) * tissue * inside
    slope = rng.uniform(-0.3, 0.3, 3)
    brightness = np.clip(brightness, 0, None) * (1 + slope[0] * x + slope[1] * y + slope[2] * z)
    turn = rng.uniform(-1.5, 1.5, 6)
    bases = (1.0, x, y, z, x * y, x * x - y * y)
    phase = sum(weight * base for weight, base in zip(turn, bases, strict=True))
    noise = rng.normal(scale=NOISE / np.sqrt(2), size=(2, num_slices, *shape))
    gain = 10 ** rng.uniform(-5, -3)  # scanners have no common unit
    return gain * (brightness * np.exp(1j * phase) + noise[0] + 1j * noise[1])


def _ellipsoid(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    middle: np.ndarray,
    radii: np.ndarray,
    angle: float,
    size: int,
) -> np.ndarray:
    """1 inside, 0 outside, with an edge of about a pixel."""
    across = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
    along = (y - middle[1]) * np.cos(angle) - (x - middle[0]) * np.sin(angle)
    distance = (
        (across / radii[0]) ** 2 + (along / radii[1]) ** 2 + ((z - middle[2]) / radii[2]) ** 2
    )
    sharpness = size * radii.min()
    return 1 / (1 + np.exp(np.clip(sharpness * (np.sqrt(distance) - 1), -30, 30)))
