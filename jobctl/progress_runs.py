"""What a person sees while runs are waited for: how long they have been running, and how long they usually take.

The estimate is the median of the job's last successful runs of the same command. They are asked for once the wait has
lasted, beside it and on its connection; an answer that is a refusal is no answer, and the wait goes on without.
"""

from __future__ import annotations

import time

from jobctl.names import shown_name
from jobctl.progress import SHOWN_NAMES, USEC, Ticker, listed, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.shapes import Body, RunView

PAST_RUNS = 20  # of which the median is taken
LOOKED_AT = 100  # runs of jobs named for the same program, of which those of the same command are taken
QUEUED_TICKS = 5  # whether a queued run has begun is asked every so many seconds; a running one is not asked about
MINUTE, HOUR = 60 * USEC, 3600 * USEC
NS_PER_USEC = 1000
PERCENT = 100


class Awaited:
    """A run that is waited for, as far as it is known."""

    def __init__(self) -> None:
        self.view: RunView | None = None
        self.name = ""
        self.asked: int | None = None  # at which tick
        self.usual: int | None = None  # how long it usually takes, in microseconds

    def elapsed(self, now: int) -> int:
        """Microseconds since it began, or since it was accepted while it is queued."""
        view = self.view
        assert view is not None
        since = view.get("started_at") or view.get("queued_at") or now
        return max(0, now - since) // NS_PER_USEC

    def is_queued(self) -> bool:
        """Whether it has not begun."""
        return self.view is not None and self.view["state"] == "queued"


class Waiting(Ticker):
    """The line of `wait` and of `run --wait`."""

    def __init__(self, client: Client, runs: list[bytes], any_one: bool) -> None:
        super().__init__(client)
        self._left = {run: Awaited() for run in runs}
        self._total = len(runs)
        self._any_one = any_one
        self._ticks = 0

    def ended(self, run: bytes) -> None:
        """This one need not be waited for any more."""
        self._left.pop(run, None)
        if self._ticks:
            self._ask()
            self.draw()

    def connected_again(self) -> None:
        """What was asked on the lost connection will be asked anew."""
        for awaited in self._left.values():
            awaited.asked = awaited.view = None

    def tick(self) -> None:
        """Ask about those that are shown and not known, and write the line anew."""
        self._ask()
        self._ticks += 1
        super().tick()

    # --- asking ---------------------------------------------------------------------------------------------------
    def _ask(self) -> None:
        for run, awaited in list(self._left.items())[:SHOWN_NAMES]:
            changes = awaited.view is None or awaited.is_queued()
            if awaited.asked is None or (changes and self._ticks - awaited.asked >= QUEUED_TICKS):
                awaited.asked = self._ticks
                self._resolve(run, awaited)

    def _resolve(self, run: bytes, awaited: Awaited) -> None:
        self.client.ask_aside({"type": "resolve", "run": run.hex()}, lambda body: self._found(awaited, body))

    def _found(self, awaited: Awaited, body: Body) -> None:
        first = awaited.view is None
        awaited.view = body["runs"][0]
        awaited.name = shown_name(awaited.view["job"], awaited.view["owner"], self.client.uid)
        if first:
            self._ask_past(awaited, awaited.name, PAST_RUNS)
        self.draw()

    def _ask_past(self, awaited: Awaited, jobs: str, limit: int) -> None:
        request = {"type": "history", "jobs": [jobs], "states": ["success"], "limit": limit}
        self.client.ask_aside(request, lambda body: self._estimate(awaited, jobs, body["runs"]))

    def _estimate(self, awaited: Awaited, jobs: str, past: list[RunView]) -> None:
        assert awaited.view is not None
        command = awaited.view.get("argv")
        awaited.usual = median([took for run in past if run.get("argv") == command and (took := duration(run))])
        base, dash, number = awaited.name.rpartition("-")
        if awaited.usual is None and jobs == awaited.name and dash and number.isdecimal():
            self._ask_past(awaited, f"{base}-*", LOOKED_AT)  # make-3 has no past, but make-1 and make-2 are one
        self.draw()

    # --- showing --------------------------------------------------------------------------------------------------
    def draw(self) -> None:
        """Write the line, once one is due and something is known."""
        known = [awaited for awaited in self._left.values() if awaited.view is not None]
        if not self._ticks or not known:
            return
        if self._total == 1:
            self.show(f"waiting for {one(known[0], time.time_ns())}")
            return
        done = self._total - len(self._left)
        names = listed([awaited.name for awaited in known], len(self._left))
        head = f"{done} of {self._total} ended; " if done else ""
        which = "the first of " if self._any_one else ""
        self.show(f"{head}waiting for {which}{names}: {self._left_text(known)}")

    def _left_text(self, known: list[Awaited]) -> str:
        """How long it has been, and how long it will be if all that are left are known."""
        now = time.time_ns()
        if len(known) == len(self._left) and all(a.usual is not None and not a.is_queued() for a in known):
            left = [(a.usual or 0) - a.elapsed(now) for a in known]
            most = min(left) if self._any_one else max(left)
            if most > 0:
                return f"{self.elapsed()}, about {about(most)} left"
        return self.elapsed()


def one(awaited: Awaited, now: int) -> str:
    """`make-3: 2min 3s of about 5min (41 %)`."""
    elapsed = awaited.elapsed(now)
    usual = awaited.usual
    if awaited.is_queued():
        text = f"queued for {seconds(elapsed)}"
        return f"{awaited.name}: {text}" + (f", usually takes {about(usual)}" if usual else "")
    if usual is None:
        return f"{awaited.name}: {seconds(elapsed)}"
    if elapsed > usual:
        return f"{awaited.name}: {seconds(elapsed)}, usually {about(usual)}"
    return f"{awaited.name}: {seconds(elapsed)} of about {about(usual)} ({PERCENT * elapsed // usual} %)"


def about(usec: int) -> str:
    """A span as an estimate deserves it: to the second, from ten minutes to the minute."""
    if usec < USEC:
        return "1s"
    unit = USEC if usec < 10 * MINUTE else MINUTE
    return seconds((usec + unit // 2) // unit * unit)


def duration(run: RunView) -> int:
    """How long a run took, in microseconds; 0 when that is not known."""
    started, ended = run.get("started_at"), run.get("exited_at")
    return 0 if started is None or ended is None else max(0, ended - started) // NS_PER_USEC


def median(values: list[int]) -> int | None:
    """The one in the middle; None of none."""
    kept = sorted(values[:PAST_RUNS])
    if not kept:
        return None
    middle = len(kept) // 2
    return kept[middle] if len(kept) % 2 else (kept[middle - 1] + kept[middle]) // 2
