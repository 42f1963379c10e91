"""The definitions in force: read at a fresh start and when somebody asks, never in between.

A definition in force is its job's row, with the texts that it was made from. What runs goes on as it began. Each job's
change is one transaction, so a daemon that dies over a reload has taken some of them whole, and the next reload takes
the rest. A file that cannot be taken makes its job `bad-setting`: it cannot be started, and its row keeps the
definition of before. One that is gone makes it `not-found`, and the row goes when nothing keeps it any more.

Stored definitions of users (`Define`) come the same way, from a request instead of from a file.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from jobd.core import enforce, graph, names, records
from jobd.core.configfile import ConfigError
from jobd.core.jobfile import DROPIN_DIR, JobFileError, Source, decode_sources
from jobd.core.records import JobRow
from jobd.runtime.jobfiles import Read
from jobd.runtime.settling import Change, Parsed, Settling, is_from_file, no_definition, parse_all, parse_one, row_of
from jobd.store.reader import MAX_DEFINED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from jobd.core.spec import JobSpec
    from jobd.runtime.homes import Homes
    from jobd.runtime.instances import Blobs
    from jobd.runtime.job import Caller
    from jobd.runtime.jobfiles import JobFiles
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry

__all__ = ["MAX_DEFINED", "Change", "Definitions"]

STEP_JOBS: Final = 32  # that are settled before all others have their turn: 3 ms


class Definitions:
    """One a daemon. `owner` is whose the files in the directories are."""

    def __init__(self, registry: Registry, files: JobFiles, homes: Homes, owner: int) -> None:
        self.files = files
        self.homes = homes
        self.owner = owner
        self.warnings: list[str] = []  # of the last reading of all files
        self.error = ""  # why they could not be read
        self._registry = registry
        self._catalog = registry.catalog
        self._lock = trio.Lock()
        self._in_line: dict[int, trio.Lock] = {}  # by owner: of each, one stands in line for the one above
        self._catalog.instances.make = self._instantiate

    @asynccontextmanager
    async def _turn(self, owner: int) -> AsyncIterator[None]:
        """One change at a time, and those of an owner who makes many do not keep others waiting for all of them."""
        own = self._in_line.setdefault(owner, trio.Lock())
        try:
            async with own, self._lock:
                yield
        finally:
            if not own.locked():
                self._in_line.pop(owner, None)

    async def learn_homes(self) -> None:
        """Find out where owners of templates are at home: instances are made without waiting for anybody."""
        async with trio.open_nursery() as nursery:
            for owner in self._registry.store.defining_owners():
                if any(names.is_template(name) for name in self._catalog.defined(owner)):
                    nursery.start_soon(self.homes.learn, owner)

    # --- files ----------------------------------------------------------------------------------------------------
    async def reload(
        self, only: Collection[str] | None, by: Caller | None, *, dry: bool = False
    ) -> tuple[list[Change], list[str]]:
        """Read the files again and put in force what they say.

        Args:
            only: these jobs, and instances of them that are templates; None: all.
            by: who asked.
            dry: change nothing.

        Returns:
            What has changed, by name, and warnings.

        Raises:
            ConfigError: the directories cannot be read; nothing has changed.
            LimitReached, NotDurable: as `define`; the jobs before that have changed.
        """
        async with self._turn(self.owner):
            try:
                wanted = None if only is None else self._with_instances(self.owner, only)
                found = await self.files.find(wanted)
                rows = self._catalog.defined(self.owner)
                if wanted is None:
                    wanted = {*found.jobs, *(name for name, row in rows.items() if is_from_file(row))}
                reads = {name: await self.files.read(name, found) for name in sorted(wanted)}
                if not dry and (found.jobs or rows):
                    await self._registry.keeper.grant_files(only is None)
            except ValueError as error:
                self.error = "" if dry or only is not None else str(error)
                raise
            changes, warnings = await self._settle(self.owner, reads, by, dry=dry)
            if only is None and not dry:
                self.warnings, self.error = [*found.warnings, *warnings], ""
            return changes, [*found.warnings, *warnings]

    async def changed(self, jobs: Collection[str]) -> set[str]:
        """Of which of these jobs the files say something else by now, or are gone. Of none if nobody can tell."""
        if not jobs:
            return set()
        try:
            found = await self.files.find(jobs)
            return {name for name in jobs if self._differs(name, await self.files.read(name, found))}
        except ConfigError:
            return set()

    def _differs(self, name: str, read: Read | None) -> bool:
        row = self._catalog.row(self.owner, name)
        if row is None or read is None:
            return row is not None and row.load != records.NOT_FOUND
        if read.problems:
            return "\n".join(read.problems) != row.problem
        return list(read.sources) != self.sources(self.owner, name)

    async def is_there(self, owner: int, name: str) -> bool:
        """Whether a job still has a file of its own."""
        try:
            return owner == self.owner and name in (await self.files.find([name])).jobs
        except ConfigError:
            return False

    def _with_instances(self, owner: int, only: Collection[str]) -> set[str]:
        wanted = set(only)
        for name in only:
            if names.is_template(name):
                wanted.update(job for job in self._catalog.defined(owner) if names.template_of(job) == name)
        return wanted

    # --- stored ones ----------------------------------------------------------------------------------------------
    async def define(
        self, owner: int, name: str, read: Read, by: Caller, *, gid: int | None = None, dry: bool = False
    ) -> tuple[list[Change], list[str]]:
        """Put a stored definition in force, and that of the instances that it is the template of.

        Args:
            owner, name: of the job. The caller has seen to it that a definition of this name may be stored.
            read: its texts.
            gid: of whom it is, for a uid without a passwd entry; None leaves it as it is.
            by: who asked.
            dry: change nothing.

        Raises:
            JobFileError: it cannot be taken; nothing has changed.
            LimitReached: it is more than the owner may have.
            NotDurable: there is no room for it.
        """
        async with self._turn(owner):
            reads: dict[str, Read | None] = {name: read}
            row = self._catalog.written(owner, name)
            if gid is None and row is not None and not row.transient:
                gid = self._gid(row)  # it is somebody else who changes it
            for other in sorted(self._with_instances(owner, [name]) - {name}):
                own = [file for file in self.sources(owner, other) if file.path.startswith(f"{other}{DROPIN_DIR}/")]
                reads[other] = Read((*read.sources, *own))
            return await self._settle(owner, reads, by, gid=gid, dry=dry, strict=name)

    def sources(self, owner: int, name: str) -> list[Source]:
        """The texts that a job's definition is made of, as they were read."""
        row = self._catalog.row(owner, name)
        blob = None if row is None or row.source is None else self._catalog.blob(row.source)
        return [] if blob is None else decode_sources(blob)

    async def forget_instances(self, owner: int, template: str, by: Caller) -> None:
        """A template goes: its instances have no definition any more, and go too once nothing keeps them."""
        for name in sorted(self._with_instances(owner, [template]) - {template}):
            row = self._catalog.written(owner, name)
            if row is not None and row.load != records.NOT_FOUND:
                await self._catalog.write(
                    replace(row, load=records.NOT_FOUND, problem=""), records.UNDEFINED, by
                ).wait()
                self._catalog.tidy_key(owner, name)

    # --- names without a definition ---------------------------------------------------------------------------------
    def placeholder(self, owner: int, name: str) -> JobRow:
        """The row of a name that is nothing yet but masked. Its blobs are `placeholder_blobs`."""
        spec, env = no_definition()
        return JobRow(
            owner=owner, job=name, spec=spec[0], env=env[0], created_at=time.time_ns(), transient=False,
            load=records.NOT_FOUND,
        )  # fmt: skip

    @staticmethod
    def placeholder_blobs(row: JobRow) -> Blobs:
        """What such a row names, for whoever writes it; of any other, nothing."""
        found = no_definition()
        return found if row.spec == found[0][0] else ()

    # --- both -----------------------------------------------------------------------------------------------------
    async def _settle(
        self,
        uid: int,
        reads: Mapping[str, Read | None],
        by: Caller | None,
        *,
        gid: int | None = None,
        dry: bool = False,
        strict: str = "",
    ) -> tuple[list[Change], list[str]]:
        owner = await self.homes.learn(uid)
        parsed = await trio.to_thread.run_sync(parse_all, reads, owner, gid)
        self._refuse_cycles(uid, parsed)
        if strict and parsed[strict].problems:
            raise JobFileError(parsed[strict].problems)
        changes: list[Change] = []
        commits: list[Commit] = []
        for at, name in enumerate(reads, 1):
            settle = Settling(self._registry, uid, name, parsed.get(name), by, stored=bool(strict))
            change, commit = settle.look() if dry else settle.write()
            changes += [] if change is None else [change]
            commits += [] if commit is None else [commit]
            if at % STEP_JOBS == 0:
                await trio.lowlevel.checkpoint()
        for commit in commits:
            await commit.wait()
        return changes, sorted({text for one in parsed.values() for text in self._warnings(one)})

    def _warnings(self, one: Parsed) -> list[str]:
        """What somebody should know of a definition that can be taken, and what this machine cannot do of it."""
        welcome = self._registry.keeper.welcome
        if one.definition is None or welcome is None:
            return []
        missing = enforce.unenforced(one.definition.spec, welcome.machine)
        return [*one.definition.warnings, *(f"{one.read.file}: warning: {line}" for line in missing)]

    def _refuse_cycles(self, uid: int, parsed: dict[str, Parsed]) -> None:
        """Of jobs that would come after themselves, those that are new or have changed cannot be taken."""
        if not self._are_ordered(uid, parsed):
            return
        in_force: dict[str, JobSpec] = {}
        for name, row in self._catalog.defined(uid).items():
            if row.load == records.LOADED and not names.is_template(name):
                try:
                    in_force[name] = self._registry.spec(row.spec)
                except KeyError:
                    continue
        new = {
            name: one.definition.spec
            for name, one in parsed.items()
            if one.definition is not None and not names.is_template(name)
        }
        for name, cycle in graph.cycles(graph.Graph.of({**in_force, **new}), new).items():
            if name in new and in_force.get(name) != new[name]:
                text = f"{parsed[name].read.file}: cannot be ordered: {graph.describe_cycle(cycle)}"
                parsed[name] = Parsed(parsed[name].read, None, (text,))

    def _are_ordered(self, uid: int, parsed: dict[str, Parsed]) -> bool:
        """Whether any of these comes before or after another job: of most, nothing more need be looked at."""
        known = self._catalog.graphs.of(uid)
        for name, one in parsed.items():
            if one.definition is not None and (one.definition.spec.after or one.definition.spec.before):
                return True
            if known.named_by(name, graph.AFTER) or known.named_by(name, graph.BEFORE):
                return True
        return False

    def _instantiate(self, template: JobRow, name: str) -> tuple[JobRow, Blobs] | None:
        """An instance of a template that has no row yet."""
        read = Read(tuple(self.sources(template.owner, template.job)))
        if not read.sources or not names.valid_job_name(name):
            return None
        one = parse_one(read, name, self.homes.known(template.owner), self._gid(template))
        row, blobs = row_of(None, template.owner, name, one, template.file)
        return replace(row, created_at=template.created_at), blobs

    def _gid(self, row: JobRow) -> int | None:
        try:
            return self._registry.spec(row.spec).gid
        except KeyError:
            return None
