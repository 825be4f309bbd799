"""Downloads, from a server on this machine."""

import contextlib
import hashlib
import http.server
import re
import threading

import pytest

from finishline.data.download import Original, download
from finishline.errors import UserError

CONTENT = bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``CONTENT`` as its server's attributes say, and notes the ranges asked for."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if not self.server.resumes:
            start = 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        stop = min(len(CONTENT), start + self.server.bytes_per_response)
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.resumes, server.bytes_per_response = [], True, len(CONTENT)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def original(server):
    digest = hashlib.md5(CONTENT).hexdigest()
    return Original(f"http://127.0.0.1:{server.server_port}/some/file.bin", "md5", digest)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file.bin"


def test_the_file_is_there_and_nothing_else(server, original, path):
    download(original, path)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    assert server.ranges == [None]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_download_goes_on(server, original, path, resumes):
    server.resumes, server.bytes_per_response = resumes, 600_000
    with pytest.raises(UserError, match=r"connection ended 424 kB before the end; try again"):
        download(original, path)
    assert not path.exists()
    server.bytes_per_response = len(CONTENT)
    download(original, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=600000-"]


def test_a_download_that_only_was_not_renamed_is_not_repeated(server, original, path):
    server.bytes_per_response = len(CONTENT) - 1
    with contextlib.suppress(UserError):
        download(original, path)
    (partial,) = path.parent.iterdir()
    partial.write_bytes(CONTENT)
    download(original, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges[1:] == [f"bytes={len(CONTENT)}-"]


def test_another_file_than_the_published_one_is_refused(original, path):
    wrong = original._replace(digest="0" * 32)
    with pytest.raises(UserError) as caught:
        download(wrong, path)
    assert original.url in str(caught.value)
    assert original.digest in str(caught.value)
    assert list(path.parent.iterdir()) == []


def test_without_a_server_the_message_says_what_to_do(path):
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}/file.bin"
    server.server_close()  # nobody listens there now
    with pytest.raises(UserError) as caught:
        download(Original(url, "md5", ""), path)
    assert url in str(caught.value)
    assert f"into {path.parent} yourself" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(server, original, path, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send_error(404))
    with pytest.raises(UserError, match=r"Cannot download http\S+/file.bin: Not Found"):
        download(original, path)


def test_a_full_disk_is_noticed_before_anything_is_fetched(original, path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"1.02 MB"):
        download(original, path)
    assert list(path.parent.iterdir()) == []
