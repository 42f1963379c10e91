"""The blocking client against a fake daemon on a real socket."""

from __future__ import annotations

import _socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from jobd._client.blocking_channel import Channel
from jobd._client.faults import EXCEPTIONS
from jobd.client import Denied, Invalid, JobdError, NotFound, RunFailed, StartFailed, Unavailable, connect_blocking
from jobd.wire import codec, errors
from jobd.wire import messages as m
from tests.fakes_daemon import DEADLINE_SEC, NEXT, RUN, FakeDaemon, Peer, answer, log_run, output, started, view

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_requests_one_after_another_share_a_connection(path: Path) -> None:
    with FakeDaemon(path, answer) as daemon, connect_blocking(daemon.path) as jobs:
        assert jobs.run(["true"]).wait().check().ok
        assert jobs.get("web", "db")[1].job == "db"
        assert [done.job for done in jobs.start("web")] == ["web"]
        assert jobs.restart("web")
        assert jobs.stop("web", no_block=True)
        assert jobs.kill("web", signal=9)
        assert daemon.connections == 1


def test_methods_send_what_the_trio_client_sends(path: Path) -> None:
    seen: list[m.Request] = []
    daemon_body = m.Daemon(
        version="1", state="running", pid=2, keeper_pid=1, keeper_version="1", socket="s", state_dir="d", mode="user",
        started_at=0, tracking="process", kernel="6", running=0, queued=0, connections=1,
    )  # fmt: skip

    def script(peer: Peer) -> None:
        bodies: list[m.AnyBody] = [
            m.Jobs(jobs=[]), m.Runs(runs=[]), m.Runs(runs=[view()]), daemon_body, m.Ok(), m.Ok()
        ]  # fmt: skip
        for body in bodies:
            seen.append(peer.receive())
            peer.send(m.Reply(id=seen[-1].id, body=body))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert jobs.list(states=["failed"]) == []
        assert jobs.history(since=1, until=2) == []
        assert jobs.result("web", "3").ok
        assert jobs.daemon_status() == daemon_body
        jobs.daemon_reexec(keeper=True)
        jobs.shutdown()
    assert seen == [
        m.List(id=1, states=["failed"]),
        m.History(id=2, since=1, until=2),
        m.Resolve(id=3, job="web", run="3"),
        m.DaemonStatus(id=4),
        m.DaemonReexec(id=5, keeper=True),
        m.Shutdown(id=6),
    ]


def test_failures(path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.send(m.Fault(id=peer.receive().id, code=errors.NOT_FOUND, message="cannot get web: no such job"))
        peer.send(started(peer.receive().id, RUN, step="chdir", errno=2))
        request = peer.receive()
        peer.send(m.Item(id=request.id, body=m.Ended(run=view(result="lost", reason="power"))), m.End(id=request.id))
        answer(peer)

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        with pytest.raises(NotFound, match="cannot get web"):
            jobs.get("web")
        with pytest.raises(StartFailed, match="cannot start true-1: chdir failed"):
            jobs.run(["true"])
        with pytest.raises(RunFailed, match="web has failed: lost: power"):
            jobs.wait(runs=[RUN])[0].check()
        with pytest.raises(Invalid):
            jobs.get("")
        assert jobs.get("db")
        assert daemon.connections == 1


def test_requests_within_a_loop_over_logs(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        if not isinstance(request, m.Logs):
            peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[m.JobView(job="web", owner=0)])))
            answer(peer)
            return
        peer.send(log_run(request.id), *(output(request.id, b"x", offset) for offset in range(3)), m.End(id=request.id))
        answer(peer)

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        for _ in jobs.logs("web"):
            assert jobs.get("web")
        assert jobs.get("web")
        assert daemon.connections == 2


def test_leaving_logs_early_ends_the_request(path: Path) -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        if peer.number:
            answer(peer)
            return
        request = peer.receive()
        peer.send(log_run(request.id), output(request.id, b"x", 0))
        try:
            peer.receive()
        except EOFError:
            ended.set()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        for chunk in jobs.logs("web", follow=True):
            assert chunk.data == b"x"
            break
        assert ended.wait(DEADLINE_SEC)
        assert jobs.get("web")


def test_threads_do_not_wait_for_each_other(path: Path) -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        request = peer.receive()
        if isinstance(request, m.Wait):
            assert release.wait(DEADLINE_SEC)
            peer.send(m.Item(id=request.id, body=m.Ended(run=view())), m.End(id=request.id))
        else:
            peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[])))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(jobs.wait(runs=[RUN])[0].ok))
        thread.start()
        assert jobs.get("web") == []
        release.set()
        thread.join(DEADLINE_SEC)
        assert found == [True]


def test_wait_with_a_timeout(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        if isinstance(request, m.Wait):
            with pytest.raises(EOFError):
                peer.receive()
        else:
            peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[])))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        with pytest.raises(TimeoutError, match=r"^cannot wait longer: not ended after 0\.01 s$"):
            jobs.wait(runs=[RUN], timeout=0.01)
        assert jobs.get("web") == []


