"""Job files with the real programs: read at a start and when asked, and what runs does not notice."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.system.program import Program, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = 'command = "sleep 300"\n'


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A jobd for all tests here that leave it running."""
    program = Program(tmp_path_factory.mktemp("filed"))
    (program.config_dir / "jobs").mkdir()
    try:
        program.start()
        yield program
    finally:
        program.close()


def write(program: Program, name: str, text: str) -> Path:
    path = program.config_dir / "jobs" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def reload(program: Program, *options: str) -> dict[str, dict[str, object]]:
    """The plan of a daemon-reload, by the job."""
    done = program.jobctl("daemon-reload", "-o", "json", *options)
    assert done.returncode in (0, 6), done.stderr
    return {row["job"]: row for row in json.loads(done.stdout)}


def state(program: Program, name: str) -> str:
    return program.jobctl("is-enabled", name).stdout.strip()


def test_the_plan_of_a_reload_and_what_runs(filed: Program) -> None:
    path = write(filed, "plan", SLEEP + 'description = "first"\n')
    assert reload(filed, "--dry-run")["plan"]["change"] == "added"
    assert filed.show("plan", "LoadState") == "not-found"
    assert reload(filed)["plan"]["change"] == "added"
    assert reload(filed) == {}
    filed.jobctl("start", "plan", check=True)
    pid = filed.show("plan", "MainPID")
    path.write_text(SLEEP + 'description = "second"\n')
    assert filed.show("plan", "NeedDaemonReload") == "yes"
    assert filed.show("plan", "Description") == "first"
    row = reload(filed)["plan"]
    assert (row["change"], row["keys"]) == ("changed", ["description"])
    assert filed.show("plan", "NeedDaemonReload") == "no"
    path.write_text('command = "sleep 301"\nenvironment = { A = "1" }\n')
    row = reload(filed)["plan"]
    assert row["keys"] == ["description", "command", "environment"]
    assert "needs restart" not in json.dumps(reload(filed))
    assert filed.show("plan", "MainPID") == pid
    filed.jobctl("restart", "plan", check=True)
    assert filed.show("plan", "MainPID") != pid
    filed.jobctl("stop", "plan", check=True)


def test_a_run_is_in_the_queue_that_it_began_in_and_not_in_one_of_its_file_since(filed: Program) -> None:
    path = write(filed, "moved", SLEEP)
    reload(filed)
    filed.jobctl("start", "moved", check=True)
    path.write_text(SLEEP + 'queue = "batch"\npriority = 3\n')
    assert reload(filed)["moved"]["keys"] == ["queue", "priority"]
    for verb in ("start", "stop"):  # while it runs, and afterwards
        filed.jobctl(verb, "moved", check=True)
        (row,) = json.loads(filed.jobctl("list", "-a", "-o", "json", "moved", check=True).stdout)
        assert (row["queue"], row["priority"]) == (None, 0)


def test_a_reload_that_is_asked_for_again_under_its_name_is_done_once_also_of_a_glob(filed: Program) -> None:
    write(filed, "again-1", SLEEP + "reload.command = \"sh -c 'echo reloaded >&2'\"\n")
    reload(filed)
    filed.jobctl("start", "again-1", check=True)
    once = new_run_id()
    for _ in range(2):  # as a client does whose daemon has died over the answer
        with Raw(filed.socket) as raw:
            raw.send(m.Reload(id=1, names=["again-*"], runs=[once]))
            done = raw.receive()
            assert isinstance(done, m.Item), done
            assert isinstance(done.body, m.Done)
            assert (done.body.job, done.body.code) == ("again-1", "")
    filed.jobctl("stop", "again-1", check=True)
    assert filed.output("again-1", "stderr") == b"reloaded\n"


