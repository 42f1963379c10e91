"""The keeper's records: levels, kinds, and its own failure."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from jobd.core.logline import BURST
from jobd.keeper import unprivileged
from jobd.keeper.log import Log

if TYPE_CHECKING:
    import pytest


def test_a_level_leaves_out_what_is_below_it(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log()
    log("not this", "debug")
    log("this")
    log.set_level("error")
    log("not this", "warning")
    log.set_level("")
    log("this, too")
    assert [line.partition(f" jobd[{os.getpid()}]: ")[2] for line in capfd.readouterr().err.splitlines()] == [
        "info: this",
        "info: this, too",
    ]


def test_numbers_make_no_kinds(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log()
    for n in range(1000):
        log(f"daemon {n} died", "warning")
        log(f"cannot fork: {n}", "warning")
    assert capfd.readouterr().err.count("\n") == 2 * BURST


def test_a_failure_of_the_keeper_is_one_record() -> None:
    code = "from jobd.keeper.log import Log\nLog().take_failures()\nraise ValueError('a\\nb')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(r"]: error: the keeper fails: ValueError: a\nb [<string>:3 <module>]")


def test_a_daemon_of_another_user_knows_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    monkeypatch.setenv("SECRET", "x")
    env = unprivileged.environment(unprivileged.User(1, 1, "daemon", "/"))
    assert env["JOURNAL_STREAM"] == "8:1234"
    assert "SECRET" not in env
