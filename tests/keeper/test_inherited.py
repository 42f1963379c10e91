"""What a daemon hands over is looked at before root signals, freezes or kills it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobd.host import procs
from jobd.keeper import cgroup, inherited, tree
from jobd.keeper.cgroup import Cgroups
from jobd.keeper.inherited import NotBelieved
from jobd.keeper.membership import Membership
from jobd.keeper.requests import Requests
from jobd.keeper.table import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.keeper.link import Message

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only a keeper of root's has a daemon that is not")
RUN, OTHER = os.urandom(16), os.urandom(16)  # no other test has these in its environments
HELPER = {"o": "x", "pid": 2, "start": 1, "done": False, "status": 0, "step": "", "errno": 0, "timed_out": False}
NONE = SimpleNamespace(handlers={})  # no helpers


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of root's that carries RUN in its environment."""
    env = {**os.environ, "JOBD_RUN": RUN.hex()}
    with subprocess.Popen(["sleep", "60"], env=env, start_new_session=True) as made:
        while procs.run_of(made.pid) != RUN:  # it is not executed yet
            pass
        yield made
        made.kill()


def fields_of(pid: int, run: bytes = RUN, **more: object) -> Message:
    seen = procs.process(pid)
    return {
        "run": run, "pid": pid, "start": 1 if seen is None else seen.start, "went": True, "execd": True, "step": "",
        "errno": 0, "exit": None, "empty": False, "frozen": False, "tracking": "process", "cgroup": "", "merge": False,
        "ops": [], "once": [], "label": {"owner": 0}, **more,
    }  # fmt: skip


def take(fields: Message, pid: int | None, tmp_path: Path, *, guarded: bool = True) -> Entry:
    fds = {} if pid is None else {"pidfd": os.pidfd_open(pid)}
    try:
        return inherited.entry_of(fields, fds, Cgroups(str(tmp_path), parent=""), guarded)
    finally:
        for fd in fds.values():
            os.close(fd)


