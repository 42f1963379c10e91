"""A run in the foreground, for a fake daemon: it takes input, gives output, and dies where a test says so."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.jobctl.fakes import DEADLINE_SEC, FakeDaemon, HangupError, frame, jobctl_command, output_frame, run_view

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.jobctl.fakes import Answer

OUT, ERR = 1, 2
JOB = "cat-1"
Hook = Callable[[m.Request], None]


class FakeRun:
    """A run, whatever connections ask about it. `cat` gives back what it is fed, and ends with its input.

    Attributes:
        received: all of the input, in order, each byte once.
        hook: called with each request first; what it raises ends the connection.
        cut_in, cut_out: a connection ends when it has brought so many bytes of input or output.
    """

    def __init__(
        self, *, cat: bool = True, credit: int = 1 << 20, stdin: str = "pipe", hook: Hook | None = None
    ) -> None:
        self.changed = threading.Condition()
        self.received = bytearray()
        self.output = {OUT: bytearray(), ERR: bytearray()}
        self.eof = False
        self.ended: m.RunView | None = None
        self.run = b""
        self.stdin = stdin
        self.is_open = True
        self.credit = credit
        self.hook = hook
        self.cut_in = self.cut_out = 1 << 60
        self.step = ""
        self.waits = ""  # what it waits for, as the answer to its submission has it
        self._cat = cat
        self._mine = threading.local()  # of one connection: the ids of its requests, and what it has brought
        self._feeder: socket.socket | None = None  # the connection of the newest Attach
        self._waiting: list[tuple[socket.socket, int]] = []  # who is to be told the end
        self.is_over = False  # the test is

    # --- what happens to it ---------------------------------------------------------------------------------------
    def write(self, data: bytes, stream: int = OUT) -> None:
        with self.changed:
            self.output[stream] += data
            self.changed.notify_all()

    def end(self, **fields: object) -> None:
        """The run ends."""
        with self.changed:
            self.ended = run_view(JOB, run=self.run, **fields)
            self.changed.notify_all()
            waiting, self._waiting = self._waiting, []
        for connection, number in waiting:
            with contextlib.suppress(OSError):
                connection.sendall(frame(m.Item(id=number, body=m.Ended(run=self.ended))) + frame(m.End(id=number)))

    def give_up(self) -> None:
        """Let go of every thread that waits for something."""
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def here(self, connection: socket.socket) -> None:
        """The requests of this thread are this connection's."""
        self._mine.connection = connection

    def await_(self, what: Callable[[], bool]) -> None:
        """Wait in the thread of a connection, which holds `changed`; the end of the test ends that."""
        there = self.changed.wait_for(lambda: self.is_over or what(), DEADLINE_SEC)
        if self.is_over:
            raise HangupError
        assert there, "nothing came"

    # --- what it is asked -----------------------------------------------------------------------------------------
    def __call__(self, request: m.Request) -> Answer:
        if self.hook is not None:
            self.hook(request)
        match request:
            case m.Run() | m.Rerun():
                yield self._start(request)
            case m.Attach():
                yield from self._attach(request)
            case m.Input():
                yield from self._input(request)
            case m.Wait():
                yield from self._wait(request)
            case m.Logs():
                yield from self._logs(request)
            case m.CloseOutput():
                yield m.Reply(id=request.id, body=m.Ok())
                self.end(exit_code=None, signal=13, result="signal")
            case m.Kill():
                yield m.Item(id=request.id, body=m.Done(job=JOB))
                yield m.End(id=request.id)
                self.end(exit_code=None, signal=request.signal, result="signal")
            case m.Resize():
                return
            case _:
                raise AssertionError(request)

    def _start(self, request: m.Run | m.Rerun) -> m.Reply:
        self.run = request.run if isinstance(request, m.Run) else request.new
        errno = 2 if self.step else 0
        body = m.Started(
            job=JOB, owner=os.geteuid(), run=self.run, number=1, step=self.step, errno=errno, waits=self.waits
        )
        return m.Reply(id=request.id, body=body)

    def _wait(self, request: m.Wait) -> Answer:
        with self.changed:
            if self.ended is None:
                self._waiting.append((self._mine.connection, request.id))
                return
        yield m.Item(id=request.id, body=m.Ended(run=self.ended))
        yield m.End(id=request.id)

    def _state(self) -> tuple[int, int]:
        return len(self.received), len(self.received) + self.credit

    def _attach(self, request: m.Attach) -> Answer:
        with self.changed:
            self._feeder = self._mine.connection
            received, limit = self._state()
        self._mine.attach = request.id
        self._mine.brought = 0
        body = m.Attached(
            job=JOB, owner=os.geteuid(), run=request.run, number=1, stdin=self.stdin, received=received, limit=limit,
            open=self.is_open,
        )  # fmt: skip
        yield m.Item(id=request.id, body=body)

    def _input(self, request: m.Input) -> Answer:
        assert request.request == self._mine.attach
        with self.changed:
            if self._feeder is not self._mine.connection:
                return  # of a connection that was lost on the way
            assert request.offset <= len(self.received), "a gap"
            assert request.offset + len(request.data) <= self._state()[1], "beyond the limit"
            fresh = request.data[len(self.received) - request.offset :]
            self._mine.brought += len(fresh)
            self.received += fresh
            if self._cat:
                self.write(fresh)
            if request.eof:
                self.eof, self.is_open = True, False
        if request.eof and self._cat:
            self.end()
        if self._mine.brought > self.cut_in:
            raise HangupError
        received, limit = self._state()
        yield m.Item(id=self._mine.attach, body=m.Fed(received=received, limit=limit, open=self.is_open))

    def _logs(self, request: m.Logs) -> Answer:
        assert request.follow
        assert request.one_run
        stream, at = (OUT, request.out_from) if request.stdout else (ERR, request.err_from)
        brought = 0
        yield m.Item(id=request.id, body=m.LogRun(job=JOB, owner=0, run=self.run, number=1))
        while True:
            with self.changed:
                self.await_(lambda at=at: len(self.output[stream]) > at or self.ended is not None)  # type: ignore[misc]
                data = bytes(self.output[stream][at : at + 100_000])
            if not data:
                break
            frame = output_frame(request.id, self.run, stream, at, data)
            if brought + len(data) > self.cut_out:
                yield frame[: max(1, self.cut_out - brought)]  # in the middle
                raise HangupError
            yield frame
            at += len(data)
            brought += len(data)
        yield m.End(id=request.id)


class RunDaemon(FakeDaemon):
    """A daemon of one run."""

    def __init__(self, directory: Path, run: FakeRun) -> None:
        self.run = run
        super().__init__(directory, run)

    def _serve(self, connection: socket.socket) -> None:
        self.run.here(connection)
        super()._serve(connection)

    def close(self) -> None:
        self.run.give_up()
        super().close()


class Client:
    """A jobctl that is under way, on pipes."""

    def __init__(self, path: str, *args: str, ignoring: int = 0) -> None:
        prepare = (lambda: signal.signal(ignoring, signal.SIG_IGN)) if ignoring else None
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            jobctl_command(path, *args), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, preexec_fn=prepare
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdin, self.stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr
        self.signal = self.process.send_signal

    def status(self) -> int:
        return self.process.wait(DEADLINE_SEC)

    def close(self) -> None:
        self.process.kill()
        for file in (self.stdin, self.stdout, self.stderr):
            file.close()
        self.process.wait()
