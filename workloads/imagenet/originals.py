"""From the archives that ImageNet is distributed in to the prepared layout.

A shard of training images is one class, about 130 MB; a shard of the others is about as large.
Images are stored as they are, byte by byte.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from finishline.data.download import Original, download
from finishline.data.preparation import ShardTask, prepare_split
from finishline.errors import UserError
from workloads.imagenet.archives import (
    ClassShard,
    ImagesShard,
    Member,
    check_class,
    damaged,
    list_files,
    list_members,
)
from workloads.imagenet.dataset import ImageNet
from workloads.imagenet.devkit import DevKit, read_devkit

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
ARCHIVES = {
    "train": "ILSVRC2012_img_train.tar",
    "validation": "ILSVRC2012_img_val.tar",
    "test": "imagenetv2-matched-frequency.tar.gz",
}
# What some have instead: the images of the archive, extracted. Training images lie in a folder a
# class, named by its WordNet id; so may validation images.
EXTRACTED = {"train": "train", "validation": "val"}
SHARD_BYTES = 128 * 2**20

# The copy that the authors keep, with the SHA-256 that TensorFlow Datasets publishes for it.
IMAGENET_V2 = Original(
    "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
    "sha256",
    "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
)


class Plan(NamedTuple):
    """The shards of a split, and how many images they have in all."""

    tasks: list[ShardTask]
    num_images: int


def prepare_splits(
    dataset: ImageNet, data_dir: Path, folder: Path, splits: Sequence[str], num_workers: int
) -> None:
    """Makes ``splits`` of ``dataset`` from the archives in ``folder``.

    Raises:
      UserError: an archive is missing, damaged or not of this data set, or there is no room.
    """
    _find_all(dataset, data_dir, folder, splits)
    devkit = read_devkit(folder / DEVKIT)
    for split in splits:
        path = _original(folder, split)
        plan = PLANS[split](path, devkit)
        _check_count(dataset, split, path, plan, devkit)
        num_bytes = sum(task.num_bytes for task in plan.tasks)
        prepare_split(
            dataset.folder(data_dir, split),
            plan.tasks,
            identity={path.name: num_bytes, DEVKIT: (folder / DEVKIT).stat().st_size},
            disk_bytes=num_bytes,
            num_workers=num_workers,
        )


def plan_train(path: Path, devkit: DevKit) -> Plan:
    """Training images: a tar archive with one tar archive a class, ``<wnid>.tar``."""
    if path.is_dir():
        return _plan_train_folders(path, devkit)
    classes = {Path(member.name).stem: member for member in list_members(path)}
    _check_classes(path, classes, devkit.wnids)
    tasks = []
    for label, (wnid, count) in enumerate(zip(devkit.wnids, devkit.num_train_images, strict=True)):
        make = ClassShard(path, classes[wnid], label, count)
        tasks.append(ShardTask(f"{label:04d}", classes[wnid].size, make))
    return Plan(tasks, sum(devkit.num_train_images))


def _plan_train_folders(path: Path, devkit: DevKit) -> Plan:
    by_class: dict[str, list[Member]] = {}
    for member in list_files(path):
        by_class.setdefault(Path(member.name).parent.name, []).append(member)
    _check_classes(path, by_class, devkit.wnids)
    tasks = []
    for label, (wnid, count) in enumerate(zip(devkit.wnids, devkit.num_train_images, strict=True)):
        members = by_class[wnid]
        check_class(path, wnid, len(members), count)
        make = ImagesShard(path, members, [label] * count)
        tasks.append(ShardTask(f"{label:04d}", sum(member.size for member in members), make))
    return Plan(tasks, sum(devkit.num_train_images))


def plan_validation(path: Path, devkit: DevKit) -> Plan:
    """Validation images, ``ILSVRC2012_val_<number>.JPEG``: line <number> of the ground truth."""
    numbers, members = [], []
    for member in list_files(path) if path.is_dir() else list_members(path):
        match = re.search(r"ILSVRC2012_val_(\d{8})\.JPEG$", member.name)
        if match is None:
            raise damaged(path, f"has the unexpected member {member.name}")
        numbers.append(int(match[1]))
        members.append(member)
    expected = len(devkit.validation_labels)
    if sorted(numbers) != list(range(1, expected + 1)):
        raise damaged(
            path, f"has {len(numbers)} images, not number 1 to {expected} as {DEVKIT} says"
        )
    labels = [devkit.validation_labels[number - 1] for number in numbers]
    return Plan(list(_tasks(path, members, labels)), expected)


def plan_test(path: Path, devkit: DevKit) -> Plan:
    """ImageNet-v2: one folder a class, whose name is the label as an integer."""
    members = [m for m in list_members(path) if m.name.lower().endswith((".jpeg", ".jpg"))]
    folders = [Path(member.name).parent.name for member in members]
    _check_classes(path, folders, [str(label) for label in range(len(devkit.wnids))])
    return Plan(list(_tasks(path, members, [int(name) for name in folders])), len(members))


PLANS: Mapping[str, Callable[[Path, DevKit], Plan]] = {
    "train": plan_train,
    "validation": plan_validation,
    "test": plan_test,
}


def _tasks(path: Path, members: Sequence[Member], labels: Sequence[int]) -> Iterator[ShardTask]:
    """Cuts the images of an archive into shards of about ``SHARD_BYTES``."""
    start = num_bytes = 0
    for stop, member in enumerate(members, 1):
        num_bytes += member.size
        if num_bytes >= SHARD_BYTES or stop == len(members):
            make = ImagesShard(path, members[start:stop], labels[start:stop])
            yield ShardTask(f"{start:08d}", num_bytes, make)
            start, num_bytes = stop, 0


def _check_classes(
    path: Path, found: Mapping[str, object] | Sequence[str], known: Sequence[str]
) -> None:
    missing, unknown = sorted(set(known) - set(found)), sorted(set(found) - set(known))
    if missing:
        raise damaged(path, f"lacks {len(missing)} of {len(known)} classes, such as {missing[0]}")
    if unknown:
        raise damaged(path, f"has the class {unknown[0]}, which {DEVKIT} does not know")


def _check_count(dataset: ImageNet, split: str, path: Path, plan: Plan, devkit: DevKit) -> None:
    """Originals with all classes must have all images; fewer classes are a sample for tests."""
    expected = dataset.num_examples[split]
    if len(devkit.wnids) == dataset.num_classes and plan.num_images != expected:
        raise damaged(path, f"and {DEVKIT} have {plan.num_images} images instead of {expected}")


def _original(folder: Path, split: str) -> Path:
    """The archive of ``split`` in ``folder``, or the folder with what was in it."""
    archive = folder / ARCHIVES[split]
    extracted = folder / EXTRACTED.get(split, split)
    forms = ("n*[0-9]/", "ILSVRC2012_val_*.JPEG")
    is_extracted = split in EXTRACTED and any(any(extracted.glob(form)) for form in forms)
    return extracted if is_extracted and not archive.is_file() else archive


def _find_all(dataset: ImageNet, data_dir: Path, folder: Path, splits: Sequence[str]) -> None:
    """Checks that all originals are there; ImageNet-v2 is downloaded if only it is missing."""
    command = f"python -m workloads.prepare {dataset.name} --data_dir {data_dir}"
    for split in splits:
        if any(dataset.folder(data_dir, split).glob("n*[0-9]/")):
            raise UserError(
                f"{dataset.folder(data_dir, split)} holds folders of original images, and the "
                "prepared ones are to lie there; move them out of the way, such as to "
                f"{Path(data_dir) / 'originals' / split}, and run `{command}` with --source."
            )
    originals = [
        folder / DEVKIT,
        *(_original(folder, split) for split in splits if split != "test"),
    ]
    missing = [path.name for path in originals if not path.exists()]
    if missing:
        raise UserError(
            f"There is no {' and no '.join(missing)} in {folder}; ImageNet may not be passed on, "
            "so register at https://image-net.org, download of ILSVRC 2012 the training images "
            "(tasks 1 and 2, 138 GB), the validation images (all tasks, 6.3 GB) and the "
            f"development kit (tasks 1 and 2), put {ARCHIVES['train']}, {ARCHIVES['validation']} "
            f"and {DEVKIT} there as they are, or say with --source where they are, and run "
            f"`{command}` again."
        )
    test = folder / ARCHIVES["test"]
    if "test" in splits and not test.is_file():
        download(IMAGENET_V2, test)