def test_a_timeout_holds_for_the_next_daemon_as_well(path: Path) -> None:
    """One that did not greet was waited for without end."""

    def script(peer: Peer) -> None:
        if peer.number:
            peer.receive()
        else:
            peer.hello()
            peer.receive()

    with (
        FakeDaemon(path, script, greets=False) as daemon,
        connect_blocking(daemon.path) as jobs,
        pytest.raises(TimeoutError, match=r"^cannot wait longer: not ended after 0\.05 s$"),
    ):
        jobs.wait(runs=[RUN], timeout=0.05)


def test_an_empty_command_is_refused_before_it_is_sent(path: Path) -> None:
    with FakeDaemon(path, answer) as daemon, connect_blocking(daemon.path) as jobs:
        with pytest.raises(Invalid, match=r"^cannot run an empty command$"):
            jobs.run([])
        assert repr(jobs.run(["true"])).startswith("<BlockingRun ")


def test_lost_run_is_asked_again_under_the_same_id(path: Path) -> None:
    runs: list[m.Request] = []

    def script(peer: Peer) -> None:
        runs.append(peer.receive())
        if peer.number == 2:
            peer.send(started(runs[-1].id, RUN))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert jobs.run(["make"], run_id=RUN).id == RUN.hex()
    assert runs[0] == runs[1] == runs[2]


def test_followed_logs_resume_at_the_next_byte(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        assert isinstance(request, m.Logs)
        done = peer.number * 3
        assert request.out_from == done
        peer.send(log_run(request.id), output(request.id, b"abcdefghi"[done : done + 3], done))
        if peer.number == 2:
            peer.send(m.End(id=request.id))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert b"".join(chunk.data for chunk in jobs.logs("web", follow=True)) == b"abcdefghi"


def test_wait_goes_on_with_those_that_have_not_ended(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        assert isinstance(request, m.Wait)
        assert request.runs == [RUN, NEXT][peer.number :]
        peer.send(m.Item(id=request.id, body=m.Ended(run=view(request.runs[0]))))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert [result.id for result in jobs.wait(runs=[RUN, NEXT])] == [RUN.hex(), NEXT.hex()]


def test_re_exec_looks_whether_its_connection_is_still_there(path: Path) -> None:
    """A daemon replaced between two requests costs nothing, as nothing was sent to it."""
    gone = threading.Event()

    def script(peer: Peer) -> None:
        if peer.number:
            peer.send(m.Reply(id=peer.receive().id, body=m.Ok()))
        else:
            answer(peer, times=1)
            peer.sock.shutdown(2)
            gone.set()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert jobs.get("web")
        assert gone.wait(DEADLINE_SEC)
        jobs.daemon_reexec()
        assert daemon.connections == 2


def test_lost_re_exec_is_not_asked_for_twice(path: Path) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            answer(peer)
        else:
            peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        with pytest.raises(Unavailable, match="cannot tell whether it was done"):
            jobs.daemon_reexec()
        assert jobs.get("web")


def test_gives_up_in_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd._client.session.RETRY_DELAYS_SEC", (0.0, 0.0))

    def script(peer: Peer) -> None:
        peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        with pytest.raises(Unavailable, match="cannot reach the daemon any more: the connection was closed"):
            jobs.get("web")
        assert daemon.connections == 3


def test_a_wait_goes_on_as_long_as_daemons_come_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd._client.session.RETRY_DELAYS_SEC", (0.0, 0.0))

    def script(peer: Peer) -> None:
        request = peer.receive()
        if peer.number == 5:
            peer.send(m.Item(id=request.id, body=m.Ended(run=view())), m.End(id=request.id))
            peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert jobs.wait(runs=[RUN])[0].ok
        assert daemon.connections == 6


def test_no_daemon(path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        connect_blocking(str(path))


@pytest.mark.parametrize(
    ("said", "kind", "why"),
    [
        (m.Hello(version=2, software="jobd 9"), Unavailable, "its protocol is 2"),
        (m.End(id=1), JobdError, "did not say hello"),
        (m.Fault(code=errors.DENIED, message="cannot let you in"), Denied, "cannot let you in"),
    ],
)
def test_daemon_that_cannot_be_used(path: Path, said: m.FromDaemon, kind: type[JobdError], why: str) -> None:
    with (
        FakeDaemon(path, lambda peer: peer.send(said), greets=False) as daemon,
        pytest.raises(kind, match=why),
    ):
        connect_blocking(daemon.path)


def test_refusal_is_read_though_the_hello_cannot_be_sent() -> None:
    ours, theirs = _socket.socketpair()
    theirs.sendall(codec.encode(m.Fault(code=errors.LIMIT, message="cannot accept: too many")))
    theirs.close()
    with pytest.raises(Unavailable, match="too many"):
        Channel(ours)


def test_does_not_load_trio() -> None:
    code = (
        "import sys, jobd.client as c; c.connect_blocking; print('trio' in sys.modules); print(c.Jobs, c.Chunks, c.Run)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "False"


def test_every_code_has_its_exception() -> None:
    assert set(EXCEPTIONS) == set(errors.CODES)
