import hashlib

import numpy as np
import pytest

from finishline.workload import SPLITS
from workloads.digits import workload


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return workload.make(tmp_path_factory.mktemp("none"))


def test_sizes_and_ranges(splits):
    assert [len(splits[split]["targets"]) for split in SPLITS] == [997, 400, 400]
    for arrays in splits.values():
        assert arrays["inputs"].shape[1:] == (8, 8, 1)
        assert arrays["inputs"].dtype == np.float32
        assert arrays["targets"].dtype == np.int32
        assert arrays["inputs"].min() == 0
        assert arrays["inputs"].max() == 1


def test_each_digit_has_its_share_of_each_split(splits):
    counts = {split: np.bincount(splits[split]["targets"]) for split in SPLITS}
    total = sum(counts.values())
    for count in counts.values():
        assert np.abs(count - total * count.sum() / total.sum()).max() <= 1


def test_the_split_never_changes(splits):
    digests = {
        split: hashlib.sha256(splits[split]["targets"].astype("<i4").tobytes()).hexdigest()[:16]
        for split in SPLITS
    }
    assert digests == {
        "train": "3dc5bc1cf072fa3f",
        "validation": "44dff2f94cf64aeb",
        "test": "361e749c9e6f2bc0",
    }
