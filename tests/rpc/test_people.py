"""Names of users are looked up in a thread, believed for a while, and waited for only so long."""

from __future__ import annotations

import pwd
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from jobd.host.peer import Peer
from jobd.rpc import people
from jobd.rpc.access import Access
from jobd.rpc.context import MAX_NAMES, Context, Refused
from jobd.rpc.people import KNOWN_SEC, UNKNOWN_SEC, People
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock


class Book:
    """A user database that notes where it was asked."""

    def __init__(self) -> None:
        self.uids = {"alice": 61001, "twin": 61001, "bob": 61002}
        self.threads: set[int] = set()
        self.asked: list[object] = []

    def getpwnam(self, name: str) -> object:
        self.threads.add(threading.get_ident())
        self.asked.append(name)
        if name not in self.uids:
            raise KeyError(name)
        return SimpleNamespace(pw_uid=self.uids[name], pw_name=name)

    def getpwuid(self, uid: int) -> object:
        self.asked.append(uid)
        for name, found in self.uids.items():
            if found == uid:
                return SimpleNamespace(pw_uid=uid, pw_name=name)
        raise KeyError(uid)


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    made = Book()
    monkeypatch.setattr(people, "pwd", made)
    yield made
    assert threading.get_ident() not in made.threads


async def test_what_is_known_and_for_how_long(book: Book, autojump_clock: MockClock) -> None:
    known = People()
    assert known.uid("alice") is None  # nothing is asked in the loop
    assert known.uid("61007") == 61007
    assert known.uid("0x10") is known.uid("٣") is known.uid("99999999999") is None
    assert known.unknown(["alice", "61007", "ghost"], [61002]) == ["alice", "ghost", 61002]
    await known.learn(["alice", "ghost", 61002], 61001)
    assert (known.uid("alice"), known.uid("ghost"), known.uid("bob")) == (61001, None, 61002)
    assert (known.shown(61002), known.shown(61009)) == ("bob", "61009")
    assert known.unknown(["alice", "ghost"], [61002]) == []
    await trio.sleep(UNKNOWN_SEC + 1)
    assert known.unknown(["alice", "ghost"], [61002]) == ["ghost"]
    await trio.sleep(KNOWN_SEC)
    assert known.unknown(["alice", "ghost"], [61002]) == ["alice", "ghost", 61002]
    assert autojump_clock.current_time() > KNOWN_SEC


async def test_a_name_that_leads_elsewhere_is_not_shown(book: Book) -> None:
    book.uids = {"mallory": 7}
    known = People()
    await known.learn(["mallory"], 61001)
    book.uids["mallory"] = 8
    assert known.uid("mallory") == 7
    await known.learn([7], 61001)
    assert known.shown(7) == "7"


async def test_who_cannot_be_asked_is_nobody_for_a_while(book: Book) -> None:
    known = People()
    known.give_up(["alice", 61001])
    assert known.unknown(["alice"], [61001]) == []
    assert known.uid("alice") is None
    assert book.asked == []


async def test_it_forgets_rather_than_grows(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "MAX_KNOWN", 3)
    known = People()
    for n in range(20):
        await known.learn([f"ghost{n}"], 61001)
        assert len(known._uids) <= 5


def test_no_uid_is_read_into_a_name() -> None:
    for word in ("", "-1", "+1", "1_0", " 1", "1 ", "0day", "1e3", "²"):
        assert people.uid_in(word) is None
    with pytest.raises(KeyError):
        pwd.getpwnam("0day")
    assert people.uid_of("a\0b") is None


async def test_a_request_names_only_so_many_users(book: Book) -> None:
    access = Access(shared=True)
    context = Context(None, None, Peer(61001, 61001, 1), access)  # type: ignore[arg-type]  # nobody gets so far
    request = m.Get(id=1, names=[f"ghost{n}/web" for n in range(MAX_NAMES + 1)])
    with pytest.raises(Refused, match="more than 64 users"):
        await context.learn(request)
    assert book.asked == []


async def test_who_does_not_wait_any_more_asks_nothing_more(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    known, asked, go = People(), threading.Event(), threading.Event()
    monkeypatch.setattr(people, "MAX_THREADS", 1)

    def slow(name: str) -> object:
        book.asked.append(name)
        asked.set()
        assert go.wait(30)
        raise KeyError(name)

    monkeypatch.setattr(book, "getpwnam", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(known.learn, ["a", "b"], 61001)
        with trio.fail_after(30):
            await trio.to_thread.run_sync(asked.wait)
        nursery.cancel_scope.cancel()
    go.set()
    with trio.fail_after(30):
        async with known._asking[61001]:  # the thread has ended
            assert book.asked == ["a"]


async def test_who_asks_for_what_hangs_keeps_nobody_else_waiting(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    known, go, usual = People(), threading.Event(), book.getpwnam

    def slow(name: str) -> object:
        assert name == "bob" or go.wait(30)
        return usual(name)

    monkeypatch.setattr(book, "getpwnam", slow)
    async with trio.open_nursery() as nursery:
        for n in range(2 * people.MAX_THREADS):
            nursery.start_soon(known.learn, [f"slow{n}"], 61001)
        await wait_all_tasks_blocked()
        with trio.fail_after(30):
            await known.learn(["bob"], 61002)
        assert known.uid("bob") == 61002
        go.set()
    await known.learn([61002], 61002)
    assert set(known._asking) == {61002}
