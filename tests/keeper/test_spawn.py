"""Spawning: what the child gets, which steps fail and how, and that nothing runs before go or twice."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobd.keeper.child import GO
from jobd.keeper.requests import Requests
from jobd.keeper.table import Entry
from tests.keeper.harness import Daemon, close_all, read_all, until_gone

if TYPE_CHECKING:
    from jobd.keeper.link import Message
    from tests.keeper.harness import KeeperProcess

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16
NONE = SimpleNamespace(handlers={})  # no helpers


def output(daemon: Daemon, *argv: bytes, env: tuple[bytes, ...] = (), **fields: object) -> tuple[bytes, bytes, object]:
    """Run to the end: stdout, stderr, wait status."""
    run = os.urandom(16)
    _, fds = daemon.start(run, *argv, env=env, **fields)
    out, err = read_all(fds["out"]), read_all(fds["err"]) if "err" in fds else b""
    close_all(fds)
    status = daemon.expect("exited", run=run)[0]["status"]
    daemon.send("ack", run=run)
    return out, err, status


def test_a_run_from_spawn_to_ack(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    message, fds = daemon.spawn(RUN, b"sh", b"-c", b"echo out; echo err >&2; exit 222", label={"job": "x"})
    assert message["tracking"] == keeper.tracking
    entry, held = daemon.list()[RUN]
    assert not entry["went"]
    assert entry["label"] == {"job": "x"}
    close_all(held)
    assert daemon.go(RUN)["op"] == "execd"
    exited = daemon.expect("exited", run=RUN)[0]
    assert os.waitstatus_to_exitcode(exited["status"]) == 222  # type: ignore[arg-type]
    assert exited["empty"] is True
    assert len(exited["rusage"]) == 3  # type: ignore[arg-type]
    assert read_all(fds["out"]) == b"out\n"
    assert read_all(fds["err"]) == b"err\n"
    close_all(fds)
    entry, held = daemon.list()[RUN]
    assert entry["exit"]["status"] == exited["status"]  # type: ignore[index]
    assert sorted(held) == ["err", "out", "pidfd"]
    close_all(held)
    daemon.send("ack", run=RUN)
    assert daemon.list() == {}


def test_the_child_gets_exactly_what_was_asked(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    here = os.fsencode(tmp_path)
    script = b"pwd; umask; ulimit -Sc; ulimit -Hc; nice; ls /proc/self/fd | wc -l; grep 'Sig[BI]' /proc/self/status"
    out, _, _ = output(daemon, b"bash", b"-c", script, cwd=here, umask=0o27, rlimits={"core": [0, 1024]}, nice=5)
    pwd, umask, soft, hard, nice, fds, blocked, ignored = out.split(b"\n")[:8]
    assert pwd == here
    assert (umask, soft, hard, nice) == (b"0027", b"0", b"1", b"5")  # bash counts core files in KiB
    assert fds == b"4"  # 0, 1, 2 and the directory that ls reads
    # Signals 32 and 33 are glibc's own: GNU make leaves them ignored, and sigaction(3) cannot reset them.
    assert int(blocked.split()[1], 16) == int(ignored.split()[1], 16) & ~(3 << 31) == 0


def test_limits_default_to_what_the_keeper_was_given(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    out, _, _ = output(daemon, b"sh", b"-c", b"ulimit -Sn; ulimit -Hn")
    assert out.split() == [b"%d" % soft, b"%d" % hard]


def test_limits_above_the_keepers_own_are_as_high_as_may_be(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    impossible = int(Path("/proc/sys/fs/nr_open").read_text()) + 1  # not even for root
    for soft in (5, impossible, -1):
        limits = {"nofile": [soft, impossible if soft > 0 else -1]}
        out, _, _ = output(daemon, b"sh", b"-c", b"ulimit -Sn; ulimit -Hn", rlimits=limits)
        assert out.split() == [b"%d" % (soft if soft == 5 else hard), b"%d" % hard]


def test_runs_that_take_all_descriptors_leave_enough_for_the_next_daemon(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    resource.prlimit(plain_keeper.processes[0].pid, resource.RLIMIT_NOFILE, (96, 96))
    started = []
    request = {"argv": [b"sleep", b"60"], "env": [b"PATH=/bin:/usr/bin"], "cwd": b"/", "umask": None, "nice": None}
    for _ in range(40):
        run = os.urandom(16)
        daemon.send("spawn", run=run, **request)
        message, fds = daemon.answer(run, "spawned", "spawn-failed")
        close_all(fds)
        if message["op"] == "spawn-failed":
            break
        daemon.go(run)
        started.append(run)
    assert (message["errno"], bool(started)) == (errno.EMFILE, True)
    daemon.kill()
    entries = plain_keeper.ready_daemon().list()
    for _, fds in entries.values():
        close_all(fds)
    assert sorted(entries) == sorted(started)


def test_argv_and_environment_are_exact(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    odd = (b"BASH_FUNC_x%%=() {  echo; }", b"\xff\xfe=\x80", b"TWICE=1", b"TWICE=2", b"no equals sign", b"EMPTY=")
    run = os.urandom(16)
    argv = [b"cat", b"/proc/self/environ", b"/proc/self/cmdline", b"\xff\n", b""]
    daemon.send("spawn", run=run, argv=argv, env=[b"PATH=/bin:/usr/bin", *odd], cwd=b"/", umask=None, nice=None)
    _, fds = daemon.expect("spawned", run=run)
    daemon.go(run)
    out = read_all(fds["out"])
    close_all(fds)
    words = [b"PATH=/bin:/usr/bin", *odd, b"cat", b"/proc/self/environ", b"/proc/self/cmdline", b"\xff\n", b"", b""]
    assert out == b"\0".join(words)


def test_a_128_kib_argument_and_768_kib_of_environment(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    big = b"x" * (128 * 1024 - 1)  # MAX_ARG_STRLEN is 128 KiB with the NUL
    env = tuple(b"V%d=" % i + b"y" * 120_000 for i in range(5))
    out, _, _ = output(daemon, b"sh", b"-c", b"echo ${#1} ${#V4}", b"sh", big, env=env)
    assert out == b"131071 120000\n"
    message, fds = daemon.spawn(RUN, b"echo", big + b"x")
    close_all(fds)
    assert message["op"] == "spawned"
    failed = daemon.go(RUN)
    assert (failed["op"], failed["errno"]) == ("exec-failed", errno.E2BIG)


def test_merged_output_is_one_pipe(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    assert output(daemon, b"sh", b"-c", b"echo 1; echo 2 >&2; echo 3", merge=True)[0] == b"1\n2\n3\n"


def test_stdin_is_null_unless_asked_for(plain_keeper: KeeperProcess) -> None:
    assert output(plain_keeper.ready_daemon(), b"cat")[0] == b""


def exec_failure(daemon: Daemon, *argv: bytes, env: tuple[bytes, ...] = ()) -> tuple[object, object]:
    run = os.urandom(16)
    message, fds = daemon.spawn(run, *argv, env=env)
    close_all(fds)
    assert message["op"] == "spawned"
    failed = daemon.go(run)
    assert failed["op"] == "exec-failed"
    daemon.send("watch", run=run)
    daemon.expect("empty", run=run)
    entry, held = daemon.list()[run]
    close_all(held)
    assert (entry["step"], entry["errno"], entry["exit"]) == (failed["step"], failed["errno"], None)
    daemon.send("ack", run=run)
    assert run not in daemon.list()
    assert not [message for message, _ in daemon.seen if message["op"] == "exited"]
    return failed["step"], failed["errno"]


def test_programs_that_cannot_be_executed_are_told_apart(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    (tmp_path / "text").write_text("no format that the kernel knows\n")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o755)
    here = os.fsencode(tmp_path)
    assert exec_failure(daemon, b"no-such-program-here") == ("exec", errno.ENOENT)
    assert exec_failure(daemon, here + b"/nothing") == ("exec", errno.ENOENT)
    assert exec_failure(daemon, here + b"/orphan") == ("exec", errno.ENOENT)
    assert exec_failure(daemon, b"") == ("exec", errno.ENOENT)
    assert exec_failure(daemon, here + b"/plain") == ("exec", errno.EACCES)
    assert exec_failure(daemon, here) == ("exec", errno.EACCES)
    assert exec_failure(daemon, here + b"/text") == ("exec", errno.ENOEXEC)
    assert exec_failure(daemon, here + b"/text/below") == ("exec", errno.ENOTDIR)


def test_path_search_is_the_jobs_own(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name}\n")
    (tmp_path / "second" / "tool").chmod(0o755)
    here = os.fsencode(tmp_path)

    def attempt(path: bytes, cwd: bytes) -> tuple[bytes, object]:
        run = os.urandom(16)
        daemon.send("spawn", run=run, argv=[b"tool"], env=[b"PATH=" + path], cwd=cwd, rlimits={}, merge=False)
        _, fds = daemon.expect("spawned", run=run)
        answer = daemon.go(run)
        out = read_all(fds["out"])
        close_all(fds)
        return out, answer.get("errno")

    # One that may not be executed is passed over, and named only if there is no other.
    assert attempt(here + b"/first:" + here + b"/second", b"/") == (b"second\n", None)
    assert attempt(here + b"/nowhere:" + here + b"/first:" + here + b"/nowhere", b"/") == (b"", errno.EACCES)
    assert attempt(b"relative:second", here) == (b"second\n", None)
    assert attempt(b"", here + b"/second") == (b"second\n", None)


@pytest.mark.parametrize(
    ("fields", "step", "number"),
    [
        ({"cwd": b"/no/such/directory"}, "chdir", errno.ENOENT),
        ({"cwd": b"/dev/null"}, "chdir", errno.ENOTDIR),
        ({"cwd": b"/\0"}, "chdir", errno.EINVAL),
        ({"rlimits": {"nonsense": [1, 1]}}, "limits", errno.EINVAL),
        ({"rlimits": {"nofile": [20, 10]}}, "limits", errno.EINVAL),
        ({"argv": []}, "argv", errno.EINVAL),
        ({"argv": [b"a\0b"]}, "argv", errno.EINVAL),
        ({"env": [b"A=\0"]}, "argv", errno.EINVAL),
    ],
)
def test_failing_steps_are_named_without_a_go(
    plain_keeper: KeeperProcess, fields: dict[str, object], step: str, number: int
) -> None:
    daemon = plain_keeper.ready_daemon()
    spawn = {"argv": [b"true"], "env": [], "cwd": b"/", **fields}
    daemon.send("spawn", run=RUN, **spawn)
    failed, _ = daemon.answer(RUN, "spawn-failed", "exec-failed")
    assert (failed["step"], failed["errno"]) == (step, number)
    for _, fds in [daemon.expect("spawned", run=RUN)] if failed["op"] == "exec-failed" else []:
        close_all(fds)
    assert daemon.go(RUN)["op"] == "exec-failed"  # and it stays so
    daemon.send("ack", run=RUN)
    assert daemon.list() == {}
    assert daemon.start(RUN, b"true")[0]["op"] == "spawned"  # the id is free again


def test_nothing_runs_before_go_when_the_daemon_dies(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message, fds = daemon.spawn(RUN, b"touch", os.fsencode(tmp_path / "ran"))
    daemon.kill()
    successor = keeper.ready_daemon()
    assert successor.list() == {}
    assert not (tmp_path / "ran").exists()
    assert read_all(fds["out"]) == b""  # the child is dead, and nobody else has its output
    close_all(fds)
    again, fds = successor.start(RUN, b"touch", os.fsencode(tmp_path / "ran"))
    assert again["pid"] != message["pid"]
    successor.expect("exited", run=RUN)
    assert (tmp_path / "ran").exists()
    close_all(fds)


def test_a_run_that_went_survives_its_daemon_and_runs_once(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    script = b'echo once >> "$0"; while [ ! -e "$0.end" ]; do sleep 0.02; done; exit 7'
    first, fds = daemon.spawn(RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "count"))
    close_all(fds)
    daemon.send("go", run=RUN)
    daemon.kill()  # what it sent before it died holds
    successor = keeper.ready_daemon()
    entry, fds = successor.list()[RUN]
    close_all(fds)
    assert entry["went"] is True
    again, fds = successor.spawn(RUN, b"false")
    close_all(fds)
    assert again["pid"] == first["pid"]
    assert successor.go(RUN)["op"] == "execd"
    (tmp_path / "count.end").touch()
    assert os.waitstatus_to_exitcode(successor.expect("exited", run=RUN)[0]["status"]) == 7  # type: ignore[arg-type]
    assert (tmp_path / "count").read_text() == "once\n"


def test_an_exit_is_kept_for_the_next_daemon(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    _, fds = daemon.start(RUN, b"sh", b"-c", b"echo kept; kill -9 $$")
    exited = daemon.expect("exited", run=RUN)[0]
    close_all(fds)
    daemon.kill()
    entry, fds = plain_keeper.ready_daemon().list()[RUN]
    assert entry["exit"] == {name: exited[name] for name in ("status", "rusage", "at", "mono")}
    assert os.WTERMSIG(exited["status"]) == signal.SIGKILL  # type: ignore[arg-type]
    assert read_all(fds["out"]) == b"kept\n"
    close_all(fds)


def test_a_child_killed_before_go_never_went(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    message, fds = daemon.spawn(RUN, b"true")
    close_all(fds)
    os.kill(int(str(message["pid"])), signal.SIGKILL)
    assert daemon.answer(RUN, "exec-failed")[0]["step"] == "child"
    assert daemon.go(RUN)["step"] == "child"
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert entry["went"] is False
    daemon.send("go", run=OTHER)
    assert daemon.answer(OTHER, "exec-failed")[0]["errno"] == errno.ESRCH


def test_six_hundred_runs_are_listed_with_all_descriptors(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    runs = [os.urandom(16) for _ in range(600)]
    for run in runs:
        daemon.send("spawn", run=run, argv=[b"true"], env=[daemon.mark], cwd=b"/", merge=True)
    pids = set()
    for run in runs:
        message, fds = daemon.answer(run, "spawned")
        pids.add(message["pid"])
        close_all(fds)
    assert len(pids) == 600
    entries = daemon.list()
    assert sorted(entries) == sorted(runs)
    inodes = set()
    for _, fds in entries.values():
        assert sorted(fds) == ["out", "pidfd"]
        inodes.add(os.fstat(fds["out"]).st_ino)
        close_all(fds)
    assert len(inodes) == 600
    daemon.kill()
    plain_keeper.ready_daemon()
    until_gone([int(str(pid)) for pid in pids])  # they were killed; 600 of them take a moment to go


def test_the_daemon_is_told_of_a_child_before_it_is_let_go() -> None:
    entry = Entry(RUN)
    entry.ctl, child = socketpair(AF_UNIX, SOCK_SEQPACKET)
    child.setblocking(False)
    told = False
    keeper = SimpleNamespace(
        table={RUN: entry},
        helpers=NONE,
        unix_checks=NONE,
        mains=NONE,
        strays=NONE,
        late=[],
        told=lambda: told,
        send=lambda *_: None,
    )
    requests = Requests(keeper)  # type: ignore[arg-type]  # a double
    go: Message = {"op": "go", "run": RUN}
    with entry.ctl, child:
        requests.handle(go, {})
        assert (entry.went, keeper.late) == (False, [go])
        with pytest.raises(BlockingIOError):
            child.recv(1)
        told = True
        requests.handle(keeper.late.pop(), {})
        assert entry.went
        assert child.recv(8) == GO


def test_a_step_that_failed_just_as_it_was_let_go_is_no_execution() -> None:
    """The byte that nobody read resets the connection, and the kernel says that before it gives what was written."""
    entry = Entry(RUN)
    entry.ctl, child = socketpair(AF_UNIX, SOCK_SEQPACKET)
    entry.ctl.setblocking(False)
    said: list[Message] = []
    keeper = SimpleNamespace(
        table={RUN: entry},
        helpers=NONE,
        unix_checks=NONE,
        mains=NONE,
        strays=NONE,
        late=[],
        told=lambda: True,
        send=said.append,
        unwatch=lambda _: None,
    )
    requests = Requests(keeper)  # type: ignore[arg-type]  # a double
    child.send(b"chdir:2")
    requests.handle({"op": "go", "run": RUN}, {})
    child.close()
    requests.on_ctl(entry)
    assert said == [{"op": "exec-failed", "run": RUN, "step": "chdir", "errno": 2}]
    assert not entry.execd


def test_a_go_that_comes_with_its_spawn_is_answered_after_it(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    spawn = {"argv": [b"true"], "env": [daemon.mark], "cwd": b"/", "merge": True}
    daemon.send("spawn", run=RUN, **spawn)
    daemon.send("go", run=RUN)
    ops = []
    while "exited" not in ops:
        message, fds = daemon.answer(RUN, "spawned", "execd", "exited")
        close_all(fds)
        ops.append(str(message["op"]))
    assert ops == ["spawned", "execd", "exited"]
