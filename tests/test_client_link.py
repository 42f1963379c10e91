"""What the trio client's writing task sends, and in which order, while the daemon is slow to read."""

from __future__ import annotations

import _socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from jobd._client.exchanges import One
from jobd._client.link import WAITING_FRAMES, Link
from jobd.wire import codec, frames
from jobd.wire import messages as m
from tests.fakes_daemon import RUN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from jobd._client.link import Mailbox

pytestmark = pytest.mark.trio


class SlowStream:
    """Takes what is sent, and returns when `ready` is set."""

    def __init__(self) -> None:
        self.sent = frames.FrameBuffer()
        self.ready = trio.Event()

    async def send_all(self, data: bytes) -> None:
        self.sent.feed(data)
        await self.ready.wait()

    def seen(self) -> Iterator[tuple[str, int]]:
        """What came, as its kind and the id of the request that it is about."""
        while (body := self.sent.next()) is not None:
            message = codec.decode_client(body)
            assert isinstance(message, m.Wait | m.Cancel)
            yield type(message).__name__, message.request if isinstance(message, m.Cancel) else message.id


@asynccontextmanager
async def writing_to(stream: SlowStream) -> AsyncIterator[Link]:
    ours, theirs = _socket.socketpair()
    link = Link(ours)
    async with link._stream:
        link._stream, real = stream, link._stream  # type: ignore[assignment]  # as much of one as is written to
        yield link
        link._stream = real
    theirs.close()


async def ask(link: Link) -> Mailbox:
    return await link.open(One(m.Wait(id=0, runs=[RUN]), m.Ended))


async def test_a_cancel_that_comes_while_the_queue_is_full_is_sent_once() -> None:
    stream = SlowStream()
    async with writing_to(stream) as link, trio.open_nursery() as nursery:
        nursery.start_soon(link.write)
        first = await ask(link)
        await wait_all_tasks_blocked()  # it is being sent
        others = [await ask(link) for _ in range(WAITING_FRAMES)]
        link.leave(first, cancel=True)
        stream.ready.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    waits = [("Wait", box.id) for box in (first, *others)]
    assert list(stream.seen()) == [*waits[:2], ("Cancel", first.id), *waits[2:]]


@pytest.mark.parametrize("count", [1, WAITING_FRAMES])
async def test_a_request_that_is_not_sent_yet_is_withdrawn(count: int) -> None:
    stream = SlowStream()
    stream.ready.set()
    async with writing_to(stream) as link, trio.open_nursery() as nursery:
        boxes = [await ask(link) for _ in range(count)]
        link.leave(boxes[-1], cancel=True)
        nursery.start_soon(link.write)
        await wait_all_tasks_blocked()
        sent = await ask(link)
        await wait_all_tasks_blocked()
        link.leave(sent, cancel=True)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    waits = [("Wait", box.id) for box in (*boxes[:-1], sent)]
    assert list(stream.seen()) == [*waits, ("Cancel", sent.id)]
