"""What the answers of the client protocol carry: the views of jobs and runs, and the body of each Reply and Item.

Frozen and tagged like the messages. A client ignores fields here that it does not know: a newer daemon may have more.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

__all__ = [
    "AnyBody", "Attached", "Body", "Change", "Daemon", "Decision", "Definition", "Definitions", "Done", "Dropped",
    "Ended", "Fed", "Identity", "JobView", "Jobs", "LogRun", "Member", "Members", "Missed", "Ok", "Output", "Process",
    "Progress", "Reached", "RuleView", "Rules", "RunView", "Runs", "Started",
]  # fmt: skip


class Process(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process of a run's tree."""

    pid: int
    ppid: int = 0
    command: bytes = b""


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


class Body(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of what a Reply or an Item carries."""


class Ok(Body, frozen=True, kw_only=True, tag="ok"):
    text: str = ""


class Started(Body, frozen=True, kw_only=True, tag="started"):
    """Answer to Run. `step` and `errno` say which step between fork and exec failed, if one did."""

    job: str
    owner: int
    run: bytes
    number: int
    pid: int | None = None
    step: str = ""
    errno: int = 0
    text: str = ""  # the failure in words


class Jobs(Body, frozen=True, kw_only=True, tag="jobs"):
    jobs: list[JobView]
    more: str = ""


class Runs(Body, frozen=True, kw_only=True, tag="runs"):
    runs: list[RunView]
    more: int | None = None


class Progress(Body, frozen=True, kw_only=True, tag="progress"):
    """What a long request waits for, in words, for people: "stopping web: 2 processes left: 311 (sh), 312 (sleep)"."""

    job: str
    text: str


class Done(Body, frozen=True, kw_only=True, tag="done"):
    """One job of an action is done. `code` is empty, or an error code with `text`."""

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


class Missed(Body, frozen=True, kw_only=True, tag="missed"):
    """Of the changes behind the cursor `after` and before `before`, some or all are gone; what is left follows.

    With `before` below `after`, the cursor is not of this database: all that there is follows.
    """

    after: int
    before: int


class Reached(Body, frozen=True, kw_only=True, tag="reached"):
    """All changes up to `seq` that were asked for have been told: a cursor, where others' changes came last."""

    seq: int


class Definition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job's definition as the text of a job file, and where it is from."""

    job: str
    owner: int
    load: str = "loaded"  # not-found: there is no such job
    transient: bool = True
    text: str = ""


class Definitions(Body, frozen=True, kw_only=True, tag="definitions"):
    definitions: list[Definition]


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process, and the run that it belongs to; without a job it belongs to none that the caller may see."""

    pid: int
    job: str = ""
    owner: int | None = None
    run: bytes | None = None
    number: int | None = None


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


class RuleView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `[[allow]]` of the configuration, as it is written there."""

    line: int
    users: list[str] = []
    groups: list[str] = []
    actions: list[str] = []
    owners: list[str] = []
    jobs: list[str] = []


class Rules(Body, frozen=True, kw_only=True, tag="rules"):
    """The rules in force. `error`: why the file as it is now could not be taken."""

    rules: list[RuleView]
    file: str = ""
    error: str = ""


AnyBody: TypeAlias = (
    Ok | Started | Jobs | Runs | Progress | Done | Ended | LogRun | Output | Dropped | Attached | Fed | Change | Missed
    | Reached | Definitions | Members | Identity | Decision | Rules | Daemon
)  # fmt: skip
