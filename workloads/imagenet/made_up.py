"""Writes images into archives of the form in which ImageNet is distributed."""

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from workloads.imagenet import devkit
from workloads.imagenet.originals import ARCHIVES, DEVKIT

Labelled = tuple[int, bytes]  # label and JPEG

_KIT = "ILSVRC2012_devkit_t12/data"


def write_archives(
    folder: Path,
    num_classes: int,
    *,
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    test: Sequence[Labelled],
) -> None:
    """Writes the three archives and the development kit.

    As in the originals, the kit numbers the classes in another order than their WordNet ids have,
    and the folders of ImageNet-v2 are named by label.

    Args:
      folder: where to; it is made if need be.
      num_classes: number of labels.
      train: training images.
      validation: validation images, in the order of their numbers.
      test: test images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wnids = [f"n{1_000_000 + 7919 * label:08d}" for label in range(num_classes)]
    by_class: list[list[bytes]] = [[] for _ in wnids]
    for label, image in train:
        by_class[label].append(image)
    _write_train(folder / ARCHIVES["train"], wnids, by_class)
    names = (f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, len(validation) + 1))
    images = [image for _, image in validation]
    (folder / ARCHIVES["validation"]).write_bytes(_tar(zip(names, images, strict=True)))
    _write_test(folder / ARCHIVES["test"], test)
    counts = [len(images) for images in by_class]
    _write_devkit(folder / DEVKIT, wnids, counts, [label for label, _ in validation])


def _write_train(path: Path, wnids: Sequence[str], by_class: Sequence[Sequence[bytes]]) -> None:
    inner = [
        (f"{wnid}.tar", _tar((f"{wnid}_{i}.JPEG", image) for i, image in enumerate(images)))
        for wnid, images in zip(wnids, by_class, strict=True)
    ]
    path.write_bytes(_tar(inner))


def _write_test(path: Path, images: Sequence[Labelled]) -> None:
    root = "imagenetv2-matched-frequency-format-val"
    ordered = sorted(range(len(images)), key=lambda i: str(images[i][0]))  # 0, 1, 10, 11, 2, ...
    members = ((f"{root}/{images[i][0]}/{i:040x}.jpeg", images[i][1]) for i in ordered)
    path.write_bytes(_tar(members, "w:gz"))


def _write_devkit(
    path: Path, wnids: Sequence[str], counts: Sequence[int], validation_labels: Sequence[int]
) -> None:
    from scipy.io import savemat

    ids = [_id(label, len(wnids)) for label in range(len(wnids))]
    rows = [(i, w, 0, n) for i, w, n in sorted(zip(ids, wnids, counts, strict=True))]
    rows.append((len(wnids) + 1, "n00001740", len(wnids), 0))  # an inner node: no class
    names = ("ILSVRC2012_ID", "WNID", "num_children", "num_train_images")
    table = np.array(rows, dtype=[(name, object) for name in names])
    content = io.BytesIO()
    savemat(content, {"synsets": table[:, None]})
    truth = "".join(f"{ids[label]}\n" for label in validation_labels).encode()
    files = (
        (f"{_KIT}/{devkit.META}", content.getvalue()),
        (f"{_KIT}/{devkit.GROUND_TRUTH}", truth),
    )
    path.write_bytes(_tar(files, "w:gz"))


def _id(label: int, num_classes: int) -> int:
    """The ILSVRC2012_ID of a class: from 1 on, in reverse order."""
    return num_classes - label


def _tar(files: Iterable[tuple[str, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
