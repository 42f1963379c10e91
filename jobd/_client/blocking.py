"""The blocking client. See jobd.client, which is the public name for what is here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, Unpack

from jobd._client import granted, requests, scheduling_requests
from jobd._client.blocking_acting import BlockingActing
from jobd._client.blocking_asking import BlockingAsking
from jobd._client.blocking_channel import Channel
from jobd._client.blocking_defining import BlockingDefining
from jobd._client.blocking_feeder import BlockingFeeder
from jobd._client.blocking_scheduling import BlockingScheduling
from jobd._client.exchanges import Exchange, State
from jobd._client.faults import LostError, StartFailed, Unavailable, error_for
from jobd._client.results import Chunk, RunResult, of_all
from jobd._client.session import delay_before
from jobd.wire import endpoint, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobd._client.requests import Command, Environment, Progress, RunIdLike, Word
    from jobd._client.scheduling_requests import When
    from jobd.wire.fields import Stdin

IDLE_MAX: Final = 4  # connections kept for the next requests: the daemon allows a user 64 in all

T = TypeVar("T")
JobViews: TypeAlias = list[m.JobView]  # inside of BlockingJobs, `list` is a method


class BlockingJobs(BlockingActing, BlockingAsking, BlockingDefining, BlockingScheduling):
    """The jobs of one daemon, for threads and plain scripts. Made by `connect_blocking`; a context manager.

    Threads may share it: each request has a connection of a small pool to itself, so that a long `wait` is in nobody's
    way. The methods are those of Jobs.
    """

    def __init__(self, socket: str | None, mode: str) -> None:
        self._idle: list[Channel] = []
        self._peer: m.Hello | None = None
        try:
            self._endpoint, sock = endpoint.connect(socket, mode)
        except endpoint.EndpointError as e:
            raise error_for(e.code, e.message) from e
        try:
            channel = Channel(sock)
        except LostError:  # it left just as we came: the first request tries again
            return
        self._peer = channel.session.peer
        self._idle.append(channel)

    def __enter__(self) -> BlockingJobs:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().sock.close()

    @property
    def uid(self) -> int | None:
        """Whom the daemon takes us for."""
        return self._peer.uid if self._peer else None

    # --- running ---
    def run(
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
    ) -> BlockingRun:
        """Run a command as a job; see Jobs.run."""
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
        if granted.is_needed(self._endpoint.path):
            granted.grant(self._endpoint.path, exchange)
        started = self._one(exchange)
        if started.step:
            raise StartFailed(started)
        return BlockingRun(self, started)

    def rerun(
        self, job: str, run: str = "0", *, run_id: RunIdLike | None = None, exec_wait: bool = True
    ) -> BlockingRun:
        """Run again what a job was last, or what one run of it was; see Jobs.rerun."""
        started = self._one(requests.rerun(job, run, run_id=run_id, exec_wait=exec_wait))
        if started.step:
            raise StartFailed(started)
        return BlockingRun(self, started)

    # --- looking ---
    def get(self, *names: str, tree: bool = False) -> JobViews:
        """The state of jobs by name or glob; see Jobs.get."""
        return self._one(requests.get(names, tree=tree)).jobs

    def list(self, *patterns: str, all: bool = False, states: Sequence[str] = (), queue: str = "") -> JobViews:  # noqa: A002
        """Jobs that are active, queued, held, enabled or failed; see Jobs.list."""
        return self._one(requests.listing(patterns, all_jobs=all, states=states, queue=queue))

    def history(
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
        """Runs, newest first; see Jobs.history."""
        exchange = requests.history(
            jobs, states=states, queue=queue, since=since, until=until, limit=limit, offset=offset, before=before
        )
        return self._one(exchange)

    def result(self, job: str, run: str = "0") -> RunResult:
        """One run of a job; see Jobs.result."""
        return RunResult(self._one(requests.resolve(job, run)).runs[0])

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
    ) -> Iterator[Chunk]:
        """The output of one job, as an iterator of chunks; see Jobs.logs."""
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
        return self._drive(exchange)

    def wait(
        self,
        *jobs: str,
        runs: Sequence[RunIdLike] = (),
        queue: str = "",
        first: bool = False,
        timeout: float | None = None,  # there is no other way without trio
    ) -> Sequence[RunResult]:
        """Wait for the end of runs; see Jobs.wait. Raises TimeoutError after `timeout` seconds."""
        return self._ends(requests.wait(jobs, runs, queue=queue, first=first), timeout)

    def _ends(self, exchange: Exchange[RunResult], timeout: float | None) -> Sequence[RunResult]:
        try:
            return [*self._drive(exchange, timeout)]
        except TimeoutError:
            raise TimeoutError(f"cannot wait longer: not ended after {timeout} s") from None

    # --- the daemon ---
    def daemon_status(self) -> m.Daemon:
        return self._one(requests.daemon_status())

    def daemon_reexec(self, *, keeper: bool = False) -> None:
        """Replace the daemon (or with `keeper` the keeper) by the code on disk."""
        self._one(requests.daemon_reexec(keeper=keeper))

    def shutdown(self) -> None:
        """Stop all runs in order, keep the queue, end the daemon."""
        self._one(requests.shutdown())

    # --- machinery ---
    def _one(self, exchange: Exchange[T]) -> T:
        if names := granted.instances(self._endpoint.path, exchange):
            granted.grant_instances(self._endpoint.path, names)
        found: T
        for found in self._drive(exchange):  # noqa: B007  # the last one counts
            pass
        return found

    def _drive(self, exchange: Exchange[T], timeout: float | None = None) -> Iterator[T]:
        """Carry out an exchange, over as many connections as it takes."""
        end = None if timeout is None else time.monotonic() + timeout
        losses = 0  # since the last answer
        while exchange.state is not State.DONE:
            channel: Channel | None = None
            broken = False
            try:
                channel = self._channel(exchange, end)
                id = channel.send(exchange)  # noqa: A001
                while exchange.state is State.WAITING:
                    if end is not None:
                        channel.sock.settimeout(max(end - time.monotonic(), 1e-6))
                    answer = channel.receive(id)
                    losses = 0
                    yield from exchange.take(answer)
            except LostError as e:
                broken = True
                self._lost(exchange, e, delay_before(losses, exchange.lasting and channel is not None), end)
                losses += 1
            finally:
                if channel is not None:
                    self._put_back(channel, clean=not broken and not exchange.open and end is None)

    def _lost(self, exchange: Exchange[T], error: LostError, delay: float | None, end: float | None) -> None:
        """Wait a moment before the next try. Raises Unavailable, TimeoutError when there is to be none."""
        self.close()  # the idle ones led to the same daemon
        if exchange.state is State.WAITING:  # else it was not sent, and may be sent now
            exchange.again(str(error))
        if delay is None:
            raise Unavailable(errors.UNAVAILABLE, f"cannot reach the daemon any more: {error}") from error
        if end is not None and time.monotonic() >= end:
            raise TimeoutError("timed out")
        time.sleep(delay if end is None else min(delay, max(end - time.monotonic(), 0)))

    def _channel(self, exchange: Exchange[T], end: float | None = None) -> Channel:
        """A connection of our own. Raises LostError, TimeoutError, or JobdError for a daemon that refuses us."""
        while self._idle:
            channel = self._idle.pop()
            if exchange.repeatable or not channel.is_stale():
                return channel
            channel.sock.close()
        try:
            sock = self._endpoint.connect()
        except endpoint.EndpointError as e:
            if e.code != errors.UNAVAILABLE:
                raise error_for(e.code, e.message) from e
            raise LostError(e.message) from e
        channel = Channel(sock, end)
        self._peer = channel.session.peer
        return channel

    def _put_back(self, channel: Channel, *, clean: bool) -> None:
        """Keep a connection on which nothing is under way; closing one ends what is."""
        if clean and len(self._idle) < IDLE_MAX:
            self._idle.append(channel)
        else:
            channel.sock.close()


class BlockingRun:
    """One run that was started; see Run."""

    def __init__(self, jobs: BlockingJobs, started: m.Started) -> None:
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

    def wait(self, timeout: float | None = None) -> RunResult:
        """Wait for its end; see Run.wait. Raises TimeoutError after `timeout` seconds."""
        return of_all(self.wait_all(timeout))

    def wait_all(self, timeout: float | None = None) -> Sequence[RunResult]:
        """The same, with the ends of all elements of an array, in the order in which they come."""
        return self._jobs._ends(requests.wait_for(self._run, self.elements), timeout)

    def cancel(self) -> None:
        """End it before it begins. Raises Conflict when it has begun."""
        self._jobs._one(scheduling_requests.cancel((self.job,), (self._run,)))

    def logs(
        self, *, follow: bool = False, stdout: bool = True, stderr: bool = True, split: bool = False
    ) -> Iterator[Chunk]:
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
        return self._jobs._drive(exchange)

    def feed(self) -> BlockingFeeder:
        """Its stdin: `with run.feed() as stdin: stdin.send(b"...")`; see Run.feed."""
        return BlockingFeeder(self._jobs._channel, self._run)

    def stop(self, *, progress: Progress = None) -> None:
        """Stop it, if it has not ended; returns when no process of it is left."""
        self._jobs._one(requests.stop((self.job,), (self._run,), no_block=False, progress=progress))

    def kill(self, signal: int = 15, *, whom: str = "all") -> None:
        """Send a signal. Raises Conflict when it has ended."""
        self._jobs._one(requests.kill((self.job,), (self._run,), signal=signal, whom=whom))
