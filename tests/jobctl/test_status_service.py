"""status of a job from a file: its definition, its restarts, what it says of itself, and its limits."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.jobctl.fakes import view
from tests.jobctl.terminals import on_terminal
from tests.jobctl.test_status import SEC, shows, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import FakeDaemon, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
SERVICE = view(
    "web", transient=False, file="/etc/jobd/jobs/web.toml", enabled="enabled", type="notify", pid=2**22 + 1, restarts=2,
    dropins=["/run/jobd/jobs/web.toml.d/a.toml", "/run/jobd/jobs/web.toml.d/b.toml", "/etc/x.d/o.toml"],
    cause="required by db", status_text="3 \x1bworkers", health="tcp 8000: connection refused", status_errno=28,
    control_pid=2**22 + 2, control_command=[b"/bin/reload"], io_read_bytes=1 << 20, io_write_bytes=0, tasks=3,
    tasks_max=10, memory_bytes=1 << 20, memory_max=1 << 29, cpu_user_usec=1_000, cpu_system_usec=0, cpu_percent=50,
    need_reload=True, unenforced=["limits.nice: this jobd is not root's"],
)  # fmt: skip


def test_a_service_from_a_file(daemon: Make) -> None:
    shown = text_of(daemon(shows(SERVICE)), "-n0", "web")
    assert [line for line in shown if "Active:" not in line] == [
        "● web - sleep 60",
        "     Loaded: loaded (/etc/jobd/jobs/web.toml; enabled)",
        "    Drop-In: /run/jobd/jobs/web.toml.d",
        "             └─a.toml, b.toml",
        "             /etc/x.d",
        "             └─o.toml",
        "   Restarts: 2",
        " Invocation: 00010203-0405-0607-0809-0a0b0c0d0e0f (run 1; required by db)",
        f"   Main PID: {2**22 + 1} (sleep); Control PID: {2**22 + 2} (reload)",
        '     Status: "3 \\x1bworkers"',
        "     Health: tcp 8000: connection refused",
        "      Error: 28 (No space left on device)",
        "         IO: 1.0M read, 0B written",
        "      Tasks: 3 (limit: 10)",
        "     Memory: 1.0M (max: 512.0M)",
        "        CPU: 1ms (limit: 50%)",
        "    Warning: cannot be enforced here: limits.nice: this jobd is not root's",
        "    Warning: the definition has changed on disk; run 'jobctl daemon-reload' to take it",
    ]


def test_a_command_beside_it_that_has_ended_by_now_has_no_name(daemon: Make) -> None:
    shown = text_of(daemon(shows(replace(SERVICE, control_command=[]))), "-n0", "web")
    assert f"   Main PID: {2**22 + 1} (sleep); Control PID: {2**22 + 2}" in shown


def test_a_limit_that_is_none_here_is_not_shown_as_one(daemon: Make) -> None:
    keys = ("limits.memory", "limits.cpu", "limits.tasks")
    shown = text_of(daemon(shows(replace(SERVICE, unenforced=[f"{key}: no controller" for key in keys]))), "-n0", "web")
    found = [line.split(":")[1] for line in shown if line.lstrip().startswith(("Tasks:", "Memory:", "CPU:"))]
    assert found == [" 3", " 1.0M", " 1ms"]


def test_a_job_that_is_about_to_be_started_again(daemon: Make) -> None:
    soon = view(
        "web", active="activating", sub="auto-restart", result="exit-code", exit_code=1, restarts=3, enabled="disabled",
        restart_at=time.time_ns() + 3600 * SEC, transient=False, file="stored", exited_at=1_700_000_001 * SEC,
    )  # fmt: skip
    shown = text_of(daemon(shows(soon)), "-n0", "web")
    assert shown[:2] == ["● web - sleep 60", "     Loaded: loaded (stored; disabled)"]
    assert shown[2].startswith("     Active: activating (auto-restart) (Result: exit-code) since ")
    assert re.fullmatch("   Restarts: 3; next .* UTC; 59min left", shown[3])
    (due,) = [line for line in text_of(daemon(shows(replace(soon, restart_at=1))), "-n0", "web") if "Restarts" in line]
    assert due == "   Restarts: 3; next at once"


@pytest.mark.parametrize(
    ("fields", "loaded"),
    [
        ({"load": "bad-setting", "enabled": "bad", "problem": "web.toml:1:1: one\nweb.toml:2:1: two"},
         ["bad-setting (/f; bad)", "web.toml:1:1: one", "web.toml:2:1: two"]),
        ({"load": "masked", "enabled": "masked"}, ["masked (/f; masked)"]),
        ({"load": "masked", "enabled": "masked", "file": ""}, ["masked"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_its_definition(daemon: Make, fields: dict[str, object], loaded: list[str]) -> None:
    usual = {
        "active": "inactive",
        "sub": "dead",
        "transient": False,
        "file": "/f",
        "run": None,
        "number": 0,
        "pid": None,
    }
    shown = text_of(daemon(shows(view("web", **{**usual, **fields}))), "-n0", "web")
    assert [line.strip() for line in shown[1 : 1 + len(loaded)]] == [f"Loaded: {loaded[0]}", *loaded[1:]]
    assert shown[1 + len(loaded)].startswith("     Active: inactive (dead) since ")


def test_on_a_narrow_terminal_how_long_ago_is_left(daemon: Make) -> None:
    soon = view("web", active="activating", sub="auto-restart", result="exit-code", exit_code=1)
    shown = on_terminal(daemon(shows(soon)).path, "status", "-n0", "web", columns=80, NO_COLOR="1").decode()
    assert shown.endswith("Hint: jobctl why web says more.\r\n")
    (line,) = [line for line in shown.splitlines() if "Active:" in line]
    assert re.fullmatch(r"     Active: activating \(auto-restart\) \(Result: exit-code\); .* ago", line)
