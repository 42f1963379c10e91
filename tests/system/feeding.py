"""A client that feeds a run over raw frames, and comes back where it was after its connection was lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.system.raw import TIMEOUT_SEC, Raw, started

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobd.wire.fields import Window


class Feeder:
    """One Attach, over as many connections as it takes."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.raw = Raw(path)
        self.run = b""
        self.attach = 0
        self.received = 0
        self.limit = 0
        self.open = False
        self.taken = False
        self.ended = False
        self.losses = 0

    def start(self, argv: Sequence[bytes], name: str, stdin: str = "pipe", window: Window | None = None) -> bytes:
        self.run = new_run_id()
        request = m.Run(
            id=self.raw.next_id(),
            run=self.run,
            argv=list(argv),
            env=[key + b"=" + value for key, value in os.environb.items()],
            cwd=os.fsencode(os.getcwd()),
            name=name,
            stdin=stdin,  # type: ignore[arg-type]  # one of the words
            window=window,
        )
        assert not started(self.raw.ask(request)).step
        return self.run

    def begin(self, run: bytes, *, window: Window | None = None) -> m.Attached:
        """Attach to a run."""
        self.run = run
        self.attach = self.raw.next_id()
        self.raw.send(m.Attach(id=self.attach, run=run, window=window))
        answer = self.raw.receive()
        assert isinstance(answer, m.Item), answer
        assert isinstance(answer.body, m.Attached)
        self.received, self.limit, self.open = answer.body.received, answer.body.limit, answer.body.open
        return answer.body

    def send(self, data: bytes, offset: int, *, eof: bool = False) -> None:
        self.raw.send(m.Input(id=self.raw.next_id(), request=self.attach, offset=offset, data=data, eof=eof))

    def take(self) -> None:
        """The next answer to our Attach."""
        answer = self.raw.receive()
        if isinstance(answer, m.End):
            self.ended = True
            return
        assert isinstance(answer, m.Item), answer
        assert isinstance(answer.body, m.Fed)
        self.received, self.limit = answer.body.received, answer.body.limit
        self.open, self.taken = answer.body.open, answer.body.taken

    def feed(self, data: bytes, block: int = m.MAX_INPUT_BYTES) -> None:
        """All of `data` and its end, whatever happens to the daemon meanwhile."""
        sent = self.received
        ended = False
        while not (ended and self.received == len(data)) and not self.ended:
            try:
                if not ended and sent < min(len(data), self.limit):
                    end = min(sent + block, self.limit, len(data))
                    self.send(data[sent:end], sent)
                    sent = end
                elif not ended and sent == len(data):
                    self.send(b"", sent, eof=True)
                    ended = True
                else:
                    self.take()
            except (EOFError, ConnectionError):
                self.losses += 1
                self.again()
                sent, ended = self.received, False

    def again(self) -> None:
        """Connect and attach once more; the socket outlives the daemon, so that this merely waits."""
        while True:
            self.raw.sock.close()
            try:
                self.raw = Raw(self.path)
                self.raw.sock.settimeout(TIMEOUT_SEC)
                self.begin(self.run)
                return
            except (EOFError, ConnectionError):
                continue
