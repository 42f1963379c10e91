"""Load for campaigns: jobs that are submitted all the time, each of which the checker knows from its seed and index."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fault import work
from tests.fault.asking import DEAD
from tests.fault.background import Background
from tests.system.program import DEADLINE_SEC, Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

JOBS_PER_SEC: Final = 20.0  # a few runs are live at each kill; each costs two interpreters
CATCH_UP_SEC: Final = 1.0  # of submissions that come at once after a pause
AWAY: Final = (errors.UNAVAILABLE,)  # what a jobd answers that is ending
MAX_LIVE: Final = 60  # submitted and not known to have ended
LEDGER_LINE: Final = 33  # a run id in hex, and the end of the line


def work_command(seed: int, index: int, ledger: Path, run: bytes) -> list[bytes]:
    """The job whose plan is `work.Plan(seed, index)`."""
    words = (sys.executable, "-I", "-S", work.__file__, str(seed), str(index), ledger, run.hex())
    return [os.fsencode(word) for word in words]


class Load(Background):
    """Submits jobs while its block lasts; every submission is repeated under its run id until it is answered."""

    def __init__(self, program: Program, seed: int, *, goes_away: bool = False) -> None:
        """`goes_away`: now and then there is no jobd at all, and its clients wait for the next."""
        super().__init__("load")
        self.goes_away = goes_away
        self.gone = 0  # runs that will not execute any more, as somebody knows
        self.program = program
        self.seed = seed
        self.ledger = program.root / "ledger"
        self.plans: dict[str, work.Plan] = {}
        self.errors: list[str] = []
        self._next_at = time.monotonic()
        self._env = {b"JOBD_TEST_MARK": program.mark.encode(), b"PATH": b"/usr/bin:/bin"}

    def act(self) -> None:
        raw: Raw | None = None
        index = 0
        while not self.over.is_set():
            run = new_run_id()
            self.plans[run.hex()] = work.Plan(self.seed, index)
            raw = self._submit(raw, run, index)
            index += 1
            self._pace()
        if raw is not None:
            raw.sock.close()

    def _pace(self) -> None:
        """Wait for the time of the next; those whose time came while no daemon was there come at once."""
        self._next_at = max(self._next_at + 1 / JOBS_PER_SEC, time.monotonic() - CATCH_UP_SEC)
        self.over.wait(max(0.0, self._next_at - time.monotonic()))
        while not self.over.is_set() and len(self.plans) - self._executed() - self.gone > MAX_LIVE:
            self.over.wait(0.1)

    def _executed(self) -> int:
        return self.ledger.stat().st_size // LEDGER_LINE if self.ledger.exists() else 0

    def pardons(self, _: m.Fault) -> bool:
        """Whether a submission may be refused so."""
        return False

    def _submit(self, raw: Raw | None, run: bytes, index: int) -> Raw | None:
        words = work_command(self.seed, index, self.ledger, run)
        end = time.monotonic() + DEADLINE_SEC
        while time.monotonic() < end:
            try:
                raw = raw or Raw(self.program.socket)
                answer = raw.run(words, run=run, env=self._env, name=f"job-{index}")
            except DEAD:
                if raw is not None:
                    raw.sock.close()
                raw = None  # its daemon is dead: ask the next
                continue
            except OSError as e:
                if not (self.goes_away and isinstance(e, ConnectionRefusedError | FileNotFoundError)):
                    self.errors.append(f"job {index}: {e!r}")
                raw = None
                time.sleep(0.1)
                continue
            if isinstance(answer, m.Fault) and self.goes_away and answer.code in AWAY:
                raw.sock.close()
                raw = None
                time.sleep(0.05)
                continue
            if isinstance(answer, m.Fault):
                if not self.pardons(answer):
                    self.errors.append(f"job {index}: {answer.code}: {answer.message}")
                del self.plans[run.hex()]  # refused: if it runs all the same, it is a stranger
            return raw
        self.errors.append(f"job {index}: no answer in {DEADLINE_SEC:.0f} s")
        return None
