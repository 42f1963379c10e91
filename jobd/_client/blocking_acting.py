"""What the blocking client does to jobs; see Acting."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobd._client.exchanges import Exchange
    from jobd._client.requests import Progress
    from jobd.wire import messages as m

T = TypeVar("T")


class BlockingActing:
    """A part of BlockingJobs."""

    def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    def start(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Run jobs again as last submitted; see Jobs.start."""
        return self._one(requests.start(names, no_block=no_block, progress=progress))

    def restart(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Stop, then start."""
        return self._one(requests.start(names, no_block=no_block, progress=progress, again=True))

    def stop(self, *names: str, no_block: bool = False, progress: Progress = None) -> Sequence[m.Done]:
        """Stop jobs; returns when no process of them is left."""
        return self._one(requests.stop(names, no_block=no_block, progress=progress))

    def kill(self, *names: str, signal: int = 15, whom: str = "all") -> Sequence[m.Done]:
        """Send a signal to the jobs' processes; see Jobs.kill."""
        return self._one(requests.kill(names, signal=signal, whom=whom))

    def freeze(self, *names: str) -> Sequence[m.Done]:
        """Hold running jobs where they are; see Jobs.freeze."""
        return self._one(requests.freeze(names))

    def thaw(self, *names: str) -> Sequence[m.Done]:
        """Let frozen jobs go on."""
        return self._one(requests.freeze(names, thaw=True))

    def set_property(self, name: str, settings: Mapping[str, str]) -> dict[str, str]:
        """Change settings of a job; see Jobs.set_property."""
        return requests.when(self._one(requests.set_property(name, settings)))

    def reset_failed(self, *names: str) -> Sequence[m.Done]:
        """Make failed jobs inactive; see Jobs.reset_failed."""
        return self._one(requests.reset_failed(names))

    def remove(
        self, *names: str, stop: bool = False, purge: bool = False, progress: Progress = None
    ) -> Sequence[m.Done]:
        """Take jobs out of the lists; see Jobs.remove."""
        return self._one(requests.remove(names, stop=stop, purge=purge, progress=progress))
