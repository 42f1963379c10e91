"""Exact bytes to stdout, as fast as they come.

An Output frame ends with its data, so once its first 150 bytes are read the rest can go from the socket to stdout
without passing through this process: by splice(2) when stdout is a pipe, else in large blocks. Only that much is ever
received ahead, lest data be copied twice.
"""

from __future__ import annotations

import os

from jobctl import terminal
from jobctl.client import LENGTH
from jobctl.exits import ConnectionLostError
from jobctl.logs_source import dropped_text
from jobd.wire import frames
from jobd.wire.plainpack import packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.logs_source import Source
    from jobctl.shapes import Body, Message

AHEAD_BYTES = 160  # the longest header and map before the data are 4 + 140 bytes (jobd.wire.codec.OUTPUT_DATA_MAX)
DATA_KEY = b"\xa4data\xc6"  # the last key of an Output, and the type byte of bin 32
BLOCK_BYTES = 1 << 20
PIPE_BYTES = 1 << 20  # /proc/sys/fs/pipe-max-size of an unprivileged user
F_SETPIPE_SZ = 1031  # fcntl(2)
S_IFMT, S_IFIFO = 0o170000, 0o010000  # stat(2); the module builds tables


def copy(source: Source, progress: terminal.Progress) -> None:
    """Write the bytes of `source` to stdout until it ends. Errors as Source.bodies."""
    is_pipe = is_fifo(terminal.STDOUT)
    if is_pipe:
        widen_pipe(terminal.STDOUT)
    source.client = _Splicing(source.client, source, is_pipe)  # type: ignore[assignment]  # has what Source uses
    for body in source.bodies():
        kind = body["type"]
        if kind == "output":
            progress.clear()
            terminal.write(body["data"])
        elif kind == "dropped":
            progress.clear()
            terminal.warn(dropped_text(body))
        elif kind == "progress":
            progress.show(body["text"])


def is_fifo(fd: int) -> bool:
    """Whether a descriptor is a pipe's."""
    return os.fstat(fd).st_mode & S_IFMT == S_IFIFO


def widen_pipe(fd: int) -> None:
    """A wider pipe takes fewer calls; one that cannot be had does as well."""
    from fcntl import fcntl

    try:
        fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return


def output_head(held: bytes, frame: int) -> tuple[int, Body, int, int] | None:
    """What stands before the data of an Output.

    Args:
        held: the first bytes of its frame: all, or AHEAD_BYTES at least.
        frame: how long the frame is, with its header.

    Returns:
        The id of the request, the body without its data, where in `held` the data begin, and how long they are; None
        if the frame is something else.
    """
    at = held.find(DATA_KEY, frames.HEADER, AHEAD_BYTES)
    start = at + len(DATA_KEY) + LENGTH.size
    if at < 0 or len(held) < start:
        return None
    (size,) = LENGTH.unpack_from(held, at + len(DATA_KEY))
    if start + size != frame:
        return None
    message: Message = unpackb(held[frames.HEADER : at] + packb("data") + packb(b""))  # type: ignore[assignment]
    return message["id"], message["body"], start, size


class _Splicing:
    """A Client whose Outputs are written as they are read; all else it answers as before."""

    def __init__(self, client: Client, source: Source, is_pipe: bool) -> None:
        self._client = client
        self._source = source
        self._is_pipe = is_pipe
        self._block: bytearray | None = None
        self.call = client.call
        self.reconnect = client.reconnect

    def stream(self, request: dict[str, object]) -> object:
        """As Client.stream, without the Outputs that could be passed on whole."""
        client = self._client
        wanted = client.ask(request)
        while True:
            client.fill(frames.HEADER, AHEAD_BYTES)
            if self._pass_on():
                continue
            message = client.receive()
            if message.get("id") != wanted:
                continue
            if message["type"] == "end":
                return
            yield message["body"]

    def _pass_on(self) -> bool:
        """Write the data of the frame that comes next, if it is an Output."""
        client = self._client
        (length,) = LENGTH.unpack_from(client.held())
        if length > frames.MAX:
            return False  # no jobd, which is for the client to say
        client.fill(min(frames.HEADER + length, AHEAD_BYTES), AHEAD_BYTES)
        found = output_head(client.held(), frames.HEADER + length)
        if found is None:
            return False
        _, body, start, size = found
        client.take(start)
        place = self._source.place
        before = 0 if place is None else max(0, place.sizes[body["stream"]] - body["offset"])
        if before:
            client.take(min(before, size))  # came before the connection was lost
        self._write(body, min(before, size), size)
        return True

    def _write(self, body: Body, done: int, size: int) -> None:
        """Bring the data from `done` to `size` to stdout, and the place along with each step."""
        client, place = self._client, self._source.place
        stream, offset = body["stream"], body["offset"]
        ready = min(len(client.held()), size - done)
        if ready:
            terminal.write(client.take(ready))
            done += ready
        while True:
            if place is not None:
                place.passed(stream, offset + done)
            if done == size:
                return
            done += self._splice(size - done) if self._is_pipe else self._copy(size - done)

    def _splice(self, count: int) -> int:
        try:
            moved = os.splice(self._client.fileno(), terminal.STDOUT, count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_MORE)
        except BlockingIOError:
            terminal.wait_writable()
            return 0
        except ConnectionResetError as e:
            raise ConnectionLostError from e
        except OSError as e:
            raise terminal.OutputError(f"cannot write to standard output: {e.strerror}") from e
        if not moved:
            raise ConnectionLostError
        return moved

    def _copy(self, count: int) -> int:
        if self._block is None:
            self._block = bytearray(BLOCK_BYTES)
        count = self._client.receive_into(memoryview(self._block)[:count])
        terminal.write(memoryview(self._block)[:count])
        return count
