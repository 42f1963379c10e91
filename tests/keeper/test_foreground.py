"""What the keeper holds for runs in the foreground: the way into stdin, and terminals."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from tests.keeper.harness import KeeperProcess, close_all, environment, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Fds, Message
    from tests.keeper.harness import Daemon

pytestmark = pytest.mark.slow
RUN = b"f" * 16


def start(daemon: Daemon, path: Path, stdin: str, *argv: bytes, **fields: object) -> Fds:
    """Start a run that is fed from the file at `path`."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    message: Message = {
        "run": RUN, "argv": list(argv), "env": environment(RUN, daemon.mark), "cwd": b"/", "umask": 0o22, "nice": 0,
        "rlimits": {}, "merge": False, "stdin": stdin, "fds": ["input"], **fields,
    }  # fmt: skip
    daemon.send("spawn", (fd,), **message)
    os.close(fd)
    _, fds = daemon.expect("spawned", run=RUN)
    os.close(fds.pop("ctl"))
    assert daemon.go(RUN)["op"] == "execd"
    return fds


def test_a_pipe_is_fed_and_ended(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    fds = start(daemon, tmp_path / "in", "pipe", b"cat")
    assert set(fds) == {"pidfd", "out", "err", "stdin", "input"}
    os.write(fds["stdin"], b"hello")
    os.close(fds.pop("stdin"))
    daemon.send("close", run=RUN, what="stdin")
    assert read_all(fds["out"]) == b"hello"
    close_all(fds)
    daemon.expect("exited", run=RUN)


def test_the_position_of_the_file_outlives_the_daemon(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    fds = start(daemon, tmp_path / "in", "pipe", b"cat")
    os.pwrite(fds["input"], b"0123456789", 0)
    assert os.splice(fds["input"], fds["stdin"], 4) == 4
    close_all(fds)
    daemon.kill()
    daemon = plain_keeper.ready_daemon()
    fds = daemon.list()[RUN][1]
    assert os.lseek(fds["input"], 0, os.SEEK_CUR) == 4
    assert os.splice(fds["input"], fds["stdin"], 100) == 6
    os.close(fds.pop("stdin"))
    daemon.send("close", run=RUN, what="stdin")
    assert read_all(fds["out"]) == b"0123456789"
    close_all(fds)
    left = daemon.list()[RUN][1]
    assert set(left) == {"pidfd", "out", "err"}
    close_all(left)


def test_closing_stdout_breaks_the_pipe(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    fds = start(daemon, tmp_path / "in", "pipe", b"yes")
    os.close(fds.pop("out"))
    daemon.send("close", run=RUN, what="stdout")
    message, _ = daemon.expect("exited", run=RUN)
    assert message["status"] == 13
    close_all(fds)


def test_a_terminal_controls_the_job(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    fds = start(daemon, tmp_path / "in", "pty", b"sh", b"-c", b"stty size; cat < /dev/tty", window=[33, 77])
    assert set(fds) == {"pidfd", "out", "input", "pty", "pty_out"}
    master = fds["pty"]
    os.set_blocking(master, True)
    assert os.read(master, 100) == b"33 77\r\n"
    assert not os.get_inheritable(master)
    os.write(master, b"x\n")
    shown = b""
    while shown.count(b"x") < 2:
        shown += os.read(master, 100)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 10, 20, 0, 0))
    os.write(master, b"\x03")
    message, _ = daemon.expect("exited", run=RUN)
    assert message["status"] in (2, 130 << 8)
    close_all(fds)


def test_a_terminal_has_a_size_of_its_own(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    fds = start(daemon, tmp_path / "in", "pty", b"stty", b"size")
    os.set_blocking(fds["pty"], True)
    assert os.read(fds["pty"], 100) == b"24 80\r\n"
    close_all(fds)


def test_all_of_it_survives_a_re_exec(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    fds = start(daemon, tmp_path / "in", "pty", b"cat")
    close_all(fds)
    held = daemon.list()[RUN][1]
    before = set(held)
    close_all(held)
    daemon.send("ask-reexec", keeper=True)
    _, held = daemon.expect("welcome")
    close_all(held)
    fds = daemon.list()[RUN][1]
    assert set(fds) == before == {"pidfd", "out", "input", "pty", "pty_out"}
    os.write(fds["pty"], b"\x04")
    daemon.expect("exited", run=RUN)
    close_all(fds)


def test_many_runs_with_many_descriptors_are_listed(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    runs = [i.to_bytes(16, "big") for i in range(1, 121)]
    for run in runs:
        fd = os.open(tmp_path / run.hex(), os.O_RDWR | os.O_CREAT)
        daemon.send(
            "spawn", (fd,), run=run, argv=[b"cat"], env=environment(run, daemon.mark), cwd=b"/", stdin="pipe",
            fds=["input"],
        )  # fmt: skip
        os.close(fd)
        close_all(daemon.expect("spawned", run=run)[1])
        daemon.send("go", run=run)
    for run in runs:
        daemon.expect("execd", run=run)
    listed = daemon.list()
    assert set(listed) == set(runs)
    assert all(len(fds) == 5 for _, fds in listed.values())
    for _, fds in listed.values():
        close_all(fds)
    for run in runs:
        daemon.send("close", run=run, what="stdin")
        daemon.expect("exited", run=run)
