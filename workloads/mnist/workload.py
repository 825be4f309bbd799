"""MNIST: AlgoPerf's development workload, a perceptron with one hidden layer.

The original IDX files lie in ``<data_dir>/mnist/`` and are converted once. The last 10,000 of the
60,000 training images are the validation split.

Pixels are scaled to [0, 1], then standardised with the mean 0.1307 and the standard deviation
0.3081 that the training pixels have on that scale. The reference implementation applies these two
numbers to pixels in [0, 255], so its inputs are about 255 times larger.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.benchmark import published
from finishline.data.prepared import ArrayDataset, Field
from finishline.errors import UserError
from finishline.spec import LossType
from finishline.workload import WorkloadDefinition
from workloads.mnist import idx

MEAN = 0.1307
STD = 0.3081

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def make(folder: Path) -> Mapping[str, Mapping[str, np.ndarray]]:
    """The three splits from the IDX files in ``folder``.

    Fields: ``inputs`` (float32, (784,)) and ``targets`` (int32, 0 to 9).

    Raises:
      UserError: an IDX file is missing or damaged; the message names it.
    """
    train = _read_pair(folder, *_FILES["train"])
    test = _read_pair(folder, *_FILES["test"])
    num_examples = len(train["targets"])
    num_train = num_examples - min(10_000, num_examples // 6)
    return {
        "train": {name: array[:num_train] for name, array in train.items()},
        "validation": {name: array[num_train:] for name, array in train.items()},
        "test": test,
    }


def _read_pair(folder: Path, images_name: str, labels_name: str) -> dict[str, np.ndarray]:
    images = idx.read(_find(folder, images_name), 3)
    labels = idx.read(_find(folder, labels_name), 1)
    if len(images) != len(labels):
        raise UserError(
            f"{folder / images_name} has {len(images)} images and {labels_name} has {len(labels)} "
            "labels; take both from one copy of MNIST."
        )
    table = ((np.arange(256) / 255 - MEAN) / STD).astype(np.float32)
    inputs = table[images.reshape(len(images), -1)]
    return {"inputs": inputs, "targets": labels.astype(np.int32)}


def _find(folder: Path, name: str) -> Path:
    path = idx.find(folder, name)
    if path is None:
        names = ", ".join(name for pair in _FILES.values() for name in pair)
        raise UserError(
            f"There is no {name} in {folder}; put MNIST's four files there ({names}, each with or "
            f"without .gz), or say with --source where they are, and run "
            f"`python -m workloads.prepare mnist --data_dir {folder.parent}` again."
        )
    return path


WORKLOADS = (
    WorkloadDefinition(
        name="mnist",
        package="workloads.mnist",
        task="classification of handwritten digits",
        dataset=ArrayDataset(
            name="mnist",
            num_examples={"train": 50_000, "validation": 10_000, "test": 10_000},
            fields={"inputs": Field((784,), "float32"), "targets": Field((), "int32")},
            make=make,
            origin="open: the four original files, by hand",
            disk_bytes=220_000_000,
        ),
        loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
        metrics=("accuracy", "loss"),
        eval_batch_size=10_000,
        num_eval_train_examples=10_000,
        model={"width": 128, "num_classes": 10},
        **published("mnist"),
    ),
)
