"""The data sets ``imagenet`` and ``imagenet_mini``, as workloads name them.

``imagenet(randaugment=..., mixup_alpha=...)`` and ``imagenet_mini(...)`` return data sets that
differ in what training sees; on the disk they are the same, so that the ResNet and the ViT share
one copy. The classes are ``NUM_CLASSES`` and ``MINI_NUM_CLASSES``, the sides of the images
``IMAGE_SIZE`` and ``MINI_IMAGE_SIZE`` pixels.

Fields of an example: ``inputs``, float32 of shape (side, side, 3), standardised RGB; ``targets``,
int32 of shape (), the place of the class among the WordNet ids in alphabetical order. With mixup
the targets of training are distributions: float32 of shape (classes,).

Training images are ILSVRC 2012's (Russakovsky et al., 2015, arXiv:1409.0575), validation images
its 50,000, test images ImageNet-v2 "matched frequency" (Recht et al., 2019, arXiv:1902.10811).
"""

import dataclasses
import tempfile
from pathlib import Path

from finishline.data.prepared import Field, StoredDataset
from finishline.data.records import RecordSource

NUM_CLASSES = 1000
IMAGE_SIZE = 224
MINI_NUM_CLASSES = 12
MINI_IMAGE_SIZE = 32


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageNet(StoredDataset):
    """JPEG images with one label each; see the module.

    Attributes:
      num_classes: the number of labels.
      image_size: side of the images that the model sees, in pixels.
      randaugment: whether training images pass through RandAugment.
      mixup_alpha: parameter of the Beta distribution of mixup's weight; 0 means no mixup.
    """

    num_classes: int
    image_size: int
    randaugment: bool = False
    mixup_alpha: float = 0.0

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``."""
        missing = self.missing_splits(data_dir)
        if missing:
            from workloads.imagenet.originals import prepare_splits

            folder = Path(data_dir) / self.name if source is None else source
            prepare_splits(self, data_dir, folder, missing, num_workers)

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> RecordSource:
        """Opens one split; see ``Dataset.open``."""
        del quirks
        from workloads.imagenet.source import ImageSource

        return ImageSource(
            self.folder(data_dir, split),
            image_size=self.image_size,
            num_classes=self.num_classes,
            randaugment=self.randaugment,
            mixup_alpha=self.mixup_alpha,
        )


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageNetMini(ImageNet):
    """A small set of made-up images in the files and the layout of ImageNet."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes up originals and prepares them as those of ImageNet are; takes seconds."""
        del source, num_workers  # to start processes would take longer than the work
        if not self.is_prepared(data_dir):
            from workloads.imagenet.textures import write_originals

            with tempfile.TemporaryDirectory() as folder:
                write_originals(Path(folder), self.num_examples, self.num_classes)
                super().prepare(data_dir, Path(folder))


def imagenet(*, randaugment: bool = False, mixup_alpha: float = 0.0) -> ImageNet:
    """ImageNet-1k at 224 x 224 pixels, 1,000 classes.

    Args:
      randaugment: whether training images pass through RandAugment.
      mixup_alpha: parameter of mixup; 0 means no mixup.
    """
    return ImageNet(
        name="imagenet",
        num_examples={"train": 1_281_167, "validation": 50_000, "test": 10_000},
        fields=_fields(IMAGE_SIZE),
        origin="ILSVRC 2012 (register at image-net.org) and ImageNet-v2 (downloaded)",
        disk_bytes=155_000_000_000,
        num_classes=NUM_CLASSES,
        image_size=IMAGE_SIZE,
        randaugment=randaugment,
        mixup_alpha=mixup_alpha,
    )


def imagenet_mini(*, randaugment: bool = False, mixup_alpha: float = 0.0) -> ImageNetMini:
    """Textures at 32 x 32 pixels, 12 classes; arguments as in ``imagenet``."""
    return ImageNetMini(
        name="imagenet_mini",
        num_examples={"train": 3600, "validation": 600, "test": 600},
        fields=_fields(MINI_IMAGE_SIZE),
        origin="generated",
        disk_bytes=11_000_000,
        num_classes=MINI_NUM_CLASSES,
        image_size=MINI_IMAGE_SIZE,
        randaugment=randaugment,
        mixup_alpha=mixup_alpha,
    )


def _fields(image_size: int) -> dict[str, Field]:
    return {"inputs": Field((image_size, image_size, 3), "float32"), "targets": Field((), "int32")}
