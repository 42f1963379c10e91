"""A signal that is to end a tree gets to each of its processes, also to those that the first look has not met."""

from __future__ import annotations

import errno
import os
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from jobd.host.procs import Process
from jobd.keeper import cgroup, reaching, tree
from jobd.keeper.ends import Ends
from jobd.keeper.link import LinkError
from jobd.keeper.reaching import LATER_SEC, Reaching, reach
from jobd.keeper.requests import Requests
from jobd.keeper.table import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.keeper.link import Message
    from jobd.keeper.loop import Keeper

RUN = b"\1" * 16
BEFORE, AFTER = 100, 10**12  # starts, in clock ticks: before the signal was sent, and after that
Look = dict[int, Process]


def process(pid: int, start: int = BEFORE, state: bytes = b"S", parent: int = 1) -> Process:
    return Process(pid, b"%d (x) %s %d 1 1 %s%d" % (pid, state, parent, b"0 " * 15, start))


class Tree:
    """What one look after the other finds, the last of them for good, and who was sent what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *looks: Iterable[Process]) -> None:
        self.looks = [list(look) for look in looks]
        self.sent: list[tuple[int, int]] = []
        monkeypatch.setattr(tree, "members", self._members)
        monkeypatch.setattr(tree, "send_each", self._send)
        monkeypatch.setattr(tree, "all_processes", dict)
        self.numbers: dict[int, int] = {}  # the last that the kernel has given out, by how many signals were sent
        monkeypatch.setattr(reaching, "last_pid", lambda: self.numbers.get(len(self.sent)))

    def _members(self, *_: object) -> Look:
        seen = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {p.pid: p for p in seen}

    def _send(self, found: Iterable[Process], sig: int) -> list[Process]:
        got = list(found)
        self.sent += [(p.pid, sig) for p in got]
        return got


def entry_of(path: str) -> Entry:
    entry = Entry(RUN)
    entry.cgroup = path
    return entry


def test_a_child_that_is_forked_between_look_and_signal_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Tree(monkeypatch, [process(10)], [process(10), process(11)], [process(11)])
    assert reach(entry_of("/cgroup"), signal.SIGTERM)[1] == 2
    assert seen.sent == [(10, signal.SIGTERM), (11, signal.SIGTERM)]


def test_what_a_program_starts_to_end_well_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Tree(monkeypatch, [process(10)], [process(10), process(11, AFTER)])
    assert reach(entry_of("/cgroup"), signal.SIGTERM)[1] == 1
    assert seen.sent == [(10, signal.SIGTERM)]


@pytest.mark.parametrize("path", ["/cgroup", ""])
def test_in_the_tick_of_the_signal_only_an_orphan_was_there(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A handler of SIGTERM that runs a command was there in the same hundredth of a second, and lost its command."""
    monkeypatch.setattr(time, "clock_gettime", lambda _: BEFORE / os.sysconf("SC_CLK_TCK"))
    seen = Tree(
        monkeypatch, [process(10, 5)], [process(10, 5), process(11, parent=10), process(12), process(13, 5, parent=10)]
    )
    found, _ = begin(keeper, path)
    found.tick(50.0 + LATER_SEC[0])
    assert seen.sent == [(10, signal.SIGTERM), (12, signal.SIGTERM), (13, signal.SIGTERM)]


