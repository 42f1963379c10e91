"""Jobs that start again, remain, are reloaded, have a stop command; and the death of the daemon at each of these."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC, Gate, Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One for all of these: a daemon that is killed is replaced, and each job has a name of its own."""
    with Program(tmp_path_factory.mktemp("services")) as program:
        yield program


def run(jobd: Program, name: str, script: str, *settings: str) -> None:
    words = [word for setting in settings for word in ("-p", setting)]
    jobd.jobctl("run", "--name", name, *words, "--", "/bin/sh", "-c", script, check=True)


def sub(jobd: Program, name: str) -> str:
    return jobd.show(name, "SubState")


def row(jobd: Program, name: str) -> dict[str, object]:
    (found,) = json.loads(jobd.jobctl("list", "-a", "-o", "json", name, check=True).stdout)
    assert isinstance(found, dict)
    return found


# --- between two runs -------------------------------------------------------------------------------------------------
def test_a_backoff_goes_on_where_it_was_when_the_daemon_is_killed(jobd: Program, name: str) -> None:
    run(
        jobd,
        name,
        "exit 1",
        "restart=on-failure",
        "restart_delay=2500ms",
        "restart_max_delay=2500ms",
        "start_limit=2/1h",
    )
    until(lambda: sub(jobd, name) == "auto-restart", "it has ended")
    before = row(jobd, name)
    jobd.replace_daemon()
    assert row(jobd, name)["restart_at"] == before["restart_at"]
    assert jobd.jobctl("is-active", name).stdout == "activating\n"
    until(lambda: jobd.show(name, "Result") == "start-limit-hit", "it has had its two starts")
    runs = jobd.history(name)
    assert [r["cause"] for r in runs] == ["restart", None] or [r["cause"] for r in runs] == ["restart", ""]
    assert str(runs[0]["queued_at"]) >= str(before["restart_at"])
    assert jobd.show(name, "NRestarts") == "1"
    assert jobd.jobctl("start", name).returncode == 0  # by hand it is always allowed


def test_a_stop_between_two_runs_holds_whatever_dies(jobd: Program, name: str) -> None:
    run(jobd, name, "exit 0", "restart=always", "restart_delay=1h", "restart_max_delay=1h")
    until(lambda: sub(jobd, name) == "auto-restart", "it has ended")
    assert jobd.jobctl("rm", name).returncode == 1
    assert jobd.jobctl("stop", name).returncode == 0
    jobd.replace_daemon()
    assert (sub(jobd, name), jobd.show(name, "Result")) == ("dead", "success")
    assert len(jobd.history(name)) == 1
    jobd.jobctl("rm", name, check=True)


def test_a_start_between_two_runs_starts_now(jobd: Program, name: str) -> None:
    run(jobd, name, f"test -e {jobd.root}/{name} && exec sleep 600; touch {jobd.root}/{name}; exit 1", "restart=always",
        "restart_delay=1h", "restart_max_delay=1h")  # fmt: skip
    until(lambda: sub(jobd, name) == "auto-restart", "it has ended")
    jobd.jobctl("start", name, check=True)
    assert (sub(jobd, name), jobd.show(name, "NRestarts")) == ("running", "0")
    jobd.jobctl("rm", "--now", name, check=True)


def test_logs_follow_a_job_into_its_next_run(jobd: Program, name: str) -> None:
    script = f"if test -e {jobd.root}/{name}; then echo two; exit 0; fi; touch {jobd.root}/{name}; echo one; exit 1"
    run(jobd, name, script, "restart=on-failure", "restart_delay=300ms")
    logs = jobd.jobctl("logs", "-f", "-o", "cat", name)
    assert logs.stdout.split()[-2:] in (["one", "two"], ["two"])  # from the run that was the newest then
    assert len(jobd.history(name)) == 2


def test_logs_follow_a_job_over_the_daemons_death_between_two_runs(jobd: Program, name: str) -> None:
    script = f"if test -e {jobd.root}/{name}; then echo two; exit 0; fi; touch {jobd.root}/{name}; echo one; exit 1"
    run(jobd, name, script, "restart=on-failure", "restart_delay=1h", "restart_max_delay=1h")
    logs = jobd.start_jobctl("logs", "-f", "-o", "cat", name)
    assert logs.stdout is not None
    assert logs.stdout.readline() == b"one\n"
    until(lambda: sub(jobd, name) == "auto-restart", "it has ended")
    jobd.replace_daemon()
    jobd.jobctl("start", name, check=True)
    out, _ = logs.communicate(timeout=DEADLINE_SEC)
    assert (out, logs.returncode) == (b"two\n", 0)


