"""`rm` and `reset-failed`: what goes, what stays, and what holds whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jobd.store.logs import run_dir
from jobd.wire import messages as m
from tests.store.helpers import Book, assert_rows_equal_replay
from tests.system.program import DEADLINE_SEC, Program, is_alive, until
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

KILLS = 8  # one after the other, within the time that a request takes
WITHIN_SEC = 0.021
MANY = 80  # runs, whose logs take a while to remove


def listed(program: Program, *patterns: str) -> list[str]:
    """The names that `list -a` shows."""
    return program.jobctl("list", "-a", "-o", "name", *patterns, check=True).stdout.split()


def all_runs(program: Program) -> list[dict[str, object]]:
    rows = json.loads(program.jobctl("history", "-n", "all", "-o", "json", check=True).stdout)
    assert isinstance(rows, list)
    return rows


def log_of(program: Program, row: dict[str, object]) -> Path:
    run = bytes.fromhex(str(row["run"]).replace("-", ""))
    return run_dir(program.state_dir, os.geteuid(), run)


def check_replay(program: Program) -> None:
    """End jobd; the tables are what the events say."""
    program.keeper.terminate()
    assert program.keeper.wait(DEADLINE_SEC) == 0
    with Book(program.state_dir, boot_id="checker") as book:
        assert_rows_equal_replay(book.store)


# --- reset-failed -----------------------------------------------------------------------------------------------------
def test_reset_failed(shared: Program, name: str) -> None:
    for end in "ab":
        shared.jobctl("run", "--wait", "--name", f"{name}-{end}", "--", "false")
    shared.jobctl("run", "--wait", "--name", f"{name}-c", "--", "true", check=True)
    assert shared.jobctl("is-failed", f"{name}-a").returncode == 0
    done = shared.jobctl("reset-failed", f"{name}-a", f"{name}-c", check=True)
    assert (done.stdout, done.stderr) == ("", "")
    shown = shared.jobctl("show", "-p", "ActiveState,SubState,Result", f"{name}-a", check=True).stdout
    assert shown.splitlines() == ["ActiveState=inactive", "SubState=dead", "Result=success"]
    assert shared.history(f"{name}-a")[0]["result"] == "exit-code"  # the run is what it was
    rows = json.loads(shared.jobctl("list", "--failed", "-o", "json", f"{name}*", check=True).stdout)
    assert [row["job"] for row in rows] == [f"{name}-b"]
    wrong = shared.jobctl("reset-failed", f"{name}-x")
    assert (wrong.returncode, "did you mean" in wrong.stderr) == (5, True)
    shared.jobctl("reset-failed", "no-such-*", check=True)
    assert shared.jobctl("is-failed", f"{name}-b").returncode == 0
    shared.jobctl("reset-failed", check=True)
    assert shared.jobctl("list", "--failed", "-o", "name", check=True).stdout == ""
    shared.jobctl("start", f"{name}-a", check=True)
    shared.jobctl("wait", f"{name}-a")
    assert shared.jobctl("is-failed", f"{name}-a").returncode == 0


# --- rm ---------------------------------------------------------------------------------------------------------------
def test_the_name_goes_and_the_runs_stay(shared: Program, name: str) -> None:
    for word in ("one", "two"):
        shared.jobctl("run", "--wait", "--name", name, "--", "echo", word, check=True)
    newest = shared.history(name)[0]
    run = str(newest["run"])
    done = shared.jobctl("rm", name, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert listed(shared, name) == []
    for verb, status in {"start": 5, "rm": 5, "stop": 5, "history": 4, "logs": 4, "rerun": 5}.items():
        assert shared.jobctl(verb, name).returncode == status, verb
    assert shared.show(name, "LoadState") == "not-found"
    assert next(row["run"] for row in all_runs(shared) if row["job"] == name) == run
    assert shared.jobctl("logs", run, check=True).stdout == "two\n"
    assert "success" in shared.jobctl("result", run, check=True).stdout
    assert shared.jobctl("wait", run).returncode == 0
    # the name is free, and counts on
    shared.jobctl("run", "--wait", "--name", name, "--", "echo", "three", check=True)
    assert [row["number"] for row in shared.history(name)] == [3, 2, 1]
    assert shared.jobctl("logs", f"{name}#2", check=True).stdout == "two\n"
    assert shared.output(name) == b"three\n"
    # a run of a removed job can be run again: it makes the job anew
    shared.jobctl("rm", name, check=True)
    assert shared.jobctl("rerun", "-f", run, check=True).stdout == "two\n"
    assert [row["number"] for row in shared.history(name)] == [4, 3, 2, 1]


def test_what_runs_is_refused_without_now(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", f"{name}-a", "--", "sleep", "600", check=True)
    shared.jobctl("run", "--wait", "--name", f"{name}-b", "--", "true", check=True)
    main = int(shared.show(f"{name}-a", "MainPID"))
    refused = shared.jobctl("rm", f"{name}-*")
    assert refused.returncode == 1
    assert f"cannot remove {name}-a: it is running" in refused.stderr
    assert "--now" in refused.stderr
    assert listed(shared, f"{name}-*") == [f"{name}-a"]  # the other went
    shared.jobctl("freeze", f"{name}-a", check=True)
    shared.jobctl("rm", "--now", f"{name}-a", check=True)
    assert not is_alive(main)
    assert listed(shared, f"{name}-*") == []
    assert shared.jobctl("rm", f"{name}-*").returncode == 0


def test_purge_takes_runs_and_logs(jobd: Program) -> None:
    for name in ("job", "other"):
        for _ in range(2):
            jobd.jobctl("run", "--wait", "--name", name, "--", "echo", name, check=True)
    rows = {name: jobd.history(name) for name in ("job", "other")}
    jobd.jobctl("rm", "--purge", "job", check=True)
    assert {row["job"] for row in all_runs(jobd)} == {"other"}
    assert not any(log_of(jobd, row).exists() for row in rows["job"])
    assert all(log_of(jobd, row).exists() for row in rows["other"])
    assert jobd.jobctl("result", str(rows["job"][0]["run"])).returncode == 4
    jobd.jobctl("run", "--wait", "--name", "job", "--", "true", check=True)
    assert jobd.history("job")[0]["number"] == 1
    check_replay(jobd)


def test_made_up_names_are_not_used_again(jobd: Program) -> None:
    assert jobd.jobctl("run", "--wait", "--", "true", check=True).stdout == "true-1\n"
    jobd.jobctl("rm", "true-1", check=True)
    jobd.replace_daemon()
    assert jobd.jobctl("run", "--wait", "--", "true", check=True).stdout == "true-2\n"


# --- whoever is killed ------------------------------------------------------------------------------------------------
def removed(program: Program, request: m.Remove, killer: threading.Timer) -> str:
    """Ask until there is an answer, and give its code; starts `killer` right after the first sending."""
    end = time.monotonic() + DEADLINE_SEC
    while time.monotonic() < end:
        try:
            with Raw(program.socket) as raw:
                raw.send(request)
                if killer.ident is None:
                    killer.start()
                while not isinstance(answer := raw.receive(), m.End):
                    assert isinstance(answer, m.Item), answer
                    if isinstance(answer.body, m.Done):
                        return answer.body.code
        except (EOFError, ConnectionError):
            continue
    raise AssertionError("no answer")


@pytest.mark.parametrize("purge", [False, True])
def test_killed_at_any_moment_it_is_removed_in_the_end_and_no_other(jobd: Program, purge: bool) -> None:
    jobd.jobctl("run", "--wait", "--name", "other", "--", "echo", "other", check=True)
    runs: list[bytes] = []
    for step in range(KILLS):
        with Raw(jobd.socket) as raw:
            raw.wait(started(raw.run([b"echo", b"one"], name="job")).run)
            run = started(raw.run([b"sh", b"-c", b"echo two; exec sleep 600"], name="job")).run
            if not purge:
                assert raw_number(raw, run) == 2 * step + 2
        runs.append(run)
        killer = threading.Timer(step * WITHIN_SEC / KILLS, os.kill, (jobd.daemon_pid(), signal.SIGKILL))
        request = m.Remove(id=1, names=["job"], stop=True, purge=purge, runs=[run])
        assert removed(jobd, request, killer) == ""
        killer.join()
        assert listed(jobd) == ["other"]
    rows = [row for row in all_runs(jobd) if row["job"] == "job"]
    assert len(rows) == (0 if purge else 2 * KILLS)
    assert jobd.output("other") == b"other\n"
    if purge:
        assert not any(run_dir(jobd.state_dir, os.geteuid(), run).exists() for run in runs)
    else:
        assert [row["result"] for row in rows] == ["stopped", "success"] * KILLS
        assert sorted(int(str(row["number"])) for row in rows) == list(range(1, 2 * KILLS + 1))
    check_replay(jobd)


def raw_number(raw: Raw, run: bytes) -> int:
    answer = raw.ask(m.Resolve(id=raw.next_id(), run=run.hex()))
    assert isinstance(answer, m.Reply)
    assert isinstance(answer.body, m.Runs)
    return answer.body.runs[0].number


def test_a_long_purge_goes_on_under_the_next_daemon(jobd: Program) -> None:
    with Raw(jobd.socket) as raw:
        for _ in range(MANY):
            raw.wait(started(raw.run([b"echo", b"x"], name="job")).run)
    rows = all_runs(jobd)
    assert len(rows) == MANY
    daemon = jobd.daemon_pid()
    asking = jobd.start_jobctl("rm", "--purge", "job")
    until(lambda: listed(jobd) == [], "its row has gone")
    os.kill(daemon, signal.SIGKILL)
    jobd.jobctl("run", "--wait", "--name", "job", "--", "echo", "new", check=True)  # none of those that go
    assert asking.wait(DEADLINE_SEC) == 0
    asking.communicate()
    assert len(all_runs(jobd)) == 1
    until(lambda: not any(log_of(jobd, row).exists() for row in rows), "the logs are gone")
    assert jobd.output("job") == b"new\n"
    check_replay(jobd)