def test_who_forgets_to_reload_is_told(filed: Program) -> None:
    path = write(filed, "stale", "comand = 1\n")
    unread = "jobctl: {} is not known yet: jobctl daemon-reload reads its file\n"
    done = filed.jobctl("start", "stale")
    assert (done.returncode, done.stderr) == (5, unread.format("stale"))
    template = write(filed, "stale@", SLEEP)
    assert filed.jobctl("enable", "--now", "stale@1").stderr == unread.format("stale@1")
    template.unlink()
    reload(filed)
    path.write_text(SLEEP)
    changed = "the definition of stale has changed on disk; jobctl daemon-reload takes it\n"
    done = filed.jobctl("start", "stale")
    assert (done.returncode, done.stderr.splitlines()[-1].strip()) == (6, changed.strip())
    reload(filed)
    assert filed.jobctl("start", "stale").stderr == ""
    path.write_text("command = 'sleep 301'\n")
    done = filed.jobctl("restart", "stale")
    assert (done.returncode, done.stderr) == (0, f"jobctl: {changed}")
    assert filed.jobctl("reload", "stale").stderr.endswith(changed)
    reload(filed)
    filed.jobctl("stop", "stale", check=True)


def test_a_file_that_is_broken_while_its_job_runs(filed: Program) -> None:
    path = write(filed, "broken", SLEEP)
    reload(filed)
    filed.jobctl("start", "broken", check=True)
    path.write_text("command = 7\nrestrat = true\n")
    row = reload(filed)["broken"]
    assert row["change"] == "broken"
    assert f"{path}:1:" in str(row)
    assert f"{path}:2:" in str(row)
    assert (filed.show("broken", "ActiveState"), filed.show("broken", "LoadState")) == ("active", "bad-setting")
    assert state(filed, "broken") == "bad"
    filed.replace_daemon()
    assert (filed.show("broken", "ActiveState"), filed.show("broken", "LoadState")) == ("active", "bad-setting")
    pid = filed.show("broken", "MainPID")
    assert filed.jobctl("restart", "broken").returncode == 6
    assert filed.show("broken", "MainPID") == pid
    filed.jobctl("stop", "broken", check=True)
    done = filed.jobctl("start", "broken")
    assert done.returncode == 6
    assert f"{path}:1:" in done.stderr
    path.write_text(SLEEP)
    assert reload(filed)["broken"]["change"] == "changed"
    filed.jobctl("start", "broken", check=True)
    filed.jobctl("stop", "broken", check=True)


def test_a_file_that_is_deleted_while_its_job_runs(filed: Program) -> None:
    path = write(filed, "deleted", SLEEP)
    reload(filed)
    filed.jobctl("start", "deleted", check=True)
    path.unlink()
    assert filed.show("deleted", "NeedDaemonReload") == "yes"
    removed = reload(filed)["deleted"]
    assert (removed["change"], removed["text"]) == ("removed", "it runs on until it is stopped")
    assert (filed.show("deleted", "ActiveState"), filed.show("deleted", "LoadState")) == ("active", "not-found")
    shown = filed.jobctl("status", "deleted")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Loaded: not-found" in shown.stdout
    pid = filed.show("deleted", "MainPID")
    done = filed.jobctl("restart", "deleted")
    assert (done.returncode, done.stderr) == (5, "jobctl: cannot start deleted: it has no job file any more\n")
    assert filed.show("deleted", "MainPID") == pid
    filed.jobctl("stop", "deleted", check=True)
    until(lambda: filed.jobctl("status", "deleted").returncode == 4, "its row goes with the end of its output")
    runs = json.loads(filed.jobctl("history", "-o", "json", check=True).stdout)
    assert [run["result"] for run in runs if run["job"] == "deleted"] == ["stopped"]  # its run stays
    assert filed.jobctl("start", "deleted").returncode == 5


