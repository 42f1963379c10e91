"""What a person sees while runs are waited for: how long they have been running, and how long they usually take.

The estimate for a run is the median of its job's last successful runs of the same command. That for a batch is made of
how fast its runs have been ending; until some have, of how long such runs took in the past, and how many of its queue
run at once. All this is asked for once the wait has lasted, beside it and on its connection; an answer that is a
refusal is no answer, and the wait goes on without. Of thousands of runs only the first few that are left are asked
about, and that no more often than once a second.
"""

from __future__ import annotations

import time
from itertools import islice

from jobctl import terminal
from jobctl.exits import GOOD_RESULTS, why
from jobctl.names import shown_name
from jobctl.progress import SHOWN_NAMES, USEC, Ticker, listed, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.shapes import Body, RunView
    from jobctl.shapes_queues import QueueView

PAST_RUNS = 20  # of which the median is taken
LOOKED_AT = 100  # runs of jobs named for the same program, of which those of the same command are taken
RATE_OF = 3  # runs that have to end before the pace of a batch is known
REDRAW_SEC = 0.1  # a person reads no faster, and a terminal far away need not show a thousand lines a second
FAILURES = 20  # that are shown one by one; jobctl history --state failed has them all
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
        self._asks = 0  # since the last tick, about runs
        self._failed = 0
        self._pace = Pace(self._total)
        self._width: int | None = None  # how many of the queue run at once
        self._drawn = 0.0  # when, of time.monotonic

    def ended(self, run: RunView) -> None:
        """This one need not be waited for any more."""
        self._left.pop(run["run"], None)
        self._pace.ended(run)
        if run.get("result") not in GOOD_RESULTS:
            self._failed += 1
            self._tell(run)
        if self._ticks and self._left:
            self._ask()
            if time.monotonic() - self._drawn > REDRAW_SEC:
                self.draw()

    def connected_again(self) -> None:
        """What was asked on the lost connection will be asked anew."""
        for awaited in self._left.values():
            awaited.asked = awaited.view = None

    def tick(self) -> None:
        """Ask about those that are shown and not known, and write the line anew."""
        self._ask()
        self._asks = 0
        self._ticks += 1
        super().tick()

    def end(self) -> None:
        """The wait is over: say how a batch went that somebody has been watching."""
        super().end()
        if self._ticks and self._total > 1 and not self._left:
            terminal.note(f"{self._total} ended in {self.elapsed()}{self._failures()}")

    def _tell(self, run: RunView) -> None:
        """Say at once that one of several has failed; what has no status of its own is told of at the end."""
        if self._total == 1 or self._any_one or why(run) or self._failed > FAILURES:
            return
        from jobctl.status_text import exit_words

        self.clear()
        name = shown_name(run["job"], run["owner"], self.client.uid)
        words = exit_words(run)  # type: ignore[arg-type]  # it has the fields of a view that are looked at
        terminal.note(f"{name}#{run['number']} has failed: {run.get('result')}, {words}")

    def _failures(self) -> str:
        return f", {self._failed} failed" if self._failed else ""

    # --- asking ---------------------------------------------------------------------------------------------------
    def _ask(self) -> None:
        for run, awaited in list(islice(self._left.items(), SHOWN_NAMES)):
            changes = awaited.view is None or awaited.is_queued()
            again = awaited.asked is not None and changes and self._ticks - awaited.asked >= QUEUED_TICKS
            if again or (awaited.asked is None and self._asks < SHOWN_NAMES):
                awaited.asked = self._ticks
                self._asks += 1
                self._resolve(run, awaited)

    def _resolve(self, run: bytes, awaited: Awaited) -> None:
        self.client.ask_aside({"type": "resolve", "run": run.hex()}, lambda body: self._found(awaited, body))

    def _found(self, awaited: Awaited, body: Body) -> None:
        first = awaited.view is None
        awaited.view = body["runs"][0]
        awaited.name = shown_name(awaited.view["job"], awaited.view["owner"], self.client.uid)
        if first and not self._pace.is_known():
            self._ask_past(awaited, awaited.name, PAST_RUNS)
            self._ask_width(awaited.view.get("queue", ""))
        if all(each.view is not None for each in self._first() if each.asked is not None):
            self.draw()

    def _first(self) -> list[Awaited]:
        """Those that may be named."""
        return list(islice(self._left.values(), SHOWN_NAMES))

    def _ask_width(self, queue: str) -> None:
        if self._total > SHOWN_NAMES and queue:
            self.client.ask_aside({"type": "queue-list", "patterns": [queue]}, lambda body: self._wide(body["queues"]))

    def _wide(self, queues: list[QueueView]) -> None:
        self._width = queues[0].get("running") if len(queues) == 1 else None

    def _ask_past(self, awaited: Awaited, jobs: str, limit: int) -> None:
        request = {"type": "history", "jobs": [jobs], "states": ["success"], "limit": limit}
        self.client.ask_aside(request, lambda body: self._estimate(awaited, jobs, body["runs"]))

    def _estimate(self, awaited: Awaited, jobs: str, past: list[RunView]) -> None:
        assert awaited.view is not None
        command = awaited.view.get("argv")
        awaited.usual = median([took for run in past if run.get("argv") == command and (took := duration(run))])
        if awaited.usual is None and jobs != awaited.name and self._total > SHOWN_NAMES:
            # The commands of a batch have each a file of their own to work on, say: the same program will do.
            alike = [run for run in past if program(run) == program(awaited.view)]
            awaited.usual = median([took for run in alike if (took := duration(run))])
        base, dash, number = awaited.name.partition("@")[0].rpartition("-")
        if awaited.usual is None and jobs == awaited.name and dash and number.isdecimal():
            self._ask_past(awaited, f"{base}-*", LOOKED_AT)  # make-3 has no past, but make-1 and make-2 are one
        self.draw()

    # --- showing --------------------------------------------------------------------------------------------------
    def draw(self) -> None:
        """Write the line, once one is due and something is known."""
        known = [awaited for awaited in self._left.values() if awaited.view is not None]
        if not self._ticks or not known:
            return
        self._drawn = time.monotonic()
        if self._total == 1:
            self.show(f"waiting for {one(known[0], time.time_ns())}")
            return
        done = self._total - len(self._left)
        names = listed([awaited.name for awaited in known], len(self._left))
        head = f"{done} of {self._total} ended{self._failures()}; " if done else ""
        which = "the first of " if self._any_one else ""
        self.show(f"{head}waiting for {which}{names}", f": {self._left_text(known)}")

    def _left_text(self, known: list[Awaited]) -> str:
        """How long it has been, and how long it will be as far as that is known."""
        left = self._usec_left(known)
        return f"{self.elapsed()}, about {about(left)} left" if left > 0 else self.elapsed()

    def _usec_left(self, known: list[Awaited]) -> int:
        """0 when nobody knows."""
        now = time.time_ns()
        if len(known) == len(self._left) and all(a.usual is not None and not a.is_queued() for a in known):
            left = [(a.usual or 0) - a.elapsed(now) for a in known]
            return max(0, min(left) if self._any_one else max(left))
        if self._any_one:
            return 0
        if self._pace.is_known():
            return self._pace.left(len(self._left))
        usual = median([a.usual for a in known if a.usual is not None])
        return len(self._left) * usual // self._width if usual and self._width else 0


