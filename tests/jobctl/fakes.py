"""A daemon made of answers: a thread on a Unix socket that speaks the protocol by msgspec."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from jobd.wire import frames
from jobd.wire import messages as m
from tests.system.program import BIN

if TYPE_CHECKING:
    from pathlib import Path

Answer: TypeAlias = Iterable[m.FromDaemon | bytes]
Script: TypeAlias = Callable[[m.Request], Answer]

RUN_ID = bytes(range(16))
DEADLINE_SEC = 20.0  # for a client process; far more than any needs
_decoder: msgspec.msgpack.Decoder[m.FromClient] = msgspec.msgpack.Decoder(m.FromClient)
_encoder = msgspec.msgpack.Encoder()


class HangupError(Exception):
    """Raised by a script to end the connection in the middle."""


def frame(message: m.FromDaemon) -> bytes:
    return frames.pack(_encoder.encode(message))


def output_frame(request: int, run: bytes, stream: int, offset: int, data: bytes, wall: int = 0) -> bytes:
    """An Output as the daemon sends it: its data last, as bin 32."""
    body = m.Item(id=request, body=m.Output(run=run, stream=stream, offset=offset, wall=wall, mono=0, data=b""))
    prefix = _encoder.encode(body)[:-2]
    return frames.pack(prefix + b"\xc6" + len(data).to_bytes(4, "big") + data)


class FakeDaemon:
    """Answers each request with what its script says. Keeps all requests."""

    def __init__(self, directory: Path, script: Script) -> None:
        self.path = str(directory / "jobd.sock")
        self.script = script
        self.requests: list[m.Request] = []
        self.hello = m.Hello(version=m.PROTOCOL_VERSION, software="fake", uid=os.geteuid())  # what it says first
        self.hellos: list[m.Hello] = []
        self.errors: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(DEADLINE_SEC)
        for connection in list(self._open):
            with_suppressed(connection)
        for thread in self._threads:
            thread.join(DEADLINE_SEC)
        if self.errors:
            raise self.errors[0]

    def send(self, data: bytes) -> None:
        """Send frames of the test's own on every connection, from outside a script."""
        for connection in list(self._open):
            connection.sendall(data)

    def hang_up(self) -> None:
        """End every connection, as a daemon that dies."""
        for connection in list(self._open):
            with_suppressed(connection)

    def of(self, kind: type[m.Message]) -> list[m.Request]:
        """The requests of one type."""
        return [request for request in self.requests if type(request) is kind]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = frames.FrameBuffer()
        try:
            connection.sendall(frame(self.hello))
            while data := connection.recv(1 << 16):
                buffer.feed(data)
                while (body := buffer.next()) is not None:
                    self._take(connection, _decoder.decode(body))
        except (OSError, HangupError):
            pass
        except BaseException as e:  # a script that fails must fail its test
            self.errors.append(e)
        finally:
            self._open.discard(connection)
            connection.close()

    def _take(self, connection: socket.socket, message: m.FromClient) -> None:
        if isinstance(message, m.Hello):
            self.hellos.append(message)
            return
        self.requests.append(message)
        for answer in self.script(message):
            connection.sendall(answer if isinstance(answer, bytes) else frame(answer))


def with_suppressed(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def table(**rows: Callable[[m.Request], m.AnyBody | Sequence[m.AnyBody] | m.Fault]) -> Script:
    """A script by message type (`get`, `list`, `run` …): one body is a Reply, a list are Items and an End."""

    def script(request: m.Request) -> Answer:
        name = type(request).__struct_config__.tag
        answer = rows[str(name).replace("-", "_")](request)
        if isinstance(answer, m.Fault):
            yield m.Fault(id=request.id, code=answer.code, message=answer.message, details=answer.details)
        elif isinstance(answer, (list, tuple)):
            for body in answer:
                yield m.Item(id=request.id, body=body)
            yield m.End(id=request.id)
        else:
            assert isinstance(answer, m.Body)
            yield m.Reply(id=request.id, body=answer)

    return script


def view(job: str = "web", **fields: object) -> m.JobView:
    """A job that runs."""
    usual: dict[str, object] = {
        "owner": os.geteuid(), "active": "active", "sub": "running", "pid": 1, "run": RUN_ID, "number": 1,
        "argv": [b"sleep", b"60"], "changed_at": 1_700_000_000_000_000_000, "started_at": 1_700_000_000_000_000_000,
    }  # fmt: skip
    return m.JobView(job=job, **{**usual, **fields})  # type: ignore[arg-type]


def missing(job: str) -> m.JobView:
    return m.JobView(job=job, owner=os.geteuid(), load="not-found")


def run_view(job: str = "web", **fields: object) -> m.RunView:
    """A run that has ended well."""
    usual: dict[str, object] = {
        "owner": os.geteuid(), "seq": 1, "run": RUN_ID, "number": 1, "state": "finished", "result": "success",
        "exit_code": 0, "queued_at": 10**18, "started_at": 10**18 + 10**6, "exited_at": 10**18 + 2 * 10**9,
        "finished_at": 10**18 + 2 * 10**9, "argv": [b"true"],
    }  # fmt: skip
    return m.RunView(job=job, **{**usual, **fields})  # type: ignore[arg-type]


def jobctl_command(path: str, *args: str | bytes) -> list[str | bytes]:
    """The command line of a jobctl that speaks to `path`."""
    return [str(BIN / "jobctl"), "--socket", path, *args]


def jobctl(path: str, *args: str | bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run jobctl to its end."""
    usual: dict[str, object] = {"capture_output": True, "timeout": DEADLINE_SEC, "check": False}
    command = jobctl_command(path, *args)
    result: subprocess.CompletedProcess[bytes] = subprocess.run(command, **{**usual, **options})  # type: ignore[call-overload]
    return result
