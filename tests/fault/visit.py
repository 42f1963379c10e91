"""What a client does while one fault happens: submits, stops, waits, reads, lists and removes, and asks again when a
daemon dies over an answer, as the documented protocol allows. It notes what it was told, and how long that took.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fault import work
from tests.fault.asking import DEAD, observed
from tests.fault.load import work_command
from tests.system.program import DEADLINE_SEC, Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fault.checker import Observed

T = TypeVar("T")
TRIES = 3  # one call fails once; what is asked again works


class Told(NamedTuple):
    """What jobd told of one run. `plan` is None for the one that sleeps until it is stopped."""

    run: str
    plan: work.Plan | None
    refused: str  # the words with which its submission was refused, "" when it was accepted
    seen: Observed | None  # None: history does not know it


class Visit:
    """A client of one jobd, which comes once for each fault."""

    def __init__(self, program: Program, seed: int, *, may_fail: bool = False) -> None:
        self._program = program
        self._tries = TRIES if may_fail else 1  # of a request that is answered with a fault
        self._seed = seed
        self._raw: Raw | None = None
        self._count = 0
        self._env = {b"JOBD_TEST_MARK": program.mark.encode(), b"PATH": b"/usr/bin:/bin"}
        self.ledger = program.root / "ledger"
        self.ledger.touch()
        self.longest_sec = 0.0  # of one answer
        self.errors: list[str] = []  # what no client should see

    def close(self) -> None:
        if self._raw is not None:
            self._raw.sock.close()
            self._raw = None

    def come(self) -> list[Told]:
        """One visit, to its end. Returns what was told of its runs, of which nothing is left after that."""
        index, self._count = self._count, self._count + 1
        self.longest_sec = 0.0
        run, sleeper = new_run_id(), new_run_id()
        words = work_command(self._seed, index, self.ledger, run)
        refused = {
            run: self._submit(run, f"work-{index}", words),
            sleeper: self._submit(sleeper, f"sleep-{index}", [b"sleep", b"1000"]),
        }
        if not refused[sleeper]:
            self._each(lambda raw: m.Stop(id=raw.next_id(), names=[f"sleep-{index}"], runs=[sleeper]))
        self._answer(lambda raw: raw.ask(m.DaemonStatus(id=raw.next_id())))
        found = {each: self._observe(each) for each in (run, sleeper)}
        plans = {run: work.Plan(self._seed, index), sleeper: None}
        names = [f"work-{index}", f"sleep-{index}"]
        self._each(lambda raw: m.Remove(id=raw.next_id(), names=names, runs=[run, sleeper], purge=True))
        return [Told(each.hex(), plan, refused[each], found[each]) for each, plan in plans.items()]

    # --- requests ---------------------------------------------------------------------------------------------------
    def _answer(self, act: Callable[[Raw], T]) -> T:
        """What `act` returns, from the daemon that lives to say it."""
        began = time.monotonic()
        while True:
            try:
                self._raw = self._raw or Raw(self._program.socket)
                answer = act(self._raw)
            except DEAD:
                self.close()  # its daemon is dead: ask the next
                if time.monotonic() - began > DEADLINE_SEC:
                    raise
                continue
            self.longest_sec = max(self.longest_sec, time.monotonic() - began)
            return answer

    def _each(self, request: Callable[[Raw], m.Request]) -> list[m.AnyBody]:
        """All items that answer a request; a fault is an error of the visit."""
        return self._whole(lambda raw: list(raw.items(request(raw)))) or []

    def _whole(self, act: Callable[[Raw], T]) -> T | None:
        """What `act` returns; a fault in its place is an error of the visit, unless asking again helps."""
        for left in reversed(range(self._tries)):
            try:
                return self._answer(act)
            except AssertionError as e:
                self.close()
                if not left:
                    self.errors.append(str(e))
        return None

    def _submit(self, run: bytes, name: str, argv: list[bytes]) -> str:
        answer = self._answer(lambda raw: raw.run(argv, run=run, env=self._env, name=name))
        return f"{answer.code}: {answer.message}" if isinstance(answer, m.Fault) else ""

    def _observe(self, run: bytes) -> Observed | None:
        """The last state of a run, and both its streams."""
        began = self.longest_sec
        ended = self._whole(lambda raw: _wait(raw, run))
        self.longest_sec = began  # a run takes its time
        if ended is None:
            return None
        return self._whole(lambda raw: observed(raw, ended))


def _wait(raw: Raw, run: bytes) -> m.RunView | None:
    """The run's end; None when there is no such run."""
    raw.send(m.Wait(id=raw.next_id(), runs=[run]))
    found = None
    while isinstance(answer := raw.receive(), m.Item):
        if isinstance(answer.body, m.Ended):
            found = answer.body.run
    assert isinstance(answer, m.End) or (isinstance(answer, m.Fault) and answer.code == errors.NOT_FOUND), answer
    return found
