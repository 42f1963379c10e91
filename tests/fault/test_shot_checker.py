"""The checker of F4 and F5 finds each planted fault, and nothing in a clean history."""

from __future__ import annotations

import pytest

from tests.fault.checker import Observed
from tests.fault.shot_checker import check
from tests.fault.visit import Told
from tests.fault.work import Plan

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32
PLAN = next(plan for plan in (Plan(7, index) for index in range(100)) if plan.out and plan.err)
RAN = Observed(
    "finished", "", None if PLAN.signal else PLAN.code, PLAN.signal or None, PLAN.out, PLAN.err
)  # as it was planned
STOPPED = Observed("finished", "stopped", None, 15, b"", b"")
NOT_STARTED = Observed("finished", "start-failed", None, None, b"", b"")
CLEAN = [Told(ONE, PLAN, "", RAN), Told(TWO, None, "", STOPPED)]
FLIPPED = bytes([PLAN.out[0] ^ 1]) + PLAN.out[1:]


def kinds(told: list[Told], ledger: list[str], *, may_fail: bool = True) -> list[str]:
    return [problem.kind for problem in check(told, ledger, may_fail=may_fail)]


@pytest.mark.parametrize("may_fail", [True, False])
def test_a_clean_history_has_no_problems(may_fail: bool) -> None:
    assert kinds(CLEAN, [ONE], may_fail=may_fail) == []


def test_who_was_refused_or_could_not_start_has_not_run() -> None:
    refused = [Told(ONE, PLAN, "limit: no memory", None), Told(TWO, None, "limit: no memory", NOT_STARTED)]
    assert kinds([*refused, Told(THREE, PLAN, "", NOT_STARTED)], []) == []
    assert kinds(refused[:1], [ONE]) == ["wrong exit"]
    assert kinds([Told(THREE, PLAN, "", NOT_STARTED)], [THREE]) == ["wrong exit"]
    assert kinds([Told(THREE, PLAN, "limit", RAN)], []) == ["wrong exit"]


def test_where_nothing_may_fail_nothing_is_refused() -> None:
    assert kinds([Told(ONE, PLAN, "limit: no memory", None)], [], may_fail=False) == ["lost"]
    assert "wrong exit" in kinds([Told(ONE, PLAN, "", NOT_STARTED)], [ONE], may_fail=False)


@pytest.mark.parametrize(
    ("seen", "ledger", "kind"),
    [
        (None, [ONE], "lost"),
        (RAN, [], "lost"),
        (RAN, [ONE, ONE], "doubled"),
        (RAN._replace(result="lost"), [ONE], "unknown"),
        (RAN._replace(exit_code=99, signal=None), [ONE], "wrong exit"),
        (RAN._replace(out=FLIPPED), [ONE], "wrong stdout"),
        (RAN._replace(err=PLAN.err[:-1] if PLAN.err else b"?"), [ONE], "wrong stderr"),
        (RAN, [ONE, THREE], "stranger"),
    ],
)
def test_a_planted_fault_is_found(seen: Observed | None, ledger: list[str], kind: str) -> None:
    assert kind in kinds([Told(ONE, PLAN, "", seen)], ledger)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (None, "lost"),
        (STOPPED._replace(result="lost"), "unknown"),
        (STOPPED._replace(signal=9), "wrong exit"),
        (STOPPED._replace(state="running", signal=None), "wrong exit"),
    ],
)
def test_a_sleeper_that_was_not_stopped_is_found(seen: Observed | None, kind: str) -> None:
    assert kinds([Told(TWO, None, "", seen)], []) == [kind]
