"""What `run` starts is what was typed: command, environment, directory; and its end is the exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC, Program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("status", [0, 1, 3, 77, 125, 126, 127, 222, 255])
def test_wait_ends_with_the_exit_status_of_the_job(shared: Program, status: int) -> None:
    assert shared.jobctl("run", "--wait", "--", "/bin/sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE])
def test_wait_ends_with_128_and_the_signal(shared: Program, name: str, number: signal.Signals) -> None:
    done = shared.jobctl("run", "--wait", "--name", name, "--", "/bin/sh", "-c", f"kill -{number.value} $$")
    assert done.returncode == 128 + number
    row = shared.history(name)[0]
    assert (row["result"], row["exit_code"], row["signal"]) == ("signal", None, number.name)


def test_stdout_of_run_is_the_name_and_nothing_else(shared: Program) -> None:
    done = shared.jobctl("run", "--wait", "--", "/bin/sh", "-c", "echo text; exit 4")
    assert done.returncode == 4
    assert done.stdout.startswith("sh-")
    assert done.stdout.count("\n") == 1
    assert shared.output(done.stdout.strip()) == b"text\n"


def test_run_without_wait_returns_while_the_job_runs(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    assert shared.jobctl("is-active", name).returncode == 0
    shared.jobctl("stop", name, check=True)
    assert shared.jobctl("is-active", name).returncode == 3


@pytest.fixture
def bad_program(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    path = tmp_path / "program"
    kind = request.param
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\0\1\2 of no format")
        path.chmod(0o644 if kind == "not executable" else 0o755)
    return str(path)


BAD_PROGRAMS = [
    ("missing", 127, "No such file"),
    ("not executable", 126, "Permission denied"),
    ("directory", 126, "Permission denied"),
    ("wrong format", 126, "Exec format error"),
]


@pytest.mark.parametrize("wait", [[], ["--wait"]], ids=["plain", "wait"])
@pytest.mark.parametrize(("bad_program", "status", "why"), BAD_PROGRAMS, indirect=["bad_program"])
def test_program_that_cannot_be_executed(
    shared: Program, name: str, bad_program: str, status: int, why: str, wait: list[str]
) -> None:
    done = shared.jobctl("run", *wait, "--name", name, "--", bad_program)
    assert done.returncode == status
    assert "exec" in done.stderr
    assert bad_program in done.stderr
    assert why in done.stderr
    assert shared.history(name)[0]["result"] == "start-failed"


def test_program_is_looked_up_in_the_path_of_the_job(shared: Program, tmp_path: Path) -> None:
    (tmp_path / "only-here").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "only-here").chmod(0o755)
    assert shared.jobctl("run", "--wait", "--", "only-here").returncode == 127
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert shared.jobctl("run", "--wait", "--", "only-here", env=env).returncode == 9


def test_directory_that_is_gone(shared: Program, name: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    done = shared.jobctl("run", "--name", name, "-C", str(gone), "--", "true")
    assert done.returncode in (125, 126)
    assert str(gone) in done.stderr
    assert "No such file" in done.stderr


def test_directory_that_is_gone_under_the_caller(shared: Program, name: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec "$0" run --wait --name "$1" -- true'
    command = ["/bin/sh", "-c", script, *map(str, [shared.jobctl_command()[0], name])]
    done = subprocess.run(command, env=shared.env, capture_output=True, text=True, timeout=DEADLINE_SEC, check=False)
    assert done.returncode in (125, 126)
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_no_command_is_a_usage_error(shared: Program) -> None:
    assert shared.jobctl("run").returncode in (2, 125)
    assert shared.jobctl("run", "--").returncode in (2, 125)
    assert shared.jobctl("run", "--", "").returncode in (2, 125, 127)


def test_job_sees_the_directory_umask_and_limits_of_the_caller(shared: Program, name: str, tmp_path: Path) -> None:
    shell = f'umask 0027; ulimit -n 333; cd "{tmp_path}"; exec "$0" run --wait --name "$1" -- /bin/sh -c "$2"'
    inner = "pwd; umask; ulimit -n"
    command = ["/bin/sh", "-c", shell, str(shared.jobctl_command()[0]), name, inner]
    subprocess.run(command, env=shared.env, capture_output=True, timeout=DEADLINE_SEC, check=True)
    assert shared.output(name).decode() == f"{tmp_path}\n0027\n333\n"


def test_options_set_environment_and_directory(shared: Program, name: str, tmp_path: Path) -> None:
    options = ("-E", "ONE=1", "-E", "COPIED", "-C", str(tmp_path), "--name", name)
    inner = 'pwd; echo "$ONE $COPIED $INHERITED"'
    env = {"COPIED": "two", "INHERITED": "three"}
    shared.jobctl("run", "--wait", *options, "--", "/bin/sh", "-c", inner, env=env, check=True)
    assert shared.output(name).decode() == f"{tmp_path}\n1 two three\n"


def test_env_none_leaves_a_bare_environment(shared: Program, name: str) -> None:
    options = ("--env", "none", "-E", "JOBD_TEST_MARK", "--name", name)
    shared.jobctl("run", "--wait", *options, "--", "env", env={"INHERITED": "x"}, check=True)
    names = {line.partition("=")[0] for line in shared.output(name).decode().splitlines()}
    bare = {"HOME", "USER", "LOGNAME", "SHELL", "PATH"}
    own = {"JOBD_JOB", "JOBD_RUN", "JOBD_QUEUE", "INVOCATION_ID", "JOBD_TEST_MARK"}
    assert names <= bare | own
    assert names >= bare | {"JOBD_JOB", "JOBD_RUN", "INVOCATION_ID"}


def test_shell_runs_a_script(shared: Program, name: str) -> None:
    done = shared.jobctl("run", "--wait", "--shell", "--name", name, "--", "echo a | tr a b; exit 5")
    assert done.returncode == 5
    assert shared.output(name) == b"b\n"


def test_words_after_the_command_are_its_own(shared: Program, name: str) -> None:
    words = ["--wait", "-x", "--", "%i $HOME *", "a b"]
    shared.jobctl("run", "--wait", "--name", name, "/usr/bin/printf", "%s|", *words, check=True)
    assert shared.output(name).decode() == "".join(word + "|" for word in words)


def test_words_that_are_not_utf8_arrive_exactly(shared: Program, name: str) -> None:
    value = bytes(range(1, 256))
    script = 'printf %s "$1"; printf %s "$ODD" >&2'
    command = shared.jobctl_command("run", "--wait", "--name", name, "--", "/bin/sh", "-c", script, "sh", value)
    env = {**{os.fsencode(k): os.fsencode(v) for k, v in shared.env.items()}, b"ODD": value}
    subprocess.run(command, env=env, capture_output=True, timeout=DEADLINE_SEC, check=True)
    assert shared.output(name) == value
    assert shared.output(name, "stderr") == value


def test_exported_bash_function_arrives(shared: Program, name: str) -> None:
    key, value = "BASH_FUNC_x%%", "() {  echo from a function\n}"
    script = "import os; print(os.environ['BASH_FUNC_x%%'])"
    command = (sys.executable, "-I", "-c", script)
    shared.jobctl("run", "--wait", "--name", name, "--", *command, env={key: value}, check=True)
    assert shared.output(name).decode() == value + "\n"


def test_job_starts_with_clean_descriptors_and_signals(shared: Program, name: str) -> None:
    script = "ls -l /proc/self/fd | grep -o '[0-9]* -> .*'; grep -E 'Sig(Ign|Blk)' /proc/self/status"
    shared.jobctl("run", "--wait", "--name", name, "--", "/bin/sh", "-c", script, check=True)
    lines = shared.output(name).decode().splitlines()
    targets = [line.partition(" -> ")[2] for line in lines if " -> " in line]
    assert targets[0] == "/dev/null"
    # Number 3 is the directory that ls itself reads.
    assert [target.partition(":")[0] for target in targets[1:3]] == ["pipe", "pipe"]
    assert len(targets) == 4
    # But for 32 and 33, which are glibc's own: GNU make leaves them ignored, and sigaction(3) cannot reset them.
    assert [int(line.split()[1], 16) & ~(3 << 31) for line in lines if line.startswith("Sig")] == [0, 0]


def test_name_of_a_running_job_is_refused(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    refused = shared.jobctl("run", "--name", name, "--", "true")
    assert refused.returncode in (1, 125)
    assert name in refused.stderr
    shared.jobctl("stop", name, check=True)


def test_name_of_a_finished_job_starts_its_next_run(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "echo", "one", check=True)
    shared.jobctl("run", "--wait", "--name", name, "--", "echo", "two", check=True)
    assert shared.output(name) == b"two\n"
    assert shared.output(name, "stdout", "--run", "-1") == b"one\n"
    assert len(shared.history(name)) == 2


@pytest.mark.parametrize("bad", ["-x", ".x", "a b", "a/b/c", "x" * 65, "é"])
def test_bad_names_are_refused(shared: Program, bad: str) -> None:
    refused = shared.jobctl("run", f"--name={bad}", "--", "true")
    assert refused.returncode in (2, 125)
    assert refused.stderr


def test_unknown_jobs_have_their_statuses(shared: Program) -> None:
    statuses = {
        "status": 4, "logs": 4, "result": 4, "history": 4, "start": 5, "stop": 5, "restart": 5, "kill": 5, "wait": 125,
        "is-failed": 4, "show": 0,
    }  # fmt: skip
    for verb, status in statuses.items():
        done = shared.jobctl(verb, "no-such-job")
        assert done.returncode == status, (verb, done)
    assert shared.jobctl("is-active", "no-such-job").returncode in (3, 4)
    assert shared.show("no-such-job", "LoadState") == "not-found"


def test_ambiguous_end_of_a_run_id_is_refused(shared: Program, name: str) -> None:
    # Ends of ids are hexadecimal, and a plain number is a run's number: with 33 runs some letter ends two ids.
    for _ in range(33):
        shared.jobctl("run", "--name", name, "--wait", "--", "true", check=True)
    ends = [str(row["run"])[-1] for row in shared.history(name)]
    letter = next(end for end in "abcdef" if ends.count(end) > 1)
    refused = shared.jobctl("logs", "--run", letter, name)
    assert refused.returncode == 1
    assert "ambiguous" in refused.stderr
