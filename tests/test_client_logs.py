"""What the trio client does with output, and when its daemon goes: against a fake daemon on a real socket."""

from __future__ import annotations

import _socket
import os
import threading
from typing import TYPE_CHECKING

import pytest
import trio

import jobd.client
from jobd._client.link import Link
from jobd.client import Unavailable
from jobd.wire import codec, errors
from jobd.wire import messages as m
from tests.fakes_daemon import DEADLINE_SEC, NEXT, RUN, FakeDaemon, Peer, answer, log_run, output, started, view

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.client import Chunk, Chunks

pytestmark = pytest.mark.trio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def collect(chunks: Chunks) -> list[Chunk]:
    return [chunk async for chunk in chunks]


async def test_leaving_a_reader_early_tells_the_daemon(path: Path) -> None:
    seen: list[m.Request] = []
    asked = threading.Event()

    def script(peer: Peer) -> None:
        while len(seen) < 4:
            request = peer.receive()
            if isinstance(request, m.Get):  # may come before the Cancel: a finalizer does not wait
                peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[])))
                continue
            seen.append(request)
            if isinstance(request, m.Logs):
                peer.send(log_run(request.id), output(request.id, b"hello\n", 0))
        asked.set()
        answer(peer)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            chunks = jobs.logs("web", follow=True)
            assert (await anext(chunks)).data == b"hello\n"
            await chunks.aclose()
            async for chunk in jobs.logs("web", follow=True):
                assert chunk.data == b"hello\n"
                break
            await jobs.get("web")
            assert await trio.to_thread.run_sync(asked.wait, DEADLINE_SEC)
    assert [type(request) for request in seen] == [m.Logs, m.Cancel, m.Logs, m.Cancel]


