"""A run on fakes with a notify socket, and what it says: for the clock tests of services.

The socket is a real one, since its credentials are the kernel's; its other end is in the test, which is its own job.
"""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from trio.testing import wait_all_tasks_blocked

from jobd.core import service
from tests.runtime.fakes import Bed, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobd.runtime.run import Run

STRANGER = 4_000_000  # no process of any run


class Served:
    """A live run, and the job's end of its socket."""

    def __init__(self, bed: Bed, run: Run, job: socket.socket) -> None:
        self.bed = bed
        self.run = run
        self.job = job

    @property
    def sub(self) -> str:
        """The job's state."""
        return self.run.job.row.sub

    async def say(self, *lines: str, fds: tuple[int, ...] = ()) -> None:
        """Send a datagram, and let all that follows from it happen."""
        self.post(*lines, fds=fds)
        await wait_all_tasks_blocked()

    def post(self, *lines: str, fds: tuple[int, ...] = ()) -> None:
        """Send a datagram."""
        socket.send_fds(self.job, ["\n".join(lines).encode()], list(fds))

    def kinds(self) -> list[str]:
        """The kinds of the events so far."""
        return [event.kind for event in self.bed.store.events]


@asynccontextmanager
async def served(bed: Bed | None = None, /, **spec: object) -> AsyncIterator[Served]:
    """A run whose program runs; as its main process it has the test itself."""
    bed = bed or Bed()
    job, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    bed.keeper.script["spawn"] = [("spawned", {"pid": os.getpid(), "start": 1, "tracking": "process", "cgroup": ""})]
    bed.keeper.fds = {"notify": os.dup(ours.fileno())}
    with job, ours:
        job.setblocking(False)
        async with serving(bed):
            run = bed.submit(**spec)
            await wait_all_tasks_blocked()
            yield Served(bed, run, job)
            run.close_fds()


NOTIFY = {"type": service.NOTIFY}
