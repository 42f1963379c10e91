"""Jobs by name on a bed of doubles, for tests of those that depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio.testing import wait_all_tasks_blocked

from jobd.core import after
from jobd.core import spec as specs
from jobd.core.after import Need
from jobd.core.spec import JobSpec
from jobd.runtime import together
from jobd.runtime.submission import NO_TERMS
from tests.runtime.fakes import ROOT, Bed

if TYPE_CHECKING:
    from jobd.core.graph import Refusal
    from jobd.runtime.run import Run
    from jobd.runtime.submission import Terms

ACT = together.Act(ROOT)


class Jobs:
    """Jobs by name, on a bed: each run has a process as soon as it may, and ends when a test says so."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.world = bed.registry
        self._ids = 0

    def id(self) -> bytes:
        self._ids += 1
        return b"t" + self._ids.to_bytes(15, "big")

    def make(self, name: str, owner: int = 0, **fields: object) -> Run:
        return self.submit(name, owner, NO_TERMS, fields)

    def submit(self, name: str, owner: int, terms: Terms, fields: dict[str, object]) -> Run:
        spec = JobSpec(argv=(b"true",), cwd=b"/", **fields)  # type: ignore[arg-type]  # a test's own words
        return self.world.submit(owner, name, self.id(), spec, specs.encode_env([b"A=1"]), ROOT, terms)

    def behind(self, name: str, *others: tuple[Run, str], **fields: object) -> Run:
        """A run that waits for these, each to end so."""
        needs = tuple(Need(other.row.owner, other.id, condition) for other, condition in others)
        return self.after(name, *needs, **fields)

    def after(self, name: str, *needs: Need, **fields: object) -> Run:
        """The same, of runs by id."""
        return self.submit(name, 0, {"after": after.encode(self.world.waiting.unmet(needs), 0)}, fields)

    def start(self, *names: str) -> dict[str, Refusal]:
        return together.start(self.world, 0, {name: self.id() for name in names}, ACT)

    def restart(self, *names: str) -> dict[str, Refusal]:
        return together.restart(self.world, 0, {name: self.id() for name in names}, ACT)

    def stop(self, *names: str) -> None:
        together.stop(self.world, 0, names, ROOT)

    def sub(self, name: str) -> str:
        row = self.world.catalog.row(0, name)
        assert row is not None
        return row.sub

    def subs(self, *names: str) -> list[str]:
        return [self.sub(name) for name in names]

    async def end(self, name: str, status: int = 0) -> None:
        """The main process of the job's run ends."""
        run = self.world.jobs[0, name].run
        assert run is not None
        self.bed.keeper.exited(run.id, status)
        self.bed.pump.end(run.id)
        await wait_all_tasks_blocked()

    def check(self) -> None:
        """The events alone lead to the rows."""
        replay = self.bed.replayed()
        assert replay.jobs == self.bed.store.jobs
        assert {row.run: row for row in replay.runs.values()} == self.bed.store.runs
