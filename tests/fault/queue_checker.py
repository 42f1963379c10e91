"""Compares what was queued with what jobd says of it, in which order it says that it began, and with the ledger. Pure.

The order is that of the events in which runs have begun, which is exact. The ledger, which the runs write themselves,
shows what has really run, and how many slots were taken whenever one began.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.fault.queue_work import Plan, in_order
from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS = ("lost", "doubled", "unknown", "wrong exit", "order", "crowded", "stranger")


class Seen(NamedTuple):
    """What jobd says of one run."""

    state: str
    result: str | None
    exit_code: int | None


def check(
    queued: Mapping[str, Plan],
    slots: Mapping[str, int],
    seen: Mapping[str, Seen],
    begun: Sequence[str],
    ledger: Iterable[str],
) -> list[Problem]:
    """Every way in which they differ; runs by their ids in hex.

    Args:
        queued: what was submitted.
        slots: of each queue.
        seen: what jobd says at the end.
        begun: the runs in the order in which jobd has noted that they begin; one may be there again, as it never ran.
        ledger: the lines of the runs.
    """
    lines = [tuple(line.split()) for line in ledger]
    times = Counter(run for word, run in lines if word == "begin")
    strangers = (times.keys() | seen.keys()) - queued.keys()
    problems = [Problem("stranger", run, "was never submitted") for run in sorted(strangers)]
    for run, plan in queued.items():
        problems += _of_run(run, plan, times[run], seen.get(run))
    for queue in slots:
        problems += _order(queued, queue, begun)
    return problems + list(_crowds(queued, slots, lines))


def _of_run(run: str, plan: Plan, times: int, one: Seen | None) -> Iterable[Problem]:
    if times > 1:
        yield Problem("doubled", run, f"ran {times} times")
    if one is None or not times:
        yield Problem("lost", run, f"ran {times} times, history says {one}")
    elif one.result == "lost":
        yield Problem("unknown", run, "ran, and jobd says that it does not know its end")
    elif one.state != "finished" or one.exit_code != plan.code:
        yield Problem("wrong exit", run, f"{one}, expected {plan.code}")


def _order(queued: Mapping[str, Plan], queue: str, begun: Sequence[str]) -> Iterable[Problem]:
    """The first that began before one that was to begin before it."""
    ids = {plan.number: run for run, plan in queued.items()}
    first = [run for run in dict.fromkeys(begun) if run in queued and queued[run].queue == queue]
    wanted = [ids[plan.number] for plan in in_order(list(queued.values()), queue)]
    for place, (run, expected) in enumerate(zip(first, wanted, strict=False)):
        if run != expected:
            yield Problem("order", run, f"began as number {place} of {queue}, before {expected}")
            return


def _crowds(
    queued: Mapping[str, Plan], slots: Mapping[str, int], lines: Iterable[tuple[str, ...]]
) -> Iterable[Problem]:
    """Each that began when there was no room for it."""
    taken = dict.fromkeys(slots, 0)
    for word, run in lines:
        plan = queued.get(run)
        if plan is None:
            continue
        taken[plan.queue] += plan.weight if word == "begin" else -plan.weight
        if word == "begin" and taken[plan.queue] > slots[plan.queue]:
            yield Problem("crowded", run, f"{taken[plan.queue]} of {slots[plan.queue]} slots of {plan.queue} are taken")
