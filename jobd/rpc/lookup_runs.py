"""Finding runs by id, by number, by the end of an id, for one caller; as jobd.rpc.lookup finds jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from jobd.core.arrays import element_id, element_name
from jobd.rpc.lookup import SHOWN_CANDIDATES, Refused
from jobd.rpc.lookup_many import ManyLookup
from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import JobRow, RunRow
    from jobd.core.runfilter import RunFilter
    from jobd.runtime.run import Run

SHOWN_ID: Final = 8  # characters of a run id that are shown, and enough to be taken for one


class RunLookup(ManyLookup):
    """Runs by id, by number, by the end of an id."""

    __slots__ = ()

    def newest(self, row: JobRow) -> RunRow | None:
        """The row of a job's newest run as it is now."""
        return None if row.latest is None else self._run_row(row.owner, row.latest)

    def live(self, row: JobRow) -> Run | None:
        """The newest run of a job if it is live."""
        return None if row.latest is None else self.world.registry.run(row.owner, row.latest)

    def live_run(self, row: RunRow) -> Run | None:
        """The run of a row if it is live."""
        return self.world.registry.run(row.owner, row.run)

    def find_live(self, run_id: bytes) -> Run | None:
        """A live run of a job that he sees."""
        run = self.world.registry.runs.get(run_id)
        return run if run is not None and self.sees(run.row.owner, run.row.job) else None

    def live_runs(self) -> Iterator[Run]:
        """Live runs of jobs that he sees."""
        every = self.who.is_admin
        for run in self.world.registry.runs.values():
            if every or run.row.owner == self.own or self.sees(run.row.owner, run.row.job):
                yield run

    def now(self, row: RunRow) -> RunRow | None:
        """The row of a run as it is now; None: retention was faster."""
        return self._run_row(row.owner, row.run)

    def number(self, owner: int, run_id: bytes) -> int | None:
        """The number of a run of which the caller was told; None: retention was faster."""
        row = self._run_row(owner, run_id)
        return None if row is None else row.number

    def runs_page(
        self, wanted: RunFilter, *, before: int | None = None, limit: int, offset: int = 0
    ) -> tuple[list[RunRow], int | None, int]:
        """Runs that he sees, newest first, and the next page's `before` and `offset`; see Reader.runs_page."""
        wanted = replace(wanted, scope=self.scope())
        page = self.world.registry.store.runs_page(wanted, before=before, limit=limit, offset=offset)
        return page.rows, page.more, page.skip

    def find_run(self, run_id: bytes, action: str) -> RunRow | None:
        """The row of a run as it is now; None: there is none that he may see. Raises Refused (DENIED)."""
        live = self.world.registry.runs.get(run_id)
        row = live.row if live is not None and self.sees(live.row.owner, live.row.job) else None
        if row is None:
            row = self.world.registry.store.run(self.own, run_id)
        if row is None and self.sees_others():
            found = self.world.registry.store.runs_by_suffix(self.scope(), run_id.hex(), limit=1)
            row = found[0] if found else None
        if row is not None:
            self.grant(action, row.owner, row.job, self._run_word(row, run_id.hex()))
        return row

    def run(self, run_id: bytes, action: str) -> RunRow:
        """The same. Raises Refused (NOT_FOUND) too."""
        row = self.find_run(run_id, action)
        if row is None:
            raise Refused(errors.NOT_FOUND, f"cannot find run {run_id.hex()}", run=run_id.hex())
        return row

    def find_array(self, run_id: bytes, action: str) -> JobRow | None:
        """The array that was submitted under this id; None: there is none that he may see. Raises Refused (DENIED)."""
        first = self.find_run(element_id(run_id, 0), action)
        row = None if first is None else self.world.registry.arrays.whole(first.owner, run_id)
        if row is not None:
            self.grant(action, row.owner, row.job, self.word(row.owner, row.job))
        return row

    def submitted(self, owner: int, job: str | None, run_id: bytes) -> RunRow | None:
        """The run that was made under this id before, for a client that has not got the answer.

        Args:
            owner: of whose job it is.
            job: which it has to be, if that is known.

        Raises:
            Refused: MALFORMED, the id is that of another run.
        """
        live = self.world.registry.runs.get(run_id)
        row = self.world.registry.store.run(owner, run_id) if live is None else live.row
        if row is not None and (row.owner != owner or job not in (None, row.job)):
            raise Refused(errors.MALFORMED, "cannot take this run id")
        return row

    def pick(self, word: str, selector: str, action: str) -> RunRow:
        """The run of job `word` (may be empty) that `selector` means.

        Raises:
            Refused: NOT_FOUND or AMBIGUOUS, naming the candidates; DENIED.
        """
        if not word:
            return self._by_suffix(None, selector, action)
        row = self.job(word, action)
        if row.array:
            first = element_name(word, self.world.registry.arrays.numbers(row.array).indices[0])
            text = f"cannot find run {selector} of {word}: it is an array; name an element, such as {first}"
            raise Refused(errors.NOT_FOUND, text, job=word, array=row.array)
        number = _number(selector)
        if number is None:
            return self._by_suffix(row, selector, action)
        newest = self.newest(row)
        last = row.runs if newest is None else newest.number  # those behind it wait for it
        if number <= 0:
            number = last + number
        if newest is not None and number == last:
            return newest
        found = self.world.registry.store.run_number(row.owner, row.job, number) if number > 0 else None
        if found is None:
            had = f"it has had {row.runs}, numbered from 1" if row.runs else "it was never started"
            text = f"cannot find run {selector} of {word}: {had}"
            raise Refused(errors.NOT_FOUND, text, job=word, run=selector)
        return self._run_row(found.owner, found.run) or found

    def _by_suffix(self, job: JobRow | None, text: str, action: str) -> RunRow:
        suffix = text.replace("-", "").lower()
        if not suffix or len(suffix) > 32 or not set(suffix) <= set("0123456789abcdef"):
            raise Refused(errors.INVALID, f"cannot find run {text!r}: give 0, -1, a number, or an id or the end of one")
        registry = self.world.registry
        scope, name = (self.scope(), None) if job is None else (((job.owner, "*"),), job.job)
        found = {
            (row.owner, row.run): row for row in registry.store.runs_by_suffix(scope, suffix, name, SHOWN_CANDIDATES)
        }
        for run in registry.runs.values():
            owner, its = run.row.owner, run.row.job
            meant = self.sees(owner, its) if job is None else (owner, its) == (job.owner, job.job)
            if meant and run.id.hex().endswith(suffix):
                found[owner, run.id] = run.row
        if not found:
            where = "" if job is None else f" of {job.job}"
            raise Refused(errors.NOT_FOUND, f"cannot find run {text!r}{where}", run=text)
        if len(found) > 1:
            shown = list(found.values())[:SHOWN_CANDIDATES]
            some = ", ".join(f"{self.word(row.owner, row.job)}#{row.number} ({row.run.hex()[-12:]})" for row in shown)
            raise Refused(errors.AMBIGUOUS, f"cannot tell which run {text!r} is: {some}", run=text)
        (row,) = found.values()
        self.grant(action, row.owner, row.job, self._run_word(row, text))
        return self._run_row(row.owner, row.run) or row

    def _run_word(self, row: RunRow, text: str) -> str:
        """How a run is called in an error: as people know it, if the caller may know of it, else as he has."""
        seen = self.sees(row.owner, row.job)
        return f"{self.word(row.owner, row.job)}#{row.number}" if seen else f"run {text}"

    def _run_row(self, owner: int, run_id: bytes) -> RunRow | None:
        live = self.world.registry.run(owner, run_id)
        return live.row if live is not None else self.world.registry.store.run(owner, run_id)


def _number(selector: str) -> int | None:
    """The number that a selector is, or None when it is an id. Eight digits and more are an id's end."""
    digits = selector.removeprefix("-")
    if not digits:
        return 0
    return int(selector) if digits.isdecimal() and len(digits) < SHOWN_ID else None
