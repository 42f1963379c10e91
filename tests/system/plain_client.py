"""A client of jobd written from man/jobd-protocol.7 alone: plain sockets, a MessagePack library, nothing of jobd's.

    plain_client.py SOCKET COMMAND [ARGUMENT]...

It runs the command with a pipe as its stdin, feeds it our own stdin, writes what it writes to our stdout and stderr,
and ends with its status. When the connection is lost it makes another, and goes on at the exact byte. The page's rules
are quoted where they are followed; where one was missing here, the page was mended.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FRAME = 1048576  # "A body has at most 1048576 bytes."
MAX_INPUT = 262144  # "data (bin of at most 262144 bytes, optional)"
PATIENCE_SEC = 20.0  # for a socket that is not there; our own choice
RUN, OUT, ERR, ATTACH, WAIT = range(1, 6)  # ids: "that the client chooses, and that is not used by another request"


class LostError(Exception):
    """The connection ended before all was said."""


class FaultError(Exception):
    """The daemon refused."""


class Connection:
    """Frames, without blocking: "A client that feeds a run and reads its output reads both all the time"."""

    def __init__(self, path: str) -> None:
        self.sock = connect(path)
        self.sock.setblocking(False)
        self.incoming = bytearray()
        self.outgoing = bytearray()
        # "Each side first sends hello. The client may send requests without waiting for the daemon's."
        self.send(type="hello", version=1, software="plain-client 1")

    def send(self, **message: object) -> None:
        body = msgpack.packb(message)  # str as str, bytes as bin
        self.outgoing += struct.pack(">I", len(body)) + body

    def exchange(self) -> list[dict[str, object]]:
        """Wait for the socket; send what it takes, and give the messages that have come."""
        wants_to_write = [self.sock] if self.outgoing else []
        readable, writable, _ = select.select([self.sock], wants_to_write, [])
        try:
            if writable:
                del self.outgoing[: self.sock.send(self.outgoing)]
            if readable:
                piece = self.sock.recv(1 << 16)
                if not piece:
                    raise LostError
                self.incoming += piece
        except BlockingIOError:
            pass
        except OSError as error:
            raise LostError from error
        return [*self.messages()]

    def messages(self) -> Iterator[dict[str, object]]:
        while len(self.incoming) >= 4:
            (length,) = struct.unpack_from(">I", self.incoming)
            assert length <= MAX_FRAME, length
            if len(self.incoming) < 4 + length:
                return
            body = bytes(self.incoming[4 : 4 + length])
            del self.incoming[: 4 + length]
            yield msgpack.unpackb(body)


def connect(path: str) -> socket.socket:
    """ "While a daemon is replaced the socket stays, and a client that connects anew waits until it is answered."."""
    deadline = time.monotonic() + PATIENCE_SEC
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        # "A client should in turn ask the kernel (SO_PEERCRED) whether the other end belongs to root or to itself."
        _pid, uid, _gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            raise PermissionError(f"{path} belongs to user {uid}")
        return sock


def new_run_id() -> bytes:
    """ "The id of the new run, a UUID of version 7 (RFC 9562) made by the client."."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | 7 << 76 | int.from_bytes(os.urandom(2)) % 4096 << 64
    return (number | 2 << 62 | int.from_bytes(os.urandom(8)) % (1 << 62)).to_bytes(16)


