"""What the handle of a run gives of its output: against a fake daemon on a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import jobd.client
from jobd.client import NotFound
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fakes_daemon import NEXT, RUN, FakeDaemon, Peer, log_run, output, started
from tests.test_client_logs import collect

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.trio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_logs_of_a_handle_end_with_its_run(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        peer.send(started(request.id, RUN))
        request = peer.receive()
        assert request == m.Logs(id=2, jobs=["true-1"], run=RUN.hex(), follow=True, one_run=True)
        peer.send(log_run(2), output(2, b"x", 0), log_run(2, NEXT, 2), output(2, b"y", 0, run=NEXT))
        assert peer.receive() == m.Cancel(id=3, request=2)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(["true"], run_id=RUN)
            assert [chunk.data for chunk in await collect(run.logs(follow=True))] == [b"x"]


async def test_logs_of_a_handle_are_read_when_its_job_was_removed(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        peer.send(started(request.id, RUN))
        for jobs in (["true-1"], []):
            request = peer.receive()
            assert request == m.Logs(id=request.id, jobs=jobs, run=RUN.hex(), one_run=True)
            if jobs:
                peer.send(m.Fault(id=request.id, code=errors.NOT_FOUND, message="gone"))
        peer.send(log_run(request.id), output(request.id, b"x", 0), m.End(id=request.id))
        request = peer.receive()
        assert request == m.Logs(id=request.id, jobs=[], run=RUN.hex())
        peer.send(m.Fault(id=request.id, code=errors.NOT_FOUND, message="gone"))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(["true"], run_id=RUN)
            assert [chunk.data for chunk in await collect(run.logs())] == [b"x"]
            with pytest.raises(NotFound):
                await collect(jobs.logs("", run=RUN.hex()))
