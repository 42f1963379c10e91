"""Starting jobd as a command: in the background, twice at once, and when it cannot be done."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobd.wire.endpoint import Endpoint
from tests.keeper.harness import DAEMON, DEADLINE_SEC, KeeperProcess, alive

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

BACKGROUND = """
import sys
from jobd.__main__ import daemonize
from jobd.config import Config
from jobd.core.paths import socket_paths
config = Config(socket_paths(sys.argv[1], sys.argv[2], sys.argv[2] + "/config"))
config.daemon_argv = [sys.executable, "-I", "-S", "-c", *sys.argv[3:]]
sys.exit(daemonize(config))
"""


def background(keeper: KeeperProcess, *daemon: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-c", BACKGROUND, str(keeper.socket), str(keeper.state_dir), *daemon]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def keeper_pid(keeper: KeeperProcess) -> int:
    return int((keeper.state_dir / "lock").read_text())


def test_daemonize_returns_when_the_daemon_is_ready(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    starter = background(keeper, DAEMON, keeper._path)
    daemon = keeper.daemon()
    daemon.expect("welcome")
    assert starter.poll() is None
    daemon.send("ready")
    assert starter.communicate(timeout=DEADLINE_SEC) == (b"", b"")
    assert starter.returncode == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(keeper.socket))
    pid = keeper_pid(keeper)
    assert os.getsid(pid) not in (os.getsid(0), pid)  # no session leader, so it never gets a terminal
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/2") == str(keeper.state_dir / "jobd.log")
    again = background(keeper, DAEMON, keeper._path)
    assert f"already running (process {pid}" in again.communicate(timeout=DEADLINE_SEC)[1].decode()
    assert again.returncode == 1
    os.kill(pid, signal.SIGTERM)
    daemon.expect("shutdown")
    daemon.send("bye")
    daemon.kill()
    fd = os.pidfd_open(pid) if alive(pid) else -1
    if fd >= 0:
        import select

        assert select.select([fd], [], [], DEADLINE_SEC)[0]
        os.close(fd)
    keeper.__exit__(None, None, None)


def test_daemonize_says_why_the_daemon_does_not_come_up(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    starter = background(keeper, "import sys; sys.exit(3)")
    out, err = starter.communicate(timeout=DEADLINE_SEC)
    assert (out, starter.returncode) == (b"", 1)
    assert err == b"jobd: cannot start: the daemon died 3 times (exit status 3)\n"
    assert not keeper.socket.exists()
    keeper.__exit__(None, None, None)


def test_of_twenty_starts_at_once_one_wins_and_the_others_wait_for_it(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    starters = [background(keeper, DAEMON, keeper._path) for _ in range(20)]
    daemon = keeper.ready_daemon()
    results = [starter.communicate(timeout=DEADLINE_SEC)[1].decode() for starter in starters]
    assert sorted(starter.returncode for starter in starters) == [0] + [1] * 19
    assert sum("already running" in text for text in results) == 19
    os.kill(keeper_pid(keeper), signal.SIGTERM)
    daemon.expect("shutdown")
    daemon.send("bye")
    daemon.kill()
    keeper.__exit__(None, None, None)


def test_modes_of_what_it_makes(plain_keeper: KeeperProcess) -> None:
    plain_keeper.ready_daemon()
    root = os.geteuid() == 0
    assert stat.S_IMODE(plain_keeper.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(plain_keeper.socket.parent.stat().st_mode) == (0o755 if root else 0o700)
    assert stat.S_IMODE(plain_keeper.socket.stat().st_mode) == (0o666 if root else 0o600)
    assert stat.S_IMODE((plain_keeper.state_dir / "handover.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((plain_keeper.state_dir / "lock").stat().st_mode) == 0o600


def test_socket_whose_path_is_longer_than_an_address(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    keeper.socket = tmp_path / ("x" * 60) / ("y" * 60) / "jobd.sock"
    with keeper:
        keeper.ready_daemon()
        assert keeper.socket.is_socket()
        Endpoint(str(keeper.socket), named=True).connect().close()
        keeper.socket.unlink()
        keeper.processes[0].kill()


@pytest.mark.parametrize(
    ("socket_path", "text"), [("x" * 120, "x: AF_UNIX path too long"), ("file/jobd.sock", "cannot make")]
)
def test_paths_that_do_not_do(tmp_path: Path, socket_path: str, text: str) -> None:
    (tmp_path / "file").touch()
    keeper = KeeperProcess(tmp_path)
    keeper.socket = tmp_path / socket_path
    with keeper:
        assert keeper.processes[0].wait(DEADLINE_SEC) == 1
        assert text in keeper.log


def test_the_command_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-m", "jobd"]
    wrong = subprocess.run([*command, "--bad"], capture_output=True, timeout=DEADLINE_SEC, cwd=tmp_path, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(b"jobd: cannot start: no such option: --bad\n")
    version = subprocess.run([*command, "--version"], capture_output=True, timeout=DEADLINE_SEC, check=True)
    assert version.stdout.startswith(b"jobd ")
