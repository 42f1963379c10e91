"""The keeper: its death, a second one, its socket, its signals, its duty as process 1."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobd.keeper import handover
from jobd.wire import messages as m
from tests.system.program import BIN, DEADLINE_SEC, Gate, Program, is_alive, marked_processes, open_fds, until
from tests.system.raw import Raw

pytestmark = pytest.mark.slow
IGNORES_TERM = "trap '' TERM; echo there; while :; do sleep 0.1; done"


def has_pidfd_info() -> bool:
    """Whether a pidfd tells the exit status of a process that is not a child (Linux 6.15)."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(c for c in minor if c.isdigit()))) >= (6, 15)


needs_pidfd_info = pytest.mark.skipif(not has_pidfd_info(), reason="exits of orphans are known from Linux 6.15 on")


# --- death and handover -----------------------------------------------------------------------------------------
@needs_pidfd_info
def test_keeper_killed_with_jobs_running_loses_nothing(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f'echo before; {gate.wait}; echo "$line"; exit 6'
    jobd.jobctl("run", "--name", "across", "--", "/bin/sh", "-c", script, check=True)
    main = jobd.show("across", "MainPID")
    jobd.kill_keeper()
    assert jobd.show("across", "MainPID") == main
    gate.open("after")
    assert jobd.jobctl("wait", "across").returncode == 6
    assert jobd.output("across") == b"before\nafter\n"


@needs_pidfd_info
def test_job_that_ends_without_a_keeper_keeps_exit_and_output(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    jobd.jobctl("run", "--name", "orphan", "--", "/bin/sh", "-c", f"{gate.wait}; echo alone; exit 4", check=True)
    main = int(jobd.show("orphan", "MainPID"))
    # The daemon is stopped, so that nobody takes over while the job ends.
    daemon = jobd.kill_daemon(signal.SIGSTOP)
    jobd.keeper.kill()
    jobd.keeper.wait()
    gate.open()
    until(lambda: not is_alive(main), "the job has ended")
    os.kill(daemon, signal.SIGCONT)
    assert jobd.jobctl("wait", "orphan").returncode == 4
    assert jobd.output("orphan") == b"alone\n"


@pytest.mark.parametrize(("closed", "streams"), [(1, (b"1\n", b"2\non\n")), (2, (b"1\non\n", b"2\n"))])
def test_stream_that_ended_before_the_keeper_was_killed(
    jobd: Program, tmp_path: Path, closed: int, streams: tuple[bytes, bytes]
) -> None:
    gate = Gate(tmp_path / "gate")
    before = set(open_fds(jobd.keeper_pid).values())
    script = f"echo 1; echo 2 >&2; exec {closed}>&-; {gate.wait}; echo $line >&{3 - closed}"
    jobd.jobctl("run", "--name", "half", "--", "/bin/sh", "-c", script, check=True)
    until(lambda: len(jobd.output("half", "stderr")) + len(jobd.output("half")) == 4, "the streams were read")
    pipes = {link for link in open_fds(jobd.keeper_pid).values() if link.startswith("pipe:")} - before
    daemon = jobd.daemon_pid()
    until(lambda: len(pipes & set(open_fds(daemon).values())) == 1, "the daemon has seen the end of one")
    jobd.kill_keeper()
    jobd.kill_keeper()
    gate.open("on")
    assert jobd.jobctl("wait", "half").returncode == 0
    assert (jobd.output("half"), jobd.output("half", "stderr")) == streams


# A process 1 that reaps at once, so that the daemon can read an exit before a new keeper is there.
REAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
if os.fork() == 0:
    os.execv(sys.argv[1], sys.argv[1:])
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
"""


@pytest.mark.parametrize("tracking", ["found", "process"])
def test_rest_of_a_tree_whose_main_process_ends_without_a_keeper_is_stopped(tmp_path: Path, tracking: str) -> None:
    jobd = Program(tmp_path, env={"JOBD_TRACKING": tracking})
    try:
        jobd.start(wrapper=[sys.executable, "-I", "-c", REAPER])
        path = tmp_path / "pid"
        script = f"setsid sh -c 'echo $$ > {path}; exec sleep 300' & exec sleep 300"
        jobd.jobctl("run", "--name", "tree", "--", "/bin/sh", "-c", script, check=True)
        escaped = until(lambda: path.exists() and int(path.read_text() or 0), "the tree has grown")
        main = int(jobd.show("tree", "MainPID"))
        os.kill(jobd.keeper_pid, signal.SIGKILL)
        os.kill(main, signal.SIGKILL)
        until(lambda: jobd.jobctl("is-failed", "tree").returncode == 0, "the end is recorded")
        assert not is_alive(escaped)
        jobd.jobctl("shutdown")
        jobd.keeper.wait(DEADLINE_SEC)
    finally:
        jobd.close()


@needs_pidfd_info
def test_keeper_killed_again_and_again(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done; {gate.wait}; echo over; exit 5"
    jobd.jobctl("run", "--name", "counter", "--", "/bin/sh", "-c", script, check=True)
    for _ in range(3):
        jobd.kill_keeper()
    gate.open()
    assert jobd.jobctl("wait", "counter").returncode == 5
    assert jobd.output("counter").split() == [*(b"%d" % i for i in range(1, 9)), b"over"]


def test_new_keeper_from_outside_takes_over_too(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    main = jobd.show("job", "MainPID")
    daemon = jobd.kill_daemon(signal.SIGSTOP)
    jobd.keeper.kill()
    jobd.keeper.wait()
    jobd.start(answering=False)  # it asks a daemon that cannot answer yet
    os.kill(daemon, signal.SIGCONT)
    until(lambda: jobd.daemon_pid() != daemon, "a new daemon")
    assert jobd.show("job", "MainPID") == main
    jobd.jobctl("stop", "job", check=True)


def test_jobs_start_and_stop_after_a_handover(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "old", "--", "sleep", "600", check=True)
    old = int(jobd.show("old", "MainPID"))
    jobd.kill_keeper()
    assert jobd.jobctl("run", "--wait", "--", "/bin/sh", "-c", "exit 3").returncode == 3
    jobd.jobctl("stop", "old")
    assert not is_alive(old)


def test_a_keeper_that_is_killed_while_jobd_shuts_down_is_followed_at_once(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "-p", "stop.timeout=1min", "--", "/bin/sh", "-c", IGNORES_TERM, check=True)
    until(lambda: jobd.output("job"), "it ignores SIGTERM")
    jobd.keeper.terminate()
    until(lambda: "stopping 1 runs" in jobd.log_text(), "the daemon is at it")
    began = time.monotonic()
    jobd.kill_keeper()
    assert time.monotonic() - began < handover.LEAVE_SEC / 2, "nobody had to kill the daemon"
    jobd.jobctl("kill", "-s", "KILL", "job", check=True)


@pytest.mark.parametrize("how", ["killed", "executed anew"])
def test_a_cgroup_that_the_last_keeper_left_is_removed_and_those_of_runs_are_not(jobd: Program, how: str) -> None:
    jobd.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    bases = jobd.cgroups()
    if not bases:
        pytest.skip("no cgroup of version 2 is ours")
    (left := bases[0] / ("0" * 32)).mkdir()  # as of a run that was about to start
    if how == "killed":
        jobd.kill_keeper()
    else:
        jobd.jobctl("daemon-reexec", "--keeper", check=True)
    until(lambda: not left.exists(), "it is removed")
    assert len([path for path in bases[0].iterdir() if path.is_dir()]) == 1


def test_keeper_and_daemon_killed_together_report_lost_and_run_nothing_again(jobd: Program, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    jobd.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", f'echo x >> "{ran}"; exec sleep 600', check=True)
    main = int(jobd.show("job", "MainPID"))
    daemon = jobd.kill_daemon(signal.SIGSTOP)
    jobd.keeper.kill()
    os.kill(daemon, signal.SIGKILL)
    jobd.keeper.wait()
    try:
        jobd.start()
        row = jobd.history("job")[0]
        assert (row["result"], row["exit_code"]) == ("lost", None)
        assert ran.read_text() == "x\n"
        assert jobd.jobctl("wait", "job").returncode == 125
    finally:
        os.kill(main, signal.SIGKILL)  # a process that nobody may claim any more


# --- one state, one jobd ----------------------------------------------------------------------------------------
def test_second_jobd_on_the_same_state_refuses(jobd: Program) -> None:
    command = jobd.command()
    command[command.index("--socket") + 1] = str(jobd.root / "other.sock")
    second = subprocess.run(command, env=jobd.env, capture_output=True, text=True, timeout=DEADLINE_SEC, check=False)
    assert second.returncode not in (0, None)
    assert str(jobd.state_dir) in second.stderr
    assert "Traceback" not in second.stderr
    assert jobd.jobctl("daemon-status").returncode == 0
    assert not (jobd.root / "other.sock").exists()


def test_socket_that_was_deleted_comes_back(impatient: Program) -> None:
    impatient.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    impatient.socket.unlink()
    until(impatient.socket.exists, "the keeper binds it anew")
    impatient.jobctl("stop", "job", check=True)


def test_runtime_directory_that_was_deleted_and_made_again(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    shutil.rmtree(jobd.socket.parent)
    time.sleep(0.3)  # nothing to be seen meanwhile
    jobd.socket.parent.mkdir(mode=0o700, exist_ok=True)
    # Another jobd of the same user asks the holder to bind again, and leaves.
    again = subprocess.run(jobd.command(), env=jobd.env, capture_output=True, timeout=DEADLINE_SEC, check=False)
    assert b"Traceback" not in again.stderr
    until(jobd.socket.exists, "the socket is there again")
    assert jobd.jobctl("is-active", "job").returncode == 0
    jobd.jobctl("stop", "job", check=True)


def test_stale_socket_is_no_hindrance(jobd: Program) -> None:
    jobd.keeper.terminate()
    jobd.keeper.wait(DEADLINE_SEC)
    assert not jobd.socket.exists()
    jobd.socket.touch()
    jobd.start()
    assert jobd.socket.is_socket()


# --- ending -----------------------------------------------------------------------------------------------------
def test_sigterm_stops_all_runs_removes_the_socket_and_ends_with_0(jobd: Program) -> None:
    for number in range(5):
        jobd.jobctl("run", "--name", f"job-{number}", "--", "sleep", "600", check=True)
    pids = [int(jobd.show(f"job-{number}", "MainPID")) for number in range(5)]
    jobd.keeper.terminate()
    assert jobd.keeper.wait(DEADLINE_SEC) == 0
    assert [pid for pid in pids if is_alive(pid)] == []
    assert not jobd.socket.exists()
    jobd.start()
    assert {jobd.history(f"job-{number}")[0]["result"] for number in range(5)} == {"stopped"}


def test_shutdown_verb_ends_jobd(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    pid = int(jobd.show("job", "MainPID"))
    jobd.jobctl("shutdown", check=True)
    assert jobd.keeper.wait(DEADLINE_SEC) == 0
    assert not is_alive(pid)


def test_sigterm_with_a_daemon_that_does_not_answer(impatient: Program) -> None:
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"
    impatient.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", script, check=True)
    until(lambda: impatient.output("job") == b"ready\n", "the trap is set")
    pid = int(impatient.show("job", "MainPID"))
    impatient.kill_daemon(signal.SIGSTOP)
    impatient.keeper.terminate()
    assert impatient.keeper.wait(DEADLINE_SEC) == 0
    assert not is_alive(pid)
    impatient.start()
    row = impatient.history("job")[0]
    assert row["state"] == "finished"
    assert (row["result"], row["exit_code"]) in [("stopped", 9), ("exit-code", 9)]


# --- other ways to start ----------------------------------------------------------------------------------------
def test_daemonize_returns_when_it_answers(tmp_path: Path) -> None:
    program = Program(tmp_path, options=["--daemonize"])
    try:
        started = subprocess.run(
            program.command(), env=program.env, capture_output=True, timeout=DEADLINE_SEC, check=False
        )
        assert started.returncode == 0, started.stderr
        keeper = program.daemon_status().keeper_pid
        assert isinstance(keeper, int)
        assert os.getsid(keeper) != os.getsid(0)
        program.jobctl("shutdown", check=True)
        until(lambda: not is_alive(keeper), "jobd has ended")
    finally:
        program.close()


def test_jobd_as_process_1_reaps_strangers_and_ends_with_the_namespace(tmp_path: Path) -> None:
    wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no pid namespace for us here")
    program = Program(tmp_path)
    try:
        program.start(wrapper=wrapper)
        assert program.daemon_status().keeper_pid == 1
        script = "(setsid sh -c 'exit 3' &) ; sleep 0.2; cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '"
        program.jobctl("run", "--wait", "--name", "strangers", "--", "/bin/sh", "-c", script)
        assert program.output("strangers").split()[-1] == b"0"
        inner = [pid for pid in marked_processes(program.mark) if namespace_pid(pid) == 1]
        os.kill(inner[0], signal.SIGTERM)
        assert program.keeper.wait(DEADLINE_SEC) == 0
    finally:
        program.close()


def namespace_pid(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("NSpid:")[1].split("\n")[0].split()[-1])


def test_twenty_clients_start_the_users_daemon_once(tmp_path: Path) -> None:
    places = {"HOME": "home", "XDG_RUNTIME_DIR": "xr", "XDG_STATE_HOME": "xs", "XDG_CONFIG_HOME": "xc"}
    program = Program(tmp_path, env={key: str(tmp_path / value) for key, value in places.items()})
    for value in places.values():
        (tmp_path / value).mkdir(mode=0o700)
    del program.env["JOBD_SOCKET"]
    try:
        with ThreadPoolExecutor(20) as pool:
            jobs = [pool.submit(program.jobctl, "--user", "run", "--wait", "--", "echo", str(n)) for n in range(20)]
            done = [job.result() for job in jobs]
        assert [result.stderr for result in done if result.returncode] == []
        assert len({result.stdout for result in done}) == 20
        status = json.loads(program.jobctl("--user", "daemon-status", "-o", "json", check=True).stdout)
        commands = marked_processes(program.mark)
        assert status["keeper_pid"] in commands
        assert len(commands) == 2, commands
        program.jobctl("--user", "shutdown", check=True)
    finally:
        program.close()


# --- who may come in --------------------------------------------------------------------------------------------
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_sees_and_touches_nothing(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "mine", "--", "sleep", "600", check=True)
    for path in (jobd.socket.parent, jobd.root, *jobd.root.parents):
        if path != Path("/tmp") and path.is_relative_to("/tmp"):
            path.chmod(0o755)

    def requests(job: str) -> list[m.Request]:
        return [
            m.Stop(id=1, names=[job]),
            m.Kill(id=1, names=[job]),
            m.Get(id=1, names=[job]),
            m.Logs(id=1, jobs=[job]),
        ]

    for request, missing in zip(requests("mine"), requests("none"), strict=True):
        said, expected = (re.sub(r"pid=\d+", "", said_to_a_stranger(jobd.socket, one)) for one in (request, missing))
        assert said == expected.replace("none", "mine"), "as if it were not there"
    for other in (m.List(id=1, all=True), m.Shutdown(id=1)):
        assert "mine" not in said_to_a_stranger(jobd.socket, other), other
    assert jobd.jobctl("is-active", "mine").returncode == 0
    jobd.jobctl("stop", "mine", check=True)


def said_to_a_stranger(path: Path, request: m.Request) -> str:
    """What another uid is told, as text; it may be turned away at any point."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        answers: list[object] = []
        try:
            os.setgroups([])
            os.setresgid(65533, 65533, 65533)
            os.setresuid(65533, 65533, 65533)
            with Raw(path, hello=False) as raw:
                raw.send(m.Hello(version=m.PROTOCOL_VERSION, software="stranger"), request)
                raw.sock.shutdown(socket.SHUT_WR)
                answers = [*raw.drain()]
        except Exception as e:
            answers.append(e)
        os.write(write, repr(answers).encode()[:60000])
        os._exit(0)
    os.close(write)
    with open(read, "rb") as f:
        said = f.read().decode()
    os.waitpid(pid, 0)
    return said


def test_socket_of_a_user_is_for_him_alone(jobd: Program) -> None:
    mode = jobd.socket.stat().st_mode & 0o777
    assert mode == (0o666 if os.geteuid() == 0 else 0o600)


def test_version_and_help_of_jobd() -> None:
    for option in ("--version", "--help"):
        done = subprocess.run([BIN / "jobd", option], capture_output=True, text=True, timeout=DEADLINE_SEC, check=False)
        assert done.returncode == 0
        assert "jobd" in done.stdout
    wrong = subprocess.run(
        [BIN / "jobd", "--no-such"], capture_output=True, text=True, timeout=DEADLINE_SEC, check=False
    )
    assert wrong.returncode == 2
