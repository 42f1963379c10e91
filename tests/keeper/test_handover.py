"""A second jobd on the same state: refused by a living keeper, and taking over from a dead one's daemon."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.host import pidfd
from jobd.keeper import handover, sockets, start
from jobd.keeper.link import Link, LinkError
from jobd.keeper.preparing import raise_limits
from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, close_all, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.keeper.link import Fds, Message
    from tests.keeper.harness import Daemon

pytestmark = pytest.mark.slow
# No other process has these in its environment: a new keeper looks for them among all there are, other tests' too.
RUN, ENDED, KILLED = sorted(os.urandom(16) for _ in range(3))


def test_a_second_jobd_refuses_and_names_the_first(plain_keeper: KeeperProcess) -> None:
    plain_keeper.ready_daemon()
    second = plain_keeper.start()
    assert second.wait(DEADLINE_SEC) == start.HELD
    first = plain_keeper.processes[0].pid
    assert f"already running (process {first}, state in {plain_keeper.state_dir})" in plain_keeper.log
    assert plain_keeper.socket.exists()


def test_a_second_jobd_makes_the_first_bind_its_vanished_socket_anew(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    shutil.rmtree(plain_keeper.socket.parent)
    assert plain_keeper.start().wait(DEADLINE_SEC) == start.HELD
    assert plain_keeper.socket.is_socket()
    _, fds = daemon.expect("listener")
    close_all(fds)


def test_a_socket_that_takes_nobody_any_more_is_replaced(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    before = os.stat(plain_keeper.socket).st_ino
    daemon.send("rebind")
    _, fds = daemon.expect("listener")
    close_all(fds)
    assert os.stat(plain_keeper.socket).st_ino != before


def test_a_daemon_killed_over_an_idle_exit_leaves_a_socket_that_works(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.daemon()
    listener = socket.socket(fileno=daemon.expect("welcome")[1]["listener"])
    listener.shutdown(socket.SHUT_RD)
    listener.close()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(plain_keeper.socket))
    daemon.kill()
    plain_keeper.ready_daemon()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(plain_keeper.socket))


def test_a_second_jobd_waits_for_one_that_is_leaving(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    daemon.send("bye", code=0)
    second = plain_keeper.start()
    plain_keeper.wait_log("the next jobd waits for our end")
    assert plain_keeper.processes[0].poll() is None
    daemon.kill()
    assert plain_keeper.processes[0].wait(DEADLINE_SEC) == 0
    plain_keeper.ready_daemon()
    assert second.poll() is None


def test_the_keeper_itself_notices_a_vanished_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.keeper import harness

    monkeypatch.setattr(harness, "KEEPER", "from jobd.keeper import loop\nloop.PING_SEC = 0.1\n" + harness.KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        keeper.socket.unlink()
        _, fds = daemon.expect("listener")
        close_all(fds)
        assert keeper.socket.is_socket()


def test_a_socket_that_somebody_else_listens_on_is_left_alone(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    plain_keeper.ready_daemon()
    (tmp_path / "other").mkdir()
    other = KeeperProcess(tmp_path / "other")
    other.socket = plain_keeper.socket
    with other:
        assert other.processes[0].wait(DEADLINE_SEC) == 1
        assert f"cannot listen on {plain_keeper.socket}: another program listens there" in other.log


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        keeper.processes[0].kill()
        keeper.processes[0].wait(DEADLINE_SEC)
        daemon.kill()
        assert keeper.socket.exists()
        keeper.start()
        keeper.ready_daemon()
        assert os.stat(keeper.socket).st_mode & 0o777 == (0o666 if os.geteuid() == 0 else 0o600)


def reap_orphans(on: bool) -> None:
    """Make this process the one that reaps the runs of a dead keeper: PID 1 may take its time."""
    assert ctypes.CDLL(None).prctl(36, *map(ctypes.c_ulong, (on, 0, 0, 0))) == 0


@pytest.fixture
def no_orphans_after() -> Iterator[None]:
    """Undo `reap_orphans`, and reap what is left; not what was there before, such as a jobd that many tests use."""
    before = set(children())
    yield
    reap_orphans(False)
    while left := set(children()) - before:
        os.waitpid(left.pop(), 0)


def children() -> list[int]:
    """This process's own, reaped or not."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def answer(entries: dict[bytes, tuple[Message, Fds]], keeper: KeeperProcess, listener: int, lock: int) -> None:
    """What a daemon does once its keeper is dead, up to its own end."""
    server = handover.listen(str(keeper.state_dir))
    assert select.select([server], [], [], DEADLINE_SEC)[0]
    link = handover.accept(server)
    assert link is not None
    assert select.select([link.sock], [], [], DEADLINE_SEC)[0]
    assert [message["op"] for message, _ in link.receive()] == ["take"]
    assert handover.give(link, listener, lock, list(entries.values()))
    server.close()
    link.close()


