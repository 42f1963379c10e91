"""Ends of runs over calls that the kernel refuses once: what is to be done is done when the loop comes round again."""

from __future__ import annotations

import errno
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from jobd.host import pidfd, procs
from jobd.keeper import tree
from jobd.keeper.ends import ROUND_SEC, Ends
from jobd.keeper.helpers import Helpers
from jobd.keeper.table import Entry, Helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

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
        self.handlers: dict[int, Callable[..., object]] = {}
        self.watch = self.handlers.__setitem__
        self.unwatch = self.handlers.pop
        self.freezer = SimpleNamespace(emptied=lambda _: None, adopt=lambda _: None)
        self.daemon = SimpleNamespace(pid=0)
        self.helpers = self.unix_checks = SimpleNamespace(pids=set, adopt=lambda _: None)
        self.ends = Ends(cast("Keeper", self))


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


def foreign(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A run of another keeper that ends now, with an empty tree."""
    entry = keeper.table[RUN]
    entry.pid, entry.pidfd, entry.child = 4, 1004, False
    monkeypatch.setattr(procs, "process", lambda _: None)
    monkeypatch.setattr(pidfd, "exit_status", lambda _: 7)
    monkeypatch.setattr(pidfd, "keeps_exit_status", lambda: True)
    monkeypatch.setattr(tree, "members", lambda *_: {})
    keeper.ends.adopt(entry)
    assert keeper.handlers.keys() == {1004}
    return entry


@pytest.mark.parametrize(("module", "name"), [(pidfd, "keeps_exit_status"), (os, "wait4")])
def test_the_end_of_anothers_child_is_asked_for_again(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    """Nobody waited for it any more."""
    entry = foreign(keeper, monkeypatch)
    keeper.ends.own[entry.pid] = entry  # it may have become ours when its parent ended
    with monkeypatch.context() as patch:
        patch.setattr(module, name, refuse)
        with pytest.raises(OSError, match="open files"):
            keeper.handlers[1004]()
    monkeypatch.setattr(os, "wait4", lambda *_: (0, 0, None))
    for handler in [*keeper.handlers.values(), lambda: keeper.ends.tick(time.monotonic())]:
        handler()
    assert [(message["op"], message["status"]) for message in keeper.said] == [("exited", 7)]
    assert not keeper.handlers


def test_an_end_of_anothers_child_is_told_when_its_tree_can_be_looked_at_again(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = foreign(keeper, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(tree, "members", refuse)
        with pytest.raises(OSError, match="open files"):
            keeper.handlers[1004]()
    assert not keeper.said
    assert keeper.ends.unreaped
    monkeypatch.setattr(os, "wait4", lambda *_: (0, 0, None))
    keeper.ends.reap()
    assert [(message["op"], message["empty"]) for message in keeper.said] == [("exited", True)]
    assert entry.empty
    assert not keeper.ends.unreaped


@pytest.mark.parametrize("why", ["forgotten", "another main process"])
def test_an_end_that_is_untold_and_does_not_hold_any_more_is_not_told(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    entry = foreign(keeper, monkeypatch)
    monkeypatch.setattr(tree, "members", refuse)
    with pytest.raises(OSError, match="open files"):
        keeper.handlers[1004]()
    if why == "forgotten":
        keeper.table.clear()
    else:
        entry.exit = None
    monkeypatch.setattr(os, "wait4", lambda *_: (0, 0, None))
    keeper.ends.reap()
    assert not keeper.said


def test_the_end_of_anothers_helper_is_asked_for_again(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = Helper("reload-1")
    helper.pidfd = os.open(os.devnull, os.O_RDONLY)
    keeper.table[RUN].helpers = {helper.o: helper}
    Helpers(cast("Keeper", keeper)).adopt(keeper.table[RUN])
    [ended] = keeper.handlers.values()
    monkeypatch.setattr(pidfd, "exit_status", lambda _: 7)
    with monkeypatch.context() as patch:
        patch.setattr(pidfd, "keeps_exit_status", refuse)
        with pytest.raises(OSError, match="open files"):
            ended()
    assert list(keeper.handlers.values()) == [ended]
    ended()
    assert [(message["op"], message["status"]) for message in keeper.said] == [("helper-done", 7)]


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


def test_a_sigkill_that_is_refused_is_in_nobodys_way(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the table was refused it in each round, and those behind it were never killed."""
    first, killed = keeper.table[RUN], list[Entry]()
    other = keeper.table[b"\2" * 16] = Entry(b"\2" * 16)
    first.killing = other.killing = 1

    def kill_all(entry: Entry, *_: object) -> None:
        if entry is first:
            refuse()
        killed.append(entry)

    monkeypatch.setattr(tree, "kill_all", kill_all)
    monkeypatch.setattr(tree, "all_processes", dict)
    keeper.ends._round_at = 0.0
    keeper.ends.tick(time.monotonic())
    assert killed == [other]