def test_a_mask_beats_everything_and_outlives_its_file(filed: Program) -> None:
    path = write(filed, "masked", SLEEP)
    reload(filed)
    filed.jobctl("enable", "masked", check=True)
    filed.jobctl("mask", "masked", "nobody", check=True)
    for name in ("masked", "nobody"):
        done = filed.jobctl("start", name)
        assert (done.returncode, done.stderr) == (
            1,
            f"jobctl: cannot start {name}: it is masked; jobctl unmask allows it again\n",
        )
        assert state(filed, name) == "masked"
    assert filed.jobctl("run", "--name", "nobody", "true").returncode == 1
    path.unlink()
    reload(filed)
    assert state(filed, "masked") == "masked"
    filed.jobctl("unmask", "masked", "nobody", check=True)
    path.write_text(SLEEP)
    reload(filed)
    assert state(filed, "masked") == "enabled"
    filed.jobctl("disable", "masked", check=True)
    assert filed.jobctl("is-enabled", "nobody").returncode == 4


def test_instances_of_a_template(filed: Program) -> None:
    path = write(filed, "t@", 'command = ["sleep", "30%i"]\n')
    reload(filed)
    assert filed.jobctl("start", "t@").returncode != 0
    filed.jobctl("start", "t@1", check=True)
    filed.jobctl("enable", "t@2", check=True)
    listed = filed.jobctl("list-job-files", "t@*", "-o", "name", check=True).stdout.split()
    assert listed == ["t@", "t@2"]
    path.write_text('command = ["sleep", "31%i"]\n')
    plan = reload(filed)
    assert sorted(name for name in plan if name.startswith("t@")) == ["t@", "t@1", "t@2"]
    filed.jobctl("restart", "t@1", check=True)
    assert "sleep 311" in filed.jobctl("status", "t@1").stdout
    filed.jobctl("stop", "t@1", check=True)
    filed.jobctl("disable", "t@2", check=True)


def test_dropins_and_files_that_are_not_believed(filed: Program) -> None:
    path = write(filed, "drop", SLEEP)
    directory = path.with_name("drop.toml.d")
    directory.mkdir()
    (directory / "b.toml").write_text('description = "b"\n')
    (directory / "a.toml").write_text('description = "a"\n')
    assert reload(filed)["drop"]["change"] == "added"
    assert filed.show("drop", "Description") == "b"
    assert filed.show("drop", "DropInPaths").split() == [str(directory / "a.toml"), str(directory / "b.toml")]
    (directory / "a.toml").chmod(0o666)
    row = reload(filed)["drop"]
    assert row["change"] == "broken"
    assert f"{directory}/a.toml: everybody may write to it (mode 0666)" in str(row)
    (directory / "a.toml").chmod(0o644)
    assert reload(filed)["drop"]["change"] == "changed"
    path.parent.chmod(0o777)
    done = filed.jobctl("daemon-reload")
    path.parent.chmod(0o755)
    assert done.returncode == 6
    assert f"{path.parent}: everybody may write to it" in done.stderr
    assert filed.show("drop", "LoadState") == "loaded"  # and nothing has changed


def test_a_cycle_is_refused_and_named(filed: Program) -> None:
    for name, other in (("ring-a", "ring-b"), ("ring-b", "ring-c"), ("ring-c", "none")):
        write(filed, name, f'{SLEEP}after = ["{other}"]\n')
    reload(filed)
    path = write(filed, "ring-c", f'{SLEEP}after = ["ring-a"]\n')
    plan = reload(filed)
    assert plan["ring-c"]["change"] == "broken"
    assert f"{path}: " in str(plan["ring-c"])
    assert "ring-a after ring-b after ring-c after ring-a" in str(plan["ring-c"])
    assert filed.jobctl("start", "ring-c").returncode == 6
    assert filed.show("ring-a", "LoadState") == "loaded"
    path.write_text(SLEEP)
    assert reload(filed)["ring-c"]["change"] == "changed"


def test_rm_wants_the_file_gone(filed: Program) -> None:
    path = write(filed, "gone", SLEEP)
    reload(filed)
    with Raw(filed.socket) as raw:
        raw.send(m.Remove(id=1, names=["gone"]))
        answer = raw.receive()
    assert isinstance(answer, m.Item)
    assert isinstance(answer.body, m.Done)
    assert str(path) in answer.body.text
    path.unlink()
    filed.jobctl("rm", "gone", check=True)
    assert filed.jobctl("status", "gone").returncode == 4


