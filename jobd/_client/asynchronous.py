"""The trio client. See jobd.client, which is the public name for what is here."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar, Unpack

import trio

from jobd._client import granted, requests, scheduling_requests
from jobd._client.acting import Acting
from jobd._client.asking import Asking
from jobd._client.call import Call, Chunks, Connector
from jobd._client.defining import Defining
from jobd._client.faults import StartFailed
from jobd._client.feeder import Feeder
from jobd._client.feeding import Feeding
from jobd._client.results import RunResult, of_all
from jobd._client.scheduling import Scheduling
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from jobd._client.exchanges import Exchange
    from jobd._client.requests import Command, Environment, Progress, RunIdLike, Word
    from jobd._client.scheduling_requests import When
    from jobd.wire.fields import Stdin

T = TypeVar("T")
JobViews: TypeAlias = list[m.JobView]  # inside of Jobs, `list` is a method


@asynccontextmanager
async def connect(socket: str | None = None, *, mode: str = "") -> AsyncIterator[Jobs]:
    """Connect to a daemon; see jobd.client.connect."""
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                connector = Connector(nursery)
                await connector.connect_first(socket, mode)
                yield Jobs(connector)
            except BaseException as e:
                failure = e  # raised below as it is: a nursery would wrap the caller's exception into a group
            nursery.cancel_scope.cancel()
    finally:
        if failure is not None:
            raise failure


class Jobs(Acting, Asking, Defining, Scheduling):
    """The jobs of one daemon. Any number of tasks may use it at once. Made by `connect`.

    Cancelling a call ends its request in the daemon too; what it had begun there (a stop, a start) goes on.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    @property
    def uid(self) -> int | None:
        """Whom the daemon takes us for."""
        peer = self._connector.peer
        return peer.uid if peer else None

    # --- running ---
    async def run(
        self,
        command: Command,
        *,
        name: str | None = None,
        run_id: RunIdLike | None = None,
        env: Environment | None = None,
        cwd: Word | None = None,
        shell: bool = False,
        umask: int | None = None,
        rlimits: Mapping[str, tuple[int, int]] | None = None,
        nice: int | None = None,
        settings: Mapping[str, str] | None = None,
        exec_wait: bool = True,
        stdin: Stdin = "null",
        **when: Unpack[When],
    ) -> Run:
        """Run a command as a job; returns once it is executing (or accepted and queued).

        Args:
            command: the words of the command; with `shell` a script for /bin/sh.
            name: of the job; by default made from the command ("make-3").
            run_id: of the run; by default a new one. Calling again with the same id runs nothing twice.
            env, cwd, umask, rlimits, nice: by default this process's own, as in subprocess; no environment for
                a job that root lets run as another user (settings "user").
            settings: job-file keys, tables with a dot: {"stop.timeout": "5s"}.
            exec_wait: without it, return when the run is accepted, which is durable already.
            stdin: "pipe" for a run that is fed by `Run.feed`, "pty" for one with a terminal; by default it is empty.
            when: in which `queue` it waits for slots, if in one; higher `priority` first; how many slots it takes
                (`weight`). `after`: jobs that have to end first, as "JOB", "JOB:failed" or "JOB:any". `at`: a
                datetime, or nanoseconds since the epoch; `delay`: seconds, or a timedelta. `hold`: until it is
                released. `singleton`: while the job of this name has another run. `array`: "0-99%4" is a run for
                each of these numbers, four at a time, as the jobs "NAME@0" …; `Run.wait_all` waits for them.

        Raises:
            StartFailed: the command cannot be executed. Conflict: the name is taken.
        """
        exchange = requests.run(
            command,
            name=name,
            run_id=run_id,
            env=env,
            cwd=cwd,
            shell=shell,
            umask=umask,
            rlimits=rlimits,
            nice=nice,
            settings=settings,
            exec_wait=exec_wait,
            stdin=stdin,
            when=when,
        )
        if granted.is_needed(self._connector.path):
            await trio.to_thread.run_sync(granted.grant, self._connector.path, exchange, abandon_on_cancel=True)
        started = await self._one(exchange)
        if started.step:
            raise StartFailed(started)
        return Run(self, started)

    async def rerun(self, job: str, run: str = "0", *, run_id: RunIdLike | None = None, exec_wait: bool = True) -> Run:
        """Run again what a job was last, or what one run of it was; returns as `run` does.

        The command, environment and directory are that run's; stdin is empty where it came through a pipe.

        Args:
            job: may be empty when `run` is the id of a run.
            run: as in `result`.
            run_id: of the new run; as in `run`.
            exec_wait: as in `run`.

        Raises:
            StartFailed: the command cannot be executed. Conflict: the job is running.
        """
        started = await self._one(requests.rerun(job, run, run_id=run_id, exec_wait=exec_wait))
        if started.step:
            raise StartFailed(started)
        return Run(self, started)

    # --- looking ---
    async def get(self, *names: str, tree: bool = False) -> JobViews:
        """The state of jobs by name or glob. An unknown name gives a view with load "not-found"."""
        return (await self._one(requests.get(names, tree=tree))).jobs

    async def list(self, *patterns: str, all: bool = False, states: Sequence[str] = (), queue: str = "") -> JobViews:  # noqa: A002
        """Jobs that are active, queued, held, enabled or failed; with `all` every one. Sorted by owner and name."""
        return await self._one(requests.listing(patterns, all_jobs=all, states=states, queue=queue))

    async def history(
        self,
        *jobs: str,
        states: Sequence[str] = (),
        queue: str = "",
        since: int | None = None,
        until: int | None = None,
        limit: int | None = 100,
        offset: int = 0,
        before: int | None = None,
    ) -> Sequence[m.RunView]:
        """Runs, newest first. Times are wall-clock nanoseconds; a limit of None gives all.

        `before`: the `seq` of the last run of a page, to go on behind it whatever has begun meanwhile.
        """
        exchange = requests.history(
            jobs, states=states, queue=queue, since=since, until=until, limit=limit, offset=offset, before=before
        )
        return await self._one(exchange)

    async def result(self, job: str, run: str = "0") -> RunResult:
        """One run of a job: "0" the newest, "-1" the one before, "3" the third, or an id or the end of one."""
        return RunResult((await self._one(requests.resolve(job, run))).runs[0])

    def logs(
        self,
        job: str,
        *,
        run: str = "0",
        follow: bool = False,
        lines: int | None = None,
        since: int | None = None,
        until: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
        split: bool = False,
    ) -> Chunks:
        """The output of one job, byte-exact, as an async iterator of chunks.

        Args:
            job: may be empty when `run` is an id: also that of a job which was removed.
            run: as in `result`, or "all".
            follow: go on with new output and with the job's next runs, until the job is at rest.
            lines: begin with the last so many lines.
            since, until: wall-clock nanoseconds.
            split: one chunk for each read from the job, with its exact time; otherwise neighbours may be joined.
        """
        exchange = requests.logs(
            job,
            run=run,
            follow=follow,
            lines=lines,
            since=since,
            until=until,
            stdout=stdout,
            stderr=stderr,
            split=split,
        )
        return Chunks(self._connector, exchange)

    async def wait(
        self, *jobs: str, runs: Sequence[RunIdLike] = (), queue: str = "", first: bool = False
    ) -> Sequence[RunResult]:
        """Wait for the end of runs, in the order in which they end.

        Args:
            jobs: their newest runs; of an array all of its elements.
            runs: these runs, by id. An array has none: it is waited for by its name, or by `Run.wait_all`.
            queue: all runs that are in it now.
            first: for the first of all these to end.
        """
        return await self._all(requests.wait(jobs, runs, queue=queue, first=first))

    # --- the daemon ---
    async def daemon_status(self) -> m.Daemon:
        return await self._one(requests.daemon_status())

    async def daemon_reexec(self, *, keeper: bool = False) -> None:
        """Replace the daemon (or with `keeper` the keeper) by the code on disk; jobs and this connection go on."""
        await self._one(requests.daemon_reexec(keeper=keeper))

    async def shutdown(self) -> None:
        """Stop all runs in order, keep the queue, end the daemon."""
        await self._one(requests.shutdown())

    # --- machinery ---
    async def _one(self, exchange: Exchange[T]) -> T:
        if names := granted.instances(path := self._connector.path, exchange):
            await trio.to_thread.run_sync(granted.grant_instances, path, names, abandon_on_cancel=True)
        return (await self._all(exchange))[-1]

    async def _all(self, exchange: Exchange[T]) -> Sequence[T]:
        call = Call(self._connector, exchange)
        found: list[T] = []
        try:
            while (items := await call.take()) is not None:
                found += items
        finally:
            call.leave()
        return found


