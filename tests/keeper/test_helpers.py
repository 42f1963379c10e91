"""Helpers of runs: executed once, in the run's tree, told of, and ended; over a daemon's death and a keeper's."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import helpers as module
from tests.keeper.harness import SPAWN, Daemon, close_all, environment, read_all, until_gone
from tests.keeper.test_trees import wait_pid

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Fds, Message
    from tests.keeper.harness import KeeperProcess

pytestmark = pytest.mark.slow
RUN = os.urandom(16)  # no other process has it in its environment: a keeper that takes over looks at all there are
FIELDS = {name: SPAWN[name] for name in ("cwd", "umask", "rlimits", "nice")}


def start(daemon: Daemon, *argv: bytes) -> tuple[int, Fds]:
    message, fds = daemon.start(RUN, *(argv or (b"sleep", b"300")))
    return int(str(message["pid"])), fds


def ask(daemon: Daemon, opid: str, *argv: bytes, env: tuple[bytes, ...] = (), **fields: object) -> None:
    words = environment(RUN, daemon.mark, *env)
    daemon.send("helper", run=RUN, o=opid, argv=list(argv), env=words, **{**FIELDS, **fields})


def done(daemon: Daemon, opid: str) -> Message:
    return daemon.expect("helper-done", run=RUN, o=opid)[0]


def test_its_output_environment_and_end_are_told_and_it_is_never_repeated(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    daemon = keeper.ready_daemon()
    main, fds = start(daemon)
    script = b'echo "$MAINPID $JOBD_RUN"; echo err >&2; echo x >> $0; exit 3'
    words = (b"sh", b"-c", script, os.fsencode(tmp_path / "count"))
    ask(daemon, "reload-1", *words, env=(b"MAINPID=1", b"JOBD_RUN=00"))
    started = daemon.expect("helper-started", run=RUN, o="reload-1")[0]
    assert started["pid"]
    end = done(daemon, "reload-1")
    assert (os.waitstatus_to_exitcode(int(str(end["status"]))), end["step"], end["timed_out"]) == (3, "", False)
    for _ in range(2):
        ask(daemon, "reload-1", *words)
        assert done(daemon, "reload-1") == end
        daemon.kill()  # the next one is told the same, and has it in its list
        daemon = keeper.ready_daemon()
        entry, others = daemon.list()[RUN]
        close_all(others)
        assert [one["o"] for one in entry["helpers"] if one["done"]] == ["reload-1"]  # type: ignore[attr-defined]
    assert (tmp_path / "count").read_text() == "x\n"
    daemon.send("kill-tree", run=RUN, o="kill-1")
    assert daemon.expect("exited", run=RUN)[0]["status"] == signal.SIGKILL
    assert read_all(fds["err"]) == b"%d %s\nerr\n" % (main, RUN.hex().encode())
    assert read_all(fds["out"]) == b""
    close_all(fds)


def linger(daemon: Daemon, path: Path) -> int:
    """A helper that stays; returns its pid."""
    ask(daemon, "stop-cmd-1", b"sh", b"-c", b"echo $$ > $0.new; mv $0.new $0; exec sleep 300", os.fsencode(path))
    return wait_pid(path)


def test_a_run_is_over_only_with_its_helpers(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    main, fds = start(daemon)
    close_all(fds)
    helper = linger(daemon, tmp_path / "pid")
    daemon.send("watch", run=RUN)
    os.kill(main, signal.SIGKILL)
    assert daemon.expect("exited", run=RUN)[0]["empty"] is False
    daemon.send("tree", run=RUN, tag=1)
    seen = daemon.expect("tree", tag=1)[0]["processes"]
    assert helper in [process[0] for process in seen]  # type: ignore[attr-defined]
    daemon.send("signal", run=RUN, o="user-1", sig=signal.SIGTERM, whom="control")
    assert daemon.expect("signaled", run=RUN)[0]["count"] == 1
    assert done(daemon, "stop-cmd-1")["status"] == signal.SIGTERM
    daemon.expect("empty", run=RUN)


def test_the_tree_of_an_exited_run_has_a_process_again(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    close_all(start(daemon, b"true")[1])
    daemon.expect("exited", run=RUN)
    daemon.send("watch", run=RUN)
    daemon.expect("empty", run=RUN)
    ask(daemon, "stop-cmd-1", b"sh", b"-c", b'sleep 300 & test -z "$MAINPID"')
    assert done(daemon, "stop-cmd-1")["status"] == 0
    daemon.send("kill-tree", run=RUN, o="kill-1")
    daemon.expect("empty", run=RUN)
    ask(daemon, "stop-cmd-2", b"/no/such/program")
    assert done(daemon, "stop-cmd-2")["step"] == "exec"
    daemon.expect("empty", run=RUN)
    daemon.send("ack", run=RUN)
    assert daemon.list() == {}


def test_what_fails_or_takes_too_long(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    close_all(start(daemon)[1])
    for opid, argv, cwd, step, number in (
        ("check-1", b"/no/such/program", b"/", "exec", errno.ENOENT),
        ("check-1", b"true", b"/no/such/directory", "chdir", errno.ENOENT),
        ("check-2", b"", b"/", "exec", errno.ENOENT),
    ):
        ask(daemon, opid, argv, cwd=cwd)
        end = done(daemon, opid)
        assert (end["step"], end["errno"], end["status"]) == (step, number, -1)
    pids = tmp_path / "pids"
    ask(
        daemon,
        "check-3",
        b"sh",
        b"-c",
        b"sleep 300 & echo $! > $0.new; mv $0.new $0; wait",
        os.fsencode(pids),
        timeout_ms=300,
    )
    end = done(daemon, "check-3")
    assert (end["status"], end["timed_out"]) == (signal.SIGKILL, True)
    until_gone([wait_pid(pids)])
    ask(daemon, "check-4", b"sleep", b"300")
    daemon.expect("helper-started", run=RUN, o="check-4")
    ask(daemon, "check-4", b"sleep", b"300")  # it runs
    daemon.expect("helper-started", run=RUN, o="check-4")
    daemon.send("helper-kill", run=RUN, o="check-4")
    end = done(daemon, "check-4")
    assert (end["status"], end["timed_out"]) == (signal.SIGKILL, False)
    daemon.send("helper-kill", run=RUN, o="check-4")
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert entry["helpers"] == [], "of checks nothing is kept"


def test_there_is_a_limit_to_what_is_remembered_and_to_what_lives(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    close_all(start(daemon)[1])
    for n in range(module.KEPT + 3):
        ask(daemon, f"reload-{n}", b"true")
        done(daemon, f"reload-{n}")
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert [one["o"] for one in entry["helpers"]] == [f"reload-{n}" for n in range(3, module.KEPT + 3)]  # type: ignore[attr-defined]
    for n in range(module.MAX_LIVE):
        ask(daemon, f"check-{n}", b"sleep", b"300")
        daemon.expect("helper-started", o=f"check-{n}")
    ask(daemon, "check-x", b"sleep", b"300")
    assert done(daemon, "check-x")["errno"] == errno.EAGAIN
    daemon.send("helper", run=b"\2" * 16, o="reload-1", argv=[b"true"], env=[], cwd=b"/")
    assert daemon.expect("helper-done", run=b"\2" * 16)[0]["errno"] == errno.ESRCH


def test_an_acknowledged_run_leaves_no_helper(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    main, fds = start(daemon)
    close_all(fds)
    helper = linger(daemon, tmp_path / "pid")
    os.kill(main, signal.SIGKILL)
    daemon.expect("exited", run=RUN)
    daemon.send("ack", run=RUN)
    until_gone([helper])
    assert daemon.list() == {}


def test_they_outlive_a_re_exec_of_the_keeper(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    close_all(start(daemon)[1])
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ask(daemon, "reload-1", b"sh", b"-c", b"read x < $0; exit 7", os.fsencode(fifo))
    daemon.expect("helper-started", run=RUN, o="reload-1")
    ask(daemon, "reload-0", b"sh", b"-c", b"exit 1")
    done(daemon, "reload-0")
    ask(daemon, "check-1", b"sleep", b"300", timeout_ms=700)
    daemon.send("ask-reexec", keeper=True)
    close_all(daemon.expect("welcome")[1])
    assert "re-executed" in keeper.log
    fifo.write_text("go\n")
    assert os.waitstatus_to_exitcode(int(str(done(daemon, "reload-1")["status"]))) == 7
    assert done(daemon, "check-1")["timed_out"] is True
    ask(daemon, "reload-0", b"sh", b"-c", b"exit 2")
    assert os.waitstatus_to_exitcode(int(str(done(daemon, "reload-0")["status"]))) == 1
