"""Compares arrays and schedules with what jobd says of them, and with what really ran. Pure.

An array runs each of its elements once, so many at a time. A schedule starts its job once for each of its times that is
seen to; of several that pass while no daemon is there, the first is, and the others are not made good.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARRAY_KINDS: Final = ("lost", "doubled", "unknown", "wrong exit", "crowded", "stranger")
SCHEDULE_KINDS: Final = ("lost", "doubled", "early", "backwards", "off the grid", "forgotten", "wrong exit", "stranger")
NSEC: Final = 10**9
CODES: Final = 5  # an element ends with its number modulo this
# The time that follows is reckoned when one is seen to: the first that is so far from then.
SPACING_NSEC: Final = NSEC // 10


class Element(NamedTuple):
    """What jobd says of one."""

    state: str
    result: str | None
    exit_code: int | None


def check_array(
    name: str, size: int, at_once: int, seen: Mapping[int, Element], ledger: Iterable[tuple[str, int]]
) -> list[Problem]:
    """Every way in which an array differs from what it should have done.

    Args:
        name: of it.
        size: its elements are numbered from 0.
        at_once: how many may run at a time.
        seen: its elements as jobd has them, by number.
        ledger: "begin" and "end" of each, as they told it themselves.
    """
    lines = list(ledger)
    times = Counter(number for word, number in lines if word == "begin")
    problems = [
        Problem("stranger", f"{name}@{number}", "is not of the array")
        for number in sorted(times.keys() | seen.keys())
        if not 0 <= number < size
    ]
    for number in range(size):
        problems += _of_element(f"{name}@{number}", number, times[number], seen.get(number))
    taken = 0
    for word, number in lines:
        taken += 1 if word == "begin" else -1
        if taken > at_once:
            problems.append(Problem("crowded", f"{name}@{number}", f"{taken} at a time"))
    return problems


def _of_element(name: str, number: int, times: int, seen: Element | None) -> Iterable[Problem]:
    if times > 1:
        yield Problem("doubled", name, f"ran {times} times")
    if seen is None or not times:
        yield Problem("lost", name, f"ran {times} times, history says {seen}")
    elif seen.result == "lost":
        yield Problem("unknown", name, "ran, and jobd says that it does not know its end")
    elif seen.state != "finished" or seen.exit_code != number % CODES:
        yield Problem("wrong exit", name, f"{seen}, expected {number % CODES}")


class Elapse(NamedTuple):
    """One time of a schedule that was seen to: which, when, and the run that it has got, if any."""

    due: int
    at: int
    run: str


def check_schedule(
    name: str,
    every: int,
    elapses: Sequence[Elapse],
    seen: Mapping[str, Element],
    ledger: Iterable[str],
) -> list[Problem]:
    """Every way in which a schedule differs from what it should have done; times in nanoseconds.

    Args:
        name: of its job.
        every: between two of its times, which are multiples of that.
        elapses: what jobd has recorded, in that order.
        seen: all runs of the job, by id.
        ledger: the runs that really began.
    """
    times = Counter(ledger)
    expected = {one.run for one in elapses if one.run}
    problems = [Problem("doubled", run, f"{name}: ran {n} times") for run, n in times.items() if n > 1]
    problems += [Problem("doubled", name, f"{n} runs for {due}") for due, n in _counts(elapses) if n > 1]
    problems += [Problem("stranger", run, f"{name}: no time has come for it") for run in {*seen, *times} - expected]
    for run in expected:
        one = seen.get(run)
        if one is None or not times[run]:
            problems.append(Problem("lost", run, f"{name}: ran {times[run]} times, history says {one}"))
        elif (one.state, one.exit_code) != ("finished", 0):
            problems.append(Problem("wrong exit", run, f"{name}: {one}"))
    for elapse in elapses:
        problems += [Problem(kind, name, f"{elapse}") for kind in _of_time(elapse, every)]
    for before, elapse in pairwise(elapses):
        if elapse.due <= before.due:
            problems.append(Problem("backwards", name, f"{elapse} after {before}"))
        if elapse.due > before.at + SPACING_NSEC + every:
            problems.append(Problem("forgotten", name, f"none between {before} and {elapse}"))
    return problems


def _counts(elapses: Sequence[Elapse]) -> Iterable[tuple[int, int]]:
    return Counter(one.due for one in elapses).items()


def _of_time(one: Elapse, every: int) -> Iterable[str]:
    if one.at < one.due:
        yield "early"
    if one.due % every:
        yield "off the grid"
