"""Questions about arrays and their elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows import JOB_COLUMNS, Value, Values, job_row
from .schema import LISTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.records import JobRow


class Elements:
    """A part of Reader."""

    def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Values]:
        """Ask."""
        raise NotImplementedError

    def live_arrays(self) -> list[JobRow]:
        """Arrays with elements that are not at rest, or are still to come."""
        sql = f"SELECT {JOB_COLUMNS} FROM jobs INDEXED BY jobs_listed WHERE {LISTED} AND array <> '' AND sub = 'queued'"
        return [job_row(v) for v in self.fetch(sql)]

    def elements(self, owner: int, array: str) -> list[str]:
        """The names of an array's elements: 1 ms for thousands."""
        sql = "SELECT job FROM jobs INDEXED BY jobs_of_array WHERE owner = ? AND array_of <> '' AND array_of = ?"
        return [str(job) for (job,) in self.fetch(sql, (owner, array))]

    def failed_elements(self, owner: int, array: str, limit: int) -> list[str]:
        """The names of a few of an array's elements that have failed."""
        where = "owner = ? AND array_of <> '' AND array_of = ? AND active = 'failed' LIMIT ?"
        sql = f"SELECT job FROM jobs INDEXED BY jobs_of_array WHERE {where}"
        return [str(job) for (job,) in self.fetch(sql, (owner, array, limit))]

    def element_results(self, owner: int, array: str) -> dict[str, int]:
        """How many of an array's elements are at rest, by the result of their newest run: 10 µs for each."""
        sql = (
            "SELECT r.result, count(*) FROM jobs j INDEXED BY jobs_of_array"
            " CROSS JOIN runs r INDEXED BY runs_by_job ON r.owner = j.owner AND r.job = j.job AND r.run = j.latest"
            " WHERE j.owner = ? AND j.array_of <> '' AND j.array_of = ? AND j.sub IN ('dead', 'failed') GROUP BY 1"
        )  # CROSS JOIN: SQLite takes the tables in this order
        return {str(result): int(count or 0) for result, count in self.fetch(sql, (owner, array))}
