"""What every campaign says at its end: counts that must all be zero, and a line for each thing that is counted."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.system.program import Program

# How daemons end that campaigns have killed, or told to end; before it has a handler, one dies of SIGTERM.
MEANT = ("signal 9", "signal 15", "exit status 0")
SHOWN = 40  # details that are printed; the rest is in build/fault.json


class CannotRunError(Exception):
    """This machine cannot run the campaign; the text says what is missing."""


class Problem(NamedTuple):
    """One thing that is wrong."""

    kind: str  # one of the kinds that its checker knows
    run: str
    text: str


def tally(kinds: Iterable[str], problems: Iterable[Problem]) -> dict[str, int]:
    """How many problems there are of each kind, zeros included; of a kind that nobody has announced, too."""
    found = Counter(problem.kind for problem in problems)
    return {kind: found[kind] for kind in (*kinds, *found)}


def details(problems: Iterable[Problem]) -> list[str]:
    return [f"{problem.kind}: {problem.run}: {problem.text}" for problem in problems]


class Report(NamedTuple):
    """What a campaign found.

    Attributes:
        seed: what repeats it.
        size: what was done, in words: "1000 kills of the daemon, 5003 jobs, 412 MB".
        counts: what must be zero, by kind, as the checker names it.
        details: a line for each that is counted.
        seconds: how long it took.
    """

    seed: int
    size: str
    counts: Mapping[str, int]
    details: Sequence[str] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not any(self.counts.values())

    @property
    def verdict(self) -> str:
        return "passed" if self.passed else "FAILED"

    @property
    def zeros(self) -> str:
        """The counts in words, those that are not zero first."""
        ordered = sorted(self.counts.items(), key=lambda pair: not pair[1])
        return ", ".join(f"{count} {kind}" for kind, count in ordered)

    def __str__(self) -> str:
        line = f"seed {self.seed}: {self.size}: {self.zeros}, {self.seconds:.0f} s: {self.verdict}"
        return "\n".join([line, *(f"  {detail}" for detail in self.details[:SHOWN])])


def concluded(
    program: Program,
    seed: int,
    done: str,
    kinds: Iterable[str],
    problems: Sequence[Problem],
    errors: Sequence[str] = (),
) -> Report:
    """The report of a campaign on a jobd that has ended: what the checker found, what its clients should not have been
    told (`errors`), daemons that have died of nobody's kill, and whether SQLite finds the database whole."""
    dead = own_deaths(program.log_text())
    counts = {**tally(kinds, problems), "client errors": len(errors), "own deaths": len(dead)}
    counts["integrity errors"] = integrity(program)
    return Report(seed, done, counts, [*details(problems), *errors, *dead])


def own_deaths(log: str) -> list[str]:
    """How daemons have died that were not killed and did not leave as they may: a next one hides it from all else.

    The log has no more than twenty deaths by signals in a while; those by an error of ours are another sort.
    """
    return [
        f"a daemon has died: {how}" for how in re.findall(r"the daemon has died \((.*?)\)", log) if how not in MEANT
    ]


def integrity(program: Program) -> int:
    """0 when SQLite finds its database whole."""
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        return int(db.execute("PRAGMA integrity_check").fetchone()[0] != "ok")
