"""list-job-files and daemon-reload: what there is, and what reading it again changes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, table
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
ME = os.geteuid()
WEB = m.FileView(job="web", owner=ME, state="enabled", file="/etc/jobd/jobs/web.toml", dropins=["/x/override.toml"])
DB = m.FileView(job="db", owner=61999, state="disabled", file="stored")
CHANGES = [
    m.Planned(job="new", owner=ME, change="added", file="/etc/jobd/jobs/new.toml"),
    m.Planned(job="web", owner=ME, change="changed", keys=["command", "environment"], restart=True),
    m.Planned(job="db", owner=61999, change="changed", keys=["description"]),
    m.Planned(job="old", owner=ME, change="removed"),
    m.Planned(job="same", owner=ME, change="unchanged"),
]
BAD = m.Planned(job="bad", owner=ME, change="broken", text="/f.toml:3:1: unknown key 'x'\n/f.toml:4:1: no value")


def files(request: m.Request) -> m.Files:
    assert isinstance(request, m.ListFiles)
    return m.Files(files=[DB]) if request.after else m.Files(files=[WEB], more="0/web")


def test_job_files_are_a_table_of_all_pages(daemon: Make) -> None:
    fake = daemon(table(list_job_files=files))
    result = jobctl(fake.path, "list-job-files", "w*", "--state=enabled,masked")
    assert result.stdout.decode().splitlines() == [
        "JOB      FILE                    STATE",
        "web      /etc/jobd/jobs/web.toml enabled",
        "61999/db stored                  disabled",
        "",
        "2 job files listed.",
    ]
    asked = [
        m.ListFiles(id=i, patterns=["w*"], states=["enabled", "masked"], after=a) for i, a in ((1, ""), (2, "0/web"))
    ]
    assert fake.requests == asked
    plain = jobctl(fake.path, "list-unit-files", "--no-legend").stdout.decode().splitlines()
    assert plain == ["web      /etc/jobd/jobs/web.toml enabled", "61999/db stored                  disabled"]
    assert jobctl(fake.path, "list-job-files", "-o", "name").stdout == b"web\n61999/db\n"


def test_job_files_in_json(daemon: Make) -> None:
    rows = json.loads(jobctl(daemon(table(list_job_files=files)).path, "list-job-files", "-o", "json").stdout)
    assert [(row["job"], row["owner"], row["file"], row["state"]) for row in rows] == [
        ("web", rows[0]["owner"], "/etc/jobd/jobs/web.toml", "enabled"),
        ("db", "61999", "stored", "disabled"),
    ]
    assert rows[0]["drop_ins"] == ["/x/override.toml"]


def test_job_files_on_a_terminal(daemon: Make) -> None:
    path = daemon(table(list_job_files=files)).path
    shown = on_terminal(path, "list-job-files", columns=80).decode()
    assert "web.toml \x1b[0;1;32menabled\x1b[0m\r\n" in shown
    assert " \x1b[0;1;33mdisabled\x1b[0m\r\n" in shown
    narrow = on_terminal(path, "list-job-files", NO_COLOR="1", columns=30).decode()
    assert all(len(line) <= 30 for line in narrow.splitlines())


@pytest.mark.parametrize(("word", "status"), [("enabeld", 2), ("linked", 0)])
def test_states_of_job_files(daemon: Make, word: str, status: int) -> None:
    result = jobctl(daemon(table(list_job_files=files)).path, "list-job-files", f"--state={word}")
    assert result.returncode == status
    assert status == 0 or b"did you mean 'enabled'?" in result.stderr
    assert b"static\n" in jobctl(daemon(table()).path, "list-job-files", "--state=help").stdout


def test_a_reload_says_what_has_changed(daemon: Make) -> None:
    fake = daemon(table(daemon_reload=lambda _: m.Plan(changes=CHANGES)))
    result = jobctl(fake.path, "daemon-reload")
    assert (result.returncode, result.stdout.decode().splitlines()) == (
        0,
        [
            "added new",
            "changed web: command, environment (needs restart)",
            "changed 61999/db: description",
            "removed old",
        ],
    )
    assert jobctl(fake.path, "daemon-reload", "--dry-run").returncode == 0
    assert fake.requests == [m.DaemonReload(id=1), m.DaemonReload(id=1, dry=True)]


def test_a_broken_file_is_6_and_its_errors_are_all_told(daemon: Make) -> None:
    plan = m.Plan(changes=[BAD], warnings=["warning: there is no user 'x'"])
    result = jobctl(daemon(table(daemon_reload=lambda _: plan)).path, "daemon-reload")
    assert result.returncode == 6
    assert result.stdout.decode().splitlines() == [
        "broken bad:", "  /f.toml:3:1: unknown key 'x'", "  /f.toml:4:1: no value",
    ]  # fmt: skip
    assert result.stderr == b"jobctl: warning: there is no user 'x'\n"


def test_a_plan_in_json(daemon: Make) -> None:
    path = daemon(table(daemon_reload=lambda _: m.Plan(changes=[*CHANGES, BAD]))).path
    result = jobctl(path, "daemon-reload", "-o", "json")
    rows = json.loads(result.stdout)
    assert result.returncode == 6
    assert [row["change"] for row in rows] == ["added", "changed", "changed", "removed", "broken"]
    assert (rows[1]["keys"], rows[1]["needs_restart"], rows[1]["text"]) == (["command", "environment"], True, None)
