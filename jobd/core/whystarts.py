"""What `why` says of how a job came to start, and of its schedule: when it starts the job, or why it did not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobd.core.records import Event, JobRow, RunRow

# What stands before a run's `cause` in a sentence, by how that begins.
CAUSES: Final = {"required by": "it is ", "wanted by": "it is ", "restarted with": "it was ", "on ": "it was started "}
# And those that are a sentence by themselves; others are as they are.
STARTED_BECAUSE: Final = {
    "restart": "it was started again by itself", "enabled": "it is enabled", "schedule": "its schedule started it",
}  # fmt: skip
SKIPPED: Final = "schedule-skipped"  # the kind of the event


class Words(Protocol):
    """Of jobd.core.why."""

    def when(self, at: int) -> str:
        """A moment, for people."""

    def who(self, uid: int) -> str:
        """A user, for people."""


def began(run: RunRow | None, say: Words) -> str:
    """Who or what has started the newest run."""
    if run is None:
        return ""
    if run.cause:
        verb = next((verb for start, verb in CAUSES.items() if run.cause.startswith(start)), "")
        return STARTED_BECAUSE.get(run.cause, f"{verb}{run.cause}")
    return f"{say.who(run.by_uid)} started it"


def said(row: JobRow, events: Iterable[Event], say: Words) -> Iterator[tuple[str, str, int]]:
    """Kinds, sentences and moments. `events` are the last of the job and of its newest run."""
    for event in events:
        if event.kind == SKIPPED and row.elapse_last == event.data.get("job.elapse_last") is not None:
            why = str(event.data.get("act.reason", ""))
            yield SKIPPED, f"its schedule did not start it on {say.when(row.elapse_last or event.at)}: {why}", event.at
            break
    if row.elapse_next is not None:
        yield "schedule", f"its schedule starts it on {say.when(row.elapse_next)}", row.elapse_next
