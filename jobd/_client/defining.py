"""What the trio client does with definitions, and asks about how jobs hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import defining_requests as requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd._client.exchanges import Exchange
    from jobd._client.requests import Progress, Word
    from jobd.wire import messages as m

T = TypeVar("T")


class Defining:
    """A part of Jobs."""

    async def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    async def add(
        self,
        name: str,
        text: str,
        *,
        base: Word | None = None,
        dropin: str = "",
        replace: bool = False,
        dry: bool = False,
    ) -> m.Plan:
        """Keep a job file in jobd's database, or a drop-in of one that is there.

        Root's jobs on a machine's jobd are files: write them, and call `daemon_reload`.

        Args:
            name: of the job.
            text: TOML, as jobd.job(5) has it.
            base: the directory that relative paths in it are meant from; by default the current one.
            dropin: the file name of a drop-in, "override.toml".
            replace: in place of another text.
            dry: change nothing, and say what would change.

        Raises:
            Invalid: the text has errors; all are in the message, a line each.
            Conflict: there is another text, and `replace` is not set.
        """
        return await self._one(requests.define(name, text, base=base, dropin=dropin, replace=replace, dry=dry))

    async def revert(self, *names: str) -> m.Plan:
        """Take the drop-ins of jobs that are in the database away."""
        return await self._one(requests.revert(names))

    async def enable(self, *names: str) -> Sequence[m.Done]:
        """Have jobs started with jobd. They are not started by that."""
        return await self._one(requests.enable(names, enabled=True))

    async def disable(self, *names: str) -> Sequence[m.Done]:
        """Have jobs not started with jobd any more. They are not stopped by that."""
        return await self._one(requests.enable(names, enabled=False))

    async def mask(self, *names: str) -> Sequence[m.Done]:
        """Have jobs not be started by anybody or anything. What runs goes on."""
        return await self._one(requests.mask(names, masked=True))

    async def unmask(self, *names: str) -> Sequence[m.Done]:
        """Let jobs be started again."""
        return await self._one(requests.mask(names, masked=False))

    async def reload(
        self,
        *names: str,
        or_restart: bool = False,
        running_only: bool = False,
        no_block: bool = False,
        progress: Progress = None,
    ) -> Sequence[m.Done]:
        """Have running jobs read their configuration; returns when they have.

        Args:
            names: the jobs.
            or_restart: restart those that have no way to do so, and start those at rest.
            running_only: with that, leave those at rest alone.
            no_block: return at once.
            progress: is told of delays.

        Raises:
            Conflict: a job does not run, or has no way to do so.
        """
        return await self._one(
            requests.reload(
                names, or_restart=or_restart, running_only=running_only, no_block=no_block, progress=progress
            )
        )

    async def try_restart(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Stop, then start those that run; the others are left alone."""
        return await self._one(requests.try_restart(names, no_block=no_block, progress=progress))

    async def daemon_reload(self, *names: str, dry: bool = False) -> m.Plan:
        """Read the configuration and the job files again; what has changed. Nothing is restarted by that.

        Args:
            names: read the files of these jobs alone, and not the configuration.
            dry: change nothing, and say what would change.

        Raises:
            Invalid: jobd.toml cannot be taken; the message has file and line.
        """
        return await self._one(requests.daemon_reload(names, dry=dry))

    async def job_files(self, *patterns: str, states: Sequence[str] = ()) -> Sequence[m.FileView]:
        """The jobs that have a definition; with `states` those that are enabled, disabled, masked …"""
        return await self._one(requests.job_files(patterns, states=states))

    async def dependencies(self, *names: str, reverse: bool = False, order: bool = False) -> m.Graph:
        """What jobs need, directly or not: links, and the jobs at their ends.

        Args:
            names: the jobs.
            reverse: who needs them.
            order: of after and before, instead of what pulls in or stops.
        """
        return await self._one(requests.dependencies(names, reverse=reverse, order=order))

    async def why(self, *names: str) -> Sequence[m.Reason]:
        """Why jobs are in the state that they are in, down to the job that is to blame. Raises NotFound."""
        return (await self._one(requests.why(names))).reasons