def test_a_failed_job_from_a_file_is_a_degraded_system(filed: Program) -> None:
    path = write(filed, "fails", 'command = "false"\n')
    reload(filed)
    filed.jobctl("start", "fails")
    until(lambda: filed.show("fails", "ActiveState") == "failed", "it has failed")
    done = filed.jobctl("is-system-running")
    assert (done.returncode, done.stdout) == (1, "degraded\n")
    assert "fails has failed" in filed.daemon_status().reasons
    path.unlink()
    reload(filed)
    assert filed.show("fails", "LoadState") == "not-found"  # its failure is still to be seen
    filed.jobctl("reset-failed", "fails", check=True)
    assert filed.jobctl("status", "fails").returncode == 4
    assert filed.jobctl("is-system-running").stdout == "running\n"


def test_a_daemon_that_is_killed_over_a_reload(filed: Program) -> None:
    names = [f"many-{n}" for n in range(60)]
    for name in names:
        write(filed, name, SLEEP)
    for _ in range(2):
        with Raw(filed.socket) as raw:
            raw.send(m.DaemonReload(id=1))
            until(lambda: filed.jobctl("is-enabled", names[0]).returncode != 4, "it has begun")
        os.kill(filed.daemon_pid(), signal.SIGKILL)
        for name in names:
            filed.config_dir.joinpath("jobs", f"{name}.toml").write_text(SLEEP)
        rows = json.loads(filed.jobctl("list-job-files", "many-*", "-o", "json", check=True).stdout)
        assert all(row["state"] == "disabled" for row in rows)  # whole, or not there
        reload(filed)
        rows = json.loads(filed.jobctl("list-job-files", "many-*", "-o", "json", check=True).stdout)
        assert len(rows) == len(names)
        for name in names:
            filed.config_dir.joinpath("jobs", f"{name}.toml").unlink()
        assert sum(row["change"] == "removed" for row in reload(filed).values()) == len(names)
        for name in names:
            write(filed, name, SLEEP)
    for name in names:
        filed.config_dir.joinpath("jobs", f"{name}.toml").unlink()
    reload(filed)


def test_enabled_jobs_start_with_jobd_and_not_with_a_daemon(tmp_path: Path) -> None:
    program = Program(tmp_path)
    write(program, "db", SLEEP)
    write(program, "web", SLEEP + 'requires = ["db"]\nafter = ["db"]\n')
    write(program, "off", SLEEP)
    write(program, "once", 'command = "true"\ntype = "oneshot"\n')
    try:
        program.start()
        program.jobctl("enable", "web", "once", check=True)
        assert program.show("web", "ActiveState") == "inactive"  # enabled, and not started by that
        program.keeper.terminate()
        program.keeper.wait()
        program.start()
        until(lambda: program.show("web", "ActiveState") == "active", "it starts with jobd")
        assert program.show("db", "ActiveState") == "active"
        assert program.show("off", "ActiveState") == "inactive"
        until(lambda: program.history("once")[0]["state"] == "finished", "it has run")
        program.replace_daemon()
        assert len(program.history("once")) == len(program.history("web")) == 1
        with Raw(program.socket) as raw:
            answer = raw.ask(m.Get(id=1, names=["web"]))
        assert isinstance(answer, m.Reply)
        assert isinstance(answer.body, m.Jobs)
        assert answer.body.jobs[0].cause == "enabled"
        write(program, "web", SLEEP + 'description = "not read"\n')
        program.replace_daemon()
        assert program.show("web", "Description") != "not read"
        program.jobctl("mask", "once", check=True)
        program.keeper.terminate()
        program.keeper.wait()
        program.start()
        until(lambda: program.show("web", "ActiveState") == "active", "it starts with jobd")
        assert program.show("web", "Description") == "not read"
        assert (len(program.history("web")), len(program.history("once"))) == (2, 1)
        program.jobctl("stop", "web", check=True)
        program.kill_keeper()
        assert program.show("web", "ActiveState") == "inactive"  # the next keeper takes over, and starts nothing
    finally:
        program.close()
