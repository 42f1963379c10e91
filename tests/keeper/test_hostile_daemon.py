"""Whatever a daemon says, the keeper lives, its runs with it, and the next daemon is forked."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from _socket import SCM_RIGHTS, SOL_SOCKET
from array import array
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import unixchecks
from jobd.keeper.cgroup import Cgroups
from jobd.keeper.helpers import Helpers, _output
from jobd.keeper.link import LinkError
from jobd.keeper.mains import Mains
from jobd.keeper.notifysockets import NotifySockets
from jobd.keeper.requests import Requests
from jobd.keeper.spawn import Base
from jobd.keeper.strays import Strays
from jobd.keeper.table import Entry
from jobd.keeper.unixchecks import UnixChecks
from jobd.wire.plainpack import MAX_DEPTH, packb
from tests.keeper import harness
from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, alive, close_all
from tests.wire.test_plainpack import nested

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.keeper.link import Message

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16
START: Message = {"run": OTHER, "argv": [b"true"], "env": [], "cwd": b"/"}
NONE = SimpleNamespace(handlers={})
HELPER: Message = {"run": RUN, "o": "check-1", "argv": [b"true"], "env": [], "cwd": b"/"}
LIES: list[Message] = [
    {"op": "no-such-op"},
    {"op": "spawn"},
    {"op": "spawn", **START, "run": b""},
    {"op": "spawn", **START, "run": b"../../../etc/pass"},
    {"op": "spawn", **START, "run": "x" * 16},
    {"op": "spawn", **START, "argv": "true"},
    {"op": "spawn", **START, "cwd": [b"/"]},
    {"op": "spawn", **START, "user": 1.5},
    {"op": "spawn", **START, "user": {}},
    {"op": "spawn", **START, "stdin": "pty", "window": [70000, -1]},
    {"op": "spawn", **START, "stdin": "pty", "window": [1, 2, 3]},
    {"op": "signal", "run": RUN, "o": "x", "sig": 1 << 40, "whom": "main"},
    {"op": "signal", "run": RUN, "o": "x", "sig": 4711, "whom": "main"},
    {"op": "signal", "run": RUN, "o": "x", "sig": "9", "whom": "main"},
    {"op": "go", "run": [RUN]},
    {"op": "tree", "run": RUN},
    {"op": "close", "run": RUN, "what": "everything"},
    {"op": "run-of", "tag": 1, "pids": list(range(1000))},
    {"op": "run-of", "tag": 1, "pids": ["self"]},
    {"op": "open", "tag": 1},
    {"op": "open", "tag": 1, "path": "jobd.sock", "root": 1},
    {"op": "list-dir", "tag": 1, "path": "jobs", "after": "", "root": -1},
    {"op": "list-dir", "tag": b"1", "path": "jobs", "after": ""},
    {"op": "set-limits", "run": RUN, "tag": b"1", "memory_max": 1},
    {"op": "set-limits", "run": RUN, "tag": 1, "rlimits": {"nofile": [1]}},
    {"op": "set-limits", "run": RUN, "tag": 1, "rlimits": {"everything": [1, 1]}},
    {"op": "set-limits", "run": [RUN], "tag": 1, "oom_score_adjust": -1000},
    {"op": "grant-files", "tag": "1"},
    {"op": "backlog", "length": "long"},
    {"op": "freeze", "run": {}, "tag": 1, "frozen": True},
    {"op": "log-level"},
    {"op": "tree", "run": RUN, "tag": b"x" * 100_000},
    {"op": "spawn", **START, "label": {"job": "x" * 100_000}},
    {"op": "spawn", **START, "label": nested(MAX_DEPTH - 3)},
    {"op": "signal", "run": RUN, "o": "x" * 100_000, "sig": 0, "whom": "main"},
    {"op": "kill-tree", "run": RUN, "o": "x" * 100_000},
    {"op": "helper"},
    {"op": "helper", **HELPER, "run": [RUN]},
    {"op": "helper", **HELPER, "o": ""},
    {"op": "helper", **HELPER, "o": "x" * 100_000},
    {"op": "helper", **HELPER, "o": 1},
    {"op": "helper", **HELPER, "argv": "true"},
    {"op": "helper", **HELPER, "env": b"A=1"},
    {"op": "helper", **HELPER, "env": ["A=1"]},
    {"op": "helper", **HELPER, "cwd": 1},
    {"op": "helper", **HELPER, "user": 1.5},
    {"op": "helper", **HELPER, "timeout_ms": -1},
    {"op": "helper", **HELPER, "timeout_ms": "long"},
    {"op": "helper-kill", "run": [], "o": "x"},
    {"op": "helper-kill", "run": RUN},
    {"op": "check-unix", "tag": 1},
    {"op": "check-unix", "path": b"/x"},
    {"op": "check-unix", "tag": 1, "path": "/x"},
    {"op": "check-unix", "tag": b"x" * 100_000, "path": b"/x"},
    {"op": "check-unix", "tag": 1, "path": b"/x", "user": 1.5},
    {"op": "end-stray", "run": [RUN], "tag": 1, "signal": 9},
    {"op": "end-stray", "run": RUN, "tag": "1", "signal": 9},
    {"op": "end-stray", "run": OTHER, "tag": 1, "signal": 1},
    {"op": "ask-shutdown", "code": "0"},
    {"op": "ask-shutdown", "code": 256},
    {"op": "ask-shutdown", "code": -1},
    {"op": "set-main", "run": RUN, "tag": 1},
    {"op": "set-main", "run": RUN, "pid": 1},
    {"op": "set-main", "run": RUN, "tag": 1, "pid": "1"},
    {"op": "set-main", "run": [RUN], "tag": 1, "pid": 1},
    {"op": "spawn", **START, "env_files": b"/etc/passwd"},
    {"op": "spawn", **START, "env_files": [b"/etc/passwd"]},
    {"op": "spawn", **START, "env_files": [["/etc/passwd", False]]},
    {"op": "spawn", **START, "env_files": [[b"/etc/passwd", 1]]},
    {"op": "spawn", **START, "env_files": [[b"/etc/passwd", False]] * 1000},
    {"op": "spawn", **START, "watchdog_usec": "1s"},
    {"op": "spawn", **START, "watchdog_usec": -1},
    {"op": "spawn", **START, "notify": True, "argv": "true"},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: str(lie)[:60])
def test_a_lie_is_an_error_of_the_link(tmp_path: Path, lie: Message) -> None:
    entry = Entry(RUN)
    entry.pid, entry.pidfd, entry.went = os.getpid(), os.pidfd_open(os.getpid()), True
    said: list[Message] = []
    double = SimpleNamespace(
        table={RUN: entry}, send=said.append, base=Base(), cgroups=Cgroups(str(tmp_path), parent=""), grants=None,
        ends=SimpleNamespace(strangers=lambda _=None: set()),
        config=SimpleNamespace(config_dir=str(tmp_path)), daemon=SimpleNamespace(),
    )  # fmt: skip
    double.config.socket, double.config.state_dir, double.config.shared = f"{tmp_path}/s", str(tmp_path), False
    double.notify_sockets = NotifySockets(double.config)
    double.helpers = Helpers(double)  # type: ignore[arg-type]  # a double
    double.unix_checks, double.mains = UnixChecks(double), Mains(double)  # type: ignore[arg-type]
    double.strays = Strays(double)  # type: ignore[arg-type]
    before = set(os.listdir("/proc/self/fd"))
    try:
        with pytest.raises(LinkError):
            Requests(double).handle(lie, {})  # type: ignore[arg-type]  # a double
        assert set(os.listdir("/proc/self/fd")) <= before
        assert not said
    finally:
        entry.close()
        os.close(double.base.null)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperProcess]:
    with KeeperProcess(tmp_path_factory.mktemp("hostile")) as made:
        daemon = made.ready_daemon()
        _, fds = daemon.start(RUN, b"sleep", b"300")
        close_all(fds)
        yield made


def test_a_lie_ends_the_link_and_nothing_else(keeper: KeeperProcess) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{keeper.processes[0].pid}/fd"))

    before = descriptors()
    for lie in ({"op": "no-such-op"}, {"op": "spawn", **START, "stdin": "pty", "window": [70000, -1]}):
        fields = dict(lie)
        keeper.daemons[-1].send(str(fields.pop("op")), **fields)
        keeper.daemons[-1].wait_closed()
        daemon = keeper.ready_daemon()
        found = daemon.list()
        assert set(found) == {RUN}
        assert found[RUN][0]["exit"] is None
        for _, fds in found.values():
            close_all(fds)
    deadline = time.monotonic() + DEADLINE_SEC
    while descriptors() > before:  # those of the last list are closed behind it
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_not_a_lie_only_has_no_effect(keeper: KeeperProcess) -> None:
    daemon = keeper.daemons[-1]
    daemon.send("kill-tree", run=OTHER, o="kill-1")
    daemon.send("signal", run=OTHER, o="x", sig=9, whom="all")
    assert daemon.expect("signaled")[0]["count"] == 0
    daemon.send("open", tag=1, path="../../etc/shadow")
    assert daemon.expect("opened")[0]["errno"]
    for path in ("../..", "/etc", "jobs/../..", ""):
        daemon.send("list-dir", tag=3, path=path, after="")
        listed = daemon.expect("listed")[0]
        assert listed["errno"]
        assert listed["names"] == []
    daemon.send("run-of", tag=2, pids=[1, os.getpid(), 2**22 + 5, -1])
    assert daemon.expect("run-of")[0]["runs"] == [None] * 4


def test_a_daemon_that_asks_and_reads_nothing_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    less = "from jobd.keeper import daemonproc\ndaemonproc.MAX_UNSENT = 1 << 20\n"
    monkeypatch.setattr(harness, "KEEPER", less + harness.KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        close_all(daemon.start(RUN, b"sleep", b"300")[1])
        daemon.link.sock.settimeout(DEADLINE_SEC)
        asked = packb([{"op": "go", "run": b"x" * 60_000}])  # which the answer repeats
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                daemon.link.sock.send(asked)
        keeper.wait_log("does not read the answers")
        found = keeper.ready_daemon().list()
        assert set(found) == {RUN}
        close_all(found[RUN][1])


def test_a_body_that_its_file_system_could_hold_back_is_not_read(keeper: KeeperProcess, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(packb([{"op": "pong"}]))
    for size in (0, 3 << 20):
        fd = os.memfd_create("large") if size else os.open(tmp_path / "body", os.O_RDONLY)
        if size:
            os.write(fd, packb([{"op": "pong", "more": b"x" * size}]))
        daemon = keeper.daemons[-1]
        rights = [(SOL_SOCKET, SCM_RIGHTS, array("i", [fd]))]
        daemon.link.sock.sendmsg([packb({"op": "memfd"})], rights)
        os.close(fd)
        daemon.wait_closed()
        keeper.ready_daemon()


def test_of_a_tree_that_is_empty_nobody_is_signalled() -> None:
    """The number of its session may be another's: of whom it is cannot be told when its leader has ended, too."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!"], start_new_session=True, stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None
        other = int(leader.stdout.readline())
    entry = Entry(RUN)
    said: list[Message] = []
    entry.pid, entry.start, entry.exit, entry.empty = leader.pid, 1, {"status": 0}, True
    double = SimpleNamespace(
        table={RUN: entry}, send=said.append, ends=SimpleNamespace(strangers=lambda _=None: set()),
        freezer=SimpleNamespace(thaw=lambda _: None, continued=lambda _: None), grants=None,
        helpers=NONE, unix_checks=NONE, mains=NONE, strays=NONE,
    )  # fmt: skip
    try:
        for sig in (0, signal.SIGKILL):
            request: Message = {"op": "signal", "run": RUN, "o": f"kill-{sig}", "sig": sig, "whom": "all"}
            Requests(double).handle(request, {})  # type: ignore[arg-type]  # a double
        assert [message["count"] for message in said] == [0, 0]
        assert alive(other)
    finally:
        os.kill(other, signal.SIGKILL)