class Foreground:
    """One run, over as many connections as it takes."""

    def __init__(self, path: str, command: list[bytes]) -> None:
        self.path = path
        self.command = command
        self.run = new_run_id()
        self.had = {OUT: 0, ERR: 0}  # "the offset behind the last byte it had"
        self.complete: set[int] = set()  # streams whose end has come
        self.ended: dict[str, object] | None = None
        # What is fed. `kept` is what was read from our stdin from offset `start` on, and is not safe yet.
        self.kept = bytearray()
        self.start = 0
        self.sent = 0  # offset of the next byte to send
        self.limit = 0
        self.open = False
        self.at_end = False  # our stdin is
        self.said_eof = False

    def go(self) -> int:
        while not self.done:
            try:
                self.session(Connection(self.path))
            except LostError:
                continue
        assert self.ended is not None
        if self.ended.get("signal") is not None:
            return 128 + int(str(self.ended["signal"]))
        status = self.ended.get("exit_code")
        return 125 if status is None else int(str(status))

    @property
    def done(self) -> bool:
        return self.ended is not None and self.complete == {OUT, ERR}

    def session(self, connection: Connection) -> None:
        environment = [name + b"=" + value for name, value in os.environb.items()]
        # "Sending the request again with the same id runs nothing twice and is answered as the first time."
        connection.send(
            type="run",
            id=RUN,
            run=self.run,
            argv=self.command,
            env=environment,
            cwd=os.fsencode(os.getcwd()),
            stdin="pipe",
        )
        try:
            while not self.done:
                for message in connection.exchange():
                    self.take(connection, message)
                self.feed(connection)
        finally:
            connection.sock.close()

    def take(self, connection: Connection, message: dict[str, object]) -> None:
        kind, request = message["type"], message.get("id")
        if kind == "fault":
            raise FaultError(f"{message['code']}: {message['message']}")
        if kind == "end" and request in self.had:
            self.complete.add(int(str(request)))  # "end comes after the last byte"
        if kind not in ("reply", "item"):
            return
        body = message["body"]
        assert isinstance(body, dict)
        match body["type"]:
            case "started":
                self.begin(connection, body)
            case "output":
                self.write(OUT if body["stream"] == 1 else ERR, body["offset"], body["data"])
            case "attached":
                # "received says how many bytes … are on disk. The client's first byte has this offset."
                self.stands(body)
                self.sent = self.start
                self.said_eof = False
            case "fed":
                self.stands(body)
            case "ended":
                self.ended = body["run"]

    def begin(self, connection: Connection, started: dict[str, object]) -> None:
        if started.get("step"):
            raise FaultError(str(started.get("text")))
        name, run = started["job"], self.run.hex()
        follow = {"type": "logs", "jobs": [name], "run": run, "follow": True, "one_run": True}
        if OUT not in self.complete:
            connection.send(id=OUT, stderr=False, out_from=self.had[OUT], **follow)
        if ERR not in self.complete:
            connection.send(id=ERR, stdout=False, err_from=self.had[ERR], **follow)
        connection.send(type="attach", id=ATTACH, run=self.run)
        connection.send(type="wait", id=WAIT, runs=[self.run])

    def write(self, stream: int, offset: int, data: bytes) -> None:
        assert offset == self.had[stream], (stream, offset, self.had)
        self.had[stream] += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(1 if stream == OUT else 2, view) :]

    # --- stdin ------------------------------------------------------------------------------------------------------
    def stands(self, body: dict[str, object]) -> None:
        """ "Bytes … before this offset the client need not keep"; "no byte at this offset or behind it may be sent"."""
        received, self.limit = int(str(body.get("received", 0))), int(str(body.get("limit", 0)))
        self.open = bool(body.get("open", body["type"] == "fed"))  # the defaults of the two differ
        if received > self.start:
            del self.kept[: received - self.start]
            self.start = received

    def feed(self, connection: Connection) -> None:
        """Send as much as is allowed, and not more ahead than the socket takes."""
        while self.open and not connection.outgoing and not self.said_eof:
            held = self.start + len(self.kept)
            if self.sent == held and not self.at_end and held < self.limit:
                piece = os.read(0, min(MAX_INPUT, self.limit - held))
                self.at_end = not piece
                self.kept += piece
                held += len(piece)
            end = min(held, self.sent + MAX_INPUT, self.limit)
            eof = self.at_end and end == held
            if end == self.sent and not eof:
                return  # until a fed raises the limit
            data = bytes(self.kept[self.sent - self.start : end - self.start])
            connection.send(type="input", id=0, request=ATTACH, offset=self.sent, data=data, eof=eof)
            self.sent, self.said_eof = end, eof


def main() -> int:
    try:
        return Foreground(sys.argv[1], [os.fsencode(word) for word in sys.argv[2:]]).go()
    except FaultError as fault:
        sys.stderr.write(f"plain_client: {fault}\n")
        return 125


if __name__ == "__main__":
    status = main()
    ours = sorted(name for name in sys.modules if name.partition(".")[0] in ("jobd", "jobctl"))
    assert not ours, ours
    sys.exit(status)
