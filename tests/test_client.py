"""The trio client against a fake daemon on a real socket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

import jobd.client
from jobd.client import Conflict, Denied, Invalid, JobdError, NotFound, RunFailed, StartFailed, Unavailable
from jobd.wire import errors, frames
from jobd.wire import messages as m
from jobd.wire.plainpack import packb
from tests.fakes_daemon import NEXT, RUN, FakeDaemon, Peer, answer, started, view

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.trio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


# --- requests ---
async def test_run_sends_what_it_inherits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBD_TEST", "caf\udce9")
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        seen.append(peer.receive())
        assert isinstance(seen[0], m.Run)
        peer.send(started(seen[0].id, seen[0].run))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(["true", b"\xff"], name="t", settings={"stop.timeout": "5s"})
            assert (run.job, run.number, run.pid) == ("true-1", 1, 4711)
    [sent] = seen
    assert isinstance(sent, m.Run)
    assert sent.run.hex() == run.id
    assert (sent.argv, sent.cwd, sent.name) == ([b"true", b"\xff"], os.getcwdb(), "t")
    assert b"JOBD_TEST=caf\xe9" in sent.env
    assert sent.settings == {"stop.timeout": "5s"}
    assert sent.rlimits["nofile"]
    mask = os.umask(0o77)
    os.umask(mask)
    assert sent.umask == mask


async def test_run_sends_what_it_is_given(path: Path, tmp_path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        seen.append(peer.receive())
        assert isinstance(seen[0], m.Run)
        peer.send(started(seen[0].id, seen[0].run))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            await jobs.run(
                "exit 1",
                shell=True,
                run_id=NEXT.hex(),
                env={"A": "1"},
                cwd=tmp_path,
                umask=0o77,
                rlimits={"core": (0, 0)},
                nice=3,
                exec_wait=False,
            )
    assert seen == [
        m.Run(
            id=1,
            run=NEXT,
            argv=[b"exit 1"],
            env=[b"A=1"],
            cwd=os.fsencode(tmp_path),
            shell=True,
            umask=0o77,
            rlimits={"core": (0, 0)},
            nice=3,
            exec_wait=False,
        )
    ]


async def test_failed_exec_says_step_and_errno(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        peer.send(started(request.id, RUN, step="exec", errno=2, text="cannot start nope-1: executing nope: No such …"))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(StartFailed, match="cannot start nope-1") as info:
                await jobs.run(["nope"])
    assert (info.value.step, info.value.errno, info.value.run) == ("exec", 2, RUN.hex())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errors.NOT_FOUND, NotFound),
        (errors.DENIED, Denied),
        (errors.EXISTS, Conflict),
        (errors.BAD_SETTING, Invalid),
        (errors.NO_SPACE, Unavailable),
        ("from-the-future", JobdError),
    ],
)
async def test_faults_become_exceptions(path: Path, code: str, kind: type[JobdError]) -> None:
    def script(peer: Peer) -> None:
        peer.send(m.Fault(id=peer.receive().id, code=code, message="cannot get web: because", details={"job": "web"}))
        answer(peer)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(kind, match="cannot get web: because") as info:
                await jobs.get("web")
            assert (type(info.value), info.value.code, info.value.details) == (kind, code, {"job": "web"})
            assert await jobs.get("db")  # the connection goes on
        assert daemon.connections == 1


async def test_exception_of_the_block_is_not_wrapped(path: Path) -> None:
    async def break_down(socket: str) -> None:
        async with jobd.client.connect(socket) as jobs:
            await jobs.get("web")
            raise ZeroDivisionError

    with FakeDaemon(path, answer) as daemon, pytest.raises(ZeroDivisionError):
        await break_down(daemon.path)


async def test_what_breaks_the_protocol_is_refused_before_sending(path: Path) -> None:
    with FakeDaemon(path, answer) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            for name in ("", "x" * 97, "a\0b", "a\udcff"):
                with pytest.raises(Invalid):
                    await jobs.get(name)
            for command in ("ls -l", [], [""], ["a\0b"]):
                with pytest.raises(Invalid):
                    await jobs.run(command)
            with pytest.raises(Invalid, match="not 32 hex digits"):
                await jobs.wait(runs=["xyz"])
            with pytest.raises(Invalid, match="by its name"):
                jobs.logs("web*")
            assert await jobs.get("db")


async def test_actions_raise_for_the_first_that_failed(path: Path) -> None:
    told: list[str] = []

    def script(peer: Peer) -> None:
        id = peer.receive().id  # noqa: A001
        peer.send(m.Item(id=id, body=m.Progress(job="web", text="stopping web: 1 process left")))
        peer.send(m.Item(id=id, body=m.Done(job="web")))
        peer.send(m.Item(id=id, body=m.Done(job="db", code=errors.DENIED, text="cannot stop db: not yours")))
        peer.send(m.End(id=id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(Denied, match="cannot stop db") as info:
                await jobs.stop("web", "db", progress=lambda progress: told.append(progress.text))
    assert told == ["stopping web: 1 process left"]
    assert [done.job for done in info.value.results] == ["web", "db"]


async def test_handle_acts_on_its_own_run(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        for _ in range(3):
            request = peer.receive()
            seen.append(request)
            if isinstance(request, m.Run):
                peer.send(started(request.id, request.run, owner=61001))
            elif isinstance(request, m.Stop | m.Kill):
                peer.send(m.Item(id=request.id, body=m.Done(job=request.names[0])), m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(["true"], run_id=RUN)
            await run.kill(9, whom="main")
            await run.stop()
    assert run.job == "61001/true-1"
    kill = seen[1]
    assert isinstance(kill, m.Kill)
    assert kill.once
    assert seen[1:] == [
        m.Kill(id=2, names=[run.job], runs=[RUN], signal=9, whom="main", once=kill.once),
        m.Stop(id=3, names=[run.job], runs=[RUN]),
    ]


async def test_list_and_history_turn_pages(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        for page in range(4):
            request = peer.receive()
            seen.append(request)
            more = page % 2 == 0
            if isinstance(request, m.List):
                rows = [m.JobView(job=f"j{page}", owner=0)]
                peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=rows, more="0/j" if more else "")))
            else:
                runs = [view(number=page)] * 2
                peer.send(m.Reply(id=request.id, body=m.Runs(runs=runs, more=9 if more else None)))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert [row.job for row in await jobs.list("j*", all=True, states=["failed"])] == ["j0", "j1"]
            assert len(await jobs.history("web", limit=1002, offset=5)) == 4
    assert seen == [
        m.List(id=1, patterns=["j*"], all=True, states=["failed"]),
        m.List(id=2, patterns=["j*"], all=True, states=["failed"], after="0/j"),
        m.History(id=3, jobs=["web"], limit=1000, offset=5),
        m.History(id=4, jobs=["web"], limit=1000, before=9),
    ]


async def test_wait_check_and_result(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        peer.send(started(request.id, RUN))
        request = peer.receive()
        ended = view(RUN, "exit-code", exit_code=3)
        peer.send(m.Item(id=request.id, body=m.Ended(run=ended)), m.End(id=request.id))
        request = peer.receive()
        peer.send(m.Reply(id=request.id, body=m.Runs(runs=[view(RUN, "signal", signal=9)])))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(["false"])
            with pytest.raises(RunFailed, match="web has failed: exit-code 3"):
                (await run.wait()).check()
            result = await jobs.result("web", "-1")
    assert (result.ok, result.signal, result.describe()) == (False, 9, "signal SIGKILL")


async def test_wait_for_names_waits_for_their_runs(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        rows = [m.JobView(job="web", owner=0, run=RUN), m.JobView(job="db", owner=0)]
        peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=rows)))
        seen.append(peer.receive())
        peer.send(m.Item(id=2, body=m.Ended(run=view())), m.End(id=2))
        request = peer.receive()
        rows = [m.JobView(job="nope", owner=0, load="not-found")]
        peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=rows)))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert [result.id for result in await jobs.wait("web", "db")] == [RUN.hex()]
            with pytest.raises(NotFound, match="cannot wait for nope: no such job"):
                await jobs.wait("nope")
            assert await jobs.wait() == []
    assert seen == [m.Wait(id=2, runs=[RUN])]


# --- many at once ---
async def test_requests_share_a_connection_and_answers_find_their_way(path: Path) -> None:
    def script(peer: Peer) -> None:
        waiting = [peer.receive() for _ in range(20)]
        for request in reversed(waiting):
            assert isinstance(request, m.Get)
            peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[m.JobView(job=request.names[0], owner=0)])))
        peer.send(m.End(id=777))  # nobody asked

    with FakeDaemon(path, script) as daemon:
        found: dict[int, str] = {}
        async with jobd.client.connect(daemon.path) as jobs:

            async def ask(number: int) -> None:
                found[number] = (await jobs.get(f"job{number}"))[0].job

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(ask, number)
        assert found == {number: f"job{number}" for number in range(20)}
        assert daemon.connections == 1


async def test_cancelling_a_request_tells_the_daemon(path: Path) -> None:
    seen: list[m.Request] = []
    send, receive = trio.open_memory_channel[None](1)
    token = trio.lowlevel.current_trio_token()

    def script(peer: Peer) -> None:
        seen.append(peer.receive())
        trio.from_thread.run_sync(send.send_nowait, None, trio_token=token)
        seen.append(peer.receive())
        peer.send(m.Item(id=1, body=m.Ended(run=view())), m.End(id=1))  # it crossed
        answer(peer)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: jobs.wait(runs=[RUN]))
                await receive.receive()
                nursery.cancel_scope.cancel()
            assert await jobs.get("web")
    assert seen == [m.Wait(id=1, runs=[RUN]), m.Cancel(id=2, request=1)]


# --- a daemon that is none ---
async def test_no_daemon(path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot connect to jobd at .*: No such file or directory"):
        async with jobd.client.connect(str(path)):
            pytest.fail("connected to nothing")


async def test_another_version(path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.send(m.Hello(version=2, software="jobd 9"))

    with FakeDaemon(path, script, greets=False) as daemon:
        with pytest.raises(Unavailable, match="cannot speak with jobd 9: its protocol is 2, ours 1") as info:
            async with jobd.client.connect(daemon.path):
                pytest.fail("spoke with a stranger")
        assert info.value.code == errors.VERSION


async def test_another_version_that_says_more(path: Path) -> None:
    hello = {"type": "hello", "version": 2, "software": "jobd 9", "features": ["zstd"]}

    def script(peer: Peer) -> None:
        peer.sock.sendall(frames.pack(packb(hello)))

    refused = pytest.raises(Unavailable, match="cannot speak with jobd 9: its protocol is 2, ours 1")
    with FakeDaemon(path, script, greets=False) as daemon, refused:
        async with jobd.client.connect(daemon.path):
            pytest.fail("spoke with a stranger")


@pytest.mark.parametrize(
    "said", [b"\xff\xff\xff\xff", b"HTTP/1.1 200 OK", b"\0\0\0\1\xc0", b"\0\0\0\x0b\x82\xa4type\xa3end\xa2id\1"]
)
async def test_peer_that_speaks_something_else(path: Path, said: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.sock.sendall(said)

    with FakeDaemon(path, script, greets=False) as daemon, pytest.raises(JobdError, match="cannot understand the"):
        async with jobd.client.connect(daemon.path):
            pytest.fail("spoke with a stranger")


@pytest.mark.parametrize("said", [m.End(id=1), m.Item(id=1, body=m.Ok()), m.Reply(id=1, body=m.Ok())])
async def test_answer_of_another_kind(path: Path, said: m.FromDaemon) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(said)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(JobdError, match="cannot understand the daemon"):
                await jobs.get("web")


async def test_refused_connection_says_why(path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.send(m.Fault(code=errors.LIMIT, message="cannot accept: 64 connections of user 1000 are open"))

    with FakeDaemon(path, script, greets=False) as daemon, pytest.raises(Unavailable, match="64 connections"):
        async with jobd.client.connect(daemon.path):
            pytest.fail("was let in")
