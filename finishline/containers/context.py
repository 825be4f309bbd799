"""Build contexts: what an engine gets to build an image from, as a stream."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_BLOCK = 1 << 20


def stream(files: Mapping[str, Path | bytes]) -> Iterator[bytes]:
    """A tar archive of ``files``, by their names in the context, without a copy on the disk.

    Owners, modes and times are the same for the same files, whoever checked them out.
    """
    for name, content in sorted(files.items()):
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        info.size = size
        yield info.tobuf(tarfile.GNU_FORMAT)
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
        yield bytes(-size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
