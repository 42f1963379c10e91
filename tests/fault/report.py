"""What every campaign says at its end: counts that must all be zero, and a line for each thing that is counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SHOWN = 40  # details that are printed; the rest is in build/fault.json


class CannotRunError(Exception):
    """This machine cannot run the campaign; the text says what is missing."""


class Problem(NamedTuple):
    """One thing that is wrong."""

    kind: str  # one of the kinds that its checker knows
    run: str
    text: str


def tally(kinds: Iterable[str], problems: Iterable[Problem]) -> dict[str, int]:
    """How many problems there are of each kind, zeros included."""
    found = Counter(problem.kind for problem in problems)
    return {kind: found[kind] for kind in kinds}


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
