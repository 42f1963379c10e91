"""A user's own daemon as jobctl starts it: by whom, from where, under what, and what can be in the way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.own import STRANGER, Own, another_users, can_be_another_user
from tests.system.program import DEADLINE_SEC, marked_processes, open_fds, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
needs_another_user = pytest.mark.skipif(not can_be_another_user(), reason="cannot run Python as another user here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    program = Own(tmp_path)
    try:
        yield program
    finally:
        program.close()


def shell(own: Own, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which $jobctl is jobctl."""
    command = shlex.join(map(str, own.jobctl_command()))
    return subprocess.run(
        ["/bin/bash", "-c", f"jobctl={shlex.quote(command)}\n{script}"],
        env=own.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SEC,
        check=False,
    )


# --- a cold start -----------------------------------------------------------------------------------------------
@needs_another_user
def test_twenty_jobctls_of_a_user_without_account_start_one_daemon() -> None:
    with another_users() as own:
        with ThreadPoolExecutor(20) as pool:
            jobs = [pool.submit(own.jobctl, "run", "--wait", "--", "id", "-u") for _ in range(20)]
            done = [job.result() for job in jobs]
        assert [result.stderr for result in done if result.returncode or result.stderr] == []
        assert len({result.stdout for result in done}) == 20
        assert own.output("id-7") == f"{STRANGER}\n".encode()
        assert own.starts() == 1
        assert len(marked_processes(own.mark)) == 2, marked_processes(own.mark)
        status = json.loads(own.jobctl("daemon-status", "-o", "json", check=True).stdout)
        assert status["mode"] == "user"
        assert os.stat(own.socket).st_mode & 0o777 == 0o600


