"""Compares what a campaign submitted with what jobd says happened and with what did happen. Pure.

Three witnesses: the plan (what each job does, from its seed), jobd's history and logs, and the ledger that every job
appends its run id to when it really runs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tests.fault.work import Plan

KINDS = ("lost", "doubled", "unknown", "wrong exit", "wrong stdout", "wrong stderr", "stranger")


class Observed(NamedTuple):
    """What jobd says of one run."""

    state: str
    result: str | None
    exit_code: int | None
    signal: int | None
    out: bytes
    err: bytes


class Kill(NamedTuple):
    """One death of keeper and daemon together, by the wall's clock."""

    at: int  # nothing was done to them before
    gone: int  # nothing was accepted after
    back: int  # jobd answered again


def live_at(kills: Sequence[Kill], spans: Mapping[str, tuple[int, int]]) -> set[str]:
    """Of these runs those that one of the kills has ended, and that may be lost: accepted before both were gone, and
    over between the kill and jobd's return. `spans`: when each was accepted, and when jobd says that it was over."""
    return {
        run
        for run, (accepted, over) in spans.items()
        if any(accepted < kill.gone and kill.at <= over <= kill.back for kill in kills)
    }


def check(
    plans: Mapping[str, Plan],
    observed: Mapping[str, Observed],
    ledger: Iterable[str],
    may_be_lost: Collection[str] = (),
) -> list[Problem]:
    """Every way in which history, logs and ledger differ from the plans; keys are run ids in hex.

    `may_be_lost`: jobd may say of these that it does not know their end; what they wrote is right as far as it goes.
    """
    executions = Counter(ledger)
    problems = [Problem("stranger", run, "ran, and nobody submitted it") for run in executions.keys() - plans.keys()]
    problems += [
        Problem("stranger", run, "is in history, and nobody submitted it") for run in observed.keys() - plans.keys()
    ]
    for run, plan in plans.items():
        times = executions[run]
        seen = observed.get(run)
        if times > 1:
            problems.append(Problem("doubled", run, f"ran {times} times"))
        if seen is not None and seen.result == "lost" and run in may_be_lost:
            problems += _beginnings(run, plan, seen)
        elif seen is None or not times:
            problems.append(Problem("lost", run, f"ran {times} times, history says {seen and seen.result}"))
        elif seen.result == "lost":
            problems.append(Problem("unknown", run, "ran, and jobd says that it does not know its end"))
        else:
            problems += _differences(run, plan, seen)
    return problems


def _beginnings(run: str, plan: Plan, seen: Observed) -> list[Problem]:
    problems = []
    if (seen.state, seen.exit_code, seen.signal) != ("finished", None, None):
        text = f"lost, but {seen.state}, code {seen.exit_code}, signal {seen.signal}"
        problems.append(Problem("wrong exit", run, text))
    for kind, got, whole in (("wrong stdout", seen.out, plan.out), ("wrong stderr", seen.err, plan.err)):
        if not whole.startswith(got):
            problems.append(Problem(kind, run, _where(got, whole)))
    return problems


def _differences(run: str, plan: Plan, seen: Observed) -> list[Problem]:
    problems = []
    expected = (None, plan.signal) if plan.signal else (plan.code, None)
    if seen.state != "finished" or (seen.exit_code, seen.signal) != expected:
        found = f"{seen.state}, code {seen.exit_code}, signal {seen.signal}"
        problems.append(Problem("wrong exit", run, f"{found}; expected code and signal {expected}"))
    for kind, got, wanted in (("wrong stdout", seen.out, plan.out), ("wrong stderr", seen.err, plan.err)):
        if got != wanted:
            problems.append(Problem(kind, run, _where(got, wanted)))
    return problems


def _where(got: bytes, wanted: bytes) -> str:
    same = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    return f"{len(got)} bytes for {len(wanted)}, the same up to byte {same}"
