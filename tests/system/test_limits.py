"""What one user may have at once, and that his attacks are nobody else's concern: real clients of several uids."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import pytest

from jobctl.__main__ import main as jobctl
from jobd.wire import codec, errors
from jobd.wire import messages as m
from tests.system.attacks import ATTACKS, BOMBS, HELLO
from tests.system.crowd import ALICE, BOB, User, for_everybody, users
from tests.system.program import open_fds, until
from tests.system.raw import Raw, fault, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.program import Program

T = TypeVar("T")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
]
CONNECTIONS, REQUESTS, RUNNING, QUEUED = 8, 5, 2, 2
LOGS, ENVIRONMENTS = 256 << 10, 64 << 10
TIGHT = f"""
[limits]
connections = {CONNECTIONS}
requests = {REQUESTS}
running = {RUNNING}
queued = {QUEUED}
log_size = {LOGS}
environment_size = {ENVIRONMENTS}
"""
ATTACK_SEC = 0.6
# What a daemon may grow by in an attack: 512 connections of 7 KiB and 64 KiB of a frame each, 16 frames of 1 MiB, and
# what Python keeps of freed memory.
GROWTH_BYTES = 64 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def tight() -> Iterator[Program]:
    with for_everybody("tight", TIGHT) as program:
        os.environ["JOBD_TEST_MARK"] = program.mark
        yield program


@pytest.fixture(scope="module")
def roomy() -> Iterator[Program]:
    with for_everybody("roomy") as program:
        os.environ["JOBD_TEST_MARK"] = program.mark
        yield program


def alice(act: Callable[[], T]) -> T:
    """What she gets when she does `act`, which JSON can hold."""
    return cast("T", User(ALICE, act).result())


def bob(act: Callable[[], T]) -> T:
    return cast("T", User(BOB, act).result())


def refused(path: str) -> m.Fault | None:
    """Connect as a client does; the fault instead of a hello, if there is one."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.settimeout(60)
        with contextlib.suppress(BrokenPipeError):  # it has been said already
            sock.sendall(HELLO)
        data = sock.recv(4096)
    message = codec.decode_daemon(data[4:])
    return message if isinstance(message, m.Fault) else None


def env() -> dict[bytes, bytes]:
    """Little, and the mark of the test."""
    return {b"JOBD_TEST_MARK": os.environb[b"JOBD_TEST_MARK"], b"PATH": b"/usr/bin:/bin"}


def output(raw: Raw, run: bytes) -> bytes:
    pieces = raw.items(m.Logs(id=raw.next_id(), jobs=[], run=run.hex()))
    return b"".join(piece.data for piece in pieces if isinstance(piece, m.Output))


# --- connections --------------------------------------------------------------------------------------------------
def test_connections_of_a_user_are_limited_and_roots_are_not(tight: Program) -> None:
    path = str(tight.socket)

    def too_many() -> str:
        held = [Raw(path) for _ in range(CONNECTIONS)]
        try:
            found = refused(path)
        finally:
            for raw in held:
                raw.sock.close()
        assert found is not None
        assert found.code == errors.LIMIT
        return found.message

    message = alice(too_many)
    assert message == (
        f"cannot serve another connection: uid {ALICE} has {CONNECTIONS} of the {CONNECTIONS} connections that a user"
        " may have; close some and try again"
    )
    held = [Raw(path) for _ in range(CONNECTIONS + 3)]
    for raw in held:
        raw.sock.close()


def test_jobctl_says_that_there_are_too_many_connections(tight: Program) -> None:
    path = str(tight.socket)

    def too_many() -> tuple[int, str]:
        held = [Raw(path) for _ in range(CONNECTIONS)]
        read, write = os.pipe()
        pid = os.fork()  # the program's code, not the program: it need not be where she can read it
        if not pid:
            os.dup2(write, 2)
            sys.argv = ["jobctl", "--socket", path, "list"]
            with contextlib.suppress(BaseException):
                jobctl()
            os._exit(99)
        _, status = os.waitpid(pid, 0)
        for raw in held:
            raw.sock.close()
        return os.waitstatus_to_exitcode(status), os.read(read, 4096).decode()

    status, text = alice(too_many)
    assert status == 1
    assert text.startswith("jobctl: cannot serve another connection: uid ")


