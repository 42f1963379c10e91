"""Every message of the client protocol: frozen, tagged, closed, and bounded on every str, list and map.

Shapes on the wire are msgpack maps with a `type` key; `man/jobd-protocol.7` documents them for other clients.
argv, environment and paths are *bin*: any bytes but NUL. Times are int64 nanoseconds since the epoch (wall clock).
Sizes are bytes. Absent optional values are nil or left out.

Direction: the client sends a Hello and then requests (`Request`), each with an `id` of its own choosing; the daemon
sends a Hello, and for each request either one `Reply`, or one `Fault`, or any number of `Item`s and one `End`.
A request that fails after some items ends with a `Fault`. `Cancel` ends a request early: it answers CANCELED.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

# Not of this file, and read as `messages.Output` all the same: these files are one contract.
from jobd.wire.administration import *  # noqa: F403
from jobd.wire.administration import AuthCanI, AuthRules, AuthWhoami, DaemonReexec, DaemonReload, DaemonStatus, Shutdown
from jobd.wire.bodies import *  # noqa: F403
from jobd.wire.bodies import AnyBody  # msgspec reads the annotations at run time
from jobd.wire.definitions import *  # noqa: F403
from jobd.wire.definitions import (
    Define,
    Enable,
    ListDependencies,
    ListFiles,
    Mask,
    Reload,
    Revert,
    SetProperty,
    Why,
)
from jobd.wire.fields import *  # noqa: F403
from jobd.wire.fields import (
    Argv,
    ArrayText,
    EnvList,
    Id,
    JobName,
    Message,
    Names,
    Nanos,
    PathBytes,
    Patterns,
    Pids,
    Rlimits,
    RunId,
    RunIds,
    Selector,
    Settings,
    Stdin,
    Window,
    Word,
    Words,
)
from jobd.wire.foreground import *  # noqa: F403
from jobd.wire.foreground import Attach, CloseOutput, Input, Resize
from jobd.wire.scheduling import *  # noqa: F403
from jobd.wire.scheduling import (
    After,
    CancelQueued,
    HistoryStats,
    Hold,
    ListTimers,
    QueueAdd,
    QueueList,
    QueueName,
    QueueRemove,
    QueueSet,
    QueueShow,
    QueueSwitch,
    Release,
)
from jobd.wire.views import *  # noqa: F403


# --- both ways --------------------------------------------------------------------------------------------------
class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First frame each way. The daemon's carries the caller as the kernel named him."""

    version: int
    software: Word  # "jobctl 0.1.0", "jobd 0.1.0"
    uid: int | None = None  # from the daemon only, as are the next two
    gid: int | None = None
    pid: int | None = None


# --- requests ---------------------------------------------------------------------------------------------------
class Run(Message, frozen=True, kw_only=True, tag="run"):
    """Submit a command as a transient job. Retrying with the same `run` is safe: it answers as the first did.

    `settings` are job-file keys, tables with a dot (`stop.timeout`), as text; the daemon types them by the key.
    Reply: Started. With `exec_wait` (default) the reply comes when exec has succeeded or failed, else when accepted.
    """

    id: Id
    run: RunId
    argv: Argv
    env: EnvList
    cwd: PathBytes
    name: JobName | None = None
    shell: bool = False  # argv is [script]: run by /bin/sh -c
    umask: Annotated[int, Meta(ge=0, le=0o777)] = 0o022
    rlimits: Rlimits = {}  # "nofile": (soft, hard), RLIM_INFINITY as -1
    nice: Annotated[int, Meta(ge=-20, le=19)] = 0
    settings: Settings = {}
    exec_wait: bool = True
    stdin: Stdin = "null"  # pipe: what `attach` sends; pty: a terminal
    window: Window | None = None  # of the terminal, until somebody attaches
    after: After = []  # runs that have to end first: "JOB:ok" (also without ":ok"), "JOB:failed", "JOB:any"
    not_before: Nanos | None = None  # by the wall clock, as it is then
    delay_usec: Annotated[int, Meta(ge=0, le=2**53)] | None = None  # the same, counted from acceptance
    hold: bool = False
    singleton: bool = False  # wait for the live run of the job, instead of being refused
    array: ArrayText = ""  # "0-99%4": a run for each of these numbers, four of them at a time; Started is of the whole


