"""A page of history is empty at the end alone, however far apart what one may see lies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.core.policy import Policy, Rule
from jobd.host.peer import Peer
from jobd.rpc.access import Access
from jobd.rpc.context import Context
from jobd.rpc.handlers import history
from jobd.store import pages
from jobd.wire import messages as m
from tests.store.helpers import Book, run_id

if TYPE_CHECKING:
    from pathlib import Path

ALICE, BOB = 61001, 61002
WEBS = Rule(line=1, uids=frozenset({BOB}), actions=("status",), jobs=("web",))


class Answer:
    def __init__(self) -> None:
        self.pages: list[m.Runs] = []
        self.share = self

    async def turn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def reply(self, _request: int, body: m.AnyBody) -> None:
        assert isinstance(body, m.Runs)
        self.pages.append(body)


def no_spec(key: bytes) -> None:
    raise KeyError(key)


@pytest.mark.parametrize("offset", [0, 1, 2])
async def test_pages_of_what_is_seen_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    monkeypatch.setattr(pages, "SCAN_ROWS", 4)
    with Book(tmp_path) as book:
        for n in range(60):
            last = book.accept(run_id(n), "web" if n % 25 == 3 else f"make-{n % 3}", ALICE)
        book.durable(last)
        registry = SimpleNamespace(store=book.store, jobs={}, runs={}, run=lambda *_: None, spec=no_spec)
        world = SimpleNamespace(registry=registry)
        seen = [53, 28, 3]
        for uid, expected in ((BOB, seen), (ALICE, list(range(59, -1, -1))), (0, list(range(59, -1, -1))), (7, [])):
            answer = Answer()
            access = Access(Policy(allow=(WEBS,)), shared=True)
            context = Context(world, answer, Peer(uid, uid, 1), access)  # type: ignore[arg-type]  # doubles
            found: list[bytes] = []
            before, skip = None, offset
            while True:
                await history.history(context, m.History(id=1, limit=2, before=before, offset=skip))
                page = answer.pages[-1]
                found += [view.run for view in page.runs]
                before, skip = page.more, 0
                if before is None:
                    break
                assert page.runs
            assert found == [run_id(n) for n in expected[offset:]], uid
