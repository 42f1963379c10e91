"""What bodies are made of: jobs, runs, and the parts of them, as clients see them.

A client ignores fields here that it does not know: a newer daemon may have more.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "Definition", "FileView", "JobView", "Link", "Member", "Planned", "Process", "QueueView", "Reason", "RuleView",
    "RunView", "SourceFile", "StatsView", "TimerView",
]  # fmt: skip


class Process(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process of a run's tree."""

    pid: int
    ppid: int = 0
    command: bytes = b""


class Link(Struct, frozen=True, kw_only=True):
    """`job` has `other` under `kind`: a key of its job file ("after", "requires", "on_failure" …)."""

    job: str
    kind: str
    other: str


class JobView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as status, show, list and is-active see it. Names and values are systemd's."""

    job: str
    owner: int
    load: str = "loaded"  # loaded | not-found | masked | bad-setting
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    transient: bool = True
    description: str = ""
    user: str = ""  # whom it runs as, if not its owner
    argv: list[bytes] = []
    shell: bool = False
    cwd: bytes = b""
    number: int = 0  # of the newest run
    run: bytes | None = None
    pid: int | None = None  # MainPID
    exit_code: int | None = None
    signal: int | None = None
    core: bool = False
    step: str = ""  # the failed step between fork and exec
    errno: int = 0
    queued_at: int | None = None
    started_at: int | None = None
    exited_at: int | None = None
    finished_at: int | None = None
    changed_at: int | None = None  # the last change of ActiveState
    runs: int = 0
    restarts: int = 0
    cpu_user_usec: int | None = None
    cpu_system_usec: int | None = None
    max_rss_bytes: int | None = None
    out_bytes: int | None = None
    err_bytes: int | None = None
    note: str = ""  # "log is full: waiting for room", "2 processes hold its output open"
    tracking: str = ""  # cgroup | process
    cgroup: str = ""
    stop_signal: int = 15
    stop_timeout_usec: int | None = None
    runtime_limit_usec: int | None = None  # limits.runtime; nil is none
    kill_mode: str = "control-group"
    frozen: bool = False
    stdin: str = "null"  # null | pipe | pty: of the newest run
    processes: list[Process] = []
    file: str = ""  # FragmentPath, or "stored"; "" of a transient job
    dropins: list[str] = []
    enabled: str = ""  # UnitFileState: enabled | disabled | static | masked | transient | bad | not-found
    need_reload: bool = False  # a file has changed since it was read
    problem: str = ""  # why it is bad-setting
    unenforced: list[str] = []  # what its definition says and this machine cannot do
    type: str = "exec"
    restart: str = "no"
    restart_delay_usec: int = 100_000  # the first; JobSpec's default
    remain_after_exit: bool = False
    restart_at: int | None = None  # in auto-restart: when
    waits: str = ""  # what a queued or starting run waits for: "for db", "for tcp 8000"
    cause: str = ""  # why the newest run was started, if nobody asked for it
    ready_at: int | None = None
    status_text: str = ""
    status_errno: int = 0
    health: str = ""  # "", "healthy", or what is wrong
    can_reload: bool = False
    watchdog_usec: int | None = None
    control_pid: int | None = None  # of the stop, reload or check command that runs
    control_command: list[bytes] = []
    memory_bytes: int | None = None
    memory_max: int | None = None
    cpu_percent: int | None = None
    tasks: int | None = None
    tasks_max: int | None = None
    tasks_peak: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    nice: int = 0
    oom_score_adjust: int | None = None
    links: list[Link] = []  # its dependencies, both ways
    queue: str = ""  # as one names it: "build", "alice/build", "batch"; "" is none
    priority: int = 0
    weight: int = 1
    position: int = 0  # among those that wait in its queue; the next is 1
    held: bool = False
    not_before: int | None = None  # when its newest run may begin
    after: list[str] = []  # what it waits for, as JOB:ok
    array: str = ""  # of an array as a whole: "0-99%4"
    array_of: str = ""  # of one element: the array
    array_index: int | None = None
    counts: dict[str, int] = {}  # of an array: how many of its elements are queued, running, success, exit-code …
    schedule: list[str] = []
    elapse_next: int | None = None  # when its schedule starts it next, if it is armed
    elapse_last: int | None = None
    stop_uid: int | None = None  # who asked for the end of its newest run
    in_line: int = 0  # runs that wait for the live one, to take over


