"""The files of fastMRI as they are distributed, and the prepared splits that are made of them.

``knee_singlecoil_train.tar.xz`` and ``knee_singlecoil_val.tar.xz`` hold one HDF5 file a scan: 973
and 199 of them. Those of validation are split: the first 100 by name are the validation split, the
other 99 the test split, because the true images of the challenge's test set are not published.

An archive is read from beginning to end, one scan at a time in memory; what an interrupted
preparation has finished is passed over. An unpacked folder is read by several processes.
"""

import contextlib
import functools
import gzip
import io
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from finishline.data.preparation import ShardContent, ShardTask, prepare_in_order, prepare_split
from finishline.data.splits import Split
from finishline.errors import UserError
from workloads.fastmri import records
from workloads.fastmri.volumes import read_volume

_SUFFIXES = (".tar.xz", ".tar.gz", ".tar")

# Originals have half of an image's rows again, and a second reconstruction. Compression spares
# about a tenth of them.
_PREPARED_SHARE = 0.65

HOW_TO_OBTAIN = (
    "fastMRI's data may not be passed on, so nobody but New York University distributes them: "
    "fill in the form at https://fastmri.med.nyu.edu, and you get an e-mail with links. Download "
    "knee_singlecoil_train (about 88 GB) and knee_singlecoil_val (about 19 GB)"
)


class Original(NamedTuple):
    """The file of one scan.

    Attributes:
      name: without folder and suffix, such as "file1000001".
      num_bytes: to measure progress.
      make: reads it and makes its shard.
    """

    name: str
    num_bytes: int
    make: Callable[[], ShardContent]


def prepare(
    folders: Mapping[str, Path], source: Path, missing: Sequence[str], size: int, num_workers: int
) -> None:
    """Makes prepared splits from the originals.

    Args:
      folders: the folder of each split.
      source: folder with the archives, or with the folders that are in them.
      missing: the splits to make.
      size: height and width of the images, in pixels.
      num_workers: how many processes work; archives are read by one.

    Raises:
      UserError: originals are missing or damaged, or there is no room; the message says which.
    """
    needed = {"train"} & {*missing} | ({"val"} if {"validation", "test"} & {*missing} else set())
    data_dir = folders["train"].parent.parent
    found = {part: find(source, part, data_dir) for part in sorted(needed)}  # before any work
    if "train" in found:
        _prepare_part(folders["train"], found["train"], size, num_workers)
    if "val" not in found:
        return
    # Which scans are the first half by name shows only at the end of an archive.
    staged = folders["validation"].with_name(".validation_and_test")
    if found["val"].is_dir():
        scans = _files(found["val"], size)
    else:
        _prepare_part(staged, found["val"], size, num_workers)
        scans = _staged(staged)
    middle = (len(scans) + 1) // 2  # 100 of 199
    for split, half in (("validation", scans[:middle]), ("test", scans[middle:])):
        _prepare_files(folders[split], half, _identity(found["val"], size), num_workers)
    shutil.rmtree(staged, ignore_errors=True)


def find(source: Path, part: str, data_dir: Path) -> Path:
    """The archive of ``part``, 'train' or 'val', in ``source``, else the folder unpacked from it.

    ``data_dir`` is for the message.

    Raises:
      UserError: there is neither; the message says how to obtain the archive.
    """
    archives = [source / f"knee_singlecoil_{part}{suffix}" for suffix in _SUFFIXES]
    folders = [source / f"{prefix}singlecoil_{part}" for prefix in ("", "knee_")]
    candidates = [path for path in archives if path.is_file()]
    candidates += [path for path in folders if any(path.glob("*.h5"))]
    if candidates:
        return candidates[0]
    raise UserError(
        f"There is neither {archives[0].name} nor a folder {folders[0].name} with .h5 files in "
        f"{source}. {HOW_TO_OBTAIN}, put both into {source}, or say with --source where they are, "
        f"and run `python -m workloads.prepare fastmri --data_dir {data_dir}` again."
    )


def _prepare_part(folder: Path, original: Path, size: int, num_workers: int) -> None:
    """Makes one prepared split of all scans of an archive or a folder."""
    identity = _identity(original, size)
    if original.is_dir():
        _prepare_files(folder, _files(original, size), identity, num_workers)
        return
    num_bytes = original.stat().st_size
    tasks = (ShardTask(*scan) for scan in _members(original, size))
    disk_bytes = int(num_bytes * _PREPARED_SHARE)
    prepare_in_order(folder, tasks, identity=identity, num_bytes=num_bytes, disk_bytes=disk_bytes)


def _prepare_files(
    folder: Path, scans: Sequence[Original], identity: Mapping[str, Any], num_workers: int
) -> None:
    num_bytes = sum(scan.num_bytes for scan in scans)
    prepare_split(
        folder,
        [ShardTask(*scan) for scan in scans],
        identity=identity,
        disk_bytes=int(num_bytes * _PREPARED_SHARE),
        num_workers=num_workers,
    )


def _identity(original: Path, size: int) -> dict[str, Any]:
    """What prepared shards depend on."""
    files = sorted(original.glob("*.h5")) if original.is_dir() else [original]
    return {
        "format": records.FORMAT,
        "size": size,
        "files": {path.name: path.stat().st_size for path in files},
    }


def _files(folder: Path, size: int) -> list[Original]:
    """The scans of a folder, by name."""
    return [
        Original(path.stem, path.stat().st_size, functools.partial(_make_from_file, path, size))
        for path in sorted(folder.glob("*.h5"))
    ]


def _make_from_file(path: Path, size: int) -> ShardContent:
    with path.open("rb") as file:
        return records.shard_of(read_volume(file, str(path), size))


def _members(archive: Path, size: int) -> Iterator[Original]:
    """The scans of an archive, in its order. Each is to be made before the next is asked for.

    Raises:
      UserError: the archive is damaged; the message names it.
    """
    done = 0
    with _named_damage(archive), archive.open("rb") as file, _unpacked(archive, file) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if _is_scan(member):
                    position = file.tell()
                    make = functools.partial(_make_from_member, tar, member, archive, size)
                    yield Original(Path(member.name).stem, position - done, make)
                    done = position
        while stream.read(2**20):
            pass  # there is a checksum at the end


def _unpacked(archive: Path, file: IO[bytes]) -> Any:
    """The content of ``archive``, opened as ``file``."""
    if archive.suffix == ".xz":
        return lzma.open(file)
    return gzip.open(file) if archive.suffix == ".gz" else file


def _is_scan(member: tarfile.TarInfo) -> bool:
    name = Path(member.name).name
    return member.isfile() and name.endswith(".h5") and not name.startswith(".")


def _make_from_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path, size: int
) -> ShardContent:
    with _named_damage(archive):
        file = tar.extractfile(member)
        assert file is not None  # it is a regular file
        content = io.BytesIO(file.read())
    return records.shard_of(read_volume(content, f"{member.name} in {archive}", size))


@contextlib.contextmanager
def _named_damage(archive: Path) -> Iterator[None]:
    """Turns what a damaged archive raises into an error that names it."""
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise UserError(
            f"{archive} is damaged or incomplete ({error}); download it again, and run the same "
            "command: what is finished is not made again."
        ) from error


def _staged(folder: Path) -> list[Original]:
    """The scans of a prepared split, by name, to be copied to others."""
    split = Split(folder)
    return [
        Original(
            path.name.removesuffix(records.SUFFIX),
            path.stat().st_size,
            functools.partial(records.copied_shard, path, length),
        )
        for path, length in zip(split.record_files, split.lengths, strict=True)
    ]
