"""What happens once in the life of a keeper: job files are read, and enabled jobs are started.

A daemon that takes the place of another does neither, nor does the first daemon of a keeper that has taken over from
one that died. Whether it was done is noted in the state directory, with the keeper's id, when all of it is durable. A
daemon that is killed before that has a successor who does it again: files are read again, and the runs have ids that
are made of the keeper's, so that none is started twice.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import plan, records, schedules, states
from jobd.core.configfile import ConfigError
from jobd.core.ids import RANDOM_BYTES, uuid7
from jobd.runtime import together
from jobd.runtime.journal import NotDurable
from jobd.runtime.registry import Stopping
from jobd.runtime.slots import LimitReached

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.definitions import Definitions
    from jobd.runtime.keeperlink import Welcome
    from jobd.runtime.registry import Registry

log = logging.getLogger("jobd.runtime")

NAME: Final = "boot.done"
CAUSE: Final = "enabled"
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_ID: Final = 256  # characters of a keeper's id


class Boot:
    """The first start of everything. One a daemon."""

    def __init__(self, registry: Registry, definitions: Definitions, welcome: Welcome) -> None:
        self._registry = registry
        self._definitions = definitions
        self._welcome = welcome
        self._mark = Path(welcome.state_dir, NAME)

    def is_due(self) -> bool:
        """Whether it is this daemon's to do."""
        if self._welcome.heir:
            return False
        try:
            with open(os.open(self._mark, os.O_RDONLY | _SAFE), encoding="ascii") as file:
                return file.read(MAX_ID) != self._welcome.keeper
        except (OSError, ValueError):
            return True

    async def load(self) -> None:
        """Read all job files. What cannot be read is told, and what was in force before still is."""
        try:
            changes, warnings = await self._definitions.reload(None, None)
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s", problem)
            return
        except (LimitReached, NotDurable) as error:
            log.error("cannot take all job files: %s", error)
            return
        for change in changes:
            for line in change.text.splitlines() if change.change == plan.BROKEN else ():
                log.error("%s", line)
        for warning in warnings:
            log.warning("%s", warning.replace(": warning: ", ": ", 1))
        for owner in self._registry.store.defining_owners():
            for row in self._registry.catalog.defined(owner).values():
                if plan.is_idle_leftover(row):  # a daemon was killed before it could take it away
                    self._registry.catalog.remove((owner, row.job), None)
        log.info("%d job files read", sum(change.change != plan.REMOVED for change in changes))

    def enabled(self) -> list[JobRow]:
        """The jobs to start, as they are now, but for those that a schedule starts; what cannot be is told of."""
        found = []
        for row in self._registry.store.enabled():
            obstacle = plan.obstacle(row)
            if obstacle is not None:
                if obstacle[0] != plan.MASKED:
                    log.warning("cannot start %s of uid %d, which is enabled: %s", row.job, row.owner, obstacle[1])
            elif row.sub in states.AT_REST and not self._is_scheduled(row):
                found.append(row)
        return found

    def _is_scheduled(self, row: JobRow) -> bool:
        try:
            return schedules.is_scheduled(self._registry.spec(row.spec))
        except KeyError:
            return False

    def run_id(self, row: JobRow) -> bytes:
        """The id of the run that an enabled job gets at this start."""
        text = f"{self._welcome.keeper} {row.owner} {row.job}".encode()
        return uuid7(self._welcome.started_at, hashlib.blake2b(text, digest_size=RANDOM_BYTES).digest())

    def start(self) -> int:
        """Start the enabled jobs that this keeper's daemons have not started yet, those of an owner as one set.

        Returns:
            How many were started; what they require may be more.
        """
        started = 0
        sets: dict[int, dict[str, bytes]] = {}
        for row in self.enabled():
            run_id = self.run_id(row)
            if self._registry.store.run(row.owner, run_id) is None:
                sets.setdefault(row.owner, {})[row.job] = run_id
        for owner, ids in sets.items():
            act = together.Act(None, self._registry.bounded(owner), CAUSE)
            try:
                refused = together.start(self._registry, owner, ids, act)
            except (Stopping, LimitReached, KeyError) as error:
                log.warning("cannot start the jobs of uid %d that are enabled: %s", owner, error)
                continue
            for name, refusal in refused.items():
                log.warning("cannot start %s of uid %d, which is enabled: %s", name, owner, refusal)
            started += len(ids.keys() - refused.keys())
        return started

    async def done(self) -> None:
        """Note that all of it is durable."""
        await self._registry.journal.flush()
        try:
            await trio.to_thread.run_sync(self._note)
        except OSError as error:
            log.warning("cannot note that the start is done: %s", error)

    def _note(self) -> None:
        fresh = self._mark.with_suffix(".new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600), "w", encoding="ascii") as file:
            file.write(self._welcome.keeper)
        fresh.replace(self._mark)


def is_kept_alive(registry: Registry) -> bool:
    """Whether there is something that nobody may start anew by asking: enabled jobs, and such as restart themselves."""
    if any(job.row.sub not in states.AT_REST for job in registry.jobs.values()):
        return True
    return any(not row.masked and row.load != records.NOT_FOUND for row in registry.store.enabled())