class Run:
    """One run that was started. Its acts mean this run, never a later one of the job.

    Attributes:
        id: 32 hex digits. job: the job's name, as the caller says it. number: which run of the job, from 1.
        pid: of the main process; None while it waits. waits: for what, in words: "for queue build, which is full".
        elements: how many an array has; 0 of any other run.
    """

    def __init__(self, jobs: Jobs, started: m.Started) -> None:
        self._jobs = jobs
        self._run = started.run
        self.id = started.run.hex()
        self.job = requests.name_of(started, jobs.uid)
        self.number = started.number
        self.pid = started.pid
        self.waits = started.waits
        self.elements = started.elements

    def __repr__(self) -> str:
        number = "" if self.elements else f"#{self.number}"
        return f"<{type(self).__name__} {self.job}{number} {self.id}>"

    async def wait(self) -> RunResult:
        """Wait for its end. Cancelling only ends the waiting.

        Of an array: until all have ended, and then the first element to end that did not succeed; if all did, the
        last one.
        """
        return of_all(await self.wait_all())

    async def wait_all(self) -> Sequence[RunResult]:
        """The same, with the ends of all elements of an array, in the order in which they come."""
        return await self._jobs._all(requests.wait_for(self._run, self.elements))

    async def cancel(self) -> None:
        """End it before it begins. Raises Conflict when it has begun."""
        await self._jobs._one(scheduling_requests.cancel((self.job,), (self._run,)))

    def logs(self, *, follow: bool = False, stdout: bool = True, stderr: bool = True, split: bool = False) -> Chunks:
        """Its output from the first byte; with `follow` until it has ended and the last byte is read."""
        exchange = requests.logs(
            self.job,
            run=self.id,
            follow=follow,
            lines=None,
            since=None,
            until=None,
            stdout=stdout,
            stderr=stderr,
            split=split,
            one_run=True,
        )
        return Chunks(self._jobs._connector, exchange)

    def feed(self) -> Feeder:
        """Its stdin: `async with run.feed() as stdin: await stdin.send(b"...")`. It ends with the block."""
        feeding = Feeding(self._run)
        return Feeder(Call(self._jobs._connector, feeding), feeding)

    async def stop(self, *, progress: Progress = None) -> None:
        """Stop it, if it has not ended; returns when no process of it is left."""
        await self._jobs._one(requests.stop((self.job,), (self._run,), no_block=False, progress=progress))

    async def kill(self, signal: int = 15, *, whom: str = "all") -> None:
        """Send a signal. Raises Conflict when it has ended."""
        await self._jobs._one(requests.kill((self.job,), (self._run,), signal=signal, whom=whom))
