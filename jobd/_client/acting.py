"""What the trio client does to jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobd._client.exchanges import Exchange
    from jobd._client.requests import Progress
    from jobd.wire import messages as m

T = TypeVar("T")


class Acting:
    """A part of Jobs."""

    async def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    async def start(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Run jobs again as last submitted; returns when they are executing. `progress` is told of delays."""
        return await self._one(requests.start(names, no_block=no_block, progress=progress))

    async def restart(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Stop, then start."""
        return await self._one(requests.start(names, no_block=no_block, progress=progress, again=True))

    async def stop(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Stop jobs; returns when no process of them is left."""
        return await self._one(requests.stop(names, no_block=no_block, progress=progress))

    async def kill(self, *names: str, signal: int = 15, whom: str = "all") -> Sequence[m.Done]:
        """Send a signal to the jobs' processes: `whom` is "all", or "main" for the main process of each."""
        return await self._one(requests.kill(names, signal=signal, whom=whom))

    async def freeze(self, *names: str) -> Sequence[m.Done]:
        """Hold running jobs where they are; returns when all of their processes are held. Time limits go on.

        Raises:
            Conflict: a job is not running.
        """
        return await self._one(requests.freeze(names))

    async def thaw(self, *names: str) -> Sequence[m.Done]:
        """Let frozen jobs go on. Raises Conflict when a job is not running."""
        return await self._one(requests.freeze(names, thaw=True))

    async def set_property(self, name: str, settings: Mapping[str, str]) -> dict[str, str]:
        """Change settings of a job (`{"limits.memory": "1G"}`), also of one that runs.

        Of a job with a definition they have to be in it already: this has what runs take them up.

        Returns:
            For each key when it takes effect: "now", "at the next start", or why it cannot.

        Raises:
            Invalid: a key that cannot be set, or a value that cannot be read.
            Conflict: the job's definition says something else.
        """
        return requests.when(await self._one(requests.set_property(name, settings)))

    async def reset_failed(self, *names: str) -> Sequence[m.Done]:
        """Make failed jobs inactive; without names all of the caller's. A job that has not failed is left alone."""
        return await self._one(requests.reset_failed(names))

    async def remove(
        self, *names: str, stop: bool = False, purge: bool = False, progress: Progress = None
    ) -> Sequence[m.Done]:
        """Take jobs out of the lists; their runs and logs stay, and are found by the runs' ids.

        Args:
            names: the jobs.
            stop: stop those that run, or cancel those that are queued, first.
            purge: take their runs and logs, too.
            progress: is told of delays.

        Raises:
            Conflict: a job runs, and `stop` is not set.
        """
        return await self._one(requests.remove(names, stop=stop, purge=purge, progress=progress))
