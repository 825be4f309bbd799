"""Downloads of originals that are open to all: resumable, and checked by their hash."""

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from finishline.data.preparation import check_disk, format_bytes
from finishline.data.progress import progress
from finishline.errors import UserError

TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 2**18


class Original(NamedTuple):
    """A file that can be downloaded.

    Attributes:
      url: where it is.
      hash_name: name of the hash that its authors published, as in ``hashlib``, such as 'md5'.
      digest: its value, in hexadecimal.
    """

    url: str
    hash_name: str
    digest: str


def download(original: Original, path: Path) -> None:
    """Downloads ``original`` to ``path``; the file is there in full and checked, or not at all.

    What an interrupted download left beside ``path`` is continued if the server can do so.

    Raises:
      UserError: the server cannot be reached, the connection broke, there is no room, or the file
        is not the one that was published; the message says what to do.
    """
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(original.url, partial)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise UserError(
            f"Cannot download {original.url}: {reason}; try again (what has arrived is kept), or "
            f"put the file into {path.parent} yourself."
        ) from error
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, original.hash_name).hexdigest()
    if digest != original.digest:
        partial.unlink()
        raise UserError(
            f"{original.url} has {original.hash_name} {digest} instead of {original.digest}, so it "
            f"is damaged or another file, and it was deleted; try again, or put the right file "
            f"into {path.parent} yourself."
        )
    partial.rename(path)


def _fetch(url: str, partial: Path) -> None:
    """Brings ``partial`` to the full length of the file.

    Raises:
      OSError: the server cannot be reached, or the connection broke.
      http.client.HTTPException: the server broke the protocol.
    """
    done = partial.stat().st_size if partial.exists() else 0
    try:
        response = _request(url, done)
    except urllib.error.HTTPError as error:
        is_beyond_the_end = (
            done > 0 and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        )
        if not is_beyond_the_end:
            raise
        return  # nothing is missing; the hash tells whether it is the right file
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0  # the server sends all of it
        left = int(response.headers.get("Content-Length", 0))
        check_disk(partial.parent, left)
        with (
            partial.open("ab" if done else "wb") as file,
            progress(f"download {url.rsplit('/', 1)[-1]}", done + left, done=done) as advance,
        ):
            while block := response.read(_BLOCK):
                file.write(block)
                advance(len(block))
                left -= len(block)
    if left > 0:
        raise ConnectionError(f"the connection ended {format_bytes(left)} before the end")


def _request(url: str, done: int) -> http.client.HTTPResponse:
    headers = {"Range": f"bytes={done}-"} if done else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
