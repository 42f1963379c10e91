"""What services have besides their processes, taken over by a new keeper from the daemon of a dead one."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.host import pidfd, procs
from jobd.keeper import notifysockets
from tests.keeper.harness import KeeperProcess, close_all, until_gone
from tests.keeper.test_handover import heir_of, no_orphans_after, reap_orphans
from tests.keeper.test_helpers import RUN, ask, done
from tests.keeper.test_notifysockets import SAY, hear, place
from tests.keeper.test_trees import wait_pid

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_orphans_after"]  # a fixture
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_orphans_after")]
NOTE_PID = b"echo $$ > $0.new; mv $0.new $0; "


@pytest.mark.skipif(not pidfd.keeps_exit_status(), reason="this kernel keeps no exit status in a pidfd")
def test_helpers_are_executed_once_and_their_ends_are_told_by_the_next_keeper(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    daemon = keeper.daemon()
    reap_orphans(True)
    _, held = daemon.expect("welcome")
    daemon.send("ready")
    close_all(daemon.start(RUN, b"sleep", b"300")[1])
    for name in ("fifo", "count"):
        os.mkfifo(tmp_path / name) if name == "fifo" else (tmp_path / name).touch()
    ask(daemon, "reload-1", b"sh", b"-c", b'echo x >> "$0"; exit 3', os.fsencode(tmp_path / "count"))
    done(daemon, "reload-1")
    ask(
        daemon,
        "reload-2",
        b"sh",
        b"-c",
        NOTE_PID + b"read x < $1; exit 4",
        os.fsencode(tmp_path / "2"),
        os.fsencode(tmp_path / "fifo"),
    )
    ask(daemon, "stop-cmd-1", b"sh", b"-c", NOTE_PID + b"exec sleep 300", os.fsencode(tmp_path / "3"))
    ask(daemon, "check-9", b"sh", b"-c", NOTE_PID + b"exec sleep 300", os.fsencode(tmp_path / "4"))
    reload, stop, check = (wait_pid(tmp_path / name) for name in "234")
    runs = daemon.list()
    plain = runs[RUN][0]["helpers"]
    assert isinstance(plain, list)
    ours = procs.process(os.getpid())
    assert ours is not None
    strange = {**plain[-1], "o": "reload-7", "pid": ours.pid, "start": ours.start}
    runs[RUN][0]["helpers"] = [*plain, strange]
    heir = heir_of(daemon, keeper, runs, held)
    ask(heir, "reload-1", b"true")
    assert done(heir, "reload-1")["status"] == 3 << 8
    ask(heir, "reload-7", b"true")
    assert done(heir, "reload-7")["status"] == -1
    assert f"process {ours.pid} is no helper of run" in keeper.log
    ask(heir, "reload-2", b"true")
    assert heir.expect("helper-started", o="reload-2")[0]["pid"] == reload
    with (tmp_path / "fifo").open("w") as file:
        file.write("go\n")
    os.waitpid(reload, 0)
    assert done(heir, "reload-2")["status"] == 4 << 8
    heir.send("helper-kill", run=RUN, o="stop-cmd-1")
    os.waitpid(stop, 0)
    assert done(heir, "stop-cmd-1")["status"] == signal.SIGKILL
    assert (tmp_path / "count").read_text() == "x\n"
    heir.send("signal", run=RUN, o="user-1", sig=signal.SIGKILL, whom="main")
    entry, fds = heir.list()[RUN]
    close_all(fds)
    os.waitpid(int(str(entry["pid"])), 0)
    heir.expect("exited", run=RUN)
    heir.send("ack", run=RUN)
    os.waitpid(check, 0)  # nothing that helped it is left
    until_gone([check])
    assert heir.list() == {}


def test_what_a_service_has_said_is_there_for_the_next_keepers_daemon(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.daemon()
    reap_orphans(True)
    _, held = daemon.expect("welcome")
    daemon.send("ready")
    os.mkfifo(tmp_path / "fifo")
    message, fds = daemon.start(RUN, b"sh", b"-c", SAY + os.fsencode(tmp_path / "fifo"), notify=True)
    close_all(fds)
    with (tmp_path / "fifo").open("w"):
        heir = heir_of(daemon, keeper, daemon.list(), held)
    path = place(tmp_path) / notifysockets.name_of(RUN)
    assert path.is_socket()
    entry, fds = heir.list()[RUN]
    assert hear(fds["notify"]) == (b"READY=1", message["pid"])
    close_all(fds)
    os.waitpid(int(str(entry["pid"])), 0)
    heir.expect("exited", run=RUN)
    heir.send("ack", run=RUN)
    assert heir.list() == {}
    assert not path.exists()


def test_a_successor_that_the_next_keeper_has_for_a_child_is_reaped_as_the_main_process(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    daemon = keeper.daemon()
    reap_orphans(True)
    _, held = daemon.expect("welcome")
    daemon.send("ready")
    close_all(daemon.start(RUN, b"sleep", b"300")[1])
    heir = heir_of(daemon, keeper, daemon.list(), held)
    os.mkfifo(tmp_path / "fifo")
    script = b"(read x < $0; exit 6) & echo $! > $0.new; mv $0.new $0.pid"
    ask(heir, "reload-1", b"sh", b"-c", script, os.fsencode(tmp_path / "fifo"))
    pid = wait_pid(tmp_path / "fifo.pid")
    done(heir, "reload-1")
    heir.send("set-main", run=RUN, tag=1, pid=pid)
    message, fds = heir.expect("main", tag=1)
    close_all(fds)
    assert message["errno"] == 0
    with (tmp_path / "fifo").open("w") as file:
        file.write("go\n")
    message = heir.expect("exited", run=RUN)[0]
    assert (message["status"], message["empty"]) == (6 << 8, False)
    assert message["rusage"] is not None
    entry, fds = heir.list()[RUN]
    close_all(fds)
    assert entry["pid"] == pid
    heir.send("tree", run=RUN, tag=2)
    processes = heir.expect("tree", tag=2)[0]["processes"]
    assert isinstance(processes, list)
    heir.send("watch", run=RUN)
    heir.send("kill-tree", run=RUN, o="kill-1")
    os.waitpid(processes[0][0], 0)
    heir.expect("empty", run=RUN)
