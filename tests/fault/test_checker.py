"""The checker finds each planted fault, and nothing in a clean history; the job does what its plan says."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fault import work
from tests.fault.both import changed
from tests.fault.checker import Kill, Observed, check, live_at
from tests.fault.killing import daemon_of
from tests.fault.upgrades import counts_on, without_stopped
from tests.fault.work import Plan
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

SEED = 11
RUNS = [f"{index:032x}" for index in range(40)]
PLANS = {run: Plan(SEED, index) for index, run in enumerate(RUNS)}
# One that ends by a code and writes something on both streams.
VICTIM = next(run for run, plan in PLANS.items() if not plan.signal and min(len(plan.out), len(plan.err)) > 100)


def truth(plan: Plan) -> Observed:
    code, number = (None, plan.signal) if plan.signal else (plan.code, None)
    return Observed("finished", "whatever", code, number, plan.out, plan.err)


CLEAN = {run: truth(plan) for run, plan in PLANS.items()}
SEEN = CLEAN[VICTIM]


def test_a_clean_history_has_no_problems() -> None:
    assert check(PLANS, CLEAN, RUNS) == []


@pytest.mark.parametrize(
    ("seen", "ledger", "kind"),
    [
        (SEEN, [run for run in RUNS if run != VICTIM], "lost"),
        (SEEN, [*RUNS, VICTIM], "doubled"),
        (SEEN._replace(exit_code=99), RUNS, "wrong exit"),
        (SEEN._replace(exit_code=None, signal=9), RUNS, "wrong exit"),
        (SEEN._replace(state="running", exit_code=None), RUNS, "wrong exit"),
        (SEEN._replace(result="lost", exit_code=None), RUNS, "unknown"),
        (SEEN._replace(out=SEEN.out[:-1]), RUNS, "wrong stdout"),
        (SEEN._replace(out=SEEN.out + b"x"), RUNS, "wrong stdout"),
        (SEEN._replace(err=bytes([SEEN.err[0] ^ 1]) + SEEN.err[1:]), RUNS, "wrong stderr"),
        (SEEN, [*RUNS, "f" * 32], "stranger"),
    ],
)
def test_a_planted_fault_is_found(seen: Observed, ledger: list[str], kind: str) -> None:
    assert [problem.kind for problem in check(PLANS, {**CLEAN, VICTIM: seen}, ledger)] == [kind]


def test_a_run_missing_from_history_is_lost_and_an_unknown_one_a_stranger() -> None:
    missing = {run: seen for run, seen in CLEAN.items() if run != VICTIM}
    assert [problem.kind for problem in check(PLANS, missing, RUNS)] == ["lost"]
    assert [problem.kind for problem in check(PLANS, {**CLEAN, "e" * 32: CLEAN[VICTIM]}, RUNS)] == ["stranger"]


LOST = SEEN._replace(result="lost", exit_code=None)


@pytest.mark.parametrize(
    ("seen", "ledger", "kinds"),
    [
        (LOST, RUNS, []),
        (LOST, [run for run in RUNS if run != VICTIM], []),
        (LOST._replace(out=SEEN.out[:7], err=b""), RUNS, []),
        (LOST, [*RUNS, VICTIM], ["doubled"]),
        (LOST._replace(exit_code=0), RUNS, ["wrong exit"]),
        (LOST._replace(state="running"), RUNS, ["wrong exit"]),
        (LOST._replace(out=SEEN.out[:7] + bytes([SEEN.out[7] ^ 1])), RUNS, ["wrong stdout"]),
        (SEEN._replace(exit_code=99), RUNS, ["wrong exit"]),
        (SEEN, [run for run in RUNS if run != VICTIM], ["lost"]),
    ],
)
def test_of_a_run_that_may_be_lost_a_wrong_answer_is_found(seen: Observed, ledger: list[str], kinds: list[str]) -> None:
    problems = check(PLANS, {**CLEAN, VICTIM: seen}, ledger, {VICTIM})
    assert [problem.kind for problem in problems] == kinds


def test_lost_may_be_what_was_live_at_a_kill_and_nothing_else() -> None:
    kills = [Kill(100, 110, 150), Kill(300, 310, 350)]
    spans = {
        "live": (90, 120), "later": (200, 310), "in it": (105, 107), "ended before": (10, 99), "long over": (10, 160),
        "after": (120, 140), "between": (160, 299),
    }  # fmt: skip
    assert live_at(kills, spans) == {"live", "later", "in it"}


def test_an_answer_that_changes_is_found() -> None:
    said = {"a": ("success", 0, None), "b": ("signal", None, 9)}
    assert changed(said, said | {"c": ("success", 0, None)}) == []
    assert [problem.run for problem in changed(said, said | {"b": ("lost", None, None)})] == ["b"]
    assert [problem.run for problem in changed(said, {"a": said["a"]})] == ["b"]


def test_only_what_was_live_at_a_restart_may_have_been_stopped_by_it() -> None:
    stopped, canceled = SEEN._replace(result="stopped"), SEEN._replace(result="canceled")
    seen = {"a": stopped, "b": canceled, "c": stopped, "d": SEEN}
    assert without_stopped(seen, {"a", "b", "d"}) == {"a", "b"}


@pytest.mark.parametrize(
    ("out", "right"), [(b"1\n2\n3\n", True), (b"1\n3\n", False), (b"1\n2\n2\n", False), (b"1\n2", False), (b"", False)]
)
def test_a_gap_in_what_counts_is_found(out: bytes, right: bool) -> None:
    assert counts_on(out, b"\n") is right


@pytest.mark.slow
def test_the_job_does_what_its_plan_says(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    for index in range(12):
        command = [sys.executable, "-I", "-S", work.__file__, str(SEED), str(index), str(ledger), RUNS[index]]
        done = subprocess.run(command, capture_output=True, check=False)
        plan = Plan(SEED, index)
        assert (done.stdout, done.stderr) == (plan.out, plan.err)
        assert done.returncode == (-plan.signal if plan.signal else plan.code)
    assert ledger.read_text().split() == RUNS[:12]


def test_plans_cover_every_end_and_empty_streams() -> None:
    plans = [Plan(SEED, index) for index in range(200)]
    assert {plan.signal or plan.code for plan in plans} == {*work.CODES, *map(int, work.SIGNALS)}
    assert any(not plan.out for plan in plans)
    assert any(len(plan.err) > 100_000 for plan in plans)


@pytest.mark.parametrize("session", [False, True], ids=["what a daemon has forked", "a daemon"])
def test_a_kill_hits_no_child_that_a_dead_daemon_has_left(session: bool, tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo here; read line", "jobd.daemon"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=session) as child:
        assert child.stdout is not None
        child.stdout.readline()  # until it is executed nobody sees its words
        assert daemon_of(Program(tmp_path), os.getpid()) == (child.pid if session else 0)
        child.communicate(b"\n")
