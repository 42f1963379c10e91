"""What a client that feeds a run is told, and what becomes of its Inputs, without a thread or a file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from jobd.rpc.feeding import Feeding
from jobd.runtime.feeder import Feed
from jobd.runtime.feeder_thread import Fed
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.feeder import Feeder
    from jobd.runtime.run import Run

RUN = bytes(16)


class Thread:
    """In the feeder's place: what would be written."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def feed(self, run: bytes, data: bytes) -> None:
        assert run == RUN
        self.taken.append(data)


def feeding(stdin: str = "pipe") -> tuple[Feeding, Thread]:
    run = SimpleNamespace(id=RUN, spec=SimpleNamespace(stdin=stdin))
    made = Feeding(cast("Run", run), Feed())
    made.take_over()
    return made, Thread()


def send(to: Feeding, thread: Thread, offset: int, data: bytes = b"", *, eof: bool = False) -> None:
    to.feed(cast("Feeder", thread), m.Input(id=1, request=1, offset=offset, data=data, eof=eof))


def test_what_comes_twice_is_taken_once() -> None:
    client, thread = feeding()
    send(client, thread, 0, b"abc")
    send(client, thread, 1, b"bcde")
    send(client, thread, 0, b"abcde")
    assert thread.taken == [b"abc", b"de"]


def test_the_end_is_confirmed_when_it_is_on_disk_and_not_before() -> None:
    """Else a client whose daemon dies in between would not send it again, and the run wait for ever."""
    client, thread = feeding()
    send(client, thread, 0, b"abc", eof=True)
    assert thread.taken == [b"abc", b""]
    assert client.state().open
    client.stdin.note(Fed(RUN, "fed", received=3))
    assert client.state().open
    send(client, thread, 3, b"more", eof=True)  # there is none behind the end
    assert thread.taken == [b"abc", b""]
    client.stdin.note(Fed(RUN, "fed", received=3, ended=True))
    assert not client.state().open


def test_a_terminal_has_no_end() -> None:
    client, thread = feeding("pty")
    send(client, thread, 0, b"abc", eof=True)
    send(client, thread, 3, b"de")
    assert thread.taken == [b"abc", b"de"]
    assert client.state().open
