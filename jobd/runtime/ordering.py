"""Which runs wait for other jobs, and which stops do. Asked by the walks of runs, which it wakes when jobs change.

Nothing waits for anything yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run


class Ordering:
    """One a daemon. Whoever it holds up is woken (`run.wake`) to ask again."""

    def __init__(self, world: Registry) -> None:
        self._world = world

    def holds(self, run: Run) -> bool:  # noqa: ARG002  # see above
        """Whether a queued run waits for what comes before it."""
        return False

    def missing(self, run: Run) -> str:  # noqa: ARG002  # what it is for follows
        """Why a run that waits no more cannot begin ("db has failed"): it ends as `dependency`. "": it begins."""
        return ""

    def holds_stop(self, run: Run) -> bool:  # noqa: ARG002  # what it is for follows
        """Whether a run whose stop was asked for waits for what has to be stopped before it."""
        return False
