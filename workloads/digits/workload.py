"""Handwritten digits: the 1,797 images of 8 x 8 pixels that come with scikit-learn.

The data are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
1998, UCI Machine Learning Repository, doi:10.24432/C50P49). Nothing is downloaded.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.data.prepared import ArrayDataset, Field
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition

NUM_VALIDATION = 400
NUM_TEST = 400

_SPLIT_SEED = 20_230_612


def make(originals: Path) -> Mapping[str, Mapping[str, np.ndarray]]:
    """The three splits: 997, 400 and 400 examples with the same share of each digit.

    Fields: ``inputs`` (float32, (8, 8, 1), in [0, 1]) and ``targets`` (int32, 0 to 9).
    """
    del originals  # comes with scikit-learn
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    inputs = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    targets = digits.astype(np.int32)
    return {
        split: {"inputs": inputs[indices], "targets": targets[indices]}
        for split, indices in split_indices(targets).items()
    }


def split_indices(targets: np.ndarray) -> dict[str, np.ndarray]:
    """A fixed stratified split that depends on no library's shuffling.

    The examples of each class, in random order, are spread evenly over (0, 1); the first stretch of
    that line is the test split, the next the validation split, the rest the training split.
    """
    bits = np.random.Philox(key=np.array([_SPLIT_SEED, 0], np.uint64)).random_raw(len(targets))
    place = np.empty(len(targets))
    for digit in np.unique(targets):
        members = np.flatnonzero(targets == digit)
        members = members[np.argsort(bits[members], kind="stable")]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(place, kind="stable")
    test, validation, train = np.split(order, [NUM_TEST, NUM_TEST + NUM_VALIDATION])
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


WORKLOADS = (
    WorkloadDefinition(
        name="digits",
        package="workloads.digits",
        task="classification of 8 x 8 images of digits",
        dataset=ArrayDataset(
            name="digits",
            num_examples={"train": 997, "validation": NUM_VALIDATION, "test": NUM_TEST},
            fields={"inputs": Field((8, 8, 1), "float32"), "targets": Field((), "int32")},
            make=make,
            origin="comes with scikit-learn",
            disk_bytes=480_000,
        ),
        loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
        target=Target(metric="accuracy", minimize=False, validation=0.9875, test=0.99),
        metrics=("accuracy", "loss"),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=1.0,
        step_hint=600,
        eval_batch_size=400,
        num_eval_train_examples=400,
        dropout_rate=0.1,
        model={"widths": (64, 128, 128), "num_classes": 10},
        is_embedded=True,
    ),
)
