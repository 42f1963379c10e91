"""A daemon of a few lines for the clients' tests: it listens on a real socket and says what a script tells it to.

A script is a function that gets the connection (the number of it, from 0) and serves it. Everything runs in threads,
with a deadline on every receive, so that it serves the trio client and the blocking one alike.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from jobd.wire import codec, frames
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_SEC = 20


class Peer:
    """One accepted connection, as the daemon sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self._buffer = frames.FrameBuffer()

    def receive(self) -> m.Request:
        """The next request. Raises EOFError when the client has gone."""
        while (body := self._buffer.next()) is None:
            data = self.sock.recv(65_536)
            if not data:
                raise EOFError
            self._buffer.feed(data)
        message = codec.decode_client(body)
        if isinstance(message, m.Hello):
            return self.receive()
        return message

    def send(self, *messages: m.FromDaemon) -> None:
        self.sock.sendall(b"".join(map(codec.encode, messages)))

    def hello(self) -> None:
        self.send(m.Hello(version=m.PROTOCOL_VERSION, software="fake 1", uid=os.geteuid(), gid=0, pid=os.getpid()))


class FakeDaemon:
    """Serves each connection with `script` in a thread of its own. A context manager; failures of scripts surface."""

    def __init__(self, path: Path, script: Callable[[Peer], None], *, greets: bool = True) -> None:
        self.path = str(path)
        self.failures: list[BaseException] = []
        self._script = script
        self._greets = greets
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(16)

    @property
    def connections(self) -> int:
        return len(self._socks)

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(DEADLINE_SEC)
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_SEC)
            assert not thread.is_alive()
        for sock in self._socks:
            sock.close()
        self._listener.close()
        if self.failures and exc[0] is None:
            raise self.failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(DEADLINE_SEC)
            peer = Peer(sock, len(self._socks))
            self._socks.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(peer,)))
            self._threads[-1].start()

    def _serve(self, peer: Peer) -> None:
        try:
            if self._greets:
                peer.hello()
            self._script(peer)
        except (EOFError, ConnectionError):
            pass
        except BaseException as e:
            self.failures.append(e)
        finally:
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)


RUN = bytes(range(16))
NEXT = bytes(range(1, 17))


def view(run: bytes = RUN, result: str = "success", **fields: object) -> m.RunView:
    plain: dict[str, object] = {
        "seq": 1, "job": "web", "owner": 0, "run": run, "number": 1, "state": "finished", "result": result
    }  # fmt: skip
    return m.RunView(**{**plain, **fields})  # type: ignore[arg-type]  # each test gives what it means


def output(id: int, data: bytes, offset: int, *, stream: int = 1, run: bytes = RUN) -> m.Item:  # noqa: A002
    body = m.Output(run=run, stream=stream, offset=offset, wall=1_000 + offset, mono=offset, data=data)
    return m.Item(id=id, body=body)


def log_run(id: int, run: bytes = RUN, number: int = 1, **fields: int) -> m.Item:  # noqa: A002
    return m.Item(id=id, body=m.LogRun(job="web", owner=0, run=run, number=number, **fields))


def started(id: int, run: bytes, **fields: object) -> m.Reply:  # noqa: A002
    plain: dict[str, object] = {"job": "true-1", "owner": os.geteuid(), "run": run, "number": 1, "pid": 4711}
    return m.Reply(id=id, body=m.Started(**{**plain, **fields}))  # type: ignore[arg-type]  # as in view


def answer(peer: Peer, *, times: int = 1_000) -> None:
    """Plain answers to plain requests."""
    for _ in range(times):
        request = peer.receive()
        match request:
            case m.Run():
                peer.send(started(request.id, request.run))
            case m.Get():
                peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[m.JobView(job=n, owner=0) for n in request.names])))
            case m.Wait():
                for run in request.runs:
                    peer.send(m.Item(id=request.id, body=m.Ended(run=view(run))))
                peer.send(m.End(id=request.id))
            case m.Start() | m.Stop() | m.Restart() | m.Kill() | m.Freeze() | m.Thaw():
                for name in request.names:
                    peer.send(m.Item(id=request.id, body=m.Done(job=name)))
                peer.send(m.End(id=request.id))
            case m.Cancel():
                pass
            case _:
                raise AssertionError(request)
