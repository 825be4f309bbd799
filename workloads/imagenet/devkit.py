"""The development kit of ILSVRC 2012: classes, and labels of the validation images."""

import io
import tarfile
from pathlib import Path
from typing import NamedTuple

from workloads.imagenet.archives import damaged, open_archive

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"


class DevKit(NamedTuple):
    """What the development kit says.

    Attributes:
      wnids: the WordNet ids of the classes, sorted: the place of a class is its label.
      num_train_images: by label.
      validation_labels: the label of each validation image, in the order of their numbers.
    """

    wnids: list[str]
    num_train_images: list[int]
    validation_labels: list[int]


def read_devkit(path: Path) -> DevKit:
    """Reads ``ILSVRC2012_devkit_t12.tar.gz``.

    Raises:
      UserError: it is damaged, or a file is missing in it.
    """
    files = _read_files(path)
    try:
        classes = _read_classes(files[META])
    except Exception as error:  # scipy raises errors of many types for damaged files
        raise damaged(path, f"has a {META} that cannot be read ({error})") from error
    wnids = sorted(wnid for wnid, _ in classes.values())
    labels = {id_: wnids.index(wnid) for id_, (wnid, _) in classes.items()}
    counts = {labels[id_]: count for id_, (_, count) in classes.items()}
    try:
        validation_labels = [labels[int(line)] for line in files[GROUND_TRUTH].split()]
    except (ValueError, KeyError) as error:
        raise damaged(path, f"has {error} as a class in {GROUND_TRUTH}") from error
    return DevKit(wnids, [counts[label] for label in range(len(wnids))], validation_labels)


def _read_files(path: Path) -> dict[str, bytes]:
    """The two files that matter, by name."""
    found = {}
    with open_archive(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name = Path(member.name).name
            if name in (GROUND_TRUTH, META) and (content := tar.extractfile(member)):
                found[name] = content.read()
    for name in (GROUND_TRUTH, META):
        if name not in found:
            raise damaged(path, f"has no {name} in it")
    return found


def _read_classes(content: bytes) -> dict[int, tuple[str, int]]:
    """WordNet id and number of training images of each class, by ILSVRC2012_ID.

    The table has inner nodes of WordNet's tree, too; classes are its leaves.
    """
    from scipy.io import loadmat

    table = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
    return {
        int(row["ILSVRC2012_ID"]): (str(row["WNID"]), int(row["num_train_images"]))
        for row in table
        if int(row["num_children"]) == 0
    }
