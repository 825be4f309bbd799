"""Reads images out of tar archives by offset, without extracting them, or from folders."""

import contextlib
import dataclasses
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finishline.data.preparation import ShardContent
from finishline.errors import UserError

_GZIP_MAGIC = b"\x1f\x8b"
# Among the training images there is one PNG, n02105855_2933.JPEG.
_IMAGE_MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class Member(NamedTuple):
    """A file in an archive: its name, and where its bytes are once the archive is decompressed.

    In a folder: its path from there, 0, and its size.
    """

    name: str
    offset: int
    size: int


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens an archive for reading, decompressed; whether it is compressed shows in its bytes.

    ImageNet-v2 has been distributed uncompressed under a name that ends in ``.tar.gz``.

    Raises:
      UserError: reading fails in the ``with`` block because the archive is damaged.
    """
    with path.open("rb") as file:
        is_compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if is_compressed else file
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise damaged(path, f"is truncated or damaged ({error})") from error


def list_members(path: Path, *, start: int = 0, stop: int | None = None) -> list[Member]:
    """The files in the tar archive ``path``, in the order in which they lie there.

    Passes from header to header, so that it takes about 50 us a member if the archive is not
    compressed.

    Args:
      path: the archive.
      start: where the tar archive begins: it may be a member of another one.
      stop: where it ends; None is the end of the file.

    Raises:
      UserError: the archive is truncated or damaged, or has a name twice.
    """
    with open_archive(path) as file:
        if stop is None and not isinstance(file, gzip.GzipFile):
            stop = path.stat().st_size
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            members = [Member(i.name, i.offset_data, i.size) for i in tar if i.isfile()]
            _check_end(path, file, tar.offset)
    if stop is not None and members and members[-1].offset + members[-1].size > stop:
        raise damaged(path, f"is truncated: it ends within {members[-1].name}")
    _check_names(path, members)
    return members


def _check_end(path: Path, file: io.BufferedIOBase, offset: int) -> None:
    """Checks that the tar archive really ends where ``tarfile``, which stops at damage, says."""
    file.seek(offset)
    header = file.read(tarfile.BLOCKSIZE)
    if header.strip(b"\0"):
        raise damaged(path, f"is damaged at byte {offset}")
    if isinstance(file, gzip.GzipFile):
        while file.read(2**20):  # at the very end gzip compares its checksum
            pass


def _check_names(path: Path, members: Sequence[Member]) -> None:
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise damaged(path, f"has {member.name} twice")
        seen.add(member.name)


def list_files(folder: Path) -> list[Member]:
    """The files in ``folder`` and the folders in it whose names end in ``.JPEG``, sorted."""
    paths = sorted(folder.rglob("*.JPEG"))
    return [Member(str(path.relative_to(folder)), 0, path.stat().st_size) for path in paths]


def read_images(path: Path, members: Sequence[Member]) -> Iterator[bytes]:
    """The bytes of each of ``members``, which lie in ``path`` in this order.

    Raises:
      UserError: one of them is cut off, or is neither JPEG nor PNG; the message names it.
    """
    contents = _read_files(path, members) if path.is_dir() else _read_members(path, members)
    for member, content in zip(members, contents, strict=True):
        if len(content) != member.size:
            raise damaged(path, f"is truncated: it ends within {member.name}")
        if not content.startswith(_IMAGE_MAGICS):
            raise damaged(path, f"is damaged: {member.name} in it is not an image")
        yield content


def _read_files(folder: Path, members: Sequence[Member]) -> Iterator[bytes]:
    return ((folder / member.name).read_bytes() for member in members)


def _read_members(path: Path, members: Sequence[Member]) -> Iterator[bytes]:
    with open_archive(path) as file:
        for member in members:
            file.seek(member.offset)
            yield file.read(member.size)


@dataclasses.dataclass(frozen=True)
class ImagesShard:
    """Makes a shard of images that lie in an archive one after the other, or in a folder.

    Attributes:
      path: the archive or folder.
      members: where the images are.
      labels: of the images.
    """

    path: Path
    members: Sequence[Member]
    labels: Sequence[int]

    def __call__(self) -> ShardContent:
        """Streams the images."""
        targets = np.array(self.labels, np.int32)
        return ShardContent({"targets": targets}, read_images(self.path, self.members))


@dataclasses.dataclass(frozen=True)
class ClassShard:
    """Makes a shard of one class, whose tar archive is a member of another one.

    Attributes:
      path: the outer archive.
      inner: the archive of the class in it.
      label: of the class.
      num_images: how many images the class should have.
    """

    path: Path
    inner: Member
    label: int
    num_images: int

    def __call__(self) -> ShardContent:
        """Lists the images of the class, then streams them."""
        start, stop = self.inner.offset, self.inner.offset + self.inner.size
        members = list_members(self.path, start=start, stop=stop)
        check_class(self.path, self.inner.name, len(members), self.num_images)
        return ImagesShard(self.path, members, [self.label] * len(members))()


def check_class(path: Path, name: str, num_images: int, expected: int) -> None:
    """Checks how many images the class called ``name`` has in ``path``.

    Raises:
      UserError: not as many as expected.
    """
    if num_images != expected:
        raise damaged(
            path,
            f"has {num_images} images in {name} instead of the {expected} that the development "
            "kit says",
        )


def damaged(path: Path, what: str) -> UserError:
    """The error that ``path`` is not what it should be, with the remedy."""
    return UserError(f"{path} {what}; replace it by an undamaged copy of the original.")
