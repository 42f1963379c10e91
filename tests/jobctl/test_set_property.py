"""set-property: what is asked, and where it is kept."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from jobd.core import properties
from jobd.core.spec import SpecError
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

ME = os.geteuid()
SETTINGS = {"limits.memory": "1G", "restart": "always"}
WORDS = ("set-property", "web", "limits.memory=1G", "restart=always")
DONE = m.Ok(text="limits.memory: now\nrestart: now")
TEXT = 'command = ["web"]\n'


def transient(_: m.Request) -> m.Definitions:
    return m.Definitions(definitions=[m.Definition(job="web", owner=ME, text="# transient: web\n")])


def defined(path: str) -> m.Definitions:
    files = [m.SourceFile(path=path, text=TEXT, base=b"/home")]
    return m.Definitions(definitions=[m.Definition(job="web", owner=ME, transient=False, files=files)])


@pytest.mark.slow
def test_of_a_transient_job_the_daemon_keeps_it(daemon: Make) -> None:
    fake = daemon(table(cat=transient, set_property=lambda _: DONE))
    result = jobctl(fake.path, *WORDS)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == DONE.text + "\n"
    assert fake.requests[-1] == m.SetProperty(id=2, name="web", settings=SETTINGS)
    assert jobctl(fake.path, *WORDS, "-q").stdout == b""


@pytest.mark.slow
def test_of_a_file_a_dropin_is_written_ahead(daemon: Make, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "web.toml").write_text(TEXT)
    status = m.Daemon(
        state="running", version="0", pid=1, keeper_pid=2, keeper_version="0", mode="socket", socket="", state_dir="",
        started_at=1, tracking="cgroup", running=0, queued=0, connections=1, uid=ME, kernel="6",
        config_dir=str(tmp_path),
    )  # fmt: skip
    fake = daemon(
        table(
            cat=lambda _: defined(str(jobs / "web.toml")), set_property=lambda _: DONE, daemon_status=lambda _: status,
            daemon_reload=lambda _: m.Plan(changes=[]),
        )
    )  # fmt: skip
    dropin = jobs / "web.toml.d" / "set-property.toml"
    assert jobctl(fake.path, *WORDS).returncode == 0
    assert tomllib.loads(dropin.read_text()) == {"restart": "always", "limits": {"memory": "1G"}}
    assert [type(request) for request in fake.requests[-2:]] == [m.DaemonReload, m.SetProperty]
    assert jobctl(fake.path, "set-property", "web", "limits.tasks=7").returncode == 0
    assert tomllib.loads(dropin.read_text()) == {"restart": "always", "limits": {"memory": "1G", "tasks": 7}}
    before = dropin.read_text()
    result = jobctl(fake.path, "set-property", "web", "limits.memory=lots")
    assert (result.returncode, dropin.read_text()) == (errors.exit_status(errors.INVALID, errors.ACTION), before)
    assert b"limits.memory" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [("web",), (), ("web", "limits.memory"), ("web", "=1")])
def test_what_is_no_setting_is_a_mistake(daemon: Make, words: tuple[str, ...]) -> None:
    assert jobctl(daemon(table()).path, "set-property", *words).returncode == 2


def test_a_dropin_says_what_was_asked_and_means_it_literally() -> None:
    text = properties.dropin("", {"description": '100 % "good"', "limits.cpu": "50%", "limits.tasks": "7"})
    assert tomllib.loads(text) == {"description": '100 %% "good"', "limits": {"cpu": "50%", "tasks": 7}}
    text = properties.dropin(text, {"success_exit_status": "0 75", "remain_after_exit": "yes", "limits.cpu": "1%"})
    assert tomllib.loads(text) == {
        "description": '100 %% "good"', "success_exit_status": ["0", "75"], "remain_after_exit": True,
        "limits": {"cpu": "1%", "tasks": 7},
    }  # fmt: skip
    with pytest.raises(SpecError, match="is not TOML"):
        properties.dropin("x =", {"description": "x"})
