"""How a campaign asks jobd, whichever daemon there is to answer, and reads what it says of the past."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.wire import messages as m
from tests.fault.checker import Observed
from tests.system.program import DEADLINE_SEC
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.system.program import Program

WAIT_CHUNK: Final = 200  # runs in a request, of which a frame holds some thousands
PAGE: Final = 1000  # runs of history in an answer: as many as there may be
DEAD: Final = (EOFError, ConnectionResetError, BrokenPipeError)  # a daemon that has died over a question


class Client:
    """Asks until there is an answer, of whichever daemon. `errors`: the faults among the answers."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.errors: list[str] = []
        self._raw: Raw | None = None

    def ask(self, request: m.Request) -> list[m.AnyBody]:
        """The answer's bodies. The request's id is chosen here."""
        end = time.monotonic() + DEADLINE_SEC
        while time.monotonic() < end:
            try:
                self._raw = self._raw or Raw(self.program.socket)
                return self._answer(self._raw, replace(request, id=self._raw.next_id()))
            except DEAD:
                self.close()
        raise AssertionError("no daemon answers")

    def _answer(self, raw: Raw, request: m.Request) -> list[m.AnyBody]:
        raw.send(request)
        found = []
        while True:
            answer = raw.receive()
            if isinstance(answer, m.Fault):
                self.errors.append(f"{type(request).__name__}: {answer.code}: {answer.message}")
            elif isinstance(answer, m.Reply | m.Item):
                found.append(answer.body)
            if not isinstance(answer, m.Item):
                return found

    def wait(self, runs: Sequence[bytes]) -> Iterator[m.RunView]:
        """These runs, each once it has ended."""
        for at in range(0, len(runs), WAIT_CHUNK):
            for body in self.ask(m.Wait(id=0, runs=list(runs[at : at + WAIT_CHUNK]))):
                if isinstance(body, m.Ended):
                    yield body.run

    def close(self) -> None:
        if self._raw is not None:
            self._raw.sock.close()
            self._raw = None


def history(raw: Raw, jobs: Sequence[str] = (), page: int = PAGE) -> Iterator[m.RunView]:
    """All runs, or those of some jobs, the newest first. Raises RuntimeError with what jobd says when it cannot."""
    before = None
    while True:
        answer = raw.ask(m.History(id=raw.next_id(), jobs=list(jobs), limit=page, before=before))
        if isinstance(answer, m.Fault):
            raise RuntimeError(answer.message)
        assert isinstance(answer.body, m.Runs), answer
        yield from answer.body.runs
        before = answer.body.more
        if before is None:
            return


def streams(raw: Raw, job: str, run: bytes) -> dict[int, bytes]:
    """What a run has written, by stream."""
    found = {1: b"", 2: b""}
    for body in raw.items(m.Logs(id=raw.next_id(), jobs=[job], run=run.hex())):
        if isinstance(body, m.Output):
            assert body.offset == len(found[body.stream]), "a gap in the logs"
            found[body.stream] += body.data
    return found


def observed(raw: Raw, view: m.RunView) -> Observed:
    """What jobd says of a run, with both streams."""
    out = streams(raw, view.job, view.run)
    return Observed(view.state, view.result, view.exit_code, view.signal, out[1], out[2])


def observe(program: Program, runs: Sequence[str]) -> dict[str, Observed]:
    """What jobd says of these runs once they have ended."""
    found: dict[str, Observed] = {}
    with Raw(program.socket) as raw:
        for start in range(0, len(runs), WAIT_CHUNK):
            chunk = [bytes.fromhex(run) for run in runs[start : start + WAIT_CHUNK]]
            found |= {run.hex(): observed(raw, view) for run, view in raw.wait(*chunk).items()}
    return found
