"""Made-up files in ImageNet's original format, for tests and benchmarks."""

import io
from pathlib import Path

from PIL import Image

from finishline.data.keyed import example_generator
from workloads.imagenet.made_up import Labelled, write_archives
from workloads.imagenet.textures import draw, jpeg

NUM_CLASSES = 4

_SEED = 5


def write_originals(
    data_dir: Path,
    *,
    num_train: int = 24,
    num_test: int = 8,
    height: int = 75,
    width: int = 100,
) -> dict[str, list[Labelled]]:
    """Writes ImageNet's archives to ``<data_dir>/imagenet/`` with images of four classes.

    As in the originals, training images may be CMYK or grey, and one is a PNG.

    Args:
      data_dir: where the data sets lie.
      num_train: number of training images.
      num_test: number of validation images, and of test images; at least four.
      height: of the images, in pixels.
      width: of the images, in pixels; ImageNet's are about 375 x 500.

    Returns:
      Label and bytes of each image, by split.
    """
    splits: dict[str, list[Labelled]] = {}
    for number, (split, count) in enumerate(
        {"train": num_train, "validation": num_test, "test": num_test}.items()
    ):
        splits[split] = []
        for i in range(count):
            rng = example_generator(_SEED, number, i)
            pixels = draw(i % NUM_CLASSES, NUM_CLASSES, height, width, rng)
            splits[split].append((i % NUM_CLASSES, jpeg(pixels)))
    for i, (mode, file_format) in enumerate([("CMYK", "JPEG"), ("RGB", "PNG"), ("L", "JPEG")]):
        if i < num_train:
            label, image = splits["train"][i]
            splits["train"][i] = (label, _converted(image, mode, file_format))
    write_archives(Path(data_dir) / "imagenet", NUM_CLASSES, **splits)
    return splits


def _converted(image: bytes, mode: str, file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).convert(mode).save(buffer, file_format)
    return buffer.getvalue()