def test_of_what_was_handed_over_as_output_nothing_but_a_pipe_is_opened_to_write(tmp_path: Path) -> None:
    """A keeper of root's would open whatever the last daemon could read, and have a helper of anybody's write to it."""
    (tmp_path / "file").write_text("as it was")
    os.mkfifo(tmp_path / "fifo")
    named = os.open(tmp_path / "fifo", os.O_RDWR)
    reader, writer = os.pipe()
    others = [
        os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in (tmp_path / "file", tmp_path / "fifo", "/dev/zero")
    ]
    entry = Entry(RUN)
    try:
        for entry.err in others:
            assert _output(entry) == -1
        entry.err = reader
        found = _output(entry)
        assert os.path.sameopenfile(found, writer)
        os.close(found)
    finally:
        for fd in (*others, named, reader, writer):
            os.close(fd)


def test_one_users_commands_and_checks_leave_room_for_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = "from jobd.keeper import helpers\nhelpers.MAX_OWNER = 2\n"
    monkeypatch.setattr(harness, "KEEPER", less + harness.KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        for run, owner in ((RUN, 61101), (OTHER, 61102)):
            close_all(daemon.start(run, b"sleep", b"300", label={"owner": owner})[1])
        command: Message = {"argv": [b"sleep", b"300"], "env": harness.environment(RUN, daemon.mark), "cwd": b"/"}
        for run, opid, number in ((RUN, "check-1", 0), (RUN, "check-2", 0), (RUN, "check-3", errno.EAGAIN),
                                  (OTHER, "check-1", 0), (RUN, "stop-cmd-1", 0)):  # fmt: skip
            daemon.send("helper", run=run, o=opid, **command)
            assert daemon.answer(run, "helper-started", "helper-done")[0]["errno"] == number, opid
        for run in (RUN, OTHER):
            daemon.send("kill-tree", run=run, o="kill-1")
            daemon.expect("exited", run=run)


def test_one_users_sockets_that_do_not_answer_leave_room_for_all_others() -> None:
    checks = UnixChecks(SimpleNamespace())  # type: ignore[arg-type]  # a double
    checks._users = dict.fromkeys(range(unixchecks.MAX_USER), 61101)
    assert [checks._has_many(user) for user in (61101, 61102, "alice", 0, None)] == [True, False, False, False, False]
