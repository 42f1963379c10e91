"""A double of the machine's clocks, which go with trio's and can be set; and jobs with a schedule on a bed."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from jobd.core import records, states
from jobd.core import spec as specs
from jobd.core.records import JobRow
from jobd.core.spec import JobSpec
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NSEC = 10**9
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class FakeClocks:
    """Clocks (`jobd.runtime.clocks`) that a test sets."""

    def __init__(self, now: str, zone: str = "UTC") -> None:
        self._zone = ZoneInfo(zone)
        self._begin = round(datetime.fromisoformat(now).replace(tzinfo=self._zone).timestamp()) * NSEC
        self._began = trio.current_time()
        self._times: tuple[int | None, int | None] = (None, None)
        self._changed = trio.Event()
        self.rung = 0

    def wall(self) -> int:
        return self._begin + self.boot()

    def boot(self) -> int:
        return round((trio.current_time() - self._began) * 10**6) * 1000

    def here(self) -> tzinfo:
        return self._zone

    @contextmanager
    def ringing(self) -> Iterator[None]:
        yield

    def set(self, wall: int | None, boot: int | None) -> None:
        self._times = wall, boot
        self._changed.set()

    def step(self, sec: float) -> None:
        """Somebody sets the clock."""
        self._begin += round(sec * NSEC)
        self._stepped = True
        self._changed.set()

    _stepped = False

    async def rings(self) -> None:
        while True:
            left = [at - now for at, now in zip(self._times, (self.wall(), self.boot()), strict=True) if at is not None]
            if self._stepped or min(left, default=1) <= 0:
                self._stepped = False
                self.rung += 1
                await trio.lowlevel.checkpoint()
                return
            self._changed = trio.Event()
            with trio.move_on_after(min(left, default=0) / NSEC if left else float("inf")):
                await self._changed.wait()

    def text(self, at: int | None) -> str:
        """A moment as the wall shows it there."""
        return "-" if at is None else datetime.fromtimestamp(at / NSEC, self._zone).strftime("%m-%d %H:%M:%S")


class Timed:
    """A bed whose schedules run, with jobs that take as long as a test says."""

    def __init__(self, bed: Bed, clocks: FakeClocks) -> None:
        self.bed = bed
        self.world = bed.registry
        self.clocks = clocks
        self.jobs = Jobs(bed)
        self.starts: list[str] = []  # when runs were let go
        self.takes: float | None = 0.0  # seconds; None: until the test ends it

    def define(self, *calendar: str, name: str = "nightly", enabled: bool = True, **fields: object) -> JobRow:
        """A job with a schedule."""
        plain: dict[str, object] = {"argv": (b"true",), "cwd": b"/", "type": "oneshot", "ready_timeout_usec": None}
        spec = JobSpec(**{**plain, "schedule": calendar, **fields})  # type: ignore[arg-type]  # a test's own words
        blob, env = specs.encode_spec(spec), specs.encode_env([])
        row = JobRow(
            owner=0, job=name, spec=specs.digest(blob), env=specs.digest(env), created_at=1, transient=False, file="f",
        )  # fmt: skip
        old = self.world.catalog.row(0, name)
        if old is not None:
            row = replace(old, spec=row.spec)
        blobs = ((row.spec, blob), (row.env, env))
        self.world.catalog.write(row, records.DEFINED, ROOT, blobs)
        return self.change(name, enabled=True) if enabled else self.row(name)

    def change(self, name: str = "nightly", **fields: object) -> JobRow:
        """Enable, disable, mask it …"""
        self.world.catalog.write(replace(self.row(name), **fields), "changed", ROOT)
        return self.row(name)

    def row(self, name: str = "nightly") -> JobRow:
        found = self.world.catalog.row(0, name)
        assert found is not None
        return found

    def due(self, name: str = "nightly") -> str:
        return self.clocks.text(self.row(name).elapse_next)

    def kinds(self, *wanted: str) -> list[str]:
        return [event.kind for event in self.bed.store.events if event.kind in wanted]

    def said(self, kind: str) -> list[object]:
        """Why, of each event of a kind."""
        return [event.data.get("act.reason") for event in self.bed.store.events if event.kind == kind]

    async def until(self, when: str) -> None:
        """Let time pass."""
        at = datetime.fromisoformat(when).replace(tzinfo=self.clocks.here()).timestamp()
        await trio.sleep(at - self.clocks.wall() / NSEC)
        await wait_all_tasks_blocked()

    async def end(self, name: str = "nightly") -> None:
        run = self.world.jobs[0, name].run
        assert run is not None
        self._end(run.id)
        await wait_all_tasks_blocked()

    def _end(self, run: bytes) -> None:
        self.bed.keeper.exited(run, 0)
        self.bed.pump.end(run)

    async def work(self) -> None:
        """Note each start, and end its run in time."""
        seen = 0
        async with trio.open_nursery() as nursery:
            while True:
                sent, seen = self.bed.keeper.sent[seen:], len(self.bed.keeper.sent)
                for op, fields in sent:
                    run = fields.get("run")
                    if op == "go" and isinstance(run, bytes):
                        self.starts.append(self.clocks.text(self.clocks.wall()))
                        if self.takes is not None:
                            nursery.start_soon(self._later, run, self.takes)
                await self.bed.keeper._asked.wait()  # its own test double

    async def _later(self, run: bytes, sec: float) -> None:
        await trio.sleep(sec)
        live = self.world.runs.get(run)
        if live is not None and live.job.row.sub not in states.AT_REST:
            self._end(run)

    def check(self) -> None:
        """The events alone lead to the rows."""
        assert self.bed.replayed().jobs == self.bed.store.jobs


@asynccontextmanager
async def timed(now: str, zone: str = "UTC", bed: Bed | None = None) -> AsyncIterator[Timed]:
    """Schedules that run, from this moment on."""
    async with serving(bed or Bed()) as served:
        clocks = FakeClocks(now, zone)
        served.registry.schedule.clocks = clocks  # type: ignore[assignment]  # a double
        served.registry.schedule.load()
        found = Timed(served, clocks)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.work)
            nursery.start_soon(served.registry.schedule.run)
            await wait_all_tasks_blocked()
            yield found
            nursery.cancel_scope.cancel()
        found.check()
