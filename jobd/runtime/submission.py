"""What a run is accepted with: its blobs, on which terms, and the job's row with it. No behaviour of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from jobd.core import restarts, service, states
from jobd.core.records import JobRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.core.records import Data
    from jobd.core.spec import JobSpec

Terms: TypeAlias = "Mapping[str, str | int | bytes | bool | None]"  # fields of RunRow: its queue, what it waits for
NO_TERMS: Final[Terms] = {}

RESTART: Final = "restart"  # the cause of a start of what starts again by itself


class NameTaken(Exception):  # noqa: N818  # an answer, not an error of ours
    """The job's name belongs to a live run. `queued`: to one that waits."""

    def __init__(self, name: str, queued: bool = False) -> None:
        super().__init__(name)
        self.queued = queued


class Keys(Struct, frozen=True):
    """A submission's two blobs, and their hashes."""

    spec: bytes
    spec_blob: bytes
    env: bytes
    env_blob: bytes

    @property
    def blobs(self) -> tuple[tuple[bytes, bytes], ...]:
        """As the store takes them."""
        return ((self.spec, self.spec_blob), (self.env, self.env_blob))


def queue_terms(queue: str, spec: JobSpec) -> Data:
    """What the event of an acceptance says of the queue (as the run's row names it), and how the run stands in it."""
    found: Data = {"queue": queue} if queue else {}
    if spec.priority:
        found["priority"] = spec.priority
    if spec.weight != 1:
        found["weight"] = spec.weight
    return found


class Element(Struct, frozen=True):
    """One of an array, which was admitted as a whole: to its queue, as rows name that, and to those that may wait."""

    array: str
    queue: str


def counted(row: JobRow, spec: JobSpec, cause: str, now: int) -> JobRow:
    """The row with the start counted: whoever starts it begins the counting anew."""
    by_itself = cause == RESTART
    none = row.restart_at is None and not (row.restarts or row.starts or row.restart_delay_usec)
    if none and not by_itself and spec.restart == service.NO:
        return row  # as of most jobs
    counts = spec.restart != service.NO or by_itself
    return replace(
        row,
        restarts=row.restarts + 1 if by_itself else 0,
        starts=restarts.with_start(spec, row.starts if by_itself else "", now) if counts else "",
        restart_at=None,
        restart_delay_usec=row.restart_delay_usec if by_itself else 0,
    )


def job_row(
    owner: int, name: str, run_id: bytes, number: int, keys: Keys, old: JobRow | None, sub: str, now: int,
    array_of: str = "",
) -> JobRow:  # fmt: skip
    """The job's row with its new run."""
    if old is not None:
        # What a job from a file is, its file says; of a transient one the newest submission does.
        submitted = {"spec": keys.spec, "env": keys.env} if old.transient else {}
        active = states.ACTIVE_STATE[sub]
        return replace(
            old, latest=run_id, runs=number, active=active, sub=sub, result="success", changed_at=now, **submitted
        )
    return JobRow(
        owner=owner,
        job=name,
        spec=keys.spec,
        env=keys.env,
        created_at=now,
        latest=run_id,
        runs=number,
        active=states.ACTIVE_STATE[sub],
        sub=sub,
        changed_at=now,
        array_of=array_of,
    )


def check_free(row: JobRow | None, free: frozenset[str]) -> None:
    """Raises NameTaken, if there is a job and it is in none of the states in which it may have a new run."""
    if row is not None and (row.sub not in free or row.array):
        raise NameTaken(row.job, queued=row.sub == states.QUEUED)
