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
