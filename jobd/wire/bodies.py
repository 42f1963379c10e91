"""What the answers of the client protocol carry: the views of jobs and runs, and the body of each Reply and Item.

Frozen and tagged like the messages. A client ignores fields here that it does not know: a newer daemon may have more.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from jobd.wire.views import (
    Definition,
    FileView,
    JobView,
    Link,
    Member,
    Planned,
    QueueView,
    Reason,
    RuleView,
    RunView,
    StatsView,
    TimerView,
)

__all__ = [
    "AnyBody", "Attached", "Body", "Change", "Daemon", "Decision", "Definitions", "Done", "Dropped", "Ended", "Fed",
    "Files", "Graph", "Identity", "Jobs", "LogRun", "Members", "Missed", "Ok", "Output", "Plan", "Progress",
    "QueueDetail", "Queues", "Reached", "Reasons", "Rules", "Runs", "Started", "Stats", "Timers",
]  # fmt: skip


class Body(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of what a Reply or an Item carries."""


class Ok(Body, frozen=True, kw_only=True, tag="ok"):
    text: str = ""


class Started(Body, frozen=True, kw_only=True, tag="started"):
    """Answer to Run. `step`, `errno` and `text` say which step between fork and exec failed, if one did.

    Else `text` is warnings, a line each.
    """

    job: str
    owner: int
    run: bytes
    number: int
    pid: int | None = None
    step: str = ""
    errno: int = 0
    text: str = ""  # the failure in words
    waits: str = ""  # what it waits for, if it does: "for queue build, which is full"
    elements: int = 0  # of an array: its runs


class Jobs(Body, frozen=True, kw_only=True, tag="jobs"):
    jobs: list[JobView]
    more: str = ""
    left_out: dict[str, int] = {}  # by queue ("" for none), how many that wait are not given; on the first page


class Runs(Body, frozen=True, kw_only=True, tag="runs"):
    runs: list[RunView]
    more: int | None = None


class Progress(Body, frozen=True, kw_only=True, tag="progress"):
    """What a long request waits for, in words, for people: "stopping web: 2 processes left: 311 (sh), 312 (sleep)"."""

    job: str
    text: str


class Done(Body, frozen=True, kw_only=True, tag="done"):
    """One job of an action is done. `code` is empty, or an error code with `text`, which is warnings else."""

    job: str
    code: str = ""
    text: str = ""
    run: bytes | None = None
    number: int | None = None


class Ended(Body, frozen=True, kw_only=True, tag="ended"):
    """A run has ended."""

    run: RunView


class LogRun(Body, frozen=True, kw_only=True, tag="log-run"):
    """Output of this run follows; `out_from` and `err_from` say at which offsets of its streams (`lines`, `since`)."""

    job: str
    owner: int
    run: bytes
    number: int
    pid: int | None = None
    out_from: int = 0
    err_from: int = 0


class Output(Body, frozen=True, kw_only=True, tag="output"):
    """Bytes of one stream of the run named by the last LogRun of the same job; `data` comes last on the wire.

    `line_start`: the first byte begins a line. The daemon sends pieces so that the combined view changes stream only
    after a newline, or at EOF, or when more than 64 KiB was held back.
    """

    run: bytes
    stream: int  # 1 stdout, 2 stderr
    offset: int
    wall: int
    mono: int
    data: bytes


class Dropped(Body, frozen=True, kw_only=True, tag="dropped"):
    """`length` bytes of the stream before `offset` are gone (on_full = "drop", or retention)."""

    run: bytes
    stream: int
    offset: int
    length: int


class Daemon(Body, frozen=True, kw_only=True, tag="daemon"):
    """daemon-status."""

    version: str
    state: str  # running | degraded | stopping
    pid: int
    keeper_pid: int | None
    keeper_version: str
    socket: str
    state_dir: str
    mode: str  # user | system | socket
    started_at: int
    tracking: str
    kernel: str
    running: int
    queued: int
    connections: int
    reasons: list[str] = []  # why degraded
    incarnation: int = 0  # daemons forked by this keeper so far
    python: str = ""
    uid: int | None = None  # of the daemon's process
    config_dir: str = ""  # has jobd.toml, and in `jobs` the job files that are to be changed


class Attached(Body, frozen=True, kw_only=True, tag="attached"):
    """Answer to Attach: the run, and where its stdin stands (as Fed)."""

    job: str
    owner: int
    run: bytes
    number: int
    pid: int | None = None
    stdin: str = "null"
    received: int = 0
    limit: int = 0
    open: bool = False


