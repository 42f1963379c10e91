"""Trees that are held where they are: whole, by whichever way, and whatever happens to those who asked."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import USER_OPERATION
from jobd.host import procs
from jobd.keeper import cgroup, tree
from jobd.keeper.table import Entry
from tests.keeper import harness
from tests.keeper.harness import DEADLINE_SEC, Daemon, KeeperProcess, alive, close_all

if TYPE_CHECKING:
    from jobd.keeper.link import Message

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16

# Counts in a file, and so does a child that has left session, group and parent.
COUNTING = b"""
trap : HUP
count() { i=0; while :; do i=$((i+1)); echo $i > "$1.new"; mv "$1.new" "$1"; sleep 0.01; done; }
[ -n "$1" ] && { count "$0.$1"; }
setsid sh -c 'setsid sh -c "$1" "$0" child & :' "$0" "$2"
count "$0.main"
"""
# Each process starts its successor in a new session and leaves.
FLEEING = b'i=$1; [ "$i" -gt 1000 ] && exit; sleep 0.05; setsid sh -c "$0" "$0" $((i+1)) &'


def start_counting(daemon: Daemon, directory: Path, run: bytes = RUN) -> Message:
    message, fds = daemon.start(run, b"sh", b"-c", COUNTING, os.fsencode(directory / "n"), b"", COUNTING)
    close_all(fds)
    for name in ("n.main", "n.child"):
        wait_for(lambda name=name: (directory / name).exists(), f"{name} counts")
    return message


def wait_for(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + DEADLINE_SEC
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def freeze(daemon: Daemon, run: bytes = RUN, frozen: bool = True) -> str:
    """Ask, and wait for the answer."""
    daemon.send("freeze", run=run, tag=99, frozen=frozen)
    return str(daemon.expect("freeze", tag=99)[0]["why"])


def members(daemon: Daemon, run: bytes = RUN) -> list[int]:
    daemon.send("tree", run=run, tag=98)
    found = daemon.expect("tree", tag=98)[0]["processes"]
    assert isinstance(found, list)
    return [process[0] for process in found]


def is_held(message: Message, pids: list[int]) -> bool:
    """Whether the kernel lets none of them run."""
    if message["cgroup"]:
        return cgroup.frozen(str(message["cgroup"]))
    found = [procs.process(pid) for pid in pids]
    # D: the parent of a vfork whose child is stopped; it cannot be interrupted, and has its SIGSTOP waiting.
    return all(process is not None and process.state in (tree.STOPPED, b"D") for process in found)


def counts_on(directory: Path) -> None:
    """Wait until both counters go on."""
    before = {name: (directory / name).read_text() for name in ("n.main", "n.child")}
    for name, text in before.items():
        wait_for(lambda name=name, text=text: (directory / name).read_text() != text, f"{name} counts on")


def told(daemon: Daemon, run: bytes = RUN) -> object:
    """What the list of entries says."""
    entry, fds = daemon.list()[run]
    close_all(fds)
    return entry["frozen"]


def test_the_whole_tree_is_held_and_goes_on(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message = start_counting(daemon, tmp_path)
    assert told(daemon) is False
    for _ in range(3):
        assert freeze(daemon) == ""
        assert daemon.expect("frozen", run=RUN)[0]["frozen"] is True
        pids = members(daemon)
        assert len(pids) >= 2
        assert is_held(message, pids)
        assert told(daemon) is True
        assert freeze(daemon) == ""  # it is already
        assert freeze(daemon, frozen=False) == ""
        assert daemon.expect("frozen", run=RUN)[0]["frozen"] is False
        assert told(daemon) is False
        assert freeze(daemon, frozen=False) == ""  # as above
        counts_on(tmp_path)
    assert [message for message, _ in daemon.seen if message["op"] == "frozen"] == []


def test_forking_against_it_does_not_help(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    script = b'sh -c "$0" "$0" 0; sleep 60; :'
    message, fds = daemon.start(RUN, b"sh", b"-c", script, FLEEING)
    close_all(fds)
    for _ in range(3):
        assert freeze(daemon) == ""
        before = members(daemon)
        assert is_held(message, before), [Path(f"/proc/{pid}/stat").read_bytes() for pid in before]
        assert members(daemon) == before
        assert freeze(daemon, frozen=False) == ""


def test_what_does_not_run_is_not_frozen(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    assert freeze(daemon) == "it is not running"
    assert freeze(daemon, frozen=False) == ""
    close_all(daemon.spawn(RUN, b"sleep", b"60")[1])
    assert freeze(daemon) == "it is not running"
    assert daemon.go(RUN)["op"] == "execd"
    daemon.send("signal", run=RUN, o="kill-1", sig=signal.SIGKILL, whom="main")
    assert freeze(daemon) in ("it is being stopped", "it is not running")
    daemon.expect("exited", run=RUN)
    assert freeze(daemon) == "it is not running"


@pytest.mark.parametrize("whom", ["all", "main"])
def test_a_stop_thaws(keeper: KeeperProcess, tmp_path: Path, whom: str) -> None:
    daemon = keeper.ready_daemon()
    script = b"""trap 'exit 7' TERM; echo > "$0"; while :; do sleep 0.02; done"""
    close_all(daemon.start(RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "up"))[1])
    wait_for((tmp_path / "up").exists, "its trap is set")
    assert freeze(daemon) == ""
    daemon.send("watch", run=RUN)
    daemon.send("signal", run=RUN, o="term-1", sig=signal.SIGTERM, whom=whom)
    exited = daemon.expect("exited", run=RUN)[0]
    assert os.waitstatus_to_exitcode(exited["status"]) == 7  # type: ignore[arg-type]
    assert [message["frozen"] for message, _ in daemon.seen if message["op"] == "frozen"] == [True, False]
    daemon.expect("empty", run=RUN)
    assert told(daemon) is False


def test_a_stop_wakes_who_has_stopped_itself(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    script = b"trap 'exit 7' TERM; kill -STOP $$; while :; do sleep 0.02; done"
    message, fds = daemon.start(RUN, b"sh", b"-c", script)
    close_all(fds)
    pid = int(str(message["pid"]))
    wait_for(lambda: (p := procs.process(pid)) is not None and p.state == tree.STOPPED, "it has stopped itself")
    daemon.send("signal", run=RUN, o="term-1", sig=signal.SIGTERM, whom="all")
    assert os.waitstatus_to_exitcode(daemon.expect("exited", run=RUN)[0]["status"]) == 7  # type: ignore[arg-type]


def test_a_signal_that_is_handled_waits_and_sigkill_does_not(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message = start_counting(daemon, tmp_path)
    assert freeze(daemon) == ""
    daemon.send("signal", run=RUN, o=f"{USER_OPERATION}1", sig=signal.SIGHUP, whom="all")
    daemon.expect("signaled")
    assert is_held(message, members(daemon))
    daemon.send("watch", run=RUN)
    daemon.send("signal", run=RUN, o=f"{USER_OPERATION}2", sig=signal.SIGKILL, whom="all")
    assert daemon.expect("exited", run=RUN)[0]["status"] == signal.SIGKILL
    daemon.expect("empty", run=RUN)


def test_kill_tree_ends_what_is_frozen(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    start_counting(daemon, tmp_path)
    assert freeze(daemon) == ""
    daemon.send("watch", run=RUN)
    daemon.send("kill-tree", run=RUN, o="kill-1")
    assert daemon.expect("exited", run=RUN)[0]["status"] == signal.SIGKILL
    daemon.expect("empty", run=RUN)
    assert freeze(daemon) == "it is not running"


def test_sigcont_is_a_thaw_where_there_is_no_cgroup(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message = start_counting(daemon, tmp_path)
    assert freeze(daemon) == ""
    daemon.send("signal", run=RUN, o=f"{USER_OPERATION}1", sig=signal.SIGCONT, whom="all")
    daemon.expect("signaled")
    assert told(daemon) is bool(message["cgroup"])
    assert freeze(daemon, frozen=False) == ""
    counts_on(tmp_path)


def test_a_daemon_that_dies_leaves_it_frozen_and_its_successor_knows(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message = start_counting(daemon, tmp_path)
    daemon.send("freeze", run=RUN, tag=1, frozen=True)
    daemon.kill()
    successor = keeper.ready_daemon()
    assert freeze(successor) == ""  # whether the first came to it or not
    assert told(successor) is True
    assert is_held(message, members(successor))
    assert [m["tag"] for m, _ in successor.seen if m["op"] == "freeze"] == []  # nobody's answer but its own
    assert freeze(successor, frozen=False) == ""
    counts_on(tmp_path)


def test_a_re_exec_leaves_it_frozen(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message = start_counting(daemon, tmp_path)
    daemon.send("freeze", run=RUN, tag=1, frozen=True)
    daemon.send("ask-reexec", keeper=True)  # it waits until nothing is half done
    assert daemon.expect("freeze", tag=1)[0]["why"] == ""
    close_all(daemon.expect("welcome")[1])
    assert "re-executed" in keeper.log
    assert told(daemon) is True
    assert is_held(message, members(daemon))
    assert freeze(daemon, frozen=False) == ""
    counts_on(tmp_path)


def test_an_entry_of_an_older_keeper_is_not_frozen() -> None:
    assert Entry.load({"run": RUN, "pid": 7}, {}).frozen is False


def test_a_tree_that_is_left_alone_is_thawed_when_its_run_is_forgotten(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    message = start_counting(daemon, tmp_path)
    assert freeze(daemon) == ""
    os.kill(int(str(message["pid"])), signal.SIGKILL)
    assert daemon.expect("exited", run=RUN)[0]["empty"] is False
    assert told(daemon) is True
    daemon.send("ack", run=RUN)
    before = (tmp_path / "n.child").read_text()
    wait_for(lambda: (tmp_path / "n.child").read_text() != before, "the child counts on")


def test_two_who_ask_are_both_answered_and_a_thaw_in_between_wins(
    tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "KEEPER", POWERLESS.format(sec=60) + harness.KEEPER)
    with KeeperProcess(tmp_path, tracking) as keeper:
        daemon = keeper.ready_daemon()
        close_all(daemon.start(RUN, b"sleep", b"60")[1])
        daemon.send("freeze", run=RUN, tag=1, frozen=True)
        daemon.send("freeze", run=RUN, tag=2, frozen=True)
        daemon.send("freeze", run=RUN, tag=3, frozen=False)
        assert daemon.expect("freeze", tag=3)[0]["why"] == ""
        for tag in (1, 2):
            assert "meanwhile" in str(daemon.expect("freeze", tag=tag)[0]["why"])
        assert told(daemon) is False
        daemon.send("freeze", run=RUN, tag=4, frozen=True)
        daemon.send("signal", run=RUN, o="kill-1", sig=signal.SIGKILL, whom="main")
        assert "meanwhile" in str(daemon.expect("freeze", tag=4)[0]["why"])


# A kernel that holds nothing.
POWERLESS = """
from jobd.keeper import cgroup, freezer, tree
freezer.FREEZE_SEC = {sec}
freezer.tree = type("T", (), vars(tree) | {{"send_each": staticmethod(lambda *_: 0)}})
cgroup.freeze = lambda *_: None
"""


def test_what_cannot_be_held_is_undone_and_named(
    tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "KEEPER", POWERLESS.format(sec=0.2) + harness.KEEPER)
    with KeeperProcess(tmp_path, tracking) as keeper:
        daemon = keeper.ready_daemon()
        message, fds = daemon.start(RUN, b"sleep", b"60")
        close_all(fds)
        assert f"{message['pid']} (sleep 60)" in freeze(daemon)
        assert told(daemon) is False
        assert alive(int(str(message["pid"])))
