"""What the store keeps: a row a job, a row a run, and the events that made them.

`apply_run` and `apply_job` are the functions that compute a row: the runtime calls them before it writes, and a test
replays every event from nothing and compares with the rows. Pure: no clock, no I/O; times come in with the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct, convert
from msgspec.structs import astuple, fields, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

Data: TypeAlias = dict[str, str | int | bytes | bool | None]

# States of a run (DESIGN.md, section 9).
QUEUED, STARTING, RUNNING, STOPPING, FINISHED = "queued", "starting", "running", "stopping", "finished"
# LoadState. A masked job keeps its own and shows as `masked`.
LOADED, NOT_FOUND, BAD_SETTING = "loaded", "not-found", "bad-setting"
STORED: Final = "stored"  # as a job's `file`: its definition is in the database
STATES = (QUEUED, STARTING, RUNNING, STOPPING, FINISHED)


class RunRow(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One run. Times are wall-clock ns; None until known. An exit is there once `exited_at` is."""

    seq: int  # order of acceptance over the whole database
    run: bytes  # UUIDv7, 16 bytes, made by the client
    owner: int
    job: str
    number: int  # 1, 2, … within the job
    spec: bytes  # hash of the JobSpec blob
    env: bytes  # hash of the environment blob
    by_uid: int
    queued_at: int
    state: str = QUEUED
    result: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    core: bool = False
    step: str = ""
    errno: int = 0
    reason: str = ""
    pid: int | None = None
    pid_start: int | None = None  # field 22 of /proc/PID/stat, clock ticks since boot
    boot_id: str = ""
    keeper: str = ""
    started_at: int | None = None
    exited_at: int | None = None
    finished_at: int | None = None
    stop_asked: str = ""  # "" | stopped | timeout … : the result to give when it ends, because somebody asked
    cpu_user_usec: int | None = None
    cpu_system_usec: int | None = None
    max_rss_bytes: int | None = None
    out_bytes: int | None = None
    err_bytes: int | None = None
    closed: bool = False  # output complete and recorded: nothing more can come
    note: str = ""
    cause: str = ""  # why it was started, if nobody asked for it: "restart", "enabled", "required by web" …
    ready_at: int | None = None
    status_text: str = ""  # STATUS= of its notifications
    status_errno: int = 0  # ERRNO= of them
    reloads: int = 0  # begun so far: names the next one's operation
    again: str = ""  # what follows its end whatever the policy, if that was said: "restart" | "rest"
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    tasks_peak: int | None = None
    next_run: bytes | None = None  # the id of the run that begins when this one has ended: the job is being restarted
    extended_usec: int = 0  # EXTEND_TIMEOUT_USEC= of its notifications: of the state that it is in
    watchdog_usec: int | None = None  # WATCHDOG_USEC= of them; None: as its job says
    queue: str = ""  # NAME of one of its owner's, /NAME of a shared one, "" of none
    priority: int = 0
    weight: int = 1
    place: int | None = None  # in its queue, if that is not where it was accepted (seq)
    held: bool = False
    not_before: int | None = None  # by the wall clock
    due_boot: int | None = None  # the same of a delay, by CLOCK_BOOTTIME; it counts on the boot of `boot_id` alone
    after: str = ""  # runs that have to end first, by blanks: ID:ok, ID:failed, ID:any; those that have are taken out
    in_line: bool = False  # it waits for the live run of its own job, and is not the job's newest yet
    array_index: int | None = None
    stop_uid: int | None = None  # who asked for its end

    @property
    def waits(self) -> bool:
        """Whether it waits for something else than its turn."""
        return any(getattr(self, name) for name in WAITING)


# Fields of RunRow that say what a run waits for, besides a slot, while they have a value: it is in no line meanwhile.
WAITING: Final = ("after", "in_line", "held", "not_before", "due_boot")


def waits(fields: Mapping[str, object]) -> bool:
    """Whether a run with these fields waits for something else than its turn."""
    return any(fields.get(name) for name in WAITING)


