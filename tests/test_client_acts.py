"""Acts of the trio client, against a fake daemon on a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import jobd.client
from jobd.client import Conflict, StartFailed
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fakes_daemon import NEXT, RUN, FakeDaemon, Peer, started

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.trio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_rerun_names_the_run_and_makes_the_id_of_the_next(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        while True:
            seen.append(request := peer.receive())
            assert isinstance(request, m.Rerun)
            failed = {"step": "exec", "errno": 2, "text": "cannot start web"} if request.job == "gone" else {}
            peer.send(started(request.id, request.new, **failed))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.rerun("web", "-1")
            await jobs.rerun("", RUN.hex(), run_id=NEXT, exec_wait=False)
            with pytest.raises(StartFailed):
                await jobs.rerun("gone")
    assert seen[:2] == [
        m.Rerun(id=1, new=bytes.fromhex(run.id), job="web", run="-1"),
        m.Rerun(id=2, new=NEXT, run=RUN.hex(), exec_wait=False),
    ]


async def test_freeze_and_thaw(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        while True:
            seen.append(request := peer.receive())
            assert isinstance(request, m.Freeze | m.Thaw)
            for name in request.names:
                code = errors.NOT_APPLICABLE if name == "ended" else ""
                peer.send(m.Item(id=request.id, body=m.Done(job=name, code=code, text="cannot freeze it")))
            peer.send(m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert [done.job for done in await jobs.freeze("a", "b")] == ["a", "b"]
            assert [done.job for done in await jobs.thaw("a")] == ["a"]
            with pytest.raises(Conflict, match="cannot freeze it"):
                await jobs.freeze("ended")
    assert seen[:2] == [m.Freeze(id=1, names=["a", "b"]), m.Thaw(id=2, names=["a"])]


async def test_set_property(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        while True:
            seen.append(request := peer.receive())
            peer.send(m.Reply(id=request.id, body=m.Ok(text="limits.memory: now\nlimits.nice: at the next start")))

    settings = {"limits.memory": "1G", "limits.nice": "5"}
    told = {"limits.memory": "now", "limits.nice": "at the next start"}
    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert await jobs.set_property("web", settings) == told
        with jobd.client.connect_blocking(daemon.path) as blocking:
            assert blocking.set_property("web", settings) == told
    assert seen == [m.SetProperty(id=1, name="web", settings=settings)] * 2


async def test_reset_failed(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        while True:
            seen.append(request := peer.receive())
            peer.send(m.Item(id=request.id, body=m.Done(job="web")), m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert await jobs.reset_failed()
            assert await jobs.reset_failed("web", "w*")
    assert seen == [m.ResetFailed(id=1), m.ResetFailed(id=2, names=["web", "w*"])]


async def test_a_removal_that_is_asked_for_again_means_the_same_job(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        while True:
            seen.append(request := peer.receive())
            if isinstance(request, m.Get):
                peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=views)))
            elif peer.number == 0:
                return  # the answer is lost
            else:
                assert isinstance(request, m.Remove)
                for name in request.names:
                    peer.send(m.Item(id=request.id, body=m.Progress(job=name, text="waiting")))
                    code = errors.EXISTS if name == "runs" else ""
                    peer.send(m.Item(id=request.id, body=m.Done(job=name, code=code, text="cannot remove it")))
                peer.send(m.End(id=request.id))

    views = [m.JobView(job="web", owner=7, run=RUN), m.JobView(job="wet", owner=0, load="not-found")]
    told: list[str] = []
    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            done = await jobs.remove("web", "wet", purge=True, progress=lambda p: told.append(p.text))
            assert [d.job for d in done] == ["web", "wet"]
            views[:] = [m.JobView(job="web", owner=7, run=RUN)]
            assert [d.job for d in await jobs.remove("w*", stop=True)] == ["web"]
            views[:] = []
            assert await jobs.remove("w*") == []
            views[:] = [m.JobView(job="runs", owner=7)]
            with pytest.raises(Conflict):
                await jobs.remove("runs")
    removes = [request for request in seen if isinstance(request, m.Remove)]
    assert [(r.names, r.runs, r.stop, r.purge) for r in removes] == [
        (["web", "wet"], [RUN, bytes(16)], False, True),
        (["web", "wet"], [RUN, bytes(16)], False, True),
        (["7/web"], [RUN], True, False),
        (["runs"], [bytes(16)], False, False),
    ]
    assert told == ["waiting", "waiting"]


async def test_the_blocking_client_asks_the_same(path: Path) -> None:
    seen: list[m.Request] = []

    def script(peer: Peer) -> None:
        while True:
            seen.append(request := peer.receive())
            match request:
                case m.Rerun():
                    failed = {"step": "exec", "errno": 2} if request.job == "gone" else {}
                    peer.send(started(request.id, request.new, **failed))
                case m.Get():
                    peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[m.JobView(job="web", owner=7, run=RUN)])))
                case _:
                    peer.send(m.Item(id=request.id, body=m.Done(job="web")), m.End(id=request.id))

    with FakeDaemon(path, script) as daemon, jobd.client.connect_blocking(daemon.path) as jobs:
        assert jobs.rerun("web", "2", run_id=NEXT).id == NEXT.hex()
        with pytest.raises(StartFailed):
            jobs.rerun("gone", run_id=NEXT)
        for act in (jobs.freeze, jobs.thaw, jobs.reset_failed, jobs.remove):
            assert [done.job for done in act("web")] == ["web"]
        assert jobs.remove("web", stop=True, purge=True)
    assert seen == [
        m.Rerun(id=1, new=NEXT, job="web", run="2"),
        m.Rerun(id=2, new=NEXT, job="gone"),
        m.Freeze(id=3, names=["web"]),
        m.Thaw(id=4, names=["web"]),
        m.ResetFailed(id=5, names=["web"]),
        m.Get(id=6, names=["web"]),
        m.Remove(id=7, names=["web"], runs=[RUN]),
        m.Get(id=8, names=["web"]),
        m.Remove(id=9, names=["web"], stop=True, purge=True, runs=[RUN]),
    ]
