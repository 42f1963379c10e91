"""Which runs a question about history means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.globs import Globs

FAILED: Final = "failed"  # DESIGN.md, section 9: all results but exits.GOOD_RESULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs.

    Attributes:
        scope: pairs of owner (None: anybody) and pattern of which one must fit; None: no matter whose they are.
        jobs: exact keys (owner, name), which the scope need not be asked about, and
        globs: pairs: one of all of them must fit, if there are any.
        states: states, results or "failed".
        queue: its owner (None: a shared one, in which anybody may be), and how a run's row calls it.
        since, until: by the time queued, in ns.
    """

    scope: Globs | None = None
    jobs: Sequence[tuple[int, str]] = ()
    globs: Globs = ()
    states: Sequence[str] = ()
    queue: tuple[int | None, str] | None = None
    since: int | None = None
    until: int | None = None


EVERY: Final = RunFilter()