class JobRow(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One job: the key (owner, job), its definition, and the state of its newest run, denormalised for `list`."""

    owner: int
    job: str
    spec: bytes
    env: bytes
    created_at: int
    transient: bool = True
    latest: bytes | None = None  # run id of the newest run
    runs: int = 0
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    changed_at: int = 0
    load: str = LOADED
    file: str = ""  # its job file, or "stored"; "" of a transient job
    source: bytes | None = None  # hash of the blob with the texts of its files (jobd.core.jobfile)
    problem: str = ""  # why it is `bad-setting`: the errors, one a line
    enabled: bool = False
    masked: bool = False
    restarts: int = 0  # NRestarts: by itself, since somebody last started it
    starts: str = ""  # when it was started within the window of its start limit: wall-clock ns, by blanks
    restart_at: int | None = None  # in `auto-restart`: when
    restart_delay_usec: int = 0  # the last delay, without jitter; 0 before the first
    array: str = ""  # of an array as a whole: "0-99%4"
    array_of: str = ""  # of an element: the array
    elapse_next: int | None = None  # when its schedule starts it: it is armed
    elapse_last: int | None = None  # the last time of its schedule that was seen to
    array_terms: str = ""  # of an array: on which terms its elements are accepted, as JSON; `runs` of them have been
    array_ended: str = ""  # of an array at rest: how they ended, "success=90 exit-code=3"


SHARED: Final = -1  # as the owner of a queue: everybody's
OPEN, PAUSED, DRAINING = "open", "paused", "draining"


class QueueRow(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One queue: the key (owner, name), and how it is set."""

    owner: int  # SHARED of one that all share
    name: str
    slots: int | None  # None is no limit
    created_at: int
    state: str = OPEN


class Event(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One change. `data` holds the fields of RunRow (and of the job: keys with a `job.` prefix) that it sets.

    Keys with an `act.` prefix are about the act itself, and set nothing.
    """

    seq: int
    at: int
    kind: str
    owner: int
    job: str
    run: bytes | None = None
    by_uid: int | None = None
    by_pid: int | None = None  # for display only
    data: Data = {}


# --- events to rows ---------------------------------------------------------------------------------------------
JOB_PREFIX: Final = "job."
QUEUE_PREFIX: Final = "queue."  # of the fields of QueueRow, all of them: the owner is the event's, the job is ""
ACT_PREFIX: Final = "act."
BY_GID: Final = "act.gid"  # the caller's group
CAUSE: Final = "act.cause"  # the cause of the run that is to follow
ONCE: Final = "act.once"  # the name under which the client asked, if he may have asked before
QUEUE_ADDED, QUEUE_SET, QUEUE_REMOVED = "queue-added", "queue-set", "queue-removed"
REMOVED: Final = "removed"  # the kind of the event that takes the job's row away; its runs stay
# Kinds of the events of definitions.
DEFINED, CHANGED, UNDEFINED = "defined", "changed", "undefined"  # the last: its file is gone, and the job not at rest
ENABLED, DISABLED, MASKED, UNMASKED = "enabled", "disabled", "masked", "unmasked"
PROPERTY_SET: Final = "property-set"  # settings of a job that is there: its live run names another definition, too
FILLED: Final = "filled"  # more elements of an array have been accepted
REDEFINES: Final = frozenset({DEFINED, CHANGED, UNDEFINED, PROPERTY_SET})  # the row may name other blobs than before
_KEY: Final = ("owner", "job", "run")  # the event itself says these (a JobRow has no `run`)
_RUN_FIELDS: Final = tuple(f for f in RunRow.__struct_fields__ if f not in _KEY)
_JOB_FIELDS: Final = tuple(f for f in JobRow.__struct_fields__ if f not in _KEY)
_QUEUE_FIELDS: Final = tuple(f for f in QueueRow.__struct_fields__ if f != "owner")
_JOB_DEFAULTS: Final = tuple((JOB_PREFIX + f.name, f.default) for f in fields(JobRow))
_NOT_OF_RUN: Final = (JOB_PREFIX, ACT_PREFIX)
_PREFIX: Final = len(JOB_PREFIX)
assert {len(prefix) for prefix in _NOT_OF_RUN} == {_PREFIX}  # they are cut off, and not looked for: 100 times a run
_JOB_KEY: Final = frozenset(JOB_PREFIX + f for f in _KEY)
_RUN_SETTABLE: Final = frozenset(_RUN_FIELDS)
_JOB_SETTABLE: Final = frozenset(_JOB_FIELDS)
_RUN_CREATES: Final = frozenset({"seq", "number", "spec", "env", "by_uid", "queued_at"})  # RunRow without defaults
_JOB_CREATES: Final = frozenset({"job.spec", "job.env", "job.created_at"})  # likewise of JobRow


def run_data(row: RunRow, old: RunRow | None = None) -> Data:
    """What an event must carry to lead from `old` to `row`; without `old`, all that makes the row from nothing."""
    if old is None:
        return {f: getattr(row, f) for f in _RUN_FIELDS}
    return {f: v for f in _RUN_FIELDS if (v := getattr(row, f)) != getattr(old, f)}


def job_data(row: JobRow, old: JobRow | None = None) -> Data:
    """As `run_data`, for the job's row.

    An event that accepts a run should carry the whole row (no `old`): retention may have taken the job's row, and all
    of its events, a moment ago.
    """
    if old is None:
        return {JOB_PREFIX + f: getattr(row, f) for f in _JOB_FIELDS}
    return {JOB_PREFIX + f: v for f in _JOB_FIELDS if (v := getattr(row, f)) != getattr(old, f)}


def new_job_data(row: JobRow) -> Data:
    """As `job_data`, for a job that has no row: what is not as it is by default."""
    values = zip(_JOB_DEFAULTS, astuple(row), strict=True)
    return {f: v for (f, default), v in values if v != default and f not in _JOB_KEY}


def queue_data(row: QueueRow) -> Data:
    """What an event says of a queue: all of it, so that the last one alone makes the row."""
    return {QUEUE_PREFIX + f: getattr(row, f) for f in _QUEUE_FIELDS}


def creates_run(event: Event) -> bool:
    """Whether the event carries enough to make a run's row from nothing."""
    return event.run is not None and event.data.keys() >= _RUN_CREATES


def creates_job(event: Event) -> bool:
    """Whether the event carries enough to make a job's row from nothing."""
    return event.data.keys() >= _JOB_CREATES


def apply_run(row: RunRow | None, event: Event) -> RunRow:
    """The run's row after the event. An event that sets nothing of the run gives the same row.

    Raises ValueError if there is no row and the event does not make one, or if it names a field that is not there.
    """
    changes = {k: v for k, v in event.data.items() if k[:_PREFIX] not in _NOT_OF_RUN}
    if not changes and row is not None:
        return row
    _check(event, changes, _RUN_SETTABLE, "run")
    if row is not None:
        return replace(row, **changes)
    if not creates_run(event):
        raise ValueError(f"cannot apply event {event.seq} ({event.kind}): no run, and it makes none")
    return convert({**changes, "owner": event.owner, "job": event.job, "run": event.run}, RunRow)


def queue_of(event: Event) -> QueueRow | None:
    """The queue that an event is about, as it says it is; None: it is about none."""
    if QUEUE_PREFIX + "name" not in event.data:
        return None
    values = {f: event.data[QUEUE_PREFIX + f] for f in _QUEUE_FIELDS}
    return convert({**values, "owner": event.owner}, QueueRow)


def apply_job(row: JobRow | None, event: Event) -> JobRow:
    """The job's row after the event; as `apply_run`."""
    changes = {k[_PREFIX:]: v for k, v in event.data.items() if k[:_PREFIX] == JOB_PREFIX}
    if not changes and row is not None:
        return row
    _check(event, changes, _JOB_SETTABLE, "job")
    if row is not None:
        return replace(row, **changes)
    if not creates_job(event):
        raise ValueError(f"cannot apply event {event.seq} ({event.kind}): no job, and it makes none")
    return convert({**changes, "owner": event.owner, "job": event.job}, JobRow)


def _check(event: Event, changes: Data, settable: frozenset[str], what: str) -> None:
    if unknown := changes.keys() - settable:
        raise ValueError(f"cannot apply event {event.seq} ({event.kind}): a {what} has no {', '.join(sorted(unknown))}")


class Replay:
    """Rows made from events alone, fed in the order of their seq: what the tables must equal."""

    def __init__(self) -> None:
        self.runs: dict[tuple[int, bytes], RunRow] = {}
        self.jobs: dict[tuple[int, str], JobRow] = {}
        self.queues: dict[tuple[int, str], QueueRow] = {}

    def feed(self, event: Event) -> None:
        """Apply one event. Changes of a job whose first events retention took are made good by a later `retired`."""
        if event.run is not None:
            key = (event.owner, event.run)
            self.runs[key] = apply_run(self.runs.get(key), event)
        if (queue := queue_of(event)) is not None:
            self.queues[queue.owner, queue.name] = queue
            if event.kind == QUEUE_REMOVED:
                del self.queues[queue.owner, queue.name]
            return
        name = (event.owner, event.job)
        if event.kind == REMOVED:
            self.jobs.pop(name, None)
        elif name in self.jobs or creates_job(event):
            self.jobs[name] = apply_job(self.jobs.get(name), event)