class Rerun(Message, frozen=True, kw_only=True, tag="rerun"):
    """Submit a run again: its command, environment and directory, as the next run of its job. Reply: Started.

    `job` and `run` pick the run as in Resolve; `new` is the id of the new one, under which a retry is safe. A stdin
    that was a pipe is /dev/null, a terminal is one again, unless `stdin` says otherwise.
    """

    id: Id
    new: RunId
    job: Annotated[str, Meta(max_length=96)] = ""
    run: Selector = "0"
    exec_wait: bool = True
    stdin: Stdin | None = None
    window: Window | None = None


class Start(Message, frozen=True, kw_only=True, tag="start"):
    """Start jobs by name: the last submission again. `runs[i]` is the id for `names[i]`, made by the client.

    Items: Progress; then Done for each job; End.
    """

    id: Id
    names: Names
    runs: RunIds
    no_block: bool = False


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """Stop jobs: returns when no process of them is left. Items: Progress, Done per job; End.

    `runs[i]`, when given, is the one run of `names[i]` that is meant: if it is not live, nothing is stopped and the
    job's Done is empty: it has ended already.
    """

    id: Id
    names: Names
    no_block: bool = False
    runs: RunIds = []


class Restart(Message, frozen=True, kw_only=True, tag="restart"):
    """Stop, then start. As Start; `runs` as there. With `running_only`, jobs at rest are left alone."""

    id: Id
    names: Names
    runs: RunIds
    no_block: bool = False
    running_only: bool = False


class Kill(Message, frozen=True, kw_only=True, tag="kill"):
    """Send a signal. `whom`: main, control (a command of the job's that runs besides), all. Items: Done per job; End.

    `runs`: as Stop, but Done says NOT_APPLICABLE. `once`: the act's own name, made by the client; asked
    for again under it, the signal is not sent again.
    """

    id: Id
    names: Names
    signal: Annotated[int, Meta(ge=1, le=64)] = 15
    whom: Word = "all"
    runs: RunIds = []
    once: Word = ""


class Freeze(Message, frozen=True, kw_only=True, tag="freeze"):
    """Stop all processes of running jobs where they are. Items: Done per job, when all are frozen; End."""

    id: Id
    names: Names


class Thaw(Message, frozen=True, kw_only=True, tag="thaw"):
    """Let frozen jobs go on. Items: Done per job; End."""

    id: Id
    names: Names


class ResetFailed(Message, frozen=True, kw_only=True, tag="reset-failed"):
    """Make failed jobs inactive; without names, all of the caller's. Items: Done per job; End."""

    id: Id
    names: Annotated[list[JobName], Meta(max_length=4096)] = []


class Remove(Message, frozen=True, kw_only=True, tag="remove"):
    """Take jobs out of the lists. Items: Progress, Done per job (EXISTS: it runs, and `stop` is not set); End.

    Their runs and logs stay, and are found by the runs' ids, unless `purge` takes them too. `runs[i]`, when given, is
    the newest run of `names[i]` that the client knows of: a job that was removed since it ran is done, and one that has
    its name by now is left alone. So asking again after a lost answer is safe. All zero: the client knows of none.
    """

    id: Id
    names: Names
    stop: bool = False  # stop what runs first
    purge: bool = False
    runs: RunIds = []


class Get(Message, frozen=True, kw_only=True, tag="get"):
    """State of jobs by exact name or glob. Reply: Jobs. An unknown name gives a view with load "not-found"."""

    id: Id
    names: Names
    tree: bool = False  # also the processes of each, and whether its files have changed (need_reload)


class List(Message, frozen=True, kw_only=True, tag="list"):
    """Jobs that are active, queued, held, enabled or failed (`all`: every one). Reply: Jobs, sorted by owner, name.

    All that the caller may see; a pattern without an owner means jobs of every owner. At most 1,000 a reply; `more` in
    the reply, `UID/NAME`, is the cursor for the next request's `after`.
    """

    id: Id
    patterns: Patterns = []
    all: bool = False
    states: Words = []  # each matches load, active or sub
    queue: QueueName = ""  # only those whose run is in it, or was
    # Of each queue at most so many that wait, the next first; Jobs.left_out counts the others. Not with all or states.
    waiting: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    after: Annotated[str, Meta(max_length=128)] = ""


class History(Message, frozen=True, kw_only=True, tag="history"):
    """Runs, newest first. Reply: Runs; `more` is the cursor for the next page's `before`."""

    id: Id
    jobs: Patterns = []
    states: Words = []  # state, result, or "failed": all results but success, stopped, canceled
    since: Nanos | None = None  # by time queued
    until: Nanos | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0, le=2**40)] = 0
    before: Id | None = None
    queue: QueueName = ""


