"""What the blocking client does with definitions; see Defining."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import defining_requests as requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd._client.exchanges import Exchange
    from jobd._client.requests import Progress, Word
    from jobd.wire import messages as m

T = TypeVar("T")


class BlockingDefining:
    """A part of BlockingJobs."""

    def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    def add(
        self,
        name: str,
        text: str,
        *,
        base: Word | None = None,
        dropin: str = "",
        replace: bool = False,
        dry: bool = False,
    ) -> m.Plan:
        """Keep a job file in jobd's database, or a drop-in of one that is there."""
        return self._one(requests.define(name, text, base=base, dropin=dropin, replace=replace, dry=dry))

    def revert(self, *names: str) -> m.Plan:
        """Take the drop-ins of jobs that are in the database away."""
        return self._one(requests.revert(names))

    def enable(self, *names: str) -> Sequence[m.Done]:
        """Have jobs started with jobd. They are not started by that."""
        return self._one(requests.enable(names, enabled=True))

    def disable(self, *names: str) -> Sequence[m.Done]:
        """Have jobs not started with jobd any more. They are not stopped by that."""
        return self._one(requests.enable(names, enabled=False))

    def mask(self, *names: str) -> Sequence[m.Done]:
        """Have jobs not be started by anybody or anything. What runs goes on."""
        return self._one(requests.mask(names, masked=True))

    def unmask(self, *names: str) -> Sequence[m.Done]:
        """Let jobs be started again."""
        return self._one(requests.mask(names, masked=False))

    def reload(
        self,
        *names: str,
        or_restart: bool = False,
        running_only: bool = False,
        no_block: bool = False,
        progress: Progress = None,
    ) -> Sequence[m.Done]:
        """Have running jobs read their configuration; returns when they have."""
        return self._one(
            requests.reload(
                names, or_restart=or_restart, running_only=running_only, no_block=no_block, progress=progress
            )
        )

    def try_restart(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Stop, then start those that run; the others are left alone."""
        return self._one(requests.try_restart(names, no_block=no_block, progress=progress))

    def daemon_reload(self, *names: str, dry: bool = False) -> m.Plan:
        """Read the configuration and the job files again; what has changed. Nothing is restarted by that."""
        return self._one(requests.daemon_reload(names, dry=dry))

    def job_files(self, *patterns: str, states: Sequence[str] = ()) -> Sequence[m.FileView]:
        """The jobs that have a definition; with `states` those that are enabled, disabled, masked …"""
        return self._one(requests.job_files(patterns, states=states))

    def dependencies(self, *names: str, reverse: bool = False, order: bool = False) -> m.Graph:
        """What jobs need, directly or not: links, and the jobs at their ends."""
        return self._one(requests.dependencies(names, reverse=reverse, order=order))

    def why(self, *names: str) -> Sequence[m.Reason]:
        """Why jobs are in the state that they are in, down to the job that is to blame. Raises NotFound."""
        return self._one(requests.why(names)).reasons