def heir_of(daemon: Daemon, keeper: KeeperProcess, runs: dict[bytes, tuple[Message, Fds]], held: Fds) -> Daemon:
    """Kill the keeper, and have the daemon give these runs to the next one: its daemon."""
    keeper.processes[0].kill()
    keeper.processes[0].wait(DEADLINE_SEC)
    daemon.wait_closed()
    keeper.start()
    giver = os.fork()  # it has to leave, so it cannot be the test itself
    if giver == 0:
        status = 1
        try:
            answer(runs, keeper, held["listener"], held["lock"])
            status = 0
        finally:
            os._exit(status)
    for _, fds in runs.values():
        close_all(fds)
    close_all(held)
    daemon.kill()
    assert os.waitpid(giver, 0)[1] == 0
    return keeper.ready_daemon()


@pytest.mark.skipif(not pidfd.keeps_exit_status(), reason="this kernel keeps no exit status in a pidfd")
@pytest.mark.usefixtures("no_orphans_after")
def test_a_new_keeper_takes_over_from_the_daemon_of_a_dead_one(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.daemon()
    reap_orphans(True)
    _, held = daemon.expect("welcome")
    daemon.send("ready")
    script = b'echo before; while [ ! -e "$0" ]; do sleep 0.02; done; echo after; exit 44'
    close_all(daemon.start(RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "end"))[1])
    close_all(daemon.start(KILLED, b"sh", b"-c", b"setsid sleep 60 & sleep 60; :")[1])
    close_all(daemon.start(ENDED, b"false")[1])
    daemon.expect("exited", run=ENDED)
    held_runs = daemon.list()
    heir = heir_of(daemon, keeper, held_runs, held)
    entries = heir.list()
    assert sorted(entries) == [RUN, ENDED, KILLED]
    assert entries[ENDED][0]["exit"]["status"] == 256  # type: ignore[index]
    (tmp_path / "end").touch()
    os.waitpid(int(str(entries[RUN][0]["pid"])), 0)
    exited = heir.expect("exited", run=RUN)[0]
    assert os.waitstatus_to_exitcode(exited["status"]) == 44  # type: ignore[arg-type]
    assert exited["rusage"] is None
    assert read_all(entries[RUN][1]["out"]) == b"before\nafter\n"
    heir.send("watch", run=KILLED)
    heir.send("kill-tree", run=KILLED, o="kill-1")
    os.waitpid(int(str(entries[KILLED][0]["pid"])), 0)
    assert heir.expect("exited", run=KILLED)[0]["status"] == signal.SIGKILL
    heir.expect("empty", run=KILLED)
    for run in entries:
        close_all(entries[run][1])
        heir.send("ack", run=run)
    assert heir.list() == {}
    assert heir.start(b"\7" * 16, b"true")[0]["op"] == "spawned"
    second = keeper.start()
    assert second.wait(DEADLINE_SEC) == start.HELD


@pytest.mark.usefixtures("no_orphans_after")
def test_a_run_that_was_handed_over_before_go_may_be_canceled(keeper: KeeperProcess) -> None:
    """Its end is seen by its pidfd, which the daemon holds too: closing ours is not the end of watching it."""
    daemon = keeper.daemon()
    reap_orphans(True)
    _, held = daemon.expect("welcome")
    daemon.send("ready")
    waits: dict[bytes, tuple[Message, Fds]] = {}
    for run in (RUN, ENDED):
        _, fds = daemon.spawn(run, b"sleep", b"60")
        entry, others = daemon.list()[run]
        close_all(others)
        waits[run] = entry, fds
    heir = heir_of(daemon, keeper, waits, held)
    entries = heir.list()
    assert sorted(entries) == [RUN, ENDED]
    heir.send("ack", run=RUN)
    os.waitpid(int(str(entries[RUN][0]["pid"])), 0)  # it is killed
    assert set(heir.list()) == {ENDED}
    heir.kill()  # and with it whoever was never let go
    os.waitpid(int(str(entries[ENDED][0]["pid"])), 0)
    assert keeper.ready_daemon().list() == {}
    assert keeper.processes[-1].poll() is None
    for _, fds in entries.values():
        close_all(fds)


