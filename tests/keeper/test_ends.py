"""Ends of runs over calls that the kernel refuses once: what is to be done is done when the loop comes round again."""

from __future__ import annotations

import errno
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from jobd.keeper import tree
from jobd.keeper.ends import ROUND_SEC, Ends
from jobd.keeper.table import Entry

if TYPE_CHECKING:
    from jobd.keeper.link import Message
    from jobd.keeper.loop import Keeper

RUN = b"\1" * 16


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))


class FakeKeeper:
    def __init__(self) -> None:
        self.table = {RUN: Entry(RUN)}
        self.table[RUN].went = True
        self.said: list[Message] = []
        self.send = self.said.append
        self.watched: set[int] = set()
        self.unwatch = self.watched.discard
        self.freezer = SimpleNamespace(emptied=lambda _: None)
        self.daemon = SimpleNamespace(pid=0)
        self.helpers = self.unix_checks = SimpleNamespace(pids=set)
        self.ends = Ends(cast("Keeper", self))


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


def test_a_tree_whose_first_sigkill_is_refused_gets_the_next(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counted as being killed, and nobody did it."""
    entry, killed = keeper.table[RUN], list[Entry]()
    monkeypatch.setattr(tree, "kill_all", refuse)
    keeper.ends.kill(entry)
    monkeypatch.setattr(tree, "kill_all", lambda entry, *_: killed.append(entry))
    monkeypatch.setattr(tree, "all_processes", dict)
    assert keeper.ends.tick(time.monotonic() + 2 * ROUND_SEC) is not None
    assert killed == [entry]
