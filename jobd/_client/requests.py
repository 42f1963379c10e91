"""Building requests from Python values: what `None` inherits, and what a sequence of words becomes on the wire."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Final, TypeAlias

from jobd._client.exchanges import Action, One, Pages, Removing, RunPages
from jobd._client.faults import Invalid, NotFound
from jobd._client.reading import Reading
from jobd._client.scheduling_requests import submission
from jobd._client.waiting import Waiting
from jobd._client.watching import Watching
from jobd.core.arrays import element_id
from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobd._client.scheduling_requests import When
    from jobd.wire.fields import Stdin

Word: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Command: TypeAlias = "Sequence[Word] | str"
Environment: TypeAlias = "Mapping[str, str] | Mapping[bytes, bytes]"
RunIdLike: TypeAlias = "str | bytes"  # 32 hex digits, dashes allowed, or 16 bytes

ALL: Final = 10**9  # "as many as there are"
# The limits that a job has from whoever submits it (setrlimit(2)).
LIMITS: Final = (
    "as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip


def run(
    command: Command,
    *,
    name: str | None,
    run_id: RunIdLike | None,
    env: Environment | None,
    cwd: Word | None,
    shell: bool,
    umask: int | None,
    rlimits: Mapping[str, tuple[int, int]] | None,
    nice: int | None,
    settings: Mapping[str, str] | None,
    exec_wait: bool,
    stdin: Stdin,
    when: When,
) -> One[m.Started]:
    if isinstance(command, str) != shell:
        wanted = "a string" if shell else "a sequence of words"
        raise Invalid(errors.INVALID, f"cannot run {command!r:.100}: with shell={shell} it has to be {wanted}")
    if not command:
        raise Invalid(errors.INVALID, "cannot run an empty command")
    argv = [os.fsencode(command)] if isinstance(command, str) else [os.fsencode(word) for word in command]
    request = m.Run(
        id=0,
        run=new_run_id() if run_id is None else run_bytes(run_id),
        argv=argv,
        env=environment({} if env is None and settings and "user" in settings else env),
        cwd=os.getcwdb() if cwd is None else os.path.abspath(os.fsencode(cwd)),
        name=name,
        shell=shell,
        umask=own_umask() if umask is None else umask,
        rlimits=own_rlimits() if rlimits is None else dict(rlimits),
        nice=os.getpriority(os.PRIO_PROCESS, 0) if nice is None else nice,
        settings=dict(settings or {}),
        exec_wait=exec_wait,
        stdin=stdin,
    )
    return One(submission(request, when), m.Started)


def rerun(job: str, run: str, *, run_id: RunIdLike | None, exec_wait: bool) -> One[m.Started]:
    new = new_run_id() if run_id is None else run_bytes(run_id)
    return One(m.Rerun(id=0, new=new, job=job, run=run, exec_wait=exec_wait), m.Started)


def environment(env: Environment | None) -> list[bytes]:
    """NAME=value entries; None is our own environment."""
    items = os.environb.items() if env is None else env.items()
    return [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in items]


def own_umask() -> int:
    """This process's umask, read without changing it: umask(2) cannot, and other threads may be making files."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o022  # kernels before 4.7 do not say


def own_rlimits() -> dict[str, tuple[int, int]]:
    return {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name.upper())) for name in LIMITS}


def run_bytes(run: RunIdLike) -> bytes:
    """The 16 bytes of a run id. Raises Invalid."""
    try:
        data = bytes.fromhex(run.replace("-", "")) if isinstance(run, str) else run
    except ValueError:
        data = b""
    if len(data) != 16:
        raise Invalid(errors.INVALID, f"cannot take run id {run!r:.80}: not 32 hex digits or 16 bytes")
    return data


def start(names: Sequence[str], *, no_block: bool, progress: Progress, again: bool = False) -> Action:
    kind = m.Restart if again else m.Start
    return Action(kind(id=0, names=list(names), runs=[new_run_id() for _ in names], no_block=no_block), progress)


def stop(names: Sequence[str], runs: Sequence[bytes] = (), *, no_block: bool, progress: Progress) -> Action:
    return Action(m.Stop(id=0, names=list(names), no_block=no_block, runs=list(runs)), progress)


def kill(names: Sequence[str], runs: Sequence[bytes] = (), *, signal: int, whom: str) -> Action:
    once = new_run_id().hex()  # asked again under it, nobody is signaled twice
    return Action(m.Kill(id=0, names=list(names), signal=int(signal), whom=whom, runs=list(runs), once=once), None)


def freeze(names: Sequence[str], *, thaw: bool = False) -> Action:
    kind = m.Thaw if thaw else m.Freeze
    return Action(kind(id=0, names=list(names)), None)


def reset_failed(names: Sequence[str]) -> Action:
    return Action(m.ResetFailed(id=0, names=list(names)), None)


