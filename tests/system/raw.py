"""A client of a few lines that speaks the protocol as documented, for what the real clients never send."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import codec, frames
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

TIMEOUT_SEC = 60.0


class Raw:
    """One connection. Requests go out as they are; answers come back as messages."""

    def __init__(self, path: Path | str, *, hello: bool = True) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self._buffer = frames.FrameBuffer()
        self._last_id = 0
        try:
            self.sock.connect(str(path))  # with a timeout it would not wait in line when many connect at once
            self.sock.settimeout(TIMEOUT_SEC)
            if hello:
                self.send(m.Hello(version=m.PROTOCOL_VERSION, software="test 0"))
                assert isinstance(self.receive(), m.Hello)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def send(self, *messages: m.FromClient) -> None:
        self.sock.sendall(b"".join(map(codec.encode, messages)))

    def receive(self) -> m.FromDaemon:
        """The next message. Raises EOFError when the daemon has closed."""
        while (body := self._buffer.next()) is None:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError("the daemon has closed the connection")
            self._buffer.feed(data)
        return codec.decode_daemon(body)

    def drain(self) -> list[m.FromDaemon]:
        """Everything that still comes, until the daemon has closed."""
        messages = []
        while True:
            try:
                messages.append(self.receive())
            except (EOFError, ConnectionResetError):
                return messages

    def ask(self, request: m.Request) -> m.Reply | m.Fault:
        """Send a request that has one answer, and return it."""
        self.send(request)
        answer = self.receive()
        assert isinstance(answer, m.Reply | m.Fault), answer
        return answer

    def items(self, request: m.Request) -> Iterator[m.AnyBody]:
        """Send a request that is answered by items; an AssertionError when it ends with a fault."""
        self.send(request)
        while not isinstance(answer := self.receive(), m.End):
            assert isinstance(answer, m.Item), answer
            yield answer.body

    def run(
        self,
        argv: Sequence[bytes],
        *,
        name: str | None = None,
        run: bytes | None = None,
        env: Mapping[bytes, bytes] | None = None,
        exec_wait: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> m.Reply | m.Fault:
        """Submit a command in the current directory; `env` None is ours."""
        entries = os.environb if env is None else env
        return self.ask(
            m.Run(
                id=self.next_id(),
                run=run or new_run_id(),
                argv=list(argv),
                env=[key + b"=" + value for key, value in entries.items()],
                cwd=os.fsencode(os.getcwd()),
                name=name,
                exec_wait=exec_wait,
                settings=dict(settings or {}),
            )
        )

    def wait(self, *runs: bytes) -> dict[bytes, m.RunView]:
        """Wait for the end of runs; their last states by id."""
        ended = [
            body.run for body in self.items(m.Wait(id=self.next_id(), runs=list(runs))) if isinstance(body, m.Ended)
        ]
        return {view.run: view for view in ended}


def started(answer: m.Reply | m.Fault) -> m.Started:
    """The Started that a run's reply carries; an AssertionError for anything else."""
    assert isinstance(answer, m.Reply), answer
    assert isinstance(answer.body, m.Started), answer
    return answer.body


def fault(answer: m.Reply | m.Fault) -> m.Fault:
    assert isinstance(answer, m.Fault), answer
    return answer
