"""One job's definition as it was read, against its row as it is: what changes, and the change itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from jobd.core import plan, records, states
from jobd.core import spec as specs
from jobd.core.jobfile import Definition, JobFileError, Owner, encode_sources, parse
from jobd.core.records import JobRow
from jobd.core.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.runtime.instances import Blobs
    from jobd.runtime.job import Caller
    from jobd.runtime.jobfiles import Read
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry

MAX_PROBLEM: Final = 4096  # characters of what is wrong with a definition that are kept: 40 mistakes
# What stands for a definition where there is none to show: of a file that could never be taken, of a mere mask.
NO_DEFINITION: Final = JobSpec(argv=(b"?",), cwd=b"/")


class Change(Struct, frozen=True, kw_only=True):
    """What reading again changes of one job; as jobd.wire.views.Planned."""

    job: str
    owner: int
    change: str
    file: str = ""
    keys: list[str] = []
    restart: bool = False
    text: str = ""


class Parsed(Struct, frozen=True):
    """What came of reading one job's files."""

    read: Read
    definition: Definition | None = None
    problems: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """All that is wrong."""
        text = "\n".join(self.problems)
        return text if len(text) <= MAX_PROBLEM else f"{text[:MAX_PROBLEM]}…"


class Settling:
    """What one job's files say, against its row as it is now."""

    def __init__(
        self, registry: Registry, owner: int, name: str, one: Parsed | None, by: Caller | None, stored: bool
    ) -> None:
        self._registry = registry
        self._catalog = registry.catalog
        self._key = owner, name
        self._one = one
        self._by = by
        self._stored = stored

    def look(self) -> tuple[Change | None, None]:
        """What would be."""
        row = self._catalog.written(*self._key)
        return self._change(row, None if self._one is None else self._next(row, self._one)[0]), None

    def write(self) -> tuple[Change | None, Commit | None]:
        """The same, done. It is durable with the commit."""
        row = self._catalog.written(*self._key)
        if self._one is None:
            change = self._change(row, None)
            return change, None if row is None or change is None else self._take_away(row)
        if self._why_not(row, self._one):
            return self._change(row, None), None
        new, blobs = self._next(row, self._one)
        change = self._change(row, new)
        if new == row:
            return change, None
        self._registry.room.take(self._key[0], blobs)
        kind = records.DEFINED if row is None or row.load == records.NOT_FOUND or row.transient else records.CHANGED
        return change, self._catalog.write(new, kind, self._by, blobs, may_fail=True)

    def _next(self, row: JobRow | None, one: Parsed) -> tuple[JobRow, Blobs]:
        return row_of(row, *self._key, one, records.STORED if self._stored else one.read.file)

    def _take_away(self, row: JobRow) -> Commit | None:
        gone = replace(row, load=records.NOT_FOUND, problem="")
        if not self._catalog.is_kept(gone):
            return self._catalog.remove(self._key, self._by)
        return None if gone == row else self._catalog.write(gone, records.UNDEFINED, self._by)

    def _why_not(self, row: JobRow | None, one: Parsed) -> str:
        """Why this name is not to have this definition; "" if nothing is against it."""
        name = self._key[1]
        if row is not None and row.transient and row.sub not in states.AT_REST:
            return f"{one.read.file}: a transient job of this name is running"
        if row is not None and row.file == records.STORED and not self._stored:
            return f"{one.read.file}: {name} is defined in the database; jobctl rm {name} takes that away"
        return ""

    def _change(self, row: JobRow | None, new: JobRow | None) -> Change | None:
        owner, name = self._key
        one = self._one
        if one is None:
            if row is None or row.load == records.NOT_FOUND or not is_from_file(row):
                return None
            text = "" if row.sub in states.AT_REST else "it runs on until it is stopped"
            return Change(job=name, owner=owner, change=plan.REMOVED, file=row.file, text=text)
        file = records.STORED if self._stored else one.read.file
        if text := self._why_not(row, one) or one.problem:
            return Change(job=name, owner=owner, change=plan.BROKEN, file=file, text=text)
        assert new is not None
        assert one.definition is not None
        if row is None or row.load == records.NOT_FOUND or row.transient:
            return Change(job=name, owner=owner, change=plan.ADDED, file=file)
        keys = self._changed_keys(row, one.definition)
        if not keys and row.load == records.LOADED:
            return Change(job=name, owner=owner, change=plan.UNCHANGED, file=file)
        restart = row.sub not in states.AT_REST and plan.needs_restart(keys)
        return Change(job=name, owner=owner, change=plan.CHANGED, file=file, keys=keys, restart=restart)

    def _changed_keys(self, row: JobRow, new: Definition) -> list[str]:
        env = self._catalog.blob(row.env)
        try:
            old = self._registry.spec(row.spec)
        except KeyError:
            return []
        return plan.changed_keys(old, new.spec, [] if env is None else specs.decode_env(env), new.env)


def is_from_file(row: JobRow) -> bool:
    return not row.transient and row.file not in ("", records.STORED)


def parse_all(reads: Mapping[str, Read | None], owner: Owner, gid: int | None) -> dict[str, Parsed]:
    return {name: parse_one(read, name, owner, gid) for name, read in reads.items() if read is not None}


def parse_one(read: Read, name: str, owner: Owner, gid: int | None) -> Parsed:
    if read.problems:
        return Parsed(read, None, read.problems)
    try:
        definition = parse(read.sources, name, owner)
    except JobFileError as error:
        return Parsed(read, None, error.problems)
    spec = definition.spec if gid is None else replace(definition.spec, gid=gid)
    return Parsed(read, Definition(spec, definition.env, definition.warnings))


def no_definition() -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    spec, env = specs.encode_spec(NO_DEFINITION), specs.encode_env([])
    return (specs.digest(spec), spec), (specs.digest(env), env)


def row_of(row: JobRow | None, owner: int, name: str, one: Parsed, file: str) -> tuple[JobRow, Blobs]:
    """The job's row with this definition, or with what is wrong with it, and the blobs that it names."""
    texts = encode_sources(one.read.sources)
    blobs = [(specs.digest(texts), texts)] if one.read.sources else []
    source = blobs[0][0] if blobs else None if row is None else row.source
    definition = one.definition
    if definition is not None or row is None:
        spec = specs.encode_spec(NO_DEFINITION if definition is None else definition.spec)
        env = specs.encode_env([] if definition is None else definition.env)
        blobs += [(specs.digest(spec), spec), (specs.digest(env), env)]
    if row is None:
        row = JobRow(owner=owner, job=name, spec=blobs[-2][0], env=blobs[-1][0], created_at=time.time_ns())
    elif definition is not None:
        row = replace(row, spec=blobs[-2][0], env=blobs[-1][0])
    load = records.BAD_SETTING if definition is None else records.LOADED
    return replace(row, transient=False, load=load, problem=one.problem, source=source, file=file), tuple(blobs)