class Pace:
    """How fast the runs of a batch end, those that had ended before anybody waited left out."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._began_ns = time.time_ns()
        self._began = self._last = time.monotonic()
        self._ended = 0

    def ended(self, run: RunView) -> None:
        """One has."""
        if (run.get("finished_at") or 0) >= self._began_ns:
            self._ended += 1
            self._last = time.monotonic()

    def is_known(self) -> bool:
        """Whether enough of them have. A few tell nothing."""
        return self._total > SHOWN_NAMES and self._ended >= RATE_OF

    def left(self, runs: int) -> int:
        """Microseconds until so many more have, counted from the last end, as between two the pace is the same."""
        each = (self._last - self._began) / self._ended
        return max(USEC, int((runs * each - (time.monotonic() - self._last)) * USEC))


def one(awaited: Awaited, now: int) -> str:
    """`make-3: 2min 3s of about 5min (41 %)`."""
    elapsed = awaited.elapsed(now)
    usual = awaited.usual
    if awaited.is_queued():
        assert awaited.view is not None
        text = f"queued for {seconds(elapsed)}" + (", held" if awaited.view.get("held") else "")
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


def program(run: RunView) -> bytes:
    """What a run executes, without its arguments."""
    return b"".join(run.get("argv", [])[:1])


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