class Resolve(Message, frozen=True, kw_only=True, tag="resolve"):
    """Find one run of one job (`run` "0", "-1", "3", or an id's end). Reply: Runs with one row.

    `job` may be empty when `run` is an id or the unique end of one.
    """

    id: Id
    job: Annotated[str, Meta(max_length=96)] = ""
    run: Selector = "0"


class Logs(Message, frozen=True, kw_only=True, tag="logs"):
    """Output of jobs. Items: LogRun at each run's start, Output, Dropped, Progress; End when all is said.

    `run`: a selector, or "all". `lines`: only the last N lines (over runs where `run` is "all" or lines reach back).
    `follow` goes on with new output and the job's next runs until the job is at rest. `split`: one Output for each
    index record, with its exact times; otherwise neighbours may be joined (exact bytes are the same).
    `out_from`, `err_from`: begin at these offsets of the (single) run's streams: a reconnecting reader.
    `one_run`: only the run that `run` picks: End after its last byte, without waiting for the job's next; `lines` does
    not reach back over others.
    """

    id: Id
    jobs: Patterns
    run: Selector = "0"
    follow: bool = False
    lines: Annotated[int, Meta(ge=0, le=2**40)] | None = None
    since: Nanos | None = None
    until: Nanos | None = None
    stdout: bool = True
    stderr: bool = True
    split: bool = False
    out_from: Annotated[int, Meta(ge=0)] = 0
    err_from: Annotated[int, Meta(ge=0)] = 0
    one_run: bool = False


class Wait(Message, frozen=True, kw_only=True, tag="wait"):
    """Wait for the end of runs. `jobs` are names or globs (their newest run), `runs` ids, `queue` all that are in it.

    Items: Ended, one a run as it ends (at once if it has); End after all, or after the first with `any`.
    """

    id: Id
    jobs: Patterns = []
    runs: RunIds = []
    any: bool = False
    queue: QueueName = ""


class Events(Message, frozen=True, kw_only=True, tag="events"):
    """Changes of jobs and runs, oldest first. Items: Change, Missed, Reached; End, unless `follow`.

    A Change's `seq` is the cursor: with it as `after` the stream goes on behind that change, under any daemon. `lines`
    says how many of the newest come first (absent: all there are). Reached comes at the end, or with `follow` when all
    that there was has been told, and then now and again. `audit`: only what somebody asked for, acts on the daemon
    itself included.
    """

    id: Id
    jobs: Patterns = []
    audit: bool = False
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    lines: Annotated[int, Meta(ge=0, le=2**40)] | None = None
    since: Nanos | None = None
    until: Nanos | None = None
    follow: bool = False


class Cat(Message, frozen=True, kw_only=True, tag="cat"):
    """The definitions of jobs. Reply: Definitions."""

    id: Id
    names: Names


class Whoami(Message, frozen=True, kw_only=True, tag="whoami"):
    """The jobs that processes belong to; without `pids`, the caller's own. Reply: Members, one for each."""

    id: Id
    pids: Pids = []


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """End the request `request` of this connection; no answer of its own."""

    id: Id
    request: Id


Request: TypeAlias = (
    Run | Rerun | Start | Stop | Restart | Kill | Freeze | Thaw | ResetFailed | Remove | Get | List | History | Resolve
    | Logs | Wait | Events | Cat | Whoami | AuthWhoami | AuthCanI | AuthRules | Attach | Input | Resize | CloseOutput
    | Define | Revert | Enable | Mask | Reload | SetProperty | ListFiles | ListDependencies | Why
    | QueueList | QueueShow | QueueAdd | QueueSet | QueueRemove | QueueSwitch | CancelQueued | Hold | Release
    | ListTimers | HistoryStats
    | DaemonStatus | DaemonReload | DaemonReexec | Shutdown | Cancel
)  # fmt: skip
FromClient: TypeAlias = Hello | Request


# --- answers ----------------------------------------------------------------------------------------------------
class Reply(Message, frozen=True, kw_only=True, tag="reply"):
    id: Id
    body: AnyBody


class Item(Message, frozen=True, kw_only=True, tag="item"):
    id: Id
    body: AnyBody


class End(Message, frozen=True, kw_only=True, tag="end"):
    id: Id


class Fault(Message, frozen=True, kw_only=True, tag="fault"):
    """An error. `id` is absent when it concerns the connection itself."""

    code: Word
    message: str
    id: Id | None = None
    details: dict[str, str] = {}


FromDaemon: TypeAlias = Hello | Reply | Item | End | Fault