class RunView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run as history, result and wait see it."""

    seq: int
    job: str
    owner: int
    run: bytes
    number: int
    state: str  # queued | starting | running | stopping | finished
    result: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    core: bool = False
    step: str = ""
    errno: int = 0
    reason: str = ""  # why it is lost, canceled …
    pid: int | None = None
    queued_at: int | None = None
    started_at: int | None = None
    exited_at: int | None = None
    finished_at: int | None = None
    argv: list[bytes] = []
    shell: bool = False
    cwd: bytes = b""
    by_uid: int | None = None  # who submitted it
    cpu_user_usec: int | None = None
    cpu_system_usec: int | None = None
    max_rss_bytes: int | None = None
    out_bytes: int | None = None
    err_bytes: int | None = None
    note: str = ""
    cause: str = ""  # why it was started, if nobody asked for it
    ready_at: int | None = None
    tasks_peak: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    stop_uid: int | None = None  # who asked for its end
    queue: str = ""  # as of a job
    priority: int = 0
    weight: int = 1
    position: int = 0
    held: bool = False
    not_before: int | None = None
    after: list[str] = []
    array_index: int | None = None


class SourceFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a definition: its path, or the name of a stored one ("web.toml", "web.toml.d/override.toml")."""

    path: str
    text: str
    base: bytes = b""  # of a stored one: the directory that relative paths are meant from


class Definition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job's definition as the text of a job file, and where it is from."""

    job: str
    owner: int
    load: str = "loaded"  # not-found: there is no such job
    transient: bool = True
    text: str = ""  # of a transient job
    files: list[SourceFile] = []  # of a job from files, as they were read: the job file and its drop-ins


class Planned(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What reading the files again changes of one job."""

    job: str
    owner: int
    change: str  # added | changed | removed | broken | unchanged
    file: str = ""
    keys: list[str] = []  # that have other values, as in a job file
    restart: bool = False  # it runs, and has to be restarted for them to take effect
    text: str = ""  # the errors of a broken one, a line each; or warnings


class FileView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that has a definition."""

    job: str
    owner: int
    state: str  # UnitFileState
    file: str = ""
    dropins: list[str] = []
    load: str = "loaded"


class Reason(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sentence of the answer to `why`, and what it says in values."""

    job: str
    owner: int
    kind: str  # stopped, waits, exited, restarts, start-limit, dependency, never-started, running, masked …
    text: str
    at: int | None = None
    run: bytes | None = None
    number: int | None = None
    by_uid: int | None = None
    other: str = ""  # the job that is the cause


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process, and the run that it belongs to; without a job it belongs to none that the caller may see."""

    pid: int
    job: str = ""
    owner: int | None = None
    run: bytes | None = None
    number: int | None = None


class QueueView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A queue. `owner` is nil of one that all share."""

    name: str
    owner: int | None = None
    slots: int | None = None  # nil: no limit
    state: str = "open"  # open | paused | draining
    used: int = 0  # slots
    running: int = 0
    waiting: int = 0  # runs that begin in their turn
    held: int = 0  # runs that wait for something else first: to be released, for a time, for other runs
    reason: str = ""  # why nothing more begins, in words: "is full: held by make-41, make-43"


class TimerView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What starts by the clock: a job with a schedule, or with `run` one run that waits for its time."""

    job: str
    owner: int
    run: bytes | None = None
    next: int | None = None  # nil: it is not armed, or its schedule has no more times
    last: int | None = None
    schedule: list[str] = []
    description: str = ""
    active: str = "inactive"


class StatsView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures of the finished runs of a job. Durations are from start to end; nil: no run has any."""

    job: str
    owner: int
    runs: int
    success: int = 0
    failed: int = 0  # the rest was stopped or canceled
    p50_usec: int | None = None
    p95_usec: int | None = None
    p50_bytes: int | None = None  # the most memory that a run had
    p95_bytes: int | None = None
    cpu_usec: int | None = None  # of all runs together
    last_at: int | None = None  # when the newest of them ended


class RuleView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `[[allow]]` of the configuration, as it is written there."""

    line: int
    users: list[str] = []
    groups: list[str] = []
    actions: list[str] = []
    owners: list[str] = []
    jobs: list[str] = []
