"""CIFAR-10: 45,000 training, 5,000 validation and 10,000 test images of 32 x 32 pixels.

The last tenth of the 50,000 training images, in their original order, is the validation split.

In training an image is shifted by up to 4 pixels each way over black and flipped at random: He et
al., 2015, arXiv:1512.03385, section 4.2. The reference implementation shifts by up to 2 pixels in
JAX and 4 in PyTorch; 4 is what the field uses. Flips, shifts and black borders come before the
normalisation.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.data import splits
from finishline.data.download import Original, download
from finishline.data.keyed import ExampleRandom
from finishline.data.prepared import Field, StoredDataset, open_arrays
from finishline.data.sources import ArraySource, Source
from finishline.errors import UserError
from workloads.cifar import archive

MEAN = (0.4914, 0.4822, 0.4465)  # of red, green and blue, on a scale from 0 to 1
STD = (0.2470, 0.2435, 0.2616)
PADDING = 4

ORIGINALS = {
    archive.PYTHON_ARCHIVE: Original(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "md5",
        "c58f30108f718f92721af3b95e74349a",
    ),
    archive.BINARY_ARCHIVE: Original(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "md5",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ),
}

_SIZE = archive.IMAGE_SIZE
_SCALE = np.tile(1 / (255 * np.array(STD)), _SIZE).astype(np.float32)  # of one row of pixels
_OFFSET = np.tile(-np.array(MEAN) / np.array(STD), _SIZE).astype(np.float32)


@dataclasses.dataclass(eq=False, kw_only=True)
class CifarDataset(StoredDataset):
    """CIFAR-10, from either of its archives."""

    fields: Mapping[str, Field] = dataclasses.field(
        default_factory=lambda: {
            "inputs": Field((_SIZE, _SIZE, 3), "float32"),
            "targets": Field((), "int32"),
        }
    )

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``.

        Without ``source`` the archive is downloaded to ``<data_dir>/<name>`` if it is not there.
        """
        del num_workers
        missing = self.missing_splits(data_dir)
        if not missing:
            return
        folder = Path(data_dir) / self.name if source is None else source
        path = archive.find(folder)
        if path is None and source is not None:
            raise UserError(
                f"There is no {' or '.join(ORIGINALS)} in {source}; put one of them there, or "
                "leave --source out to download it."
            )
        if path is None:
            path = folder / archive.BINARY_ARCHIVE
            download(ORIGINALS[path.name], path)
        for split, images in split_images(archive.read(path)).items():
            if split in missing:
                arrays = {"inputs": images.pixels, "targets": images.labels}
                splits.write_split(self.folder(data_dir, split), arrays)

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> "ImageSource":
        """Opens one split; see ``Dataset.open``."""
        del quirks
        return ImageSource(open_arrays(self.folder(data_dir, split)))


@dataclasses.dataclass(eq=False, kw_only=True)
class MiniCifarDataset(CifarDataset):
    """Made-up images, prepared from a made-up archive like CIFAR-10 itself."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``."""
        del source  # generated
        if self.is_prepared(data_dir):
            return
        from workloads.cifar.sample import write_originals

        num_train = self.num_examples["train"] + self.num_examples["validation"]
        with tempfile.TemporaryDirectory() as folder:
            write_originals(Path(folder), num_train=num_train, num_test=self.num_examples["test"])
            super().prepare(data_dir, Path(folder) / "cifar10", num_workers)


def split_images(parts: Mapping[str, archive.Images]) -> dict[str, archive.Images]:
    """The three splits of the original training and test images."""
    train = parts["train"]
    num_train = len(train.labels) - len(train.labels) // 10
    return {
        "train": archive.Images(*(array[:num_train] for array in train)),
        "validation": archive.Images(*(array[num_train:] for array in train)),
        "test": parts["test"],
    }


class ImageSource(Source):
    """Images with three numbers in [0, 255] a pixel, normalised; see ``finishline.data.sources``.

    Fields: ``inputs`` (float32, (32, 32, 3)) and ``targets`` (int32, ()).
    """

    def __init__(self, stored: ArraySource):
        """``stored`` has ``inputs`` (uint8, (32, 32, 3)) and ``targets`` (int32, ())."""
        self._stored = stored

    def __len__(self) -> int:
        return len(self._stored)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices``."""
        batch = self._stored.gather(indices)
        return batch | {"inputs": normalize(batch["inputs"])}

    def gather_augmented(self, indices: np.ndarray, random: ExampleRandom) -> dict[str, np.ndarray]:
        """The examples at ``indices``, shifted and flipped at random."""
        batch = self._stored.gather(indices)
        draws = random.uniform(3)  # (n, 3)
        offsets = (draws[:, :2] * (2 * PADDING + 1)).astype(np.int64)
        pixels = shift(batch["inputs"], tops=offsets[:, 0], lefts=offsets[:, 1])
        return batch | {"inputs": normalize(flip(pixels, draws[:, 2] < 0.5))}


def normalize(pixels: np.ndarray) -> np.ndarray:
    """(pixels / 255 - MEAN) / STD of uint8 (n, 32, 32, 3), as float32."""
    rows = pixels.reshape(len(pixels), _SIZE, -1).astype(np.float32)  # (n, 32, 96)
    rows *= _SCALE
    rows += _OFFSET
    return rows.reshape(pixels.shape)


def shift(pixels: np.ndarray, *, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Crops of images that have ``PADDING`` black pixels added on each side.

    Args:
      pixels: (n, 32, 32, 3).
      tops: first row of each crop, 0 to 2 * PADDING, int64, (n,).
      lefts: its first column, likewise.

    Returns:
      Of the shape of ``pixels``.
    """
    n, height, width, channels = pixels.shape
    padded = np.zeros((n, height + 2 * PADDING, (width + 2 * PADDING) * channels), pixels.dtype)
    inside = slice(PADDING * channels, (PADDING + width) * channels)
    padded[:, PADDING : PADDING + height, inside] = pixels.reshape(n, height, -1)
    # (n, 2 * PADDING + 1, 2 * PADDING * channels + 1, height, width * channels), without a copy
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (height, width * channels), axis=(1, 2)
    )
    return windows[np.arange(n), tops, lefts * channels].reshape(pixels.shape)


def flip(pixels: np.ndarray, is_flipped: np.ndarray) -> np.ndarray:
    """``pixels``, (n, height, width, channels), with left and right swapped where asked for."""
    flipped = pixels.copy()
    flipped[is_flipped] = pixels[is_flipped, :, ::-1]
    return flipped
