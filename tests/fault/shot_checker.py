"""What may be told of the runs that were there when one call failed or a process was killed. Pure.

Whoever was refused, or whose program could not be started, was told so, and it must never have run. All others ran
once, and their ends and outputs are exact.
"""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

from tests.fault import checker
from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.fault.checker import Observed
    from tests.fault.visit import Told

KINDS = checker.KINDS
NEVER_RAN = "start-failed"  # the result of a run whose program was not executed


def check(told: Sequence[Told], ledger: Iterable[str], *, may_fail: bool) -> list[Problem]:
    """Every way in which what jobd said of these runs is not what happened.

    Args:
        told: what jobd said of each.
        ledger: the ids of the runs that really ran, as they wrote them themselves; sleepers write none.
        may_fail: whether a run may be refused, or fail to start: a call has failed, and its reason was told.
    """
    executions = Counter(ledger)
    known = {each.run for each in told}
    problems = [Problem("stranger", run, "ran, and nobody submitted it") for run in executions.keys() - known]
    for each in told:
        if may_fail and (each.refused or _never_ran(each.seen)):
            problems += _not_run(each, executions[each.run])
        elif each.refused:
            problems.append(Problem("lost", each.run, f"was refused: {each.refused}"))
        elif each.plan is not None:
            seen = {} if each.seen is None else {each.run: each.seen}
            problems += checker.check({each.run: each.plan}, seen, [each.run] * executions[each.run])
        else:
            problems += _stopped(each.run, each.seen)
    return problems


def _never_ran(seen: Observed | None) -> bool:
    return seen is not None and seen.result == NEVER_RAN


def _not_run(each: Told, times: int) -> list[Problem]:
    if times:
        return [Problem("wrong exit", each.run, f"ran {times} times, and its submitter was told that it did not run")]
    seen = each.seen
    if seen is not None and (seen.state != "finished" or (seen.exit_code, seen.signal) != (None, None) or seen.out):
        return [Problem("wrong exit", each.run, f"never ran, and history has {seen}")]
    return []


def _stopped(run: str, seen: Observed | None) -> list[Problem]:
    """A sleeper ends by the SIGTERM of its stop."""
    if seen is None:
        return [Problem("lost", run, "history does not know it")]
    if seen.result == "lost":
        return [Problem("unknown", run, "ran, and jobd says that it does not know its end")]
    if (seen.state, seen.exit_code, seen.signal) != ("finished", None, signal.SIGTERM):
        return [Problem("wrong exit", run, f"was stopped, and history has {seen}")]
    return []
