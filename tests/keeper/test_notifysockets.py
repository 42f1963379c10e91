"""Notify sockets: whose they are, that nothing said on them is lost, and what is left of them."""

from __future__ import annotations

import os
import socket
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jobd.keeper import notifysockets
from jobd.keeper.notifysockets import NotifySockets
from jobd.keeper.table import Entry
from tests.keeper.harness import DEADLINE_SEC, Daemon, close_all, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Fds
    from tests.keeper.harness import KeeperProcess

RUN, OTHER = b"\1" * 16, b"\2" * 16
CREDENTIALS = socket.CMSG_SPACE(12)


def made(directory: Path, shared: bool = False, state: str = "state") -> NotifySockets:
    (directory / "state").mkdir(exist_ok=True)
    config: Any = SimpleNamespace(socket=str(directory / "jobd.sock"), state_dir=str(directory / state), shared=shared)
    return NotifySockets(config)


def place(directory: Path) -> Path:
    """Where a keeper of the harness has them: as root it is one for all users."""
    return directory / ("run" if os.geteuid() == 0 else "state") / "notify"


def start(daemon: Daemon, script: bytes, **fields: object) -> tuple[int, Fds]:
    message, fds = daemon.start(RUN, b"sh", b"-c", script, notify=True, **fields)  # type: ignore[arg-type]
    return int(str(message["pid"])), fds


def hear(fd: int) -> tuple[bytes, int]:
    """The next datagram and the pid of who sent it."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.settimeout(30)
        data, ancillary, _, _ = sock.recvmsg(4096, CREDENTIALS)
    return data, int.from_bytes(ancillary[0][2][:4], "little")


SAY = b"""exec python3 -I -S -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
sys.stdin.read() if len(sys.argv) < 2 else open(sys.argv[1]).read()
' """


@pytest.mark.slow
def test_what_is_said_waits_for_the_next_daemon_and_is_there_after_a_re_exec(
    plain_keeper: KeeperProcess, tmp_path: Path
) -> None:
    daemon = plain_keeper.ready_daemon()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pid, fds = start(daemon, SAY + os.fsencode(fifo))
    with fifo.open("w"):
        close_all(fds)
        daemon.kill()
        daemon = plain_keeper.ready_daemon()
        daemon.send("ask-reexec", keeper=True)
        close_all(daemon.expect("welcome")[1])
        entry, fds = daemon.list()[RUN]
        assert "notify" in entry["fds"]  # type: ignore[operator]
        assert hear(fds["notify"]) == (b"READY=1", pid)
        paths = list(place(tmp_path).iterdir())
        assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600]
    daemon.expect("exited", run=RUN)
    daemon.send("ack", run=RUN)
    close_all(fds)
    assert daemon.list() == {}
    assert list(place(tmp_path).iterdir()) == []


@pytest.mark.slow
def test_the_words_of_the_keeper_are_in_its_environment_and_nobody_elses(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    script = b'echo "$NOTIFY_SOCKET $WATCHDOG_USEC $WATCHDOG_PID $$ $MAINPID"'
    others = (b"NOTIFY_SOCKET=/run/systemd/notify", b"WATCHDOG_USEC=1", b"WATCHDOG_PID=1", b"MAINPID=1")
    pid, fds = start(daemon, script, env=others, watchdog_usec=1500)
    path = f"{place(plain_keeper.directory)}/{notifysockets.name_of(RUN)}"
    assert read_all(fds["out"]).split() == [path.encode(), b"1500", b"%d" % pid, b"%d" % pid]
    close_all(fds)
    message, fds = daemon.start(OTHER, b"sh", b"-c", script, env=others)
    assert read_all(fds["out"]).split() == [str(message["pid"]).encode()]
    close_all(fds)


@pytest.mark.slow
def test_a_start_that_fails_leaves_no_socket(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    message, fds = daemon.spawn(RUN, b"no-such-program", notify=True)
    close_all(fds)
    assert daemon.go(RUN)["step"] == "exec"
    daemon.send("ack", run=RUN)
    assert daemon.spawn(OTHER, b"true", notify=True, rlimits={"no such": [1, 1]})[0]["step"] == "limits"
    assert daemon.list() == {}
    assert list(place(tmp_path).iterdir()) == []
    assert message["op"] == "spawned"
    daemon.send("bye")
    daemon.kill()
    assert plain_keeper.processes[0].wait(DEADLINE_SEC) == 0
    assert not place(tmp_path).exists()


def test_it_is_never_made_where_others_may_write(tmp_path: Path) -> None:
    sockets = made(tmp_path)
    there = tmp_path / "state" / "notify"
    there.mkdir()
    there.chmod(0o777)
    with pytest.raises(PermissionError):
        sockets.make(RUN)
    there.rmdir()
    (tmp_path / "elsewhere").mkdir()
    there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="directory"):
        sockets.make(RUN)
    (tmp_path / "elsewhere" / "file").write_text("")
    sockets.tidy([])
    assert (tmp_path / "elsewhere" / "file").exists()


def test_nobody_reads_of_which_run_it_is(tmp_path: Path) -> None:
    """Whoever knows the id of another's run can have processes counted as of it, where there are no control groups."""
    sockets = made(tmp_path)
    fds = sockets.make(RUN)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", sockets.path_of(RUN))
        assert hear(fds[0])[0] == b"READY=1"
        assert os.listdir(sockets.path) == [notifysockets.name_of(RUN)]
        with open("/proc/net/unix") as file:
            assert notifysockets.name_of(RUN) not in file.read()
    finally:
        for fd in fds:
            os.close(fd)


def test_where_it_is(tmp_path: Path) -> None:
    assert made(tmp_path).path == f"{tmp_path}/state/notify"
    assert made(tmp_path, shared=True).path == f"{tmp_path}/notify", "users cannot go into root's state"
    assert made(tmp_path, state="x" * 100).path == f"{tmp_path}/notify", "too long for the address of a socket"
    assert len(notifysockets.name_of(RUN)) == 22
    assert len({notifysockets.name_of(os.urandom(16)) for _ in range(100)}) == 100
    assert "/" not in notifysockets.name_of(b"\xff" * 16)


def test_what_a_killed_keeper_has_left_goes(tmp_path: Path) -> None:
    sockets = made(tmp_path)
    entry = Entry(RUN)
    entry.notify, directory = sockets.make(RUN)
    other, again = sockets.make(OTHER)
    for fd in (directory, other, again):
        os.close(fd)
    sockets.tidy([entry])
    assert [path.name for path in (tmp_path / "state" / "notify").iterdir()] == [notifysockets.name_of(RUN)]
    fd, directory = sockets.make(RUN)  # in place of what is there
    os.close(fd)
    os.close(directory)
    entry.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_it_is_given_to_its_user_and_nobody_elses_file_is(tmp_path: Path) -> None:
    sockets = made(tmp_path, shared=True)
    fd, directory = sockets.make(RUN)
    notifysockets.give(directory, RUN, 61001, 61001)
    info = os.lstat(sockets.path_of(RUN))
    assert (info.st_uid, info.st_gid, stat.S_ISSOCK(info.st_mode)) == (61001, 61001, True)
    assert stat.S_IMODE(os.stat(sockets.path).st_mode) == 0o711
    os.close(fd)
    os.close(directory)