def test_in_the_tick_of_the_signal_numbers_tell_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler of SIGTERM had left to end well was an orphan in that very tick, and was ended in the middle."""
    monkeypatch.setattr(time, "clock_gettime", lambda _: BEFORE / os.sysconf("SC_CLK_TCK"))
    seen = Tree(monkeypatch, [process(70)], [process(70), process(103, parent=70), process(105)])
    seen.numbers = {0: 100, 1: 104}
    reach(entry_of("/cgroup"), signal.SIGTERM)
    assert [pid for pid, _ in seen.sent] == [70]
    missed = Tree(monkeypatch, [process(70)], [process(70), process(90, parent=70), process(102)])
    missed.numbers = seen.numbers
    reach(entry_of("/cgroup"), signal.SIGTERM)
    assert [pid for pid, _ in missed.sent] == [70, 90, 102]


def test_numbers_that_begin_anew_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: BEFORE / os.sysconf("SC_CLK_TCK"))
    seen = Tree(monkeypatch, [process(70)], [process(70), process(9, parent=70), process(32767), process(12)])
    seen.numbers = {0: 32766, 1: 10}
    reach(entry_of("/cgroup"), signal.SIGTERM)
    assert [pid for pid, _ in seen.sent] == [70, 32767, 12]


def test_the_kernel_says_which_number_it_gave_out_last() -> None:
    before = reaching.last_pid()
    if before is None:
        pytest.skip("this kernel does not say")
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert before != reaching.last_pid()


def test_a_moment_begins_before_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler ran a command while others were still told, and lost it when that took until the next tick."""
    now = iter((2.0, 3.0))
    monkeypatch.setattr(time, "clock_gettime", lambda _: next(now) * 100 / os.sysconf("SC_CLK_TCK"))
    seen = Tree(monkeypatch, [process(10)], [process(10), process(11, 250, parent=10)])
    reach(entry_of("/cgroup"), signal.SIGTERM)
    assert [pid for pid, _ in seen.sent] == [10]


def test_an_orphan_of_one_that_was_missed_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it was told it may have forked; whose parent lives is what that one does to end well."""
    now = iter((2.0, 2.0, 3.0, 4.0))
    monkeypatch.setattr(time, "clock_gettime", lambda _: next(now) * 100 / os.sysconf("SC_CLK_TCK"))
    third = [process(10), process(12, 250), process(13, 350), process(14, 250, parent=10)]
    seen = Tree(monkeypatch, [process(10)], [process(10), process(11)], third, [process(15, 450)], [])
    assert reach(entry_of("/cgroup"), signal.SIGTERM)[1] == 3
    assert [pid for pid, _ in seen.sent] == [10, 11, 12]


def test_who_is_stopped_goes_on_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Tree(monkeypatch, [process(10, state=b"T")])
    reach(entry_of("/cgroup"), signal.SIGTERM)
    assert seen.sent == [(10, signal.SIGTERM), (10, signal.SIGCONT)]


def test_a_tree_that_forks_for_ever_is_left_to_sigkill(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Tree(monkeypatch, *([process(number)] for number in range(1, 100)))
    assert reach(entry_of("/cgroup"), signal.SIGTERM)[1] == cgroup.ROUNDS + 1
    assert len(seen.sent) == cgroup.ROUNDS + 1


def test_a_tree_in_a_cgroup_is_no_reason_to_look_at_all_our_children() -> None:
    """Of thousands of runs that are stopped together each looked at all of them."""
    assert Ends(object()).strangers(entry_of("/cgroup")) == set()  # type: ignore[arg-type]  # nobody to ask


class FakeEnds:
    def strangers(self, entry: Entry | None = None) -> set[int]:  # noqa: ARG002
        return set()


class FakeKeeper:
    def __init__(self) -> None:
        self.table: dict[bytes, Entry] = {}
        self.ends = FakeEnds()
        self.said: list[Message] = []
        self.send = self.said.append
        self.reaching: Reaching
        self.freezer = self.helpers = self.unix_checks = self.mains = self.strays = SimpleNamespace()


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> FakeKeeper:
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    return FakeKeeper()


def begin(keeper: FakeKeeper, path: str = "") -> tuple[Reaching, Entry]:
    entry = keeper.table[RUN] = entry_of(path)
    found = Reaching(cast("Keeper", keeper))
    found.send(entry, signal.SIGTERM)
    return found, entry


def test_without_a_cgroup_there_are_looks_a_while_later(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Tree(monkeypatch, [process(10)], [process(10)], [process(10), process(11), process(12, AFTER)])
    found, _ = begin(keeper)
    assert seen.sent == [(10, signal.SIGTERM)]
    now, times = 50.0, []
    while (at := found.tick(now)) is not None:
        times.append(round(at - now, 3))
        now = at
    assert times == list(LATER_SEC)
    assert seen.sent == [(10, signal.SIGTERM), (11, signal.SIGTERM)]


def test_a_child_of_one_that_was_slow_to_die_is_reached(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked between look and signal, its parent was still there in all looks at once: it lived until the timeout."""
    monkeypatch.setattr(time, "clock_gettime", lambda _: BEFORE / os.sysconf("SC_CLK_TCK"))
    seen = Tree(monkeypatch, [process(70)], [process(70), process(90, parent=70)], [process(90)])
    seen.numbers = {0: 80, 1: 95}
    found, _ = begin(keeper, "/cgroup")
    assert [pid for pid, _ in seen.sent] == [70]
    found.tick(50.0 + LATER_SEC[0])
    assert [pid for pid, _ in seen.sent] == [70, 90]


