"""The checker of the services finds each planted fault, and nothing in a clean history."""

from __future__ import annotations

import pytest

from tests.fault.service_checker import Seen, check
from tests.fault.service_work import Fate

ONE, TWO, HOOK = "1" * 32, "2" * 32, "3" * 32
CLEAN = {
    ONE: Seen("s1", "finished", "exit-code", 3, None, Fate(ONE).out, True),
    TWO: Seen("s2", "finished", "stopped", 0, None, Fate(TWO).out[:1], True),
    HOOK: Seen("told@s1", "finished", "success", 0, None, b"", False),
    "4" * 32: Seen("s1", "finished", "canceled", None, None, b"", True),
}
LEDGER = [
    f"begin s1 {ONE}", f"end s1 {ONE} 3", f"begin told@s1 {HOOK}", f"hook s1 {ONE}", f"end told@s1 {HOOK} 0",
    f"begin s2 {TWO}", f"stop s2 {TWO}", f"end s2 {TWO} 0",
]  # fmt: skip


def test_a_clean_history_has_no_problems() -> None:
    assert check(LEDGER, CLEAN) == []


@pytest.mark.parametrize(
    ("lines", "changed", "kind"),
    [
        ([f"begin s1 {ONE}"], {}, "doubled"),
        ([f"beside s1 {ONE}"], {}, "beside"),
        ([f"hook s1 {ONE}"], {}, "hook twice"),
        ([f"stop s2 {TWO}"], {}, "stop twice"),
        ([f"begin s1 {'5' * 32}"], {}, "lost"),
        ([f"begin s1 {'4' * 32}"], {}, "lost"),
        ([], {"6" * 32: CLEAN[ONE]}, "lost"),
        ([], {ONE: CLEAN[ONE]._replace(result="lost", exit_code=None)}, "lost"),
        ([], {ONE: CLEAN[ONE]._replace(state="running", exit_code=None)}, "unfinished"),
        ([], {ONE: CLEAN[ONE]._replace(exit_code=1)}, "wrong exit"),
        ([], {ONE: CLEAN[ONE]._replace(exit_code=None, signal=9)}, "wrong exit"),
        ([], {ONE: CLEAN[ONE]._replace(out=Fate(ONE).out[:-1])}, "wrong stdout"),
        ([], {TWO: CLEAN[TWO]._replace(out=b"?")}, "wrong stdout"),
        ([], {ONE: CLEAN[ONE]._replace(out=bytes([Fate(ONE).out[0] ^ 1]) + Fate(ONE).out[1:])}, "wrong stdout"),
        ([], {HOOK: CLEAN[HOOK]._replace(out=b"?")}, "wrong stdout"),
    ],
)
def test_a_planted_fault_is_found(lines: list[str], changed: dict[str, Seen], kind: str) -> None:
    assert [problem.kind for problem in check([*LEDGER, *lines], {**CLEAN, **changed})] == [kind]


def test_a_run_that_may_be_lost_may_be_lost_and_has_written_what_it_would() -> None:
    lost = CLEAN[ONE]._replace(result="lost", exit_code=None)
    lines = [line for line in LEDGER if not line.startswith("end s1")]
    assert check(lines, {**CLEAN, ONE: lost}, {ONE}) == []
    assert [problem.kind for problem in check(lines, {**CLEAN, ONE: lost}, {TWO})] == ["lost"]
    flipped = lost._replace(out=bytes([lost.out[0] ^ 1]) + lost.out[1:])
    assert [problem.kind for problem in check(lines, {**CLEAN, ONE: flipped}, {ONE})] == ["wrong stdout"]
    assert [problem.kind for problem in check([*lines, f"begin s1 {ONE}"], {**CLEAN, ONE: lost}, {ONE})] == ["doubled"]
