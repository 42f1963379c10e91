"""What the pump of F3 is given, and the pump itself in a process that can be killed every few milliseconds.

A `Flow` is a stream that follows from a seed: no piece of it is the same as another, so that bytes that are missing,
doubled or in the wrong place cannot go unseen. Who writes it and who checks it make it anew; nobody keeps it.

Run as a program (`python -m tests.fault.pump_work SOCKET`) it forks pumps: starting an interpreter for each of 1,500
kills would take longer than all they do. It is told by messages on its socket, with the descriptors of the pipes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jobd.runtime.pump import Pump
from jobd.runtime.pump_relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

TABLE_BYTES = 4 << 20
MESSAGE_BYTES = 4096
NUMBER_BYTES = 16
# From a character to what fills a large pipe: small ones are gathered, large ones go through the relay.
SIZES = (1, 20, 700, 9_000, 70_000, 400_000, 1 << 20)
WAKE_SEC = 1.0


class Flow:
    """One stream of one run."""

    def __init__(self, seed: int, name: str) -> None:
        self._seed = f"{seed}:{name}"
        self._table = random.Random(seed).randbytes(TABLE_BYTES)

    def pieces(self) -> Iterator[bytes]:
        """The stream from its start, without an end."""
        dice = random.Random(self._seed)
        for number in itertools.count():
            size = dice.choice(SIZES)
            start = dice.randrange(TABLE_BYTES - size)
            head = number.to_bytes(NUMBER_BYTES, "little")[: min(size, NUMBER_BYTES)]
            yield head + self._table[start : start + size - len(head)]

    def upto(self, size: int) -> Iterator[bytes]:
        """Its first `size` bytes."""
        for piece in self.pieces():
            if size <= len(piece):
                yield piece[:size]
                return
            yield piece
            size -= len(piece)


class Writer(threading.Thread):
    """Writes a flow to a pipe until told to stop, and bounded by itself. `written`: how much of it went in."""

    def __init__(self, fd: int, flow: Flow, most: int) -> None:
        super().__init__(name="writer")
        self.fd = fd
        self.flow = flow
        self.most = most
        self.written = 0
        self.stop = threading.Event()

    def run(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the campaign broke off
            for piece in self.flow.pieces():
                if self.stop.is_set() or self.written >= self.most:
                    break
                view = memoryview(piece)
                while view:
                    count = os.write(self.fd, view)
                    self.written += count
                    view = view[count:]
        os.close(self.fd)


class Pipes(NamedTuple):
    """What a pump gets for one run."""

    run: bytes
    directory: str
    out: int
    err: int


class _AskedError(BaseException):
    """SIGTERM: this pump is to give its runs back, as at daemon-reexec."""


def _asked(_signal: int, _frame: FrameType | None) -> None:
    raise _AskedError


def pump(note: str, relay: tuple[int, int] | None, runs: list[Pipes]) -> None:
    """What the daemon does with its pump, and no more; until all streams are at their end."""
    woken = threading.Event()
    started = False
    worker = None
    try:
        signal.signal(signal.SIGTERM, _asked)
        worker = Pump(woken.set, relay=None if relay is None else Relay(*relay, note))
        worker.start()
        for one in runs:
            worker.add(one.run, Path(one.directory), one.out, one.err)
        started = True
        ended = 0
        while ended < len(runs):
            woken.wait(WAKE_SEC)
            woken.clear()
            ended += sum(notice.kind == "eof" for notice in worker.take())
        worker.stop()
    except _AskedError:
        if started and worker is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            worker.release_all()


class Pumps:
    """The campaign's side of the program below: one pump at a time."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours

    def start(self, note: str, relay: tuple[int, int] | None, runs: list[Pipes]) -> int:
        """Fork a pump; its pid, which stays its own until `reap`."""
        fds = [*(relay or ()), *(fd for one in runs for fd in (one.out, one.err))]
        words = {"note": note, "relay": relay is not None, "runs": [(one.run.hex(), one.directory) for one in runs]}
        socket.send_fds(self._socket, [json.dumps(words).encode()], fds)
        return int(self._socket.recv(MESSAGE_BYTES))

    def reap(self) -> int:
        """Wait for the end of the pump; its status as of waitpid(2)."""
        self._socket.send(b"{}")
        return int(self._socket.recv(MESSAGE_BYTES))


def main(name: str) -> None:
    ours = socket.socket(fileno=int(name))
    child = 0
    while True:
        data, fds, _, _ = socket.recv_fds(ours, MESSAGE_BYTES, 16)
        if not data:
            return
        words = json.loads(data)
        if not words:
            ours.send(str(os.waitpid(child, 0)[1]).encode())
            continue
        child = os.fork()
        if child == 0:
            ours.close()
            status = 1
            try:
                relay = (fds.pop(0), fds.pop(0)) if words["relay"] else None
                pairs = zip(fds[::2], fds[1::2], strict=True)
                runs = [
                    Pipes(bytes.fromhex(run), directory, *pair)
                    for (run, directory), pair in zip(words["runs"], pairs, strict=True)
                ]
                pump(words["note"], relay, runs)
                status = 0
            finally:
                os._exit(status)
        for fd in fds:
            os.close(fd)
        ours.send(str(child).encode())


if __name__ == "__main__":
    main(sys.argv[1])