@pytest.mark.parametrize("why", ["empty", "forgotten"])
def test_what_has_ended_is_not_looked_for(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    seen = Tree(monkeypatch, [process(10)], [process(11)])
    found, entry = begin(keeper)
    if why == "empty":
        entry.empty = True
    else:
        keeper.table.clear()
    assert found.tick(50.0 + LATER_SEC[0]) is None
    assert seen.sent == [(10, signal.SIGTERM)]


def test_a_look_that_fails_is_made_again(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Tree(monkeypatch, [process(10)], [process(10), process(11)])
    found, _ = begin(keeper)
    with monkeypatch.context() as patch:
        patch.setattr(tree, "all_processes", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="open files"):
                found.tick(50.0 + LATER_SEC[0])
    assert found.tick(50.0 + LATER_SEC[0]) is not None
    assert seen.sent == [(10, signal.SIGTERM), (11, signal.SIGTERM)]


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))


def request(keeper: FakeKeeper, found: Reaching) -> Requests:
    keeper.reaching, keeper.freezer = found, SimpleNamespace(thaw=lambda _: None)
    keeper.helpers = keeper.unix_checks = keeper.mains = keeper.strays = SimpleNamespace(handlers={})
    return Requests(cast("Keeper", keeper))


TERM: Message = {"op": "signal", "run": RUN, "o": "term-1", "sig": signal.SIGTERM, "whom": "all"}


def test_a_signal_that_could_not_be_sent_is_sent_when_the_next_daemon_asks(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told that this is done, and the stop lasted until its timeout."""
    keeper.table[RUN] = entry_of("")
    requests = request(keeper, Reaching(cast("Keeper", keeper)))
    with monkeypatch.context() as patch:
        patch.setattr(tree, "members", refuse)
        with pytest.raises(LinkError, match="open files"):
            requests.handle(TERM, {})
    seen = Tree(monkeypatch, [process(10)])
    for repeated, count in ((False, 1), (True, 0)):
        requests.handle(TERM, {})
        assert keeper.said.pop() == {"op": "signaled", "run": RUN, "o": "term-1", "repeated": repeated, "count": count}
    assert seen.sent == [(10, signal.SIGTERM)]


def test_whom_no_descriptor_could_be_had_for_gets_it_a_while_later_and_the_main_process_once(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = keeper.table[RUN] = entry_of("")
    entry.pid, entry.start, entry.pidfd = 10, BEFORE, 1000
    requests = request(keeper, Reaching(cast("Keeper", keeper)))
    sent: list[int] = []
    processes = {pid: process(pid) for pid in (10, 11)}
    monkeypatch.setattr(tree, "members", lambda *_: processes)
    monkeypatch.setattr(tree, "all_processes", dict)
    monkeypatch.setattr(tree, "process", processes.get)
    monkeypatch.setattr(os, "close", lambda _: None)
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, _: sent.append(fd - 990))
    monkeypatch.setattr(os, "pidfd_open", refuse)
    requests.handle(TERM, {})
    assert sent == [10]  # its pidfd is there
    monkeypatch.setattr(os, "pidfd_open", lambda pid: pid + 990)
    for delay in LATER_SEC:
        keeper.reaching.tick(50.0 + delay + 1)
    assert sent == [10, 11]


def test_the_start_of_a_process_is_by_the_same_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "send_each", lambda found, _: list(found))
    me = tree.look([1])[1]
    found = reaching.Reach(entry_of(""), signal.SIGTERM)
    found.tell([])
    ticks = time.clock_gettime(time.CLOCK_BOOTTIME) * 100
    assert 0 <= me.start <= ticks
    assert found.tell([me]) == 1
