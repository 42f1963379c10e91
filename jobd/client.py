"""The public Python client of jobd: run commands as jobs, watch, read and stop them.

For trio programs:

    async with jobd.client.connect() as jobs:
        run = await jobs.run(["make", "-j4"], cwd="/srv/src")
        async for chunk in run.logs(follow=True):
            sys.stdout.buffer.write(chunk.data)
        (await run.wait()).check()

For scripts, notebooks and the threads of other programs, the same methods without `await`:

    with jobd.client.connect_blocking() as jobs:
        jobs.run(["make"]).wait().check()

What a job is, is a job file: `jobs.add("web", text)`, `enable`, `daemon_reload`; `jobs.why("web")` says in sentences
why it is in the state that it is in. What happens is told as it comes: `async for change in jobs.events(follow=True)`;
`change.seq` is a cursor that survives every daemon. A run with `stdin="pipe"` is fed:
`async with run.feed() as stdin: await stdin.send(b"...")`.

Many runs wait their turn in a queue, and are waited for together:

    await jobs.queue_add("convert", slots=4)
    runs = [await jobs.run(["convert", path, f"{path}.png"], queue="convert") for path in paths]
    failed = [result for result in await jobs.wait(runs=[run.id for run in runs]) if not result.ok]

`jobs.run(command, after="fetch", at=tonight, hold=True)` waits for more than that; `cancel`, `hold` and `release` are
for what waits, `timers` says what starts by the clock, `stats` how long jobs take, `rerun` runs one again exactly.

Rules that hold for both: a daemon that is replaced or killed is reconnected to, and what was asked goes on where it
was, nothing lost or repeated; only `daemon_reexec` and `shutdown` raise Unavailable when their reply is lost, as asking
again could do them twice. Runs belong to the daemon: leaving the block ends none of them. Times are
wall-clock nanoseconds since the epoch. Everything raised is a JobdError (or TimeoutError, of a blocking `wait`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd._client.blocking import BlockingJobs, BlockingRun
from jobd._client.blocking_feeder import BlockingFeeder
from jobd._client.faults import (
    Conflict,
    Denied,
    Invalid,
    JobdError,
    NotFound,
    RunFailed,
    StartFailed,
    Unavailable,
)
from jobd._client.results import Chunk, RunResult
from jobd._client.watching import BlockingChanges
from jobd.wire.messages import (
    Change,
    Daemon,
    Decision,
    Definition,
    Done,
    FileView,
    Graph,
    Identity,
    JobView,
    Link,
    Member,
    Missed,
    Plan,
    Planned,
    Process,
    Progress,
    QueueDetail,
    QueueView,
    Reason,
    Rules,
    RuleView,
    RunView,
    SourceFile,
    StatsView,
    TimerView,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from jobd._client.asynchronous import Jobs, Run
    from jobd._client.call import Changes, Chunks
    from jobd._client.feeder import Feeder

__all__ = [
    "BlockingChanges",
    "BlockingFeeder",
    "BlockingJobs",
    "BlockingRun",
    "Change",
    "Changes",
    "Chunk",
    "Chunks",
    "Conflict",
    "Daemon",
    "Decision",
    "Definition",
    "Denied",
    "Done",
    "Feeder",
    "FileView",
    "Graph",
    "Identity",
    "Invalid",
    "JobView",
    "JobdError",
    "Jobs",
    "Link",
    "Member",
    "Missed",
    "NotFound",
    "Plan",
    "Planned",
    "Process",
    "Progress",
    "QueueDetail",
    "QueueView",
    "Reason",
    "RuleView",
    "Rules",
    "Run",
    "RunFailed",
    "RunResult",
    "RunView",
    "SourceFile",
    "StartFailed",
    "StatsView",
    "TimerView",
    "Unavailable",
    "connect",
    "connect_blocking",
]


def connect(socket: str | None = None, *, mode: str = "") -> AbstractAsyncContextManager[Jobs]:
    """Connect to a daemon: `async with connect() as jobs`.

    Args:
        socket: the daemon's socket. By default $JOBD_SOCKET, else the system's daemon if it is there and lets us in,
            else the user's own, which is started if it is not there.
        mode: "system" or "user" for just that one.

    Raises:
        Unavailable: no daemon is there. Denied: the socket does not let us in, or belongs to a stranger.
    """
    from jobd._client.asynchronous import connect as connect_async  # blocking scripts need not load trio: 80 ms

    return connect_async(socket, mode=mode)


def connect_blocking(socket: str | None = None, *, mode: str = "") -> BlockingJobs:
    """As `connect`, for code without trio: `with connect_blocking() as jobs`."""
    return BlockingJobs(socket, mode)


def __getattr__(name: str) -> object:
    """Jobs, Run, Changes, Chunks and Feeder, whose modules load trio, when somebody names them."""
    if name in ("Jobs", "Run"):
        from jobd._client import asynchronous

        return getattr(asynchronous, name)
    if name == "Feeder":
        from jobd._client.feeder import Feeder

        return Feeder
    if name in ("Changes", "Chunks"):
        from jobd._client import call

        return getattr(call, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
