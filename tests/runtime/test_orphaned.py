"""A daemon whose keeper has died: nothing that goes wrong then may end it, for all runs depend on it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from jobd.keeper import handover
from jobd.keeper.link import Link
from jobd.runtime import launching, orphaned
from jobd.runtime.orphaned import Orphanage
from tests.runtime.fakes import HELPER, WELCOME, Bed, serving

if TYPE_CHECKING:
    from pathlib import Path


def orphanage_of(bed: Bed, tmp_path: Path) -> tuple[Orphanage, trio.Event]:
    bed.registry.state_dir = tmp_path
    bed.keeper.welcome = replace(WELCOME, mode="system")  # init would start the next keeper
    lost = trio.Event()
    return Orphanage(bed.registry, lost, lambda: orphaned.Parts(-1, -1, (-1, -1)), trio.Event()), lost


async def test_a_run_that_had_not_gone_when_the_keeper_died_does_not_end_the_daemon(tmp_path: Path) -> None:
    for _ in range(8):  # in whatever order the tasks are woken
        bed = Bed()
        orphanage, lost = orphanage_of(bed, tmp_path)
        async with trio.open_nursery() as nursery:
            await nursery.start(bed.registry.serve)
            nursery.start_soon(orphanage.run)
            bed.journal.held = []
            run = bed.submit()
            await wait_all_tasks_blocked()
            run.pidfd = os.pidfd_open(os.getpid())
            lost.set()
            bed.keeper.alive = False
            bed.registry.lose_keeper()
            for commit in bed.journal.held:
                commit.settle(None)
            run.close_fds()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_run_that_ended_during_a_handover_that_failed_is_left_alone(tmp_path: Path) -> None:
    bed = Bed()
    orphanage, _ = orphanage_of(bed, tmp_path)
    bed.registry.handing_over = trio.Event()
    reader, writer = os.pipe()
    orphanage._take_back([({"run": b"x" * 16}, {"out": reader, "pidfd": -1})])
    os.close(writer)
    assert bed.registry.handing_over is None
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reader)


async def test_what_services_have_goes_along_and_stays_ours_if_nobody_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = Bed()
    for fake in (bed.registry.streams.pump, bed.registry.streams.feeder):
        monkeypatch.setattr(fake, "release_all", dict, raising=False)
    orphanage, _ = orphanage_of(bed, tmp_path)
    async with serving(bed):
        run = bed.submit(type="notify")
        await wait_all_tasks_blocked()
        run.notify, writer = os.pipe()
        run.eof = True
        run.on_keeper("helper-done", {"o": "reload-1", **HELPER, "done": True, "status": 256}, {})
        run.on_keeper("helper-started", {"o": "check-1", **HELPER}, {})
        ((message, fds),) = orphanage._entries()
        helpers = message["helpers"]
        assert isinstance(helpers, list)
        assert [(one["o"], one["done"]) for one in helpers] == [("reload-1", True), ("check-1", False)]
        assert fds["notify"] == run.notify
        bed.registry.handing_over = trio.Event()
        orphanage._take_back([(message, {name: fd for name, fd in fds.items() if name in ("pidfd", "notify")})])
        assert "notify" not in run.held
        assert os.fstat(run.notify)
        os.close(writer)


async def test_a_socket_for_the_next_keeper_that_cannot_be_made_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def full(state_dir: str, _held: int) -> None:
        tried.append(state_dir)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(handover, "listen", full)
    monkeypatch.setattr(orphaned, "LISTEN_SEC", 0.0)
    orphanage, lost = orphanage_of(Bed(), tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(orphanage.run)
        lost.set()
        with trio.fail_after(5):
            while len(tried) < 3:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("said", "read_its_byte", "word"), [(b"chdir:2", False, "chdir:2"), (b"exec:2", True, "exec:2"), (b"", False, "")]
)
def test_the_last_word_of_a_child_is_read_though_it_left_bytes_unread(
    said: bytes, read_its_byte: bool, word: str
) -> None:
    ours, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(launching.GO)
        if read_its_byte:
            child.recv(1)
        if said:
            child.send(said)
        child.close()
        assert launching._last_word(ours) == word


async def test_without_room_for_what_is_to_be_written_nothing_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bed = Bed()
    orphanage, _ = orphanage_of(bed, tmp_path)
    monkeypatch.setattr(bed.journal, "flush", trio.sleep_forever)
    monkeypatch.setattr(orphanage, "_entries", None)  # nothing is taken from the pump
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert not await orphanage._give(Link(ours))
    assert trio.current_time() == orphaned.FLUSH_SEC
    assert bed.registry.handing_over is None


async def test_a_handover_that_fails_ends_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(*_: object) -> bool:
        raise OSError(9, "Bad file descriptor")

    bed = Bed()
    orphanage, _ = orphanage_of(bed, tmp_path)
    monkeypatch.setattr(handover, "give", give)
    for fake in (bed.registry.streams.pump, bed.registry.streams.feeder):
        monkeypatch.setattr(fake, "release_all", dict, raising=False)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert not await orphanage._give(Link(ours))
    assert bed.registry.handing_over is None


async def test_without_a_descriptor_left_a_run_is_watched_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    def dup(_: int) -> int:
        tried.append(trio.current_time())
        raise OSError(24, "Too many open files")

    tried: list[float] = []
    bed = Bed()
    orphanage, _ = orphanage_of(bed, tmp_path)
    async with serving(bed), trio.open_nursery() as nursery:
        run = bed.submit()
        await wait_all_tasks_blocked()
        run.pidfd = os.eventfd(0)
        monkeypatch.setattr(orphaned, "exit_status", lambda _: 256)
        real = os.dup
        monkeypatch.setattr(os, "dup", dup)
        nursery.start_soon(orphanage._watch, run)
        await trio.sleep(3 * orphaned.SHORT_SEC)
        assert 2 <= len(tried) <= 4
        assert run.ending is None
        monkeypatch.setattr(os, "dup", real)
        os.eventfd_write(run.pidfd, 1)
        await trio.sleep(2 * orphaned.SHORT_SEC)
        assert run.ending is not None
        assert run.ending.status == 256


async def test_a_new_keeper_that_cannot_be_accepted_yet_is_not_asked_for_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    def accept(_: object) -> None:
        tried.append(trio.current_time())
        assert len(tried) < 100, "it spins"

    tried: list[float] = []
    orphanage, _ = orphanage_of(Bed(), tmp_path)
    monkeypatch.setattr(handover, "accept", accept)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, trio.move_on_after(10 * orphaned.SHORT_SEC):
        theirs.send(b"x")
        await orphanage._hand_over(ours)
    assert 2 <= len(tried) <= 11