def test_requests_under_way_are_limited_over_all_connections(tight: Program) -> None:
    path = str(tight.socket)

    def too_many() -> str:
        with Raw(path) as first, Raw(path) as second:
            run = started(first.run([b"sleep", b"600"], env=env())).run
            for raw in (first, second):
                raw.send(*(m.Wait(id=raw.next_id() + 100, runs=[run]) for _ in range(REQUESTS // 2)))
            for raw in (first, second):  # answered in order: the waits are under way
                assert isinstance(raw.ask(m.DaemonStatus(id=raw.next_id())), m.Reply)
            first.send(m.Wait(id=300, runs=[run]))
            assert isinstance(first.ask(m.DaemonStatus(id=first.next_id())), m.Reply)
            found = fault(second.ask(m.Wait(id=301, runs=[run])))
            assert (found.code, found.id) == (errors.LIMIT, 301)
            first.send(m.Cancel(id=first.next_id(), request=300))
            assert fault(first.receive()).code == errors.CANCELED  # type: ignore[arg-type]  # it is a fault
        return found.message

    message = alice(too_many)
    with Raw(path) as raw:
        list(raw.items(m.Stop(id=1, names=[f"{ALICE}/sleep-1"])))
    assert message == (
        f"cannot serve this now: uid {ALICE} has {REQUESTS} of the {REQUESTS} requests under way that a user may have;"
        " wait for answers and try again"
    )


# --- runs ---------------------------------------------------------------------------------------------------------
def test_runs_beyond_the_limit_wait_in_order_and_too_many_are_refused(tight: Program) -> None:
    path = str(tight.socket)

    def submit() -> tuple[list[str], str, str, list[int], int]:
        with Raw(path) as raw:
            runs = [raw.run([b"sleep", b"600"], name=f"wait-{at}", env=env()) for at in range(RUNNING + QUEUED)]
            more = fault(raw.run([b"true"], name="more", env=env()))
            again = raw.ask(m.Get(id=raw.next_id(), names=[f"wait-{at}" for at in range(RUNNING + QUEUED)]))
            assert isinstance(again, m.Reply)
            assert isinstance(again.body, m.Jobs)
            subs = [view.sub for view in again.body.jobs]
            # The first that ends lets the first that waits begin; and one more may wait.
            list(raw.items(m.Stop(id=raw.next_id(), names=["wait-0"])))
            until(lambda: is_running(raw, f"wait-{RUNNING}"), "the first that waits begins")
            begun = [at for at in range(RUNNING, RUNNING + QUEUED) if is_running(raw, f"wait-{at}")]
            raw.run([b"true"], name="later", env=env())
            waits = raw.wait(*(started(answer).run for answer in runs[:1]))
            list(raw.items(m.Stop(id=raw.next_id(), names=["later", *(f"wait-{at}" for at in range(1, 4))])))
        return subs, more.code, more.message, begun, len(waits)

    def is_running(raw: Raw, name: str) -> bool:
        answer = raw.ask(m.Get(id=raw.next_id(), names=[name]))
        assert isinstance(answer, m.Reply)
        assert isinstance(answer.body, m.Jobs)
        return answer.body.jobs[0].sub in ("start", "running")

    subs, code, message, begun, waits = alice(submit)
    assert subs == ["running"] * RUNNING + ["queued"] * QUEUED
    assert code == errors.LIMIT
    assert message == (
        f"cannot queue another run: {QUEUED} of uid {ALICE} wait, of the {QUEUED} that a user may have; wait until some"
        " have run, or cancel some"
    )
    assert begun == [RUNNING]
    assert waits == 1


def test_environments_are_limited_and_the_same_one_counts_once(tight: Program) -> None:
    path = str(tight.socket)

    def submit() -> tuple[str, str]:
        with Raw(path) as raw:
            for at in range(3):
                answer = raw.run([b"true"], name=f"same-{at}", env=env() | {b"BIG": b"x" * 40_000})
                raw.wait(started(answer).run)
            other = fault(raw.run([b"true"], name="other", env=env() | {b"BIG": b"y" * 40_000}))
        return other.code, other.message

    code, message = bob(submit)
    assert code == errors.LIMIT
    assert f"of the {ENVIRONMENTS} that a user may have" in message


def test_full_logs_hold_up_their_owner_until_there_is_room(tight: Program) -> None:
    path = str(tight.socket)

    def view(raw: Raw, name: str) -> m.JobView:
        answer = raw.ask(m.Get(id=raw.next_id(), names=[name]))
        assert isinstance(answer, m.Reply)
        assert isinstance(answer.body, m.Jobs)
        return answer.body.jobs[0]

    def write() -> str:
        with Raw(path) as raw:
            writer = f"head -c {2 * LOGS} /dev/zero".encode()
            started(raw.run([b"sh", b"-c", writer], name="writer", env=env()))
            return until(lambda: view(raw, "writer").note, "the output is held up")

    assert alice(write) == (f"the logs of uid {ALICE} have as many bytes as a user's may; old ones have to be removed")

    def others() -> int:
        with Raw(path) as raw:
            run = started(raw.run([b"sh", b"-c", b"head -c 100000 /dev/zero"], name="small", env=env())).run
            raw.wait(run)
            return len(output(raw, run))

    assert bob(others) == 100_000
    config = tight.config_dir / "jobd.toml"
    config.write_text(TIGHT.replace(str(LOGS), str(4 * LOGS)))
    tight.jobctl("daemon-reload", check=True)

    def ended() -> int:
        with Raw(path) as raw:
            answer = raw.ask(m.Resolve(id=raw.next_id(), job="writer", run="0"))
            assert isinstance(answer, m.Reply)
            assert isinstance(answer.body, m.Runs)
            return answer.body.runs[0].out_bytes or 0

    assert until(lambda: alice(ended) == 2 * LOGS, "the writer goes on")
    config.write_text(TIGHT)
    tight.jobctl("daemon-reload", check=True)


def test_who_waits_for_a_slot_waits_on_under_the_next_daemon(tight: Program) -> None:
    path = str(tight.socket)

    def submit() -> None:
        with Raw(path) as raw:
            for at in range(RUNNING + 1):
                started(raw.run([b"sleep", b"600"], name=f"on-{at}", env=env()))

    def subs() -> list[str]:
        with Raw(path) as raw:
            answer = raw.ask(m.Get(id=raw.next_id(), names=[f"on-{at}" for at in range(RUNNING + 1)]))
            assert isinstance(answer, m.Reply)
            assert isinstance(answer.body, m.Jobs)
            return [view.sub for view in answer.body.jobs]

    bob(submit)
    tight.replace_daemon()
    assert bob(subs) == ["running"] * RUNNING + ["queued"]
    with Raw(path) as raw:
        list(raw.items(m.Stop(id=1, names=[f"{BOB}/on-0"])))
        until(lambda: bob(subs)[-1] == "running", "the run that waited begins")
        list(raw.items(m.Stop(id=2, names=[f"{BOB}/on-{at}" for at in range(1, RUNNING + 1)])))


# --- half-closed --------------------------------------------------------------------------------------------------
def test_who_has_nothing_more_to_ask_gets_his_answers(tight: Program) -> None:
    with Raw(tight.socket) as raw:
        run = started(raw.run([b"sh", b"-c", b"echo a; exec sleep 600"], name="half", env=env())).run
        raw.send(m.Wait(id=50, runs=[run]), m.Logs(id=51, jobs=["half"]))
        raw.sock.shutdown(socket.SHUT_WR)
        with Raw(tight.socket) as other:
            list(other.items(m.Stop(id=1, names=["half"])))
        answers = raw.drain()
    ended = [a.body for a in answers if isinstance(a, m.Item) and isinstance(a.body, m.Ended)]
    assert [body.run.run for body in ended] == [run]
    assert {a.id for a in answers if isinstance(a, m.End)} == {50, 51}


@pytest.mark.parametrize("half", [False, True])
def test_who_is_gone_leaves_nothing_behind(tight: Program, half: bool) -> None:
    pid = tight.daemon_pid()
    with Raw(tight.socket) as raw:
        run = started(raw.run([b"sleep", b"600"], name=f"gone-{half}", env=env())).run
        before = of_clients(pid)
        with Raw(tight.socket) as other:
            other.send(m.Wait(id=50, runs=[run]))
            if half:
                other.sock.shutdown(socket.SHUT_WR)
                until(lambda: of_clients(pid) >= before + 2, "the daemon waits for the hangup")
        until(lambda: of_clients(pid) <= before, "all is closed")
        list(raw.items(m.Stop(id=60, names=[f"gone-{half}"])))


# --- attacks ------------------------------------------------------------------------------------------------------
def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def of_clients(pid: int) -> int:
    """How many descriptors the daemon has that clients have caused: sockets, and what it waits with."""
    return sum(what.startswith(("socket:", "anon_inode:[eventpoll]")) for what in open_fds(pid).values())


def bobs_work(path: str, sec: float) -> int:
    """Ask, submit, wait and read, again and again; any error ends the process with a trace. How often."""
    end = time.monotonic() + sec
    count = 0
    while time.monotonic() < end or not count:
        with Raw(path) as raw:
            run = started(raw.run([b"echo", b"done"], env=env())).run
            assert raw.wait(run)[run].exit_code == 0
            assert output(raw, run) == b"done\n"
            assert isinstance(raw.ask(m.List(id=raw.next_id())), m.Reply)
        count += 1
    return count


def begin_chatty(path: str) -> None:
    with Raw(path) as raw:
        script = b"head -c 4000000 /dev/zero; exec sleep 600"
        started(raw.run([b"sh", b"-c", script], name="chatty", env=env()))


def end_chatty(path: str) -> None:
    with Raw(path) as raw:
        list(raw.items(m.Stop(id=raw.next_id(), names=["chatty"])))


def is_calm(roomy: Program) -> bool:
    status = roomy.daemon_status()
    return status.connections <= 1 and status.queued == 0 and status.running <= 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda name: name.replace(" ", "-"))
def test_an_attack_is_nobody_elses_concern(roomy: Program, attack: str) -> None:
    path = str(roomy.socket)
    pid = roomy.daemon_pid()
    bob(partial(bobs_work, path, 0))
    alice(partial(begin_chatty, path))
    before, descriptors = rss_bytes(pid), of_clients(pid)
    with users(ALICE, partial(ATTACKS[attack], path)):
        bob(partial(bobs_work, path, ATTACK_SEC))
        growth = rss_bytes(pid) - before
    assert growth < GROWTH_BYTES, f"{attack}: {growth} bytes"
    until(lambda: is_calm(roomy), "nothing of the attack is left")
    until(lambda: of_clients(pid) <= descriptors, "all descriptors are closed")
    assert roomy.daemon_pid() == pid
    alice(partial(end_chatty, path))


@pytest.mark.parametrize("name", BOMBS)
def test_a_frame_bomb_is_answered_and_costs_nothing(roomy: Program, name: str) -> None:
    pid = roomy.daemon_pid()
    before = rss_bytes(pid)
    with Raw(roomy.socket) as raw:
        raw.sock.sendall(BOMBS[name])
        raw.sock.shutdown(socket.SHUT_WR)
        answers = raw.drain()
    assert all(isinstance(answer, m.Fault) for answer in answers)
    assert bool(answers) == (name != "half a frame")
    assert rss_bytes(pid) - before < 8 << 20