class Fed(Body, frozen=True, kw_only=True, tag="fed"):
    """Where a run's stdin stands.

    Bytes before `received` are safe on disk and need not be kept; none at or after `limit` may be sent yet. Without
    `open` nothing more is taken: it was ended, or the run does not read it any more.
    """

    received: int
    limit: int
    open: bool = True
    taken: bool = False  # another client feeds it now


class Change(Body, frozen=True, kw_only=True, tag="change"):
    """One event: what happened to a job or run, and the values that it set; what it did not set is absent."""

    seq: int
    at: int
    kind: str  # accepted, started, finished …
    job: str
    owner: int
    run: bytes | None = None
    number: int | None = None
    active: str = ""
    sub: str = ""
    state: str = ""
    result: str = ""
    exit_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    step: str = ""
    reason: str = ""
    by_uid: int | None = None
    by_gid: int | None = None
    by_pid: int | None = None  # for display: it may belong to another process by now
    queue: str = ""  # that the run is in now, or that the change is about
    slots: int | None = None  # of that queue; -1 is no limit
    priority: int | None = None
    held: bool | None = None
    cause: str = ""  # why a run was started, if nobody asked for it
    due: int | None = None  # when the run may begin, or the job's schedule comes next


class Missed(Body, frozen=True, kw_only=True, tag="missed"):
    """Of the changes behind the cursor `after` and before `before`, some or all are gone; what is left follows.

    With `before` below `after`, the cursor is not of this database: all that there is follows.
    """

    after: int
    before: int


class Reached(Body, frozen=True, kw_only=True, tag="reached"):
    """All changes up to `seq` that were asked for have been told: a cursor, where others' changes came last."""

    seq: int


class Definitions(Body, frozen=True, kw_only=True, tag="definitions"):
    definitions: list[Definition]


class Members(Body, frozen=True, kw_only=True, tag="members"):
    members: list[Member]


class Identity(Body, frozen=True, kw_only=True, tag="identity"):
    """The caller as the kernel named him, and what he may do."""

    uid: int
    gid: int
    groups: list[int]
    pid: int
    owner: int  # the uid that his jobs belong to
    rules: list[str] = []  # read, control, admin
    admin: bool = False  # root, the daemon's own user, or one of the group jobd-admin


class Decision(Body, frozen=True, kw_only=True, tag="decision"):
    """Whether something may be done, and which rule says so; `visible`: whether he may know of the job at all."""

    action: str
    uid: int  # of whom it is asked
    allowed: bool
    visible: bool
    rule: str  # "owner", "root", "group jobd-admin", "/etc/jobd/jobd.toml:7", or "" when no rule allows it
    job: str = ""
    owner: int | None = None  # of the job


class Rules(Body, frozen=True, kw_only=True, tag="rules"):
    """The rules in force. `error`: why the file as it is now could not be taken."""

    rules: list[RuleView]
    file: str = ""
    error: str = ""


class Plan(Body, frozen=True, kw_only=True, tag="plan"):
    """What reading files again has changed, or with `dry` would."""

    changes: list[Planned]
    warnings: list[str] = []


class Files(Body, frozen=True, kw_only=True, tag="files"):
    files: list[FileView]
    more: str = ""


class Graph(Body, frozen=True, kw_only=True, tag="graph"):
    """Dependencies, all of one owner's jobs, and the jobs as they are now; one that is not there is "not-found"."""

    links: list[Link]
    jobs: list[JobView]


class Reasons(Body, frozen=True, kw_only=True, tag="reasons"):
    reasons: list[Reason]


class Queues(Body, frozen=True, kw_only=True, tag="queues"):
    queues: list[QueueView]


class QueueDetail(Body, frozen=True, kw_only=True, tag="queue-detail"):
    """A queue, and runs of it. Of those that the caller may not see, only how many there are."""

    view: QueueView
    runs: list[RunView]
    others: int = 0
    more: str = ""


class Timers(Body, frozen=True, kw_only=True, tag="timers"):
    timers: list[TimerView]
    more: str = ""


class Stats(Body, frozen=True, kw_only=True, tag="stats"):
    stats: list[StatsView]
    more: str = ""  # there are more: the next request's `after`


AnyBody: TypeAlias = (
    Ok | Started | Jobs | Runs | Progress | Done | Ended | LogRun | Output | Dropped | Attached | Fed | Change | Missed
    | Reached | Definitions | Members | Identity | Decision | Rules | Daemon | Plan | Files | Graph | Reasons
    | Queues | QueueDetail | Timers | Stats
)  # fmt: skip
