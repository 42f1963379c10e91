"""Rows of jobs that nobody walks: seen from the first moment, changed by one, and gone from memory when durable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from jobd.core import records
from jobd.core import spec as specs
from jobd.core.records import JobRow
from jobd.core.spec import JobSpec
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_registry import ended

if TYPE_CHECKING:
    import pytest

SPEC = JobSpec(argv=(b"true",), cwd=b"/")


def definition(name: str = "web", **fields: object) -> tuple[JobRow, tuple[tuple[bytes, bytes], ...]]:
    spec, env, source = specs.encode_spec(SPEC), specs.encode_env([b"A=1"]), b"its text"
    row = JobRow(
        owner=0, job=name, spec=specs.digest(spec), env=specs.digest(env), created_at=time.time_ns(), transient=False,
        file="/etc/jobd/jobs/web.toml", source=specs.digest(source),
    )  # fmt: skip
    return replace(row, **fields), tuple((specs.digest(blob), blob) for blob in (spec, env, source))


async def test_a_definition_is_seen_before_it_is_durable_and_forgotten_after() -> None:
    async with serving(Bed()) as bed:
        bed.journal.held = []
        row, blobs = definition()
        commit = bed.registry.catalog.write(row, records.DEFINED, ROOT, blobs)
        bed.store.blobs.clear()  # as if nothing were written yet
        assert not commit.done
        assert bed.registry.catalog.row(0, "web") == row
        assert bed.registry.spec(row.spec) == SPEC
        assert bed.registry.catalog.blob(row.source or b"") == b"its text"
        assert bed.registry.catalog.defined(0) == {"web": row}
        bed.journal.held[0].settle(None)
        assert bed.registry.jobs == {}
        assert bed.store.jobs[0, "web"] == row
        assert bed.replayed().jobs == bed.store.jobs


async def test_two_changes_and_a_start_in_a_row_build_on_each_other() -> None:
    async with serving(Bed()) as bed:
        bed.journal.held = []
        catalog = bed.registry.catalog
        row, blobs = definition()
        catalog.write(row, records.DEFINED, ROOT, blobs)
        catalog.write(replace(row, enabled=True), records.ENABLED, ROOT)
        bed.store.blobs.clear()
        now = catalog.row(0, "web")
        assert now is not None
        run = bed.registry.rerun(now, b"r" * 16, ROOT)
        assert {digest for digest, _ in blobs} <= bed.store.blobs.keys()  # they go along with the run, too
        held, bed.journal.held = bed.journal.held, None
        for commit in held:
            commit.settle(None)
        await ended(bed, run)
        assert bed.registry.jobs == {}
        row = bed.store.jobs[0, "web"]
        assert (row.enabled, row.transient, row.runs, row.file) == (True, False, 1, "/etc/jobd/jobs/web.toml")
        assert bed.replayed().jobs == bed.store.jobs


async def test_a_definition_that_finds_no_room_is_not_there() -> None:
    async with serving(Bed()) as bed:
        bed.store.full = True
        row, blobs = definition()
        commit = bed.registry.catalog.write(row, records.DEFINED, ROOT, blobs, may_fail=True)
        assert commit.error is not None
        assert bed.registry.catalog.row(0, "web") is None
        assert bed.registry.jobs == {}


async def test_the_definition_of_a_running_job_changes_and_its_run_does_not() -> None:
    async with serving(Bed()) as bed:
        row, blobs = definition()
        bed.registry.catalog.write(row, records.DEFINED, ROOT, blobs)
        run = bed.registry.rerun(row, b"r" * 16, ROOT)
        await wait_all_tasks_blocked()
        other = specs.encode_spec(replace(SPEC, description="other"))
        now = bed.registry.catalog.row(0, "web")
        assert now is not None
        now = replace(now, spec=specs.digest(other))
        bed.registry.catalog.write(now, records.CHANGED, ROOT, ((specs.digest(other), other),))
        assert run.spec == SPEC
        await ended(bed, run)
        assert bed.store.jobs[0, "web"].spec == specs.digest(other)
        again = await ended(bed, bed.registry.rerun(bed.store.jobs[0, "web"], b"s" * 16, ROOT))
        assert again.spec.description == "other"


async def test_an_instance_without_a_row_is_made_up_and_written_with_its_first_run() -> None:
    async with serving(Bed()) as bed:
        template, blobs = definition("web@")
        catalog = bed.registry.catalog
        catalog.instances.make = lambda row, name: (replace(row, job=name), blobs)
        assert catalog.row(0, "web@80") is None  # there is no template
        catalog.write(template, records.DEFINED, ROOT, blobs)
        row = catalog.row(0, "web@80")
        assert row is not None
        assert row.job == "web@80"
        assert (0, "web@80") not in bed.store.jobs
        await ended(bed, bed.registry.rerun(row, b"r" * 16, ROOT))
        assert (bed.store.jobs[0, "web@80"].runs, bed.store.jobs[0, "web@80"].transient) == (1, False)
        assert catalog.row(0, "other@80") is None
        assert bed.replayed().jobs == bed.store.jobs


async def test_definitions_are_counted_with_those_on_their_way() -> None:
    async with serving(Bed()) as bed:
        catalog = bed.registry.catalog
        for name in ("one", "two"):
            row, blobs = definition(name)
            await catalog.write(row, records.DEFINED, ROOT, blobs).wait()
        bed.journal.held = []
        row, blobs = definition("three")
        catalog.write(row, records.DEFINED, ROOT, blobs)
        counts = [catalog.count_defined(0, name) for name in ("one", "three", "four")]
        assert all(low <= count <= low + 1 for low, count in zip((2, 2, 3), counts, strict=True)), counts
        assert catalog.count_defined(1, "one") == 0
        bed.journal.held[0].settle(None)
        assert [catalog.count_defined(0, name) for name in ("one", "three", "four")] == [2, 2, 3]


async def test_definitions_come_page_by_page_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        catalog = bed.registry.catalog
        for name in ("a", "b", "c", "d", "e"):
            row, blobs = definition(name)
            await catalog.write(row, records.DEFINED, ROOT, blobs).wait()
        bed.journal.held = []
        row, blobs = definition("bb", enabled=True)
        catalog.write(row, records.DEFINED, ROOT, blobs)
        stored = [row for row in bed.store.defined(0) if row.job != "bb"]

        def defined(_: int, __: str = "", after: str = "", limit: int = 9) -> list[JobRow]:
            return [row for row in stored if row.job > after][:limit]  # the change is not on disk yet

        monkeypatch.setattr(bed.store, "defined", defined)
        found: list[str] = []
        after = ""
        while page := catalog.defined_after(0, after, 2):
            after = page[-1].job
            found += [row.job for row in page]
        assert found == ["a", "b", "bb", "c", "d", "e"]
        bed.journal.held[0].settle(None)
