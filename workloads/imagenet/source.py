"""A prepared split of images, read by index, as evaluation and as training see it.

The reference implementation's two frameworks differ, and its test images pass through one of them:

- Resizing: bicubic without antialiasing in JAX (and for the test images of both), bilinear with
  antialiasing in PyTorch. Here it is always bilinear with antialiasing. Without antialiasing large
  photographs alias, and one resize for training, validation and test is what a model can expect.
- Evaluation: PyTorch resizes the short side to 256 and cuts out the central 224 pixels; JAX cuts
  out 224/256 of the short side, then resizes to 224. Both look at the same part. Here it is JAX's
  order, which resizes fewer pixels and needs no rounding of the size in between.
- Random crops: where ten attempts fail, JAX takes the centre crop and PyTorch the largest one of a
  permitted aspect ratio. Here it is the centre crop.
- Mixup: the reference mixes each example with the one before it in the batch, which crosses the
  borders between devices. Here examples 2k and 2k + 1 of a batch are mixed with each other, so
  that the result does not depend on how a batch is cut.
- Random numbers: partly unseeded there; here they depend on (seed, epoch, index) alone.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from finishline.data.records import Batch, Example, RecordSource
from finishline.data.sources import whole_arrays
from finishline.data.splits import Split
from finishline.errors import UserError
from workloads.imagenet.images import Crop, centre_crop, decode, flip, random_crop
from workloads.imagenet.randaugment import randaugment

MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # of ImageNet's training pixels, by channel
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What is stored of an example, and where in the split."""

    index: int
    image: bytes
    label: np.int32


class ImageSource(RecordSource):
    """Images and labels of one split; see ``workloads.imagenet.dataset`` for the fields."""

    def __init__(
        self,
        folder: Path,
        *,
        image_size: int,
        num_classes: int,
        randaugment: bool = False,
        mixup_alpha: float = 0.0,
    ):
        """Opens a prepared split.

        Args:
          folder: the split.
          image_size: side of the images, in pixels.
          num_classes: number of labels.
          randaugment: whether training images pass through RandAugment.
          mixup_alpha: parameter of mixup; 0 means no mixup.

        Raises:
          UserError: a file is missing or damaged; the message names it.
        """
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        split = Split(folder)
        self._folder = folder
        self._image_size = image_size
        self._num_classes = num_classes
        self._uses_randaugment = randaugment
        self._mixup_alpha = mixup_alpha
        self._labels = whole_arrays(split.arrays())["targets"]
        # With the numbers of records, the files need not be opened before they are read.
        pairs = zip(split.record_files, split.lengths, strict=True)
        self._images = ArrayRecordDataSource([f"{path}[0:{count}]" for path, count in pairs])
        # Rows of pixels are standardised at once: NumPy is slow where the last axis is short.
        self._mean = np.tile(np.array(MEAN, np.float32), image_size)
        self._scale = np.tile(1 / np.array(STD, np.float32), image_size)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Record:
        """The bytes of the image at ``index``, and its label."""
        return Record(index, self._images[index], self._labels[index])

    def preprocess(self, record: Record) -> Example:
        """The central part of the image, standardised, and the label."""
        image = self._decode(record, centre_crop)
        return self._example(image, record)

    def augment(self, record: Record, rng: np.random.Generator) -> Example:
        """A random crop of the image, at random flipped and changed, standardised."""

        def choose(width: int, height: int) -> Crop:
            return random_crop(width, height, rng)

        image = self._decode(record, choose)
        if rng.random() < 0.5:
            image = flip(image)
        if self._uses_randaugment:
            image = randaugment(image, rng)
        return self._example(image, record)

    def mix(self, examples: Batch, rng: np.random.Generator) -> Batch:
        """Mixup (Zhang et al., 2018, arXiv:1710.09412), if it is switched on.

        With one weight w from Beta(alpha, alpha) for the whole batch, examples 2k and 2k + 1 become
        w x[2k] + (1 - w) x[2k + 1] and w x[2k + 1] + (1 - w) x[2k], and so do their one-hot labels.
        The reference rolls the batch by one instead; see the module. If the part of the batch that
        a device gets is odd, its last example has no partner and stays as it is.
        """
        if not self._mixup_alpha:
            return examples
        weight = np.float32(rng.beta(self._mixup_alpha, self._mixup_alpha))
        labels = examples["targets"]
        targets = np.zeros((len(labels), self._num_classes), np.float32)
        targets[np.arange(len(labels)), labels] = 1
        mix_pairs(examples["inputs"], weight)
        mix_pairs(targets, weight)
        return {**examples, "targets": targets}

    def _decode(self, record: Record, choose: Callable[[int, int], Crop]) -> Image.Image:
        try:
            return decode(record.image, choose, self._image_size)
        except OSError as error:
            raise UserError(
                f"Image {record.index} in {self._folder} cannot be decoded ({error}); run "
                f"`python -m workloads.prepare {self._folder.parent.name} --verify`, and replace "
                "the original archive if that finds nothing."
            ) from error

    def _example(self, image: Image.Image, record: Record) -> Example:
        rows = np.asarray(image).reshape(self._image_size, -1) - self._mean
        rows *= self._scale
        inputs = rows.reshape(self._image_size, self._image_size, 3)
        return {"inputs": inputs, "targets": np.asarray(record.label)}


def mix_pairs(values: np.ndarray, weight: np.float32) -> None:
    """Mixes values 2k and 2k + 1 with each other, in place: w a + (1 - w) b and w b + (1 - w) a."""
    for i in range(1, len(values), 2):  # pair by pair, which stays in the processor's cache
        first, second = values[i - 1], values[i]
        shift = (first - second) * (1 - weight)
        first -= shift
        second += shift