async def test_slow_reader_holds_up_nobody_and_loses_nothing(path: Path) -> None:
    """A reader that does not read, on a connection that others use: it is canceled, and resumes where it was."""
    size, total = 65_536, 40
    resumed: list[int] = []

    def script(peer: Peer) -> None:
        canceled: set[int] = set()
        asked: list[m.Request] = []

        def pick_up() -> None:
            request = peer.receive()
            if isinstance(request, m.Cancel):
                canceled.add(request.request)
            elif isinstance(request, m.Get):
                peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[])))
            else:
                asked.append(request)

        while True:
            while not asked:
                pick_up()
            request = asked.pop()
            assert isinstance(request, m.Logs)
            resumed.append(request.out_from)
            peer.send(log_run(request.id))
            for offset in range(request.out_from, size * total, size):
                peer.send(output(request.id, bytes([offset // size]) * size, offset))
                if offset == 4 * size and request.out_from == 0:
                    pick_up()  # the other request comes while the mailbox fills
            peer.send(m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            chunks = jobs.logs("web")
            data = (await anext(chunks)).data
            with trio.fail_after(10):
                assert await jobs.get("web") == []
                assert await jobs.get("web") == []
            data += b"".join([chunk.data async for chunk in chunks])
        assert daemon.connections == 1
    assert data == b"".join(bytes([n]) * size for n in range(total))
    assert len(resumed) > 1


# --- output ---
async def test_logs_give_chunks_with_streams_times_and_gaps(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        assert request == m.Logs(id=1, jobs=["web"], run="all", lines=3, since=5, split=True)
        peer.send(log_run(1, number=1), output(1, b"one\n", 0), output(1, b"two\n", 0, stream=2))
        peer.send(m.Item(id=1, body=m.Progress(job="web", text="waiting")))
        peer.send(m.Item(id=1, body=m.Dropped(run=RUN, stream=1, offset=100, length=96)), output(1, b"x", 100))
        peer.send(log_run(1, NEXT, 2), output(1, b"three", 0, run=NEXT), m.End(id=1))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            found = await collect(jobs.logs("web", run="all", lines=3, since=5, split=True))
    assert [(c.run, c.stream, c.data, c.time, c.offset, c.dropped) for c in found] == [
        (RUN.hex(), "stdout", b"one\n", 1000, 0, 0),
        (RUN.hex(), "stderr", b"two\n", 1000, 0, 0),
        (RUN.hex(), "stdout", b"", 0, 100, 96),
        (RUN.hex(), "stdout", b"x", 1100, 100, 0),
        (NEXT.hex(), "stdout", b"three", 1000, 0, 0),
    ]


# --- a daemon that goes ---
async def test_lost_run_is_asked_again_under_the_same_id(path: Path) -> None:
    runs: list[m.Run] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        assert isinstance(request, m.Run)
        runs.append(request)
        if peer.number == 2:
            peer.send(started(request.id, request.run))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(["make"])
    assert [request.run.hex() for request in runs] == [run.id] * 3
    assert len({(tuple(request.argv), tuple(request.env)) for request in runs}) == 1


async def test_followed_logs_resume_at_the_next_byte(path: Path) -> None:
    asked: list[m.Request] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        asked.append(request)
        id = request.id  # noqa: A001
        if peer.number == 0:
            peer.send(log_run(id, out_from=7, err_from=9), output(id, b"abc", 7))
        elif peer.number == 1:
            peer.send(log_run(id), output(id, b"EE", 9, stream=2), output(id, b"de", 10))
            peer.sock.sendall(b"\0\0\1\0half a frame")
        elif peer.number == 2:  # an old piece again, as when pieces are cut another way
            peer.send(log_run(id), output(id, b"cdef", 9), log_run(id, NEXT, 2), output(id, b"gh", 0, run=NEXT))
        else:
            peer.send(log_run(id, NEXT, 2), output(id, b"i", 2, run=NEXT), m.End(id=id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            found = await collect(jobs.logs("web", follow=True, lines=2))
    assert b"".join(chunk.data for chunk in found if chunk.stream == "stdout") == b"abcdefghi"
    assert b"".join(chunk.data for chunk in found if chunk.stream == "stderr") == b"EE"
    assert asked == [
        m.Logs(id=1, jobs=["web"], follow=True, lines=2),
        m.Logs(id=1, jobs=["web"], follow=True, run=RUN.hex(), out_from=10, err_from=9),
        m.Logs(id=1, jobs=["web"], follow=True, run=RUN.hex(), out_from=12, err_from=11),
        m.Logs(id=1, jobs=["web"], follow=True, run=NEXT.hex(), out_from=2),
    ]


async def test_logs_of_all_runs_resume_without_repeating(path: Path) -> None:
    older = bytes(15) + b"\1"

    def script(peer: Peer) -> None:
        id = peer.receive().id  # noqa: A001
        if peer.number == 0:
            peer.send(log_run(id, RUN, 2, out_from=2), output(id, b"one", 2))
            peer.send(log_run(id, NEXT, 3), output(id, b"tw", 0, run=NEXT))
        else:
            peer.send(log_run(id, older, 1), output(id, b"left out by lines", 0, run=older))
            peer.send(log_run(id, RUN, 2), output(id, b"..one", 0), log_run(id, NEXT, 3))
            peer.send(output(id, b"two", 0, run=NEXT), m.End(id=id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            found = await collect(jobs.logs("web", run="all", lines=2))
    assert b"".join(chunk.data for chunk in found) == b"onetwo"


async def test_lagging_reader_resumes_on_the_same_connection(path: Path) -> None:
    def script(peer: Peer) -> None:
        id = peer.receive().id  # noqa: A001
        peer.send(log_run(id), output(id, b"abc", 0), m.Fault(id=id, code=errors.LAGGED, message="slow"))
        request = peer.receive()
        assert isinstance(request, m.Logs)
        assert request.out_from == 3
        peer.send(log_run(request.id), output(request.id, b"def", 3), m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert b"".join([chunk.data for chunk in await collect(jobs.logs("web"))]) == b"abcdef"
        assert daemon.connections == 1


async def test_wait_goes_on_with_those_that_have_not_ended(path: Path) -> None:
    asked: list[m.Request] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        asked.append(request)
        peer.send(m.Item(id=request.id, body=m.Ended(run=view(RUN if peer.number == 0 else NEXT))))
        if peer.number:
            return  # even the End is lost

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            results = await jobs.wait(runs=[RUN, NEXT])
    assert [result.id for result in results] == [RUN.hex(), NEXT.hex()]
    assert asked == [m.Wait(id=1, runs=[RUN, NEXT]), m.Wait(id=1, runs=[NEXT])]


async def test_lost_re_exec_is_not_asked_for_twice(path: Path) -> None:
    asked: list[m.Request] = []

    def script(peer: Peer) -> None:
        if peer.number == 0:
            asked.append(peer.receive())
        else:
            answer(peer)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(Unavailable, match="cannot tell whether it was done"):
                await jobs.daemon_reexec()
            assert await jobs.get("web")
    assert len(asked) == 1


async def test_lost_kill_is_asked_for_under_the_same_name(path: Path) -> None:
    kills: list[m.Kill] = []

    def script(peer: Peer) -> None:
        while True:
            request = peer.receive()
            assert isinstance(request, m.Kill)
            kills.append(request)
            if peer.number == 0:
                return
            peer.send(m.Item(id=request.id, body=m.Done(job="web")), m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            await jobs.kill("web", signal=10)
            await jobs.kill("web", signal=10)
    names = [kill.once for kill in kills]
    assert names[0] == names[1] != names[2]
    assert all(names)


async def test_all_requests_of_a_lost_connection_go_on(path: Path) -> None:
    def script(peer: Peer) -> None:
        if peer.number == 0:
            for _ in range(5):
                peer.receive()
        else:
            answer(peer)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(jobs.get, "web")
        assert daemon.connections == 2


async def test_daemon_that_leaves_politely_is_followed_by_the_next(path: Path) -> None:
    def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.receive()
            peer.send(m.Fault(code=errors.UNAVAILABLE, message="the daemon is being replaced"))
        else:
            answer(peer)

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert await jobs.get("web")


async def test_socket_that_is_gone_for_a_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(peer: Peer) -> None:
        peer.receive()
        os.unlink(path)

    naps: list[float] = []
    real_sleep = trio.sleep

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if seconds:
            second.__enter__()
        await real_sleep(0)

    with FakeDaemon(path, once) as first:
        async with jobd.client.connect(first.path) as jobs:
            monkeypatch.setattr(trio, "sleep", sleep)
            second = LateDaemon(path)
            try:
                assert await jobs.get("web")
            finally:
                second.__exit__()
    assert naps[:2] == [0.0, 0.05]


class LateDaemon:
    """A second daemon that begins to listen when it is entered for the first time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._daemon: FakeDaemon | None = None

    def __enter__(self) -> None:
        if self._daemon is None:
            self._daemon = FakeDaemon(self._path, answer)
            self._daemon.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self._daemon is not None:
            self._daemon.__exit__(None, None, None)


async def test_gives_up_in_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd._client.session.RETRY_DELAYS_SEC", (0.0, 0.0))

    def script(peer: Peer) -> None:
        peer.receive()

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(Unavailable, match="cannot reach the daemon any more: the connection was closed"):
                await jobs.get("web")
        assert daemon.connections == 3


async def test_a_follower_goes_on_as_long_as_daemons_come_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd._client.session.RETRY_DELAYS_SEC", (0.0, 0.0))

    def script(peer: Peer) -> None:
        request = peer.receive()
        if peer.number == 5:
            peer.send(m.End(id=request.id))
            peer.receive()

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert [chunk async for chunk in jobs.logs("web", follow=True)] == []
        assert daemon.connections == 6


async def test_refusal_is_read_though_the_hello_cannot_be_sent() -> None:
    ours, theirs = _socket.socketpair()
    theirs.sendall(codec.encode(m.Fault(code=errors.LIMIT, message="cannot accept: too many")))
    theirs.close()
    with pytest.raises(Unavailable, match="too many"):
        await Link(ours).greet()
