"""Environment files, as the child reads them; and checks of Unix sockets, which a child makes as well."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobd.core import envfile
from jobd.keeper import kernel
from tests.keeper.harness import Daemon, close_all, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.keeper.harness import KeeperProcess

pytestmark = pytest.mark.slow


def run(
    daemon: Daemon, files: list[list[object]], env: tuple[bytes, ...] = (), **fields: object
) -> bytes | tuple[object, object]:
    """What `env` writes, or the step that failed."""
    run_id = os.urandom(16)
    message, fds = daemon.spawn(run_id, b"env", env=env, env_files=files, **fields)
    if message["op"] == "spawned":
        message = daemon.go(run_id)
    try:
        if message["op"] != "execd":
            return message["step"], message["errno"]
        found = read_all(fds["out"])
        daemon.expect("exited", run=run_id)
        return found
    finally:
        close_all(fds)
        daemon.send("ack", run=run_id)
        assert daemon.list() == {}


def test_later_files_win_over_earlier_and_over_the_table_and_nobody_over_the_keeper(
    plain_keeper: KeeperProcess, tmp_path: Path
) -> None:
    (tmp_path / "1").write_text("A=first\nB='x y'\nJOBD_RUN=00\nMAINPID=1\n# no\nnot one\n")
    (tmp_path / "2").write_text("A=second\nPATH=/usr/bin:/bin:/extra\n")
    files: list[list[object]] = [[os.fsencode(tmp_path / name), False] for name in "12"]
    files.append([os.fsencode(tmp_path / "missing"), True])
    found = run(plain_keeper.ready_daemon(), files, (b"A=table", b"C=table"))
    assert isinstance(found, bytes)
    lines = found.splitlines()
    for line in (
        b"A=second",
        b"B=x y",
        b"C=table",
        b"PATH=/usr/bin:/bin:/extra",
        b"TEST_DIRECTORY=" + os.fsencode(tmp_path),
    ):
        assert lines.count(line) == 1
    assert len([line for line in lines if line.split(b"=")[0] in (b"A", b"PATH", b"JOBD_RUN")]) == 3
    assert b"JOBD_RUN=00" not in lines
    assert not any(line.startswith(b"MAINPID=") for line in lines)


def test_a_file_that_cannot_be_read_is_a_step_that_names_its_place(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "good").write_text("A=1\n")
    (tmp_path / "large").write_bytes(b"#" * (envfile.MAX_BYTES + 1))
    (tmp_path / "directory").mkdir()
    for name, number in (
        ("missing", errno.ENOENT), ("good/missing", errno.ENOTDIR), ("fifo", errno.EINVAL), ("large", errno.EFBIG),
        ("directory", errno.EINVAL), ("nul\0", errno.ENOENT),
    ):  # fmt: skip
        files: list[list[object]] = [[os.fsencode(tmp_path / "good"), False], [os.fsencode(tmp_path / name), False]]
        assert run(daemon, files) == ("environment.1", number), name
    assert run(daemon, [[b"/dev/zero", True]]) == ("environment.0", errno.EINVAL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody")
def test_it_is_the_user_who_reads(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    secret = tmp_path / "secret"
    secret.write_text("A=1\n")
    secret.chmod(0o600)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o011)
    files: list[list[object]] = [[os.fsencode(secret), True]]
    assert run(daemon, files, user=61001, gid=61001) == ("environment.0", errno.EACCES)
    os.chown(secret, 61001, 61001)
    found = run(daemon, files, user=61001, gid=61001)
    assert isinstance(found, bytes)
    assert b"A=1" in found.splitlines()


# --- Unix sockets -------------------------------------------------------------------------------------------------
def check(daemon: Daemon, path: Path | bytes, **user: object) -> object:
    daemon.send("check-unix", tag=3, path=os.fsencode(path), **user)
    return daemon.expect("checked", tag=3)[0]["errno"]


def test_whether_somebody_listens(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    for number, kind in enumerate((socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM)):
        with socket.socket(socket.AF_UNIX, kind) as sock:
            path = deep / f"s{number}"
            fd = os.open(deep, os.O_RDONLY)
            sock.bind(f"/proc/self/fd/{fd}/s{number}")
            os.close(fd)
            if kind != socket.SOCK_DGRAM:
                assert check(daemon, path) == errno.ECONNREFUSED
                sock.listen(0)
                assert check(daemon, path) == 0
            for _ in range(3):  # its queue is full: somebody is there
                assert check(daemon, path) == 0
        assert check(daemon, path) == errno.ECONNREFUSED
    assert check(daemon, tmp_path / "missing") == errno.ENOENT
    assert check(daemon, tmp_path) == errno.ECONNREFUSED
    for path_ in (b"relative", b"", b"/nul\0"):
        assert check(daemon, path_) == errno.EINVAL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody")
def test_it_is_the_user_who_connects(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    assert check(daemon, plain_keeper.socket, user=61001, gid=61001) == errno.EACCES
    assert check(daemon, plain_keeper.socket, user="no such user") == errno.ESRCH
    assert check(daemon, plain_keeper.socket, user=0) == 0
    listed = subprocess.run(
        ["ps", "--ppid", str(plain_keeper.processes[0].pid), "-o", "pid="], capture_output=True, check=False
    )
    assert len(listed.stdout.split()) == 1, "the daemon alone"


def test_the_words_for_execve_are_as_they_were_given() -> None:
    for words in ([], [b""], [b"A=1", b"", b"A=2", b"no-name", b"\xff" * 70_000]):
        text, pointers = kernel.strings(words)
        assert [ctypes.string_at(at) for at in pointers[:-1]] == words
        assert pointers[-1] == 0
        assert len(text) == sum(map(len, words)) + max(len(words), 1)
