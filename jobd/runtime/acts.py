"""Acts on the daemon itself, as events beside those of jobs: their job is "", their owner the daemon's user."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import trio

from jobd.core.records import BY_GID, Event
from jobd.runtime.journal import NotDurable

if TYPE_CHECKING:
    from typing import Final

    from jobd.runtime.job import Caller
    from jobd.runtime.registry import Registry

RECORD_SEC: Final = 2.0  # a disk that takes longer is not to keep anybody from shutting down


async def record(registry: Registry, kind: str, by: Caller, reason: str = "") -> None:
    """Write down that somebody asked for this, before it is done; not on a full disk, which is no reason to refuse.

    Args:
        registry: of the jobs.
        kind: the verb.
        by: who asked.
        reason: what there is to say about it, in words.
    """
    event = Event(
        seq=registry.store.next_event_seq(), at=time.time_ns(), kind=kind, owner=os.geteuid(), job="", by_uid=by.uid,
        by_pid=by.pid, data={BY_GID: by.gid, **({"reason": reason} if reason else {})},
    )  # fmt: skip
    with trio.move_on_after(RECORD_SEC, shield=True):  # also for a client that leaves without the answer
        try:
            await registry.journal.record(event, None, None, may_fail=True).wait()
        except NotDurable:
            return