def test_more_runs_than_select_takes_and_than_the_soft_limit_allows_are_handed_over(tmp_path: Path) -> None:
    # 500 runs of three descriptors; each end in a process of its own, as their numbers count.
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 4096:
        pytest.skip("cannot open so many files here")
    lock = sockets.open_lock(str(tmp_path))
    assert sockets.try_lock(lock)
    giver = os.fork()
    if giver == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
            entries: list[tuple[Message, Fds]] = [
                ({"run": n.to_bytes(16, "big")}, {name: os.dup(lock) for name in ("pidfd", "out", "err")})
                for n in range(500)
            ]
            server = handover.listen(str(tmp_path))
            clients = sockets.bind_clients(str(tmp_path / "jobd.sock"), shared=False)
            while (link := handover.accept(server)) is None:
                time.sleep(0.01)
            status = 0 if handover.give(link, clients.fileno(), lock, entries) else 2
        finally:
            os._exit(status)
    os.close(lock)
    taker = os.fork()
    if taker == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
            raise_limits()
            taken = handover.take(str(tmp_path), sockets.open_lock(str(tmp_path)))
            assert taken is not None
            status = 0 if len(taken.entries) == 500 else 2
        finally:
            os._exit(status)
    assert [os.waitpid(pid, 0)[1] for pid in (giver, taker)] == [0, 0]


def test_who_has_the_number_of_a_giver_that_is_gone_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that was taken over can have another process listen, and leave, and its number come to somebody else."""
    monkeypatch.setattr(handover, "LEAVE_SEC", 0.1)
    lock = sockets.open_lock(str(tmp_path))
    assert sockets.try_lock(lock)
    server, clients = handover.listen(str(tmp_path)), sockets.bind_clients(str(tmp_path / "jobd.sock"), shared=False)
    with subprocess.Popen(["sleep", "60"]) as victim:
        listens = os.fork()
        if listens == 0:
            server.listen(8)
            os._exit(0)
        os.waitpid(listens, 0)
        _, uid, gid = sockets.peer(server)
        monkeypatch.setattr(sockets, "peer", lambda _: (victim.pid, uid + 1, gid))
        monkeypatch.setattr(handover, "_receive", lambda *args: setattr(args[3], "lock", lock))
        link = Link(sockets.connect_handover(str(tmp_path), uid + 1))
        handover._take(link, str(tmp_path), lock)
        assert victim.poll() is None
        link.close()
        victim.kill()
    for sock in (server, clients):
        sock.close()
    os.close(lock)


def test_a_holder_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "ANSWER_SEC", 0.1)
    lock, other = sockets.open_lock(str(tmp_path)), sockets.open_lock(str(tmp_path))
    assert sockets.try_lock(lock)
    with pytest.raises(sockets.StartError, match=f"process {os.getpid()} holds {tmp_path} and does not answer"):
        handover.take(str(tmp_path), other)
    os.close(lock)
    assert handover.take(str(tmp_path), other) is None  # it has come free
    os.close(other)


def test_a_giver_whose_taker_goes_away_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "GIVE_SEC", 5.0)
    server = handover.listen(str(tmp_path))
    taker = sockets.connect_handover(str(tmp_path))
    link = handover.accept(server)
    assert link is not None
    taker.close()
    assert not handover.give(link, 0, 0, [({"run": RUN}, {"out": 0})])
    server.close()
    link.close()


@pytest.mark.parametrize("lie", ["another lock", "no socket", "no entries", "a word for a list", "nonsense"])
def test_a_holder_that_lies_is_not_taken_over_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    monkeypatch.setattr(handover, "ANSWER_SEC", 0.2)
    lock, other = sockets.open_lock(str(tmp_path)), sockets.open_lock(str(tmp_path))
    assert sockets.try_lock(lock)
    server = handover.listen(str(tmp_path))
    stranger = os.open(tmp_path / "stranger", os.O_RDWR | os.O_CREAT)
    clients = sockets.bind_clients(str(tmp_path / "jobd.sock"), shared=False)
    given: Message = {"op": "given", "entries": [], "fds": ["listener", "lock"], "last": True}
    fds = [clients.fileno(), lock]
    if lie == "another lock":
        fds = [clients.fileno(), stranger]
    elif lie == "no socket":
        fds = [stranger, lock]
    elif lie == "no entries":
        del given["entries"]
    elif lie == "a word for a list":
        given["entries"] = [{"run": RUN, "fds": ["pidfd"]}, 7]
    else:
        given = {"op": "given", "fds": []}
        fds = []

    def give() -> None:
        while (link := handover.accept(server)) is None:
            select.select([server], [], [], 0.1)
            if stop.is_set():
                return
        with contextlib.suppress(LinkError):
            link.send(given, fds)
            link.flush()
        links.append(link)
        give()

    stop, links = threading.Event(), list[Link]()
    thread = threading.Thread(target=give)
    thread.start()
    try:
        with pytest.raises(sockets.StartError, match="cannot take over"):
            handover.take(str(tmp_path), other)
    finally:
        stop.set()
        thread.join()
        for link in links:
            link.close()
    assert os.pread(lock, 100, 0) == b"%d\n" % os.getpid()
    assert os.fstat(stranger).st_size == 0
    server.close()
    clients.close()
    for fd in (lock, other, stranger):
        os.close(fd)