def set_property(name: str, settings: Mapping[str, str]) -> One[m.Ok]:
    return One(m.SetProperty(id=0, name=name, settings=dict(settings)), m.Ok)


def when(answer: m.Ok) -> dict[str, str]:
    """The lines of the answer to it, by the key."""
    return {key: text for key, _, text in (line.partition(": ") for line in answer.text.splitlines())}


def remove(names: Sequence[str], *, stop: bool, purge: bool, progress: Progress) -> Removing:
    return Removing(m.Remove(id=0, names=list(names), stop=stop, purge=purge), progress)


def get(names: Sequence[str], *, tree: bool) -> One[m.Jobs]:
    return One(m.Get(id=0, names=list(names), tree=tree), m.Jobs)


def listing(patterns: Sequence[str], *, all_jobs: bool, states: Sequence[str], queue: str) -> Pages[m.Jobs, m.JobView]:
    request = m.List(id=0, patterns=list(patterns), all=all_jobs, states=list(states), queue=queue)
    return Pages(request, m.Jobs, lambda page: (page.jobs, page.more))


def history(
    jobs: Sequence[str],
    *,
    states: Sequence[str],
    queue: str,
    since: int | None,
    until: int | None,
    limit: int | None,
    offset: int,
    before: int | None,
) -> RunPages:
    request = m.History(
        id=0, jobs=list(jobs), states=list(states), queue=queue, since=since, until=until, offset=offset, before=before
    )
    return RunPages(request, ALL if limit is None else limit)


def resolve(job: str, run: str) -> One[m.Runs]:
    return One(m.Resolve(id=0, job=job, run=run), m.Runs)


def logs(
    job: str,
    *,
    run: str,
    follow: bool,
    lines: int | None,
    since: int | None,
    until: int | None,
    stdout: bool,
    stderr: bool,
    split: bool,
    one_run: bool = False,
) -> Reading:
    if set("*?[") & set(job):
        raise Invalid(errors.INVALID, f"cannot read {job}: the output of one job is read, by its name")
    return Reading(
        m.Logs(
            id=0,
            jobs=[job] if job else [],  # a run by its id alone
            run=run,
            follow=follow,
            lines=lines,
            since=since,
            until=until,
            stdout=stdout,
            stderr=stderr,
            split=split,
            one_run=one_run,
        )
    )


def events(
    jobs: Sequence[str],
    *,
    after: int | None,
    lines: int | None,
    since: int | None,
    until: int | None,
    follow: bool,
    audit: bool,
) -> Watching:
    request = m.Events(
        id=0, jobs=list(jobs), after=after, lines=lines, since=since, until=until, follow=follow, audit=audit
    )
    return Watching(request)


def cat(job: str) -> One[m.Definitions]:
    return One(m.Cat(id=0, names=[job]), m.Definitions)


def defined(answer: m.Definitions) -> m.Definition:
    """The one definition that was asked for. Raises NotFound."""
    found = answer.definitions
    if len(found) != 1 or found[0].load == "not-found":
        what = found[0].job if found else "a pattern"
        raise NotFound(errors.NOT_FOUND, f"cannot find job {what!r}")
    return found[0]


def whoami(pids: Sequence[int]) -> One[m.Members]:
    return One(m.Whoami(id=0, pids=list(pids)), m.Members)


def identity() -> One[m.Identity]:
    return One(m.AuthWhoami(id=0), m.Identity)


def can_i(action: str, job: str, user: str) -> One[m.Decision]:
    return One(m.AuthCanI(id=0, action=action, job=job, user=user), m.Decision)


def rules() -> One[m.Rules]:
    return One(m.AuthRules(id=0), m.Rules)


def wait(jobs: Sequence[str], runs: Sequence[RunIdLike], *, queue: str, first: bool) -> Waiting:
    return Waiting(jobs, {found: found for found in map(run_bytes, runs)}, any=first, queue=queue)


def wait_for(run: bytes, elements: int) -> Waiting:
    """For one that was started, or all elements of an array."""
    runs = {element_id(run, place): run for place in range(elements)} if elements else {run: run}
    return Waiting((), runs, any=False)


def daemon_status() -> One[m.Daemon]:
    return One(m.DaemonStatus(id=0), m.Daemon)


def daemon_reexec(*, keeper: bool) -> One[m.Ok]:
    return One(m.DaemonReexec(id=0, keeper=keeper), m.Ok, repeatable=False)


def shutdown() -> One[m.Ok]:
    return One(m.Shutdown(id=0), m.Ok, repeatable=False)


def name_of(started: m.Started, uid: int | None) -> str:
    """How the caller, whom the daemon takes for `uid`, names the job that he has started."""
    return started.job if started.owner == uid else f"{started.owner}/{started.job}"


if TYPE_CHECKING:
    Progress: TypeAlias = Callable[[m.Progress], None] | None
