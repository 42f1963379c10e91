"""The clients' readers of changes, trio's and the blocking one alike: against a fake daemon on a real socket."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import trio

import jobd.client
from jobd.client import Change, Missed, NotFound, connect_blocking
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fakes_daemon import DEADLINE_SEC, FakeDaemon, Peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.trio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def change(seq: int) -> m.Change:
    return m.Change(seq=seq, at=seq, kind="started", job="web", owner=0)


async def read(path: Path, script: Callable[[Peer], None], blocking: bool, **asked: int | bool | None) -> list[object]:
    """All that `events` gives, and the cursor at last."""
    found: list[object] = []
    with FakeDaemon(path, script) as daemon:
        if blocking:
            with connect_blocking(daemon.path) as jobs:
                told = jobs.events("web", **asked)  # type: ignore[arg-type]  # a test's own words
                found += [*told, told.cursor]
        else:
            async with jobd.client.connect(daemon.path) as client:
                changes = client.events("web", **asked)  # type: ignore[arg-type]  # as above
                found += [each async for each in changes]
                found.append(changes.cursor)
    return found


@pytest.mark.parametrize("blocking", [False, True])
async def test_changes_go_on_behind_the_last_and_none_comes_twice(path: Path, blocking: bool) -> None:
    asked: list[m.Request] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        asked.append(request)
        told: list[list[m.AnyBody]] = [
            [change(2), change(4)],
            [change(4), m.Reached(seq=8)],
            [m.Missed(after=8, before=11)],
            [m.Missed(after=8, before=11), change(12)],
        ]
        peer.send(*(m.Item(id=request.id, body=body) for body in told[peer.number]))
        if peer.number == 3:
            peer.send(m.End(id=request.id))

    found = await read(path, script, blocking, follow=True, lines=2)
    assert found == [change(2), change(4), Missed(after=8, before=11), change(12), 12]
    assert [(request.after, request.lines) for request in asked if isinstance(request, m.Events)] == [
        (None, 2), (4, None), (8, None), (8, None),
    ]  # fmt: skip


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_reader_who_has_seen_nothing_keeps_what_he_asked_for(path: Path, blocking: bool) -> None:
    asked: list[m.Request] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        asked.append(request)
        if peer.number:
            peer.send(m.Item(id=request.id, body=m.Reached(seq=6)), m.End(id=request.id))

    assert await read(path, script, blocking, after=6, lines=3, since=5, until=9) == [6]
    wanted = m.Events(id=1, jobs=["web"], after=6, lines=3, since=5, until=9)
    assert asked == [wanted, wanted]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_cursor_of_another_database_begins_anew(path: Path, blocking: bool) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        gap = m.Missed(after=900, before=0)
        peer.send(*(m.Item(id=request.id, body=body) for body in (gap, change(2))), m.End(id=request.id))

    assert await read(path, script, blocking, after=900) == [Missed(after=900, before=0), change(2), 2]


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_unknown_job(path: Path, blocking: bool) -> None:
    def script(peer: Peer) -> None:
        peer.send(m.Fault(id=peer.receive().id, code=errors.NOT_FOUND, message="cannot find job 'web'"))

    with pytest.raises(NotFound, match="cannot find job 'web'"):
        await read(path, script, blocking)


async def test_leaving_early_tells_the_daemon(path: Path) -> None:
    seen: list[m.Request] = []
    told = threading.Event()

    def script(peer: Peer) -> None:
        request = peer.receive()
        peer.send(m.Item(id=request.id, body=change(2)))
        seen.append(peer.receive())
        told.set()

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            changes = jobs.events(follow=True)
            assert isinstance(await anext(changes), Change)
            await changes.aclose()
            assert await trio.to_thread.run_sync(told.wait, DEADLINE_SEC)
    assert isinstance(seen[0], m.Cancel)