def test_a_run_of_ours(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    entry = take(fields_of(process.pid), process.pid, tmp_path)
    assert (entry.run, entry.pid, entry.child, entry.doubted) == (RUN, process.pid, False, False)


def test_a_process_of_roots_that_is_not_of_the_run(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    for pid, run in ((1, RUN), (os.getppid(), RUN), (process.pid, OTHER)):
        with pytest.raises(NotBelieved):
            take(fields_of(pid, run), pid, tmp_path)


def test_a_process_that_is_not_the_one_it_is_said_to_be(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(NotBelieved, match="is not 2"):
        take(fields_of(2), process.pid, tmp_path)
    with pytest.raises(NotBelieved):
        take({**fields_of(process.pid), "start": 7}, process.pid, tmp_path)
    file = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(NotBelieved, match="not a process"):
        inherited.entry_of(fields_of(process.pid), {"pidfd": file}, Cgroups(str(tmp_path), parent=""), True)
    os.close(file)


def test_who_cleared_his_environment_is_believed_unless_he_is_root(tmp_path: Path) -> None:
    for uid in (61001, 0):
        with subprocess.Popen(["sleep", "60"], env={}, user=uid, group=uid, extra_groups=[], cwd="/") as made:
            try:
                if uid:
                    assert take(fields_of(made.pid), made.pid, tmp_path).pid == made.pid
                else:
                    with pytest.raises(NotBelieved):
                        take(fields_of(made.pid), made.pid, tmp_path)
            finally:
                made.kill()


def test_the_number_of_a_process_that_is_gone_names_no_group(tmp_path: Path) -> None:
    """Of a session whose leader has ended nobody can say whose it is."""
    script = "sleep 60 & echo $!"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None
        left = int(leader.stdout.readline())
    try:
        entry = inherited.entry_of(fields_of(leader.pid), {}, Cgroups(str(tmp_path), parent=""), True)
        assert entry.doubted
        assert tree.members(entry, ()) == {}
        entry.doubted = False
        assert set(tree.members(entry, ())) == {left}
    finally:
        os.kill(left, signal.SIGKILL)


def test_who_has_ended_and_is_not_reaped_speaks_for_his_group_unless_he_was_root(tmp_path: Path) -> None:
    for uid in (61001, 0):
        with subprocess.Popen(
            ["sh", "-c", "sleep 60 & echo $!"], start_new_session=True, stdout=subprocess.PIPE, cwd="/",
            user=uid, group=uid, extra_groups=[],
        ) as leader:  # fmt: skip
            assert leader.stdout is not None
            left = int(leader.stdout.readline())
            try:
                os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
                entry = take(fields_of(leader.pid), leader.pid, tmp_path)
                assert set(tree.members(entry, ())) == ({left} if uid else set())
            finally:
                os.kill(left, signal.SIGKILL)


def test_a_number_without_its_process_is_nobodys(tmp_path: Path) -> None:
    """Number and start of any process can be read by everybody: without its pidfd they prove nothing."""
    with subprocess.Popen(["true"]) as ended:
        dead = os.pidfd_open(ended.pid)
    forged: tuple[dict[str, int], ...] = ({}, {"pidfd": dead})
    with subprocess.Popen(["sleep", "60"], env={}, start_new_session=True) as roots:
        try:
            for fds in forged:
                entry = inherited.entry_of(fields_of(roots.pid), fds, Cgroups(str(tmp_path), parent=""), True)
                assert tree.members(entry, ()) == {}
                assert Membership({RUN: entry}).find(roots.pid) is None
                entry.close()
        finally:
            roots.kill()


@pytest.mark.parametrize(
    "path",
    [
        "/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/ssh.service", "/etc", "relative", "/",
        pytest.param(f"/sys/fs/cgroup/jobd-00000000/{RUN.hex()}", id="another keeper's"),
    ],
)  # fmt: skip
def test_a_control_group_that_no_keeper_of_this_state_made(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "mounts", lambda: [("", "/sys/fs/cgroup")])
    with pytest.raises(NotBelieved, match="control group"):
        take({**fields_of(2), "cgroup": path}, None, tmp_path)
    ours = Cgroups(str(tmp_path), parent="/sys/fs/cgroup")
    assert not ours.is_of(f"{ours.base}/../{RUN.hex()}", RUN)
    assert not ours.is_of(f"{ours.base}/{OTHER.hex()}", RUN)
    assert ours.is_of(f"{ours.base}/{RUN.hex()}", RUN)
    assert ours.is_of(f"{ours.base}/{RUN.hex()}.1", RUN)


def test_a_directory_that_looks_like_a_control_group(tmp_path: Path) -> None:
    """In it root would kill whom a file names, and write to what a link leads to."""
    ours = Cgroups(str(tmp_path), parent="/sys/fs/cgroup")
    planted = tmp_path / ours._name / RUN.hex()
    assert not ours.is_of(str(planted), RUN), "it may come later"
    planted.mkdir(parents=True)
    (planted / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert not ours.is_of(str(planted), RUN)
    assert not ours.is_of(f"{ours.base}/{RUN.hex()}.\0", RUN), "no call to the kernel takes that"


@pytest.mark.parametrize(
    "more",
    [
        {"run": b"short"}, {"run": "text"}, {"pid": 0}, {"pid": -1}, {"pid": 1}, {"pid": "7"}, {"pid": True},
        {"ops": "term-1"}, {"exit": 0}, {"exit": {"op": "bye"}}, {"helpers": {}}, {"helpers": [1]},
        {"helpers": [{"o": "x"}]},
        {"helpers": [{**HELPER, "pid": "1"}]}, {"helpers": [{**HELPER, "o": "x" * 300}]}, {"helpers": [HELPER] * 65},
        {"helpers": [{**HELPER, "ctl": 3}]}, {"cgroup": None}, {"start": None},
    ],
)  # fmt: skip
def test_what_makes_no_sense(tmp_path: Path, more: Message) -> None:
    with pytest.raises(NotBelieved):
        take({**fields_of(2**22 + 7), **more}, None, tmp_path)


def test_a_control_socket_that_is_none(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stream, other = socket.socketpair()
    with ours, theirs, stream, other, (tmp_path / "file").open("w") as file:
        entry = inherited.entry_of(fields_of(process.pid), {"ctl": ours.fileno()}, Cgroups("/", parent=""), True)
        assert entry.run == RUN
        for fd in (stream.fileno(), file.fileno()):
            with pytest.raises(NotBelieved):
                inherited.entry_of(fields_of(process.pid), {"ctl": fd}, Cgroups("/", parent=""), True)


@pytest.mark.parametrize(("said", "number"), [(b"exec:2", 2), (b"exec:", 5), (b"x", 5), (b"exec:" + b"9" * 90, 5)])
def test_what_a_child_says_of_its_failure_may_be_anything(said: bytes, number: int) -> None:
    sent: list[Message] = []
    keeper = SimpleNamespace(
        table={}, helpers=NONE, unix_checks=NONE, mains=NONE, strays=NONE, send=sent.append, unwatch=lambda _: None
    )
    entry = Entry(RUN)
    entry.ctl, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.send(said)
        Requests(keeper).on_ctl(entry)  # type: ignore[arg-type]  # a double
    assert (sent[0]["op"], sent[0]["errno"]) == ("exec-failed", number)


def test_a_daemon_of_the_keepers_own_user_is_believed(tmp_path: Path) -> None:
    assert take(fields_of(os.getpid()), os.getpid(), tmp_path, guarded=False).pid == os.getpid()
