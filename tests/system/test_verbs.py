"""The verbs as a person types them: what they print, their JSON, their exit statuses, their mistakes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from jobctl.spellings import VERBS
from tests.system.program import Gate, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow

ROW = {
    "job", "run", "owner", "state", "result", "exit_code", "signal", "queued_at", "started_at", "finished_at",
}  # fmt: skip


# Of all verbs, in one process: tests/jobctl/test_cli.py.
@pytest.mark.parametrize("verb", ["list", "run", "wait", "edit"])
def test_a_verb_has_help_and_knows_a_wrong_option(shared: Program, verb: str) -> None:
    told = shared.jobctl(verb, "--help", check=True)
    assert verb in told.stdout
    wrong = shared.jobctl(verb, "--no-such-option")
    assert wrong.returncode in (2, 125)
    assert "--no-such-option" in wrong.stderr


def test_help_lists_every_verb(shared: Program) -> None:
    told = shared.jobctl("--help", check=True).stdout
    assert [verb for verb in VERBS if verb not in told] == []


def test_unknown_verb_gets_a_suggestion(shared: Program) -> None:
    for typed, meant in {"stat": "status", "strat": "start", "ps": "list", "tail": "logs", "submit": "run"}.items():
        wrong = shared.jobctl(typed)
        assert wrong.returncode == 2, typed
        assert meant in wrong.stderr, typed


def test_list_shows_what_is_active_and_what_failed(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", f"{name}-a", "--", "sleep", "600", check=True)
    shared.jobctl("run", "--wait", "--name", f"{name}-b", "--", "true", check=True)
    shared.jobctl("run", "--wait", "--name", f"{name}-c", "--", "false")
    shown = {row["job"]: row for row in json.loads(shared.jobctl("list", "-o", "json", f"{name}*", check=True).stdout)}
    assert shown.keys() == {f"{name}-a", f"{name}-c"}
    assert (shown[f"{name}-a"]["active"], shown[f"{name}-a"]["sub"]) == ("active", "running")
    assert shown[f"{name}-c"]["active"] == "failed"
    everything = json.loads(shared.jobctl("list", "-a", "-o", "json", f"{name}*", check=True).stdout)
    assert [row["job"] for row in everything] == [f"{name}-{end}" for end in "abc"]
    assert ROW | {"load", "active", "sub", "description"} <= everything[0].keys()
    text = shared.jobctl("list", f"{name}*", check=True).stdout
    assert f"{name}-a" in text
    assert f"{name}-b" not in text
    shared.jobctl("stop", f"{name}-a", check=True)


def test_no_verb_is_list(shared: Program) -> None:
    assert shared.jobctl().returncode == 0


def test_status_of_running_finished_and_failed(shared: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"echo a line of output; {gate.wait}; exit $line"
    shared.jobctl("run", "--name", name, "--", "/bin/sh", "-c", script, check=True)
    until(lambda: shared.output(name), "it has written")
    status = shared.jobctl("status", name)
    assert status.returncode == 0
    for text in (f"● {name}", "Active: active (running) since", "Main PID:", "a line of output"):
        assert text in status.stdout
    gate.open("3")
    assert shared.jobctl("wait", name).returncode == 3
    status = shared.jobctl("status", name)
    assert status.returncode == 3
    for text in (f"× {name}", "failed (Result: exit-code)", "code=exited, status=3"):
        assert text in status.stdout
    assert shared.jobctl("is-failed", name).returncode == 0
    assert shared.jobctl("is-active", name).returncode == 3
    assert shared.jobctl("is-active", "-q", name).stdout == ""


def test_show_has_systemds_names(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    lines = shared.jobctl("show", name, check=True).stdout.splitlines()
    found = dict(line.split("=", 1) for line in lines)
    expected = {"Id": name, "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success"}
    assert expected.items() <= found.items()
    assert int(found["MainPID"]) > 1
    assert len(found["InvocationID"]) == 32
    shared.jobctl("stop", name, check=True)
    shown = shared.jobctl("show", "-p", "ActiveState,SubState", name, check=True).stdout
    assert shown.splitlines() == ["ActiveState=inactive", "SubState=dead"]


def test_history_and_result_tell_each_run(shared: Program, name: str) -> None:
    for status in (0, 1):
        shared.jobctl("run", "--wait", "--name", name, "--", "/bin/sh", "-c", f"exit {status}")
    rows = shared.history(name)
    assert all(row.keys() >= ROW for row in rows)
    assert [(row["state"], row["result"], row["exit_code"]) for row in rows] == [
        ("finished", "exit-code", 1),
        ("finished", "success", 0),
    ]
    times = [datetime.fromisoformat(str(rows[0][key])) for key in ("queued_at", "started_at", "finished_at")]
    assert times == sorted(times)
    assert all(moment.tzinfo for moment in times)
    failed = json.loads(shared.jobctl("history", "--state", "failed", "-o", "json", name, check=True).stdout)
    assert [row["exit_code"] for row in failed] == [1]
    result = shared.jobctl("result", name)
    assert "exit-code" in result.stdout


def test_wait_for_several_has_the_status_of_the_first_that_failed(shared: Program, name: str) -> None:
    for number in (0, 4):
        shared.jobctl("run", "--name", f"{name}-{number}", "--", "/bin/sh", "-c", f"exit {number}", check=True)
    assert shared.jobctl("wait", f"{name}-0", f"{name}-4").returncode == 4


def test_wait_with_a_timeout_that_runs_out(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    assert shared.jobctl("wait", "--timeout", "100ms", name).returncode == 124
    assert shared.jobctl("is-active", name).returncode == 0
    shared.jobctl("stop", name, check=True)


def test_wait_any_ends_with_the_first(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", f"{name}-long", "--", "sleep", "600", check=True)
    shared.jobctl("run", "--name", f"{name}-short", "--", "/bin/sh", "-c", "exit 5", check=True)
    assert shared.jobctl("wait", "--any", f"{name}-long", f"{name}-short").returncode == 5
    shared.jobctl("stop", f"{name}-long", check=True)


def test_interrupted_wait_leaves_the_job(shared: Program, name: str) -> None:
    waiting = shared.start_jobctl("run", "--wait", "--name", name, "--", "sleep", "600")
    assert waiting.stdout is not None
    assert waiting.stdout.readline().decode().strip() == name
    waiting.send_signal(2)
    assert waiting.wait(60) == 130
    waiting.communicate()
    assert shared.jobctl("is-active", name).returncode == 0
    shared.jobctl("stop", name, check=True)


def test_reader_that_leaves_ends_logs_quietly(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "seq", "200000", check=True)
    reader = shared.start_jobctl("logs", name)
    assert reader.stdout is not None
    assert reader.stdout.readline()
    reader.stdout.close()
    reader.wait(60)
    assert reader.stderr is not None
    assert reader.stderr.read() == b""
    reader.stderr.close()


def test_json_rules_hold_for_daemon_status(shared: Program) -> None:
    status = json.loads(shared.jobctl("daemon-status", "-o", "json", check=True).stdout)
    assert status["state"] == "running"
    assert status["pid"] != status["keeper_pid"] == shared.keeper.pid
    assert datetime.fromisoformat(str(status["started_at"])).tzinfo


def test_no_daemon_at_all_is_said(shared: Program, tmp_path: Path) -> None:
    for verb, status in {"list": 1, "status": 1, "wait": 125}.items():
        done = shared.jobctl("--socket", str(tmp_path / "none"), verb, *(["x"] if verb != "list" else []))
        assert done.returncode in (status, 1, 3, 4), (verb, done)
        assert str(tmp_path / "none") in done.stderr
