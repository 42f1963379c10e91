"""Acts on jobs at rest, which nobody walks: `reset-failed`, and `rm`.

What is at rest is in the store alone. For an act a Job is made for the moment, and is in the registry until the change
is durable: who looks sees the change, and who starts the job builds on it, so that a job still has one owner. Retention
may take the job's row meanwhile; then there is nothing to change any more, and nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import states

if TYPE_CHECKING:
    from jobd.runtime.job import Caller, Job, Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

RESET: Final = "reset-failed"  # the kind of the event
Key = tuple[int, str]


async def reset_failed(registry: Registry, key: Key, by: Caller) -> None:
    """Make a failed job inactive, and count its restarts and starts from the beginning, as systemctl does.

    Any other is left alone but for its counts. Returns when that is durable.
    """
    job = registry.jobs.get(key)
    row = registry.store.job(*key) if job is None else job.row
    if row is None or (row.sub != states.FAILED and not row.restarts and not row.starts):
        return
    if job is not None:
        await _reset(job, by).wait()
        registry.catalog.tidy(job.row)
        return
    with registry.catalog.holding(row) as job:
        await _reset(job, by).wait()
        registry.catalog.tidy(job.row)


def _reset(job: Job, by: Caller) -> Commit:
    counts: dict[str, Value] = {"job.restarts": 0, "job.starts": "", "job.restart_delay_usec": 0}
    if job.row.sub == states.AUTO_RESTART:
        del counts["job.restart_delay_usec"]  # it counts for the delay that is under way
    result: dict[str, Value] = {"job.result": "success"} if job.row.sub == states.FAILED else {}
    return job.fire(states.RESET, RESET, by, **result, **counts)


def is_restarting(registry: Registry, key: Key) -> bool:
    """Whether a job waits for its next start."""
    job = registry.jobs.get(key)
    return job is not None and job.row.sub == states.AUTO_RESTART


def live_runs(registry: Registry, key: Key) -> list[Run]:
    """The runs of a job that somebody walks, oldest first; also those whose output alone is not at its end yet."""
    return sorted(
        (run for run in registry.runs.values() if (run.row.owner, run.row.job) == key), key=lambda run: run.row.seq
    )


async def remove(registry: Registry, key: Key, purge: bool, by: Caller) -> None:
    """Take a job's row away, with `purge` its runs and logs too. Returns when that is so.

    The caller has seen to it that no run of it is live, without an await since. Whoever starts the job before this is
    durable makes it again, behind us: its new run is none of those that go.
    """
    assert not live_runs(registry, key)
    upto = registry.store.next_run_seq() if purge else None  # lower than those of all runs to come
    await registry.catalog.remove(key, by, upto).wait()
    if purge:
        registry.store.purge()
        await purged(registry, key)


def was_removed(registry: Registry, key: Key, run_id: bytes) -> bool:
    """Whether the job was removed since it had this run, which was its newest."""
    store = registry.store
    row = registry.catalog.written(*key)
    if row is not None and row.array and row.latest == run_id:
        return False  # it has no run of its own
    live = registry.run(key[0], run_id) is not None
    if not live and store.run(key[0], run_id) is None:
        return True  # purged
    events = store.last_events_of_run(*key, run_id, 1)
    if not events:
        return not live  # purged between these two questions: it goes on in a thread
    return events[0].seq < store.last_removal(*key)


async def purged(registry: Registry, key: Key) -> None:
    """Return when nothing is left of a job that was removed for good."""
    while registry.store.is_purging(*key):
        await registry.journal.changed.wait()
