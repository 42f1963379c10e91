"""The double of the store: what runs and jobs write, in memory."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobd.core.globs import Globs
    from jobd.core.records import Event, JobRow, QueueRow, RunRow


class FakeStore:
    """Rows and events in memory; `full` makes new submissions fail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.jobs: dict[tuple[int, str], JobRow] = {}
        self.runs: dict[bytes, RunRow] = {}
        self.blobs: dict[bytes, bytes] = {}
        self.purging: dict[tuple[int, str], int] = {}  # removed for good, and up to which run
        self.set_queues: dict[tuple[int, str], QueueRow] = {}
        self.full = False
        self._event_seq = 0
        self._run_seq = 0

    def next_event_seq(self) -> int:
        self._event_seq += 1
        return self._event_seq

    def next_run_seq(self) -> int:
        self._run_seq += 1
        return self._run_seq

    def queues(self) -> list[QueueRow]:
        return [row for _, row in sorted(self.set_queues.items())]

    def owners(self) -> list[int]:
        return sorted({owner for owner, _ in self.jobs})

    def job(self, owner: int, name: str) -> JobRow | None:
        return self.jobs.get((owner, name))

    def run(self, owner: int, run: bytes) -> RunRow | None:
        row = self.runs.get(run)
        return row if row is not None and row.owner == owner else None

    def run_number(self, owner: int, job: str, number: int) -> RunRow | None:
        return next((r for r in self.runs.values() if (r.owner, r.job, r.number) == (owner, job, number)), None)

    def runs_by_suffix(self, _: object, suffix: str, limit: int) -> list[RunRow]:
        return [row for run, row in self.runs.items() if run.hex().endswith(suffix)][:limit]

    def last_runs(self, owner: int, job: str, count: int) -> list[bytes]:
        rows = sorted((row.seq, run) for run, row in self.runs.items() if (row.owner, row.job) == (owner, job))
        return [run for _, run in rows[::-1][:count]]

    def last_events_of_run(self, owner: int, job: str, run: bytes, limit: int = 64) -> list[Event]:
        found = [e for e in self.events if (e.owner, e.job, e.run) == (owner, job, run)]
        return found[::-1][:limit]

    def has_blob(self, _owner: int, key: bytes) -> bool:
        return key in self.blobs

    def blob(self, key: bytes) -> bytes | None:
        return self.blobs.get(key)

    def defined(self, owner: int, prefix: str = "", after: str = "", limit: int = 10_000) -> list[JobRow]:
        rows = (row for _, row in sorted(self.jobs.items()) if row.owner == owner and not row.transient)
        return [row for row in rows if row.job.startswith(prefix) and row.job > after][:limit]

    def count_defined(self, owner: int) -> int:
        return len(self.defined(owner))

    def defining_owners(self) -> list[int]:
        return sorted({row.owner for row in self.jobs.values() if not row.transient})

    def failed_definitions(self) -> list[JobRow]:
        return [row for _, row in sorted(self.jobs.items()) if row.active == "failed" and not row.transient]

    def enabled(self) -> list[JobRow]:
        return [row for _, row in sorted(self.jobs.items()) if row.enabled]

    def armed(self) -> list[JobRow]:
        return [row for row in self.jobs.values() if row.elapse_next is not None]

    def live_runs(self) -> list[RunRow]:
        return [row for row in self.runs.values() if row.state != "finished" or not row.closed]

    def jobs_to_restart(self) -> list[JobRow]:
        return [row for row in self.jobs.values() if row.restart_at is not None]

    def had_queue(self, owner: int | None, queue: str, _scope: Globs | None) -> bool:
        return any(row.queue == queue and owner in (None, row.owner) for row in self.runs.values())

    def jobs_page(
        self,
        *,
        owner: int | None = None,
        every: bool = False,
        scope: Globs | None = None,
        prefix: str = "",
        after: tuple[int, str] | None = None,
        limit: int = 1000,
        at_rest: bool = False,
    ) -> list[JobRow]:
        keys = sorted(key for key in self.jobs if owner in (None, key[0]) and key > (after or (-1, "")))
        if scope is not None:
            keys = [(uid, job) for uid, job in keys if any(o in (None, uid) and fnmatchcase(job, p) for o, p in scope)]
        rows = [self.jobs[key] for key in keys if key[1].startswith(prefix)]
        listed = (row for row in rows if row.array_of == "" and (row.active != "inactive" or row.result != "success"))
        found = rows if every else list(listed)
        return [row for row in found if not at_rest or row.array or row.active in ("inactive", "failed")][:limit]

    def jobs_seen(
        self, *, owner: int, every: bool, scope: Globs, after: str, limit: int
    ) -> tuple[list[JobRow], str | None]:
        rows = self.jobs_page(owner=owner, every=every, scope=scope, after=(owner, after), limit=min(limit, 1))
        return rows, rows[-1].job if rows else None

    def live_arrays(self) -> list[JobRow]:
        return [row for row in self.jobs.values() if row.array and row.sub == "queued"]

    def elements(self, owner: int, array: str) -> list[str]:
        return [row.job for row in self.jobs.values() if row.owner == owner and array and row.array_of == array]

    def failed_elements(self, owner: int, array: str, limit: int) -> list[str]:
        return [name for name in self.elements(owner, array) if self.jobs[owner, name].active == "failed"][:limit]

    def element_results(self, owner: int, array: str) -> dict[str, int]:
        rows = [self.jobs[owner, name] for name in self.elements(owner, array)]
        return dict(Counter(str(self.runs[row.latest or b""].result) for row in rows if row.sub in ("dead", "failed")))

    def highest_suffix(self, _owner: int, _base: str) -> int:
        return 0

    def last_removal(self, owner: int, name: str) -> int:
        found = [e.seq for e in self.events if (e.kind, e.owner, e.job) == ("removed", owner, name)]
        return max(found, default=0)

    def highest_number(self, owner: int, name: str) -> int:
        return max((row.number for row in self.runs.values() if (row.owner, row.job) == (owner, name)), default=0)

    def is_used(self, owner: int, name: str) -> bool:
        return (owner, name) in self.jobs or self.highest_number(owner, name) > 0

    def is_purging(self, owner: int, name: str) -> bool:
        return (owner, name) in self.purging

    def purge(self) -> None:
        """Begins; `purged` ends it."""

    def purged(self) -> None:
        """What a purge does in the background, at once."""
        for (owner, name), upto in self.purging.items():
            self.runs = {
                run: row for run, row in self.runs.items() if (row.owner, row.job) != (owner, name) or row.seq > upto
            }
        self.purging.clear()
