"""set-property with the real programs: what runs takes it up, and what comes has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, many_users, why_not
from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("own"))
    program.start()
    yield program
    program.close()


def limits(program: Program, job: str) -> str:
    """The kernel's words about the open files of the main process."""
    pid = program.show(job, "MainPID")
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return " ".join(next(line for line in lines if line.startswith("Max open files")).split()[3:5])


def test_a_transient_job(own: Program) -> None:
    own.jobctl("run", "-u", "live", "sleep", "1000")
    said = own.jobctl("set-property", "live", "limits.nofile=50:60", "description=other", "limits.nice=3").stdout
    assert said.splitlines() == [
        "limits.nofile: now", "description: now", "limits.nice: at the next start",
    ]  # fmt: skip
    assert limits(own, "live") == "50 60"
    assert own.show("live", "Description") == "other"
    own.replace_daemon()
    text = own.jobctl("cat", "live").stdout
    assert 'nofile = "50:60"' in text
    assert "nice = 3" in text
    own.jobctl("restart", "live")
    assert limits(own, "live") == "50 60"
    pid = own.show("live", "MainPID")
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16] == "3"
    own.jobctl("stop", "live")


def test_a_pattern_means_no_one_job(own: Program) -> None:
    done = own.jobctl("set-property", "nobody@[0-4]?", "priority=1", check=False)
    assert (done.returncode, done.stderr) == (
        2, "jobctl: set-property is about one job, or an array as a whole, and 'nobody@[0-4]?' is a pattern\n"
    )  # fmt: skip


def test_a_runtime_limit_that_a_later_daemon_keeps(own: Program) -> None:
    own.jobctl("run", "-u", "long", "sleep", "1000")
    own.jobctl("set-property", "-q", "long", "limits.runtime=1s")
    own.replace_daemon()
    done = own.jobctl("wait", "long", check=False)
    assert done.returncode == 128 + 15
    assert json.loads(own.jobctl("history", "-o", "json", "long").stdout)[0]["result"] == "timeout"


def test_a_job_from_a_file(own: Program) -> None:
    jobs = own.config_dir / "jobs"
    jobs.mkdir(exist_ok=True)
    (jobs / "file.toml").write_text('command = ["sleep", "1000"]\n')
    own.jobctl("daemon-reload")
    own.jobctl("start", "file")
    own.jobctl("set-property", "file", "limits.nofile=70:80", "restart=always")
    assert limits(own, "file") == "70 80"
    assert own.show("file", "Restart") == "always"
    assert "nofile" in (jobs / "file.toml.d" / "set-property.toml").read_text()
    own.jobctl("set-property", "file", "restart=no")
    own.jobctl("restart", "file")
    assert limits(own, "file") == "70 80"
    assert own.show("file", "Restart") == "no"
    refused = own.jobctl("set-property", "file", "command=true", check=False)
    assert refused.returncode != 0
    assert "cannot set command of a job that is there" in refused.stderr
    own.jobctl("stop", "file")


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_a_stored_job_of_a_user_who_may_not_do_what_root_may() -> None:
    with many_users() as people:
        path = people.place / "web.toml"
        path.write_text('command = ["sleep", "1000"]\n')
        path.chmod(0o644)
        people.said(ALICE, "add", str(path))
        people.said(ALICE, "start", "web")
        core, stop = people.said(ALICE, "set-property", "web", "limits.core=0:0", "stop.timeout=3s").splitlines()
        assert core in ("limits.core: now", "limits.core: at the next start"), "root may lack CAP_SYS_RESOURCE"
        assert stop == "stop.timeout: now"
        assert 'timeout = "3s"' in people.said(ALICE, "cat", "web")
        assert people.said(ALICE, "show", "-P", "TimeoutStopUSec", "web") == "3s\n"
        for setting in ("limits.oom_score_adjust=-5", "limits.nice=-5"):
            assert people.ask(ALICE, "set-property", "web", setting).returncode != 0


def test_what_cannot_be_enforced_is_said_by_all_who_are_asked(own: Program) -> None:
    jobs = own.config_dir / "jobs"
    jobs.mkdir(exist_ok=True)
    (jobs / "capped.toml").write_text('command = ["sleep", "1000"]\n[limits]\nmemory = "64M"\n')
    reloaded = own.jobctl("daemon-reload").stderr
    started = own.jobctl("start", "capped")
    status = own.jobctl("status", "-n0", "capped")
    has_it = "limits.memory" not in reloaded
    for text in (reloaded, started.stderr, status.stdout + status.stderr):
        assert ("limits.memory: " in text) is not has_it, text
    said = own.jobctl("set-property", "capped", "limits.memory=128M").stdout
    assert said == "limits.memory: now\n" if has_it else "limits.memory: kept, without effect: " in said
    own.jobctl("stop", "capped")