# --- what it is started with ------------------------------------------------------------------------------------
def test_it_takes_nothing_of_the_client_that_started_it(own: Own, tmp_path: Path) -> None:
    (tmp_path / "held").touch()
    own.env |= {"AWS_SECRET_ACCESS_KEY": "hush", "NOTIFY_SOCKET": "/nowhere", "JOBD_RUN": "other"}
    script = f"""
        exec 17> {tmp_path}/held; flock 17; cd {tmp_path}; umask 077; trap '' HUP USR1
        ulimit -S -t 10; ulimit -S -f 1000; taskset -pc 0 $$ > /dev/null
        nice -n 5 $jobctl run --wait --name first -- /bin/sh -c 'umask; ulimit -S -t; nice; echo $AWS_SECRET_ACCESS_KEY'
    """
    assert shell(own, script).returncode == 0
    assert own.output("first").decode().split() == ["0077", "10", "5", "hush"]  # the job does
    own.jobctl("run", "--wait", "--name", "second", "--", "/bin/sh", "-c", "ulimit -S -t; nice", check=True)
    assert own.output("second").decode().split() == ["unlimited", "0"]
    for pid in marked_processes(own.mark):
        names = {item.split(b"=")[0] for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        assert not names & {b"AWS_SECRET_ACCESS_KEY", b"NOTIFY_SOCKET", b"JOBD_RUN", b"PWD", b"TERM"}
        assert str(tmp_path / "held") not in open_fds(pid).values()
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max cpu time              unlimited" in limits
        assert "Max file size             unlimited" in limits
        assert os.getpriority(os.PRIO_PROCESS, pid) == 0
        assert os.sched_getaffinity(pid) == os.sched_getaffinity(0)
        assert os.getsid(pid) != os.getsid(0)
    with open(tmp_path / "held") as file:  # the shell has ended, and nobody holds its lock
        subprocess.run(["flock", "-n", str(file.fileno())], pass_fds=[file.fileno()], check=True)


@needs_another_user
def test_hard_limits_stay_and_are_told() -> None:
    with another_users() as own:
        assert shell(own, "ulimit -t 1000; $jobctl run --wait -- true").returncode == 0
        assert "stay under what it was started with: RLIMIT_CPU 1000" in own.log_text()


# --- logout -----------------------------------------------------------------------------------------------------
def test_runtime_directory_that_logout_removes(own: Own) -> None:
    """And the next login makes again: whoever comes then is served, by the same daemon, with the jobs still there."""
    own.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    before = own.keeper_pid
    for _ in range(3):
        shutil.rmtree(own.runtime)
        own.runtime.mkdir(mode=0o700)
        assert own.jobctl("is-active", "job", check=True).stderr == ""
    assert own.keeper_pid == before
    assert own.starts() == 1


def test_twenty_clients_right_after_the_runtime_directory_is_back(own: Own) -> None:
    own.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    shutil.rmtree(own.runtime)
    own.runtime.mkdir(mode=0o700)
    clients = [own.start_jobctl("is-active", "job") for _ in range(20)]
    assert [client.communicate(timeout=DEADLINE_SEC) for client in clients] == [(b"active\n", b"")] * 20
    assert own.starts() == 1


def test_waiting_client_goes_on_when_the_runtime_directory_is_gone(own: Own, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    own.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", f"read x < {tmp_path}/gate; exit 7", check=True)
    waiter = own.start_jobctl("wait", "job")
    until(lambda: own.daemon_status().connections > 1, "it waits")
    shutil.rmtree(own.runtime)
    (tmp_path / "gate").write_text("go\n")
    assert waiter.wait(DEADLINE_SEC) == 7
    own.runtime.mkdir(mode=0o700)


def test_without_a_runtime_directory_the_socket_is_beside_the_state(own: Own) -> None:
    nowhere = {"XDG_RUNTIME_DIR": str(own.root / "nowhere")}
    if os.path.exists(f"/run/user/{os.geteuid()}"):
        pytest.skip("logind has made one")
    own.env |= nowhere
    own.socket = own.state_dir / "run/jobd.sock"
    own.jobctl("run", "--wait", "--", "true", check=True)
    assert own.socket.is_socket()


def test_hangup_of_the_session_that_started_it(own: Own) -> None:
    """A terminal that closes sends SIGHUP to its session: jobd is in another."""
    session = subprocess.Popen(
        ["setsid", *map(str, own.jobctl_command("run", "--name", "job", "--", "sleep", "600"))],
        env=own.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert session.wait(DEADLINE_SEC) == 0
    keeper = own.keeper_pid
    assert os.getsid(keeper) == os.getpgid(keeper) != session.pid
    assert own.jobctl("is-active", "job").returncode == 0


def test_shutdown_is_told_to_who_waits_and_nobody_starts_it_again(own: Own) -> None:
    own.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    watcher = own.start_jobctl("events", "-f")
    assert watcher.stdout is not None
    watcher.stdout.read(1)  # what has been, so it is being followed
    own.jobctl("shutdown", check=True)
    said = watcher.communicate(timeout=DEADLINE_SEC)[1]
    assert said == b"jobctl: jobd has been shut down\n"
    assert watcher.returncode != 0
    until(own.ended, "jobd has ended")
    assert own.starts() == 1
    assert own.history("job")[0]["result"] == "stopped"  # and this starts the next
    assert own.starts() == 2


# --- what can be in the way -------------------------------------------------------------------------------------
def refused(own: Own, *args: str) -> str:
    """What a refused jobctl says: one line."""
    for verb, status in (("list", 1), ("run", 125)):
        words = [verb, *args] if verb == "list" else [verb, *args, "--wait", "--", "true"]
        done = own.jobctl(*words)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert done.stderr.startswith("jobctl: cannot "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@needs_another_user
def test_state_directory_that_is_not_writable() -> None:
    with another_users() as own:
        own.home.chmod(0o500)
        text = refused(own)
        assert f"cannot start your daemon: {own.home}/.local: Permission denied; XDG_STATE_HOME can name" in text
        own.home.chmod(0o700)
        own.state_dir.mkdir(parents=True)
        assert "start.lock: Permission denied" in refused(own)


@needs_another_user
def test_user_without_a_home() -> None:
    with another_users() as own:
        own.env["HOME"] = ""
        assert "cannot start your daemon: /.local: Permission denied; XDG_STATE_HOME can name" in refused(own)
        own.env["XDG_STATE_HOME"] = str(own.home)
        own.state_dir = next(iter([own.home / "jobd" / own.state_dir.name]))
        own.log = own.state_dir / "jobd.log"
        own.jobctl("run", "--wait", "--", "true", check=True)


@needs_another_user
def test_runtime_directory_of_another_user() -> None:
    """As sudo -E and su leave it: it is neither used nor written to."""
    with another_users() as own:
        os.chown(own.runtime, STRANGER + 1, STRANGER + 1)
        own.socket = own.state_dir / "run/jobd.sock"
        own.jobctl("run", "--wait", "--", "true", check=True)
        assert list(own.runtime.iterdir()) == []
        assert own.socket.is_socket()


@needs_root
def test_home_of_another_user_stays_clean(own: Own) -> None:
    """`sudo -E jobctl --user`: root's own daemon has its files in root's home."""
    os.chown(own.home, STRANGER, STRANGER)
    done = own.jobctl("daemon-status")  # starts nothing
    assert done.returncode == 3
    assert list(own.home.iterdir()) == []


@needs_root
@pytest.mark.parametrize("left", [0, 20 << 10, 100 << 10, 1 << 20])
def test_disk_that_is_full_at_the_start(own: Own, left: int) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(own.home)], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        with open(own.home / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(own.home).f_bavail * os.statvfs(own.home).f_frsize - left)
        done = own.jobctl("run", "--wait", "--", "true")
        assert (done.returncode, done.stdout) == (125, "")
        assert re.fullmatch(r"jobctl: cannot [^\n]*(No space left|is full|I/O error|nearly full)[^\n]*\n", done.stderr)
        (own.home / "filler").unlink()
        until(lambda: own.jobctl("run", "--wait", "--", "true").returncode == 0, "the room is noticed")
    finally:
        own.jobctl("shutdown")
        until(lambda: not marked_processes(own.mark), "jobd has ended")
        subprocess.run(["umount", "-l", str(own.home)], check=True)


@needs_root
def test_home_on_a_network_file_system(own: Own, tmp_path: Path) -> None:
    """By a mountinfo that says so, in a mount namespace of jobctl's own."""
    (tmp_path / "mountinfo").write_text(f"41 22 0:45 / {own.home} rw - nfs4 server:/home rw\n")
    script = f'mount --bind {tmp_path}/mountinfo /proc/$$/mountinfo && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], check=False).returncode:
        pytest.skip("cannot mount here")
    command = ["unshare", "-m", "sh", "-c", script, "sh", *own.jobctl_command("run", "--wait", "--", "true")]
    done = subprocess.run(command, env=own.env, capture_output=True, text=True, timeout=DEADLINE_SEC, check=False)
    assert done.returncode == 125
    assert "is on NFS (nfs4), where locks and the database are not safe; set XDG_STATE_HOME" in done.stderr
    assert own.starts() == 0


# --- where a logout would end it ----------------------------------------------------------------------------------
def test_hint_about_logging_out_is_shown_once_and_to_a_person(own: Own) -> None:
    own.jobctl("list", check=True)
    hint = own.state_dir / "logout-hint"
    hint.write_text("when you log out, your jobs are ended; do something\n")
    assert own.jobctl("run", "--", "true", check=True).stderr == ""  # nobody reads it
    assert hint.exists()
    said = [run_at_a_terminal(own) for _ in range(3)]
    assert said == [b"jobctl: when you log out, your jobs are ended; do something\r\n", b"", b""]
    assert not hint.exists()


def run_at_a_terminal(own: Own) -> bytes:
    """What `run` says on a stderr that is a terminal."""
    master, slave = os.openpty()
    try:
        command = own.jobctl_command("run", "--", "true")
        subprocess.run(command, env=own.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, check=True)
        os.set_blocking(master, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(master, 4096)
        return b""
    finally:
        os.close(master)
        os.close(slave)
