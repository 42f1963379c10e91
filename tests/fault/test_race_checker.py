"""The checker of the races finds each planted fault, and nothing in a clean history."""

from __future__ import annotations

import pytest

from tests.fault.race_checker import KILL, TERM, Race, Seen, check

RUN = "1" * 32
ENDED = Seen("finished", "stopped", None, TERM, "inactive", 0)
CANCELED = ENDED._replace(result="canceled", signal=None)


@pytest.mark.parametrize(
    ("sort", "act", "seen", "began"),
    [
        ("plain", "stop", ENDED, 1),
        ("plain", "stop", ENDED, 0),
        ("plain", "stop", CANCELED, 0),
        ("quick", "stop", ENDED._replace(result="exit-code", exit_code=3, signal=None, active="failed"), 1),
        ("clean", "stop", ENDED._replace(exit_code=5, signal=None), 1),
        ("stubborn", "stop", ENDED._replace(result="timeout", signal=KILL, active="failed"), 1),
        ("family", "kill main", ENDED._replace(result="signal", signal=KILL, active="failed"), 1),
    ],
)
def test_what_is_right_is_no_problem(sort: str, act: str, seen: Seen, began: int) -> None:
    assert check({RUN: Race(1, sort, act)}, {RUN: seen}, [RUN] * began) == []


@pytest.mark.parametrize(
    ("sort", "act", "seen", "ledger", "kind"),
    [
        ("plain", "stop", None, [RUN], "lost"),
        ("plain", "stop", ENDED._replace(result="lost"), [RUN], "lost"),
        ("plain", "stop", ENDED, [RUN, RUN], "doubled"),
        ("plain", "stop", ENDED, [RUN, "2" * 32], "stranger"),
        ("plain", "stop", ENDED._replace(left=1), [RUN], "left behind"),
        ("plain", "stop", ENDED._replace(state="stopping"), [RUN], "wrong state"),
        ("plain", "stop", ENDED._replace(active="active"), [RUN], "wrong state"),
        ("plain", "stop", CANCELED, [RUN], "wrong result"),
        ("plain", "stop", ENDED._replace(result="timeout", signal=KILL), [RUN], "wrong result"),
        ("family", "stop", ENDED._replace(result="signal"), [RUN], "wrong result"),
        ("plain", "stop", ENDED._replace(result="exit-code", exit_code=1, signal=None), [RUN], "wrong result"),
        ("plain", "kill", ENDED._replace(exit_code=0, signal=None), [RUN], "wrong exit"),
        ("quick", "stop", ENDED._replace(exit_code=4, signal=None), [RUN], "wrong exit"),
        ("quick", "stop", ENDED._replace(exit_code=3, signal=None), [], "wrong exit"),
        ("plain", "stop", ENDED._replace(signal=KILL), [RUN], "wrong exit"),
        ("plain", "stop", ENDED._replace(signal=None), [RUN], "wrong exit"),
    ],
)
def test_a_planted_fault_is_found(sort: str, act: str, seen: Seen | None, ledger: list[str], kind: str) -> None:
    problems = check({RUN: Race(1, sort, act)}, {RUN: seen} if seen else {}, ledger)
    assert [problem.kind for problem in problems] == [kind]