# --- starting ---------------------------------------------------------------------------------------------------------
def test_start_waits_for_the_end_of_a_oneshot_over_the_daemons_death(jobd: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    run(jobd, name, f'{gate.wait}; exit "$line"', "type=oneshot")
    gate.open("0")
    jobd.jobctl("wait", name, check=True)
    start = jobd.start_jobctl("start", name)
    until(lambda: sub(jobd, name) == "start", "it has begun")
    jobd.replace_daemon()
    assert start.poll() is None
    gate.open("3")
    _, err = start.communicate(timeout=DEADLINE_SEC)
    assert (start.returncode, b"it ended with exit code 3" in err) == (1, True)


def test_a_stop_during_a_start_is_the_end_of_it(jobd: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    run(jobd, name, gate.wait, "type=oneshot", "restart=on-failure")
    gate.open()
    jobd.jobctl("wait", name, check=True)
    start = jobd.start_jobctl("start", name)
    until(lambda: sub(jobd, name) == "start", "it has begun")
    jobd.jobctl("stop", name, check=True)
    _, err = start.communicate(timeout=DEADLINE_SEC)
    assert (start.returncode, b"it was stopped" in err) == (1, True)
    assert sub(jobd, name) == "dead"


def test_start_wait_tells_how_a_job_has_ended(jobd: Program, name: str) -> None:
    run(jobd, name, f"test -e {jobd.root}/{name} && exit 5; touch {jobd.root}/{name}")
    jobd.jobctl("wait", name, check=True)
    assert jobd.jobctl("start", name).returncode == 0
    assert jobd.jobctl("start", "--wait", name).returncode == 1


# --- stopping ---------------------------------------------------------------------------------------------------------
def test_a_stop_command_is_executed_once_whatever_dies(jobd: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    command = json.dumps(["/bin/sh", "-c", f'echo "stopping $MAINPID"; {gate.wait}; kill -TERM $MAINPID'])
    run(jobd, name, "exec sleep 600", f"stop.command={command}", "stop.timeout=1min")
    main = jobd.show(name, "MainPID")
    stop = jobd.start_jobctl("stop", name)
    until(lambda: sub(jobd, name) == "stop" and b"stopping" in jobd.output(name, "stderr"), "the command is at work")
    jobd.replace_daemon()
    assert stop.poll() is None
    gate.open()
    stop.communicate(timeout=DEADLINE_SEC)
    assert (stop.returncode, sub(jobd, name), jobd.show(name, "Result")) == (0, "dead", "success")
    assert jobd.output(name, "stderr").decode() == f"stopping {main}\n"


def test_what_remains_is_active_until_it_is_stopped(jobd: Program, name: str) -> None:
    command = json.dumps(["/bin/sh", "-c", f"touch {jobd.root}/{name}"])
    run(jobd, name, "echo up", "type=oneshot", "remain_after_exit=yes", f"stop.command={command}")
    until(lambda: sub(jobd, name) == "exited", "it has ended")
    jobd.replace_daemon()
    assert jobd.jobctl("is-active", name).stdout == "active\n"
    assert jobd.jobctl("reload", name).returncode == 3
    jobd.jobctl("stop", name, check=True)
    assert jobd.output(name) == b"up\n"
    assert (jobd.root / name).exists()


def test_the_stop_command_of_what_remains_is_heard_though_its_process_has_ended(jobd: Program, name: str) -> None:
    said = {True: ("merge", "logs.merge_output=true"), False: ("two", "logs.merge_output=false")}
    for merged, (word, setting) in said.items():
        job = f"{word}-{name}"[:40]
        run(jobd, job, "echo up; echo too >&2", "type=oneshot", "remain_after_exit=yes", setting,
            'stop.command=["sh", "-c", "echo down; echo out >&2"]')  # fmt: skip
        until(lambda job=job: sub(jobd, job) == "exited", "it has ended")  # type: ignore[misc]
        jobd.replace_daemon()
        jobd.jobctl("stop", job, check=True)
        whole = b"up\ntoo\ndown\nout\n" if merged else b"up\n"
        until(lambda job=job, whole=whole: jobd.output(job) == whole, "its output is at its end")  # type: ignore[misc]
        assert merged or jobd.output(job, "stderr") == b"too\ndown\nout\n"


def test_what_remains_is_heard_by_the_next_keepers_daemon_too(jobd: Program, name: str) -> None:
    run(jobd, name, "true", "type=oneshot", "remain_after_exit=yes", 'stop.command=["echo", "down"]')
    until(lambda: sub(jobd, name) == "exited", "it has ended")
    jobd.kill_keeper()
    jobd.jobctl("stop", name, check=True)
    until(lambda: jobd.output(name, "stderr") == b"down\n", "its output is at its end")
    jobd.jobctl("rm", name, check=True)


def test_a_signal_that_daemons_are_told_to_leave_by_is_a_good_end_of_a_service(jobd: Program, name: str) -> None:
    short = name[:30]
    (jobd.config_dir / "jobs").mkdir(exist_ok=True)
    text = 'command = ["sleep", "600"]\nrestart = "on-failure"\nrestart_delay = "1h"\n'
    (jobd.config_dir / "jobs" / f"{short}.toml").write_text(text)
    jobd.jobctl("daemon-reload", check=True)
    for number, expected in (("TERM", ("dead", "success")), ("KILL", ("auto-restart", "signal"))):
        jobd.jobctl("start", short, check=True)
        jobd.jobctl("kill", "--kill-whom=main", "-s", number, short, check=True)
        jobd.jobctl("wait", short)
        assert (sub(jobd, short), jobd.show(short, "Result")) == expected
    jobd.jobctl("stop", short, check=True)
    run(jobd, name, "exec sleep 600")  # of what is run by hand, it is a failure
    jobd.jobctl("kill", name, check=True)
    assert jobd.jobctl("wait", name).returncode == 128 + 15
    assert (sub(jobd, name), jobd.show(name, "Result")) == ("failed", "signal")


# --- reloading --------------------------------------------------------------------------------------------------------
def test_a_reload_by_command_is_done_once_whatever_dies(jobd: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    command = json.dumps(["/bin/sh", "-c", f'echo reload; {gate.wait}; exit "$line"'])
    run(jobd, name, "exec sleep 600", f"reload.command={command}")
    reload = jobd.start_jobctl("reload", name)
    until(lambda: b"reload" in jobd.output(name, "stderr"), "the command is at work")
    assert jobd.jobctl("is-active", name).stdout == "reloading\n"
    jobd.replace_daemon()
    gate.open("0")
    reload.communicate(timeout=DEADLINE_SEC)
    assert (reload.returncode, sub(jobd, name)) == (0, "running")
    assert jobd.output(name, "stderr") == b"reload\n"
    failing = jobd.start_jobctl("reload-or-restart", name)
    gate.open("4")
    _, err = failing.communicate(timeout=DEADLINE_SEC)
    assert (failing.returncode, sub(jobd, name)) == (1, "running")
    assert b"its reload command ended with exit code 4" in err
    killed = jobd.start_jobctl("reload", name)
    until(lambda: jobd.output(name, "stderr").count(b"reload") == 3, "the command is at work once more")
    jobd.jobctl("kill", "--kill-whom=control", "-s", "KILL", name, check=True)
    _, err = killed.communicate(timeout=DEADLINE_SEC)
    assert (killed.returncode, b"its reload command was ended by SIGKILL" in err) == (1, True)
    assert jobd.jobctl("kill", "--kill-whom=control", name).returncode == 3  # there is none any more
    stuck = jobd.start_jobctl("reload", name)
    until(lambda: sub(jobd, name) == "reload", "the command is at work once more")
    jobd.jobctl("stop", name, check=True)
    stuck.communicate(timeout=DEADLINE_SEC)
    assert (stuck.returncode, sub(jobd, name)) == (1, "dead")


def test_a_reload_by_signal(jobd: Program, name: str) -> None:
    run(jobd, name, "trap 'echo hup' HUP; echo up; while :; do sleep 0.02; done", "reload.signal=HUP")
    until(lambda: jobd.output(name), "it is there")
    jobd.jobctl("reload", name, check=True)
    until(lambda: b"hup" in jobd.output(name), "it has had the signal")
    main = jobd.show(name, "MainPID")
    jobd.jobctl("try-restart", name, check=True)
    assert jobd.show(name, "MainPID") != main
    jobd.jobctl("stop", name, check=True)
    jobd.jobctl("try-restart", name, check=True)
    assert sub(jobd, name) == "dead"
    refused = jobd.jobctl("reload", name)
    assert (refused.returncode, refused.stderr) == (3, f"jobctl: cannot reload {name}: it is not running\n")


def test_what_has_no_way_to_reload(jobd: Program, name: str) -> None:
    run(jobd, name, "exec sleep 600")
    main = jobd.show(name, "MainPID")
    refused = jobd.jobctl("reload", name)
    assert (refused.returncode, "neither reload.signal nor reload.command" in refused.stderr) == (3, True)
    jobd.jobctl("reload-or-restart", name, check=True)
    assert jobd.show(name, "MainPID") not in (main, "0")
    jobd.jobctl("rm", "--now", name, check=True)


# --- the end of jobd --------------------------------------------------------------------------------------------------
def test_what_was_to_start_again_does_not_after_a_shutdown(tmp_path: Path, name: str) -> None:
    jobd = Program(tmp_path)
    try:
        jobd.start()
        run(jobd, name, "exit 1", "restart=always", "restart_delay=2s", "restart_max_delay=2s")
        until(lambda: sub(jobd, name) == "auto-restart", "it has ended")
        ended = time.monotonic()
        jobd.keeper.terminate()
        jobd.keeper.wait(DEADLINE_SEC)
        jobd.start()
        assert sub(jobd, name) == "dead"
        until(lambda: time.monotonic() > ended + 2.2, "its time would have come")
        assert len(jobd.history(name)) == 1
    finally:
        jobd.close()
