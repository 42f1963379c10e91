"""What the model of jobd is made of: plans, ends, runs, jobs and queues, and how clients see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

# What a job is: it waits at a gate until it is told how to end, or ends by itself at once, or there is no program.
GATE: Final = "gate"
MISSING: Final = "missing"
QUICK: Final = ("0", "3")  # kinds, which are exit statuses
KINDS: Final = (GATE, *QUICK, MISSING)
FOREVER: Final = "1h"  # as a restart_delay: nobody waits for it here
NO_QUEUE: Final = ""
GREETING: Final = "begin"  # what a job writes first, before its run's id
# Ways to reload; which it was is written to stderr, a line, by the job or by the command.
NO_RELOAD, BY_SIGNAL, BY_COMMAND, BY_FAILING = "", "signal", "command", "failing command"
LOADED, BROKEN, GONE = "loaded", "bad-setting", "not-found"  # what becomes of a job file

WAITS, RUNS, ENDED = "queued", "running", "finished"


class Plan(NamedTuple):
    """What is submitted: what the job does, and on which terms."""

    kind: str = GATE
    queue: str = NO_QUEUE
    priority: int = 0
    weight: int = 1
    restart: bool = False  # on failure, after a time that does not come
    reload: str = NO_RELOAD


class Ending(NamedTuple):
    """How a run ends, by its own doing."""

    result: str
    code: int | None = None
    signal: int | None = None


SUCCESS: Final = Ending("success", 0)
MISSED: Final = Ending("start-failed")
STOPPED: Final = Ending("stopped", signal=15)
CANCELED: Final = Ending("canceled")
CLEAN_SIGNALS: Final = (1, 2, 13, 15)  # failures, after which nothing starts again "on-failure": jobd.job(5)


@dataclass
class Run:
    """One run. `place` is its turn among those of one priority."""

    id: str
    job: str
    number: int
    plan: Plan
    place: int
    state: str = WAITS
    held: bool = False
    frozen: bool = False
    end: Ending | None = None
    out: bytes = b""
    err: bytes = b""


@dataclass
class Job:
    """One job that is there. `runs` are those that history finds by its name, oldest first."""

    name: str
    plan: Plan
    runs: list[Run] = field(default_factory=list)
    sub: str = "dead"
    result: str = "success"
    masked: bool = False
    bare: bool = False  # it has no definition: it is there because its name is masked
    filed: bool = False  # from a job file, and not from a submission
    load: str = LOADED
    read: Plan | None = None  # of one with a job file, what was read in it; None: errors
    enabled: bool = False
    fresh: bool = False  # it is there since its file was read, and has not been started since

    @property
    def file_state(self) -> str:
        if self.masked or not self.filed:
            return "masked" if self.masked else ""
        if self.load == BROKEN:
            return "bad"
        return "enabled" if self.enabled else "disabled"

    @property
    def newest(self) -> Run | None:
        return self.runs[-1] if self.runs else None

    @property
    def live(self) -> Run | None:
        newest = self.newest
        return newest if newest is not None and newest.state != ENDED else None


@dataclass
class Queue:
    slots: int | None = 1
    paused: bool = False


class Seen(NamedTuple):
    """A job as a client sees it."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    number: int = 0
    code: int | None = None
    signal: int | None = None
    queue: str = ""
    held: bool = False
    frozen: bool = False
    enabled: str = ""


ACTIVE: Final = {
    "dead": "inactive", "failed": "failed", "queued": "activating", "running": "active", "auto-restart": "activating",
}  # fmt: skip


class RunSeen(NamedTuple):
    """A run as history shows it."""

    id: str
    job: str
    number: int
    state: str
    result: str = ""
    code: int | None = None
    signal: int | None = None


def turn(run: Run) -> tuple[int, int]:
    """The order in which runs of one line begin."""
    return -run.plan.priority, run.place


def run_seen(run: Run) -> RunSeen:
    end = run.end
    if end is None:
        return RunSeen(run.id, run.job, run.number, run.state)
    return RunSeen(run.id, run.job, run.number, run.state, end.result, end.code, end.signal)
