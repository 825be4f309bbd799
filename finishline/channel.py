"""Frames between referee and worker: length-prefixed JSON over one Unix socket.

The worker runs submitted code, so whatever arrives from it is a claim, never a fact: a frame is
bounded in size, must be a JSON object with a known ``type``, and carries no code.
"""

import json
import select
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finishline.errors import InfrastructureError, RuleViolation

MAX_FRAME_BYTES = 4 * 1024 * 1024
_HEADER = struct.Struct("!I")

# Columns of the record's tables; with 'train/...' and the like the referee's own.
_REFEREES_COLUMNS = frozenset({"global_step", "score", "total_duration", "preemption_count"})

Frame = dict[str, Any]
ScalarRows = list[tuple[int, dict[str, float]]]  # (step, value by name)


class ChannelClosed(Exception):
    """The other side closed the connection."""


class Channel:
    """One end of the connection."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._connection.setblocking(True)
        self._buffer = bytearray()

    def send(self, frame_type: str, **content: Any) -> None:
        """Sends one frame.

        Raises:
          ChannelClosed: the other side is gone.
        """
        payload = json.dumps({"type": frame_type, **content}, allow_nan=True).encode()
        try:
            self._connection.sendall(_HEADER.pack(len(payload)) + payload)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, timeout: float | None = None) -> Frame | None:
        """The next frame, or None if none is complete after ``timeout`` seconds.

        Raises:
          ChannelClosed: the other side is gone.
          RuleViolation: the bytes are no valid frame.
        """
        while (frame := self._take_frame()) is None:
            ready, _, _ = select.select([self._connection], [], [], timeout)
            if not ready:
                return None
            try:
                received = self._connection.recv(1 << 16)
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not received:
                raise ChannelClosed("end of stream")
            self._buffer += received
        return frame

    def _take_frame(self) -> Frame | None:
        if len(self._buffer) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(self._buffer)
        if size > MAX_FRAME_BYTES:
            raise RuleViolation(
                f"The worker announced a frame of {size} bytes; the limit is {MAX_FRAME_BYTES}."
            )
        end = _HEADER.size + size
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return _parse(payload)

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        self._connection.close()


def _parse(payload: bytes) -> Frame:
    try:
        frame = json.loads(payload)
        json.dumps(frame, ensure_ascii=False).encode()  # half a surrogate pair cannot be printed
    except (ValueError, RecursionError) as error:
        raise RuleViolation(f"The worker sent a frame that is not JSON: {error}.") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise RuleViolation("The worker sent a frame that is not a JSON object with a type.")
    return frame


def field(frame: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A field of a frame from the worker, of the type ``kind``; integers are counts.

    Raises:
      RuleViolation: it is missing, of another type, or no count.
    """
    value = frame.get(name)
    is_right = isinstance(value, kind)
    if kind is int:
        is_right = is_count(value)
    if not is_right:
        raise RuleViolation(
            f"The worker sent a {frame['type']!r} frame whose {name!r} is {value!r:.80}."
        )
    return value


def scalar_rows(frame: Mapping[str, Any]) -> ScalarRows:
    """The (step, values) rows of a ``scalars`` frame; names like the referee's get a prefix.

    Raises:
      RuleViolation: they are no such rows.
    """
    rows: ScalarRows = []
    for row in field(frame, "rows", list):
        is_row = isinstance(row, list) and len(row) == 2 and isinstance(row[1], dict)
        if not is_row or not is_count(row[0]) or not all(map(_is_number, row[1].values())):
            raise RuleViolation(f"The worker sent scalars that are none: {row!r:.80}.")
        rows.append((row[0], {_own_name(name): value for name, value in row[1].items()}))
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def _own_name(name: str) -> str:
    is_referees = name in _REFEREES_COLUMNS or "/" in name
    return f"submission/{name}" if is_referees else name


def is_count(value: Any) -> bool:
    """Whether ``value`` is an integer from 0 to what a float holds exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


class Listener:
    """The referee's socket; exactly one connection is accepted, from a process that it started."""

    def __init__(self, path: Path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen(1)

    def accept(self, timeout: float, allowed_pids: frozenset[int]) -> Channel | None:
        """The worker's connection, or None after ``timeout`` seconds; closes the door behind it.

        Raises:
          InfrastructureError: a process that the referee did not start has connected.
        """
        ready, _, _ = select.select([self._socket], [], [], timeout)
        if not ready:
            return None
        connection, _ = self._socket.accept()
        peer = _peer_pid(connection)
        if peer is not None and peer not in allowed_pids:
            connection.close()
            raise InfrastructureError(
                f"Process {peer}, which is no worker, connected to {self.path}."
            )
        self.close()
        return Channel(connection)

    def close(self) -> None:
        """Stops listening and removes the socket file; a second call does nothing."""
        if self._socket.fileno() == -1:
            return
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _peer_pid(connection: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    return struct.unpack("3i", credentials)[0]


def connect(path: str) -> Channel:
    """The worker's end."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    return Channel(connection)
