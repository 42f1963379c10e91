"""Who is let in, and whose turn it is: pure of sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from jobd.core.policy import UserLimits
from jobd.rpc.shares import ALONE_AFTER_SEC, ALONE_SEC, SLICE_SEC, Share, Shares, Turns

if TYPE_CHECKING:
    import pytest

A, B, ROOT = 61001, 61002, 0


def shares(most: int = 100, **limits: int) -> Shares:
    return Shares(lambda: UserLimits(**limits), most)


def test_a_user_may_have_as_many_connections_as_the_policy_says() -> None:
    here = shares(connections=2)
    assert here.refusal(A) == ""
    first = here.enter(A)
    here.enter(A)
    assert "2 of the 2 connections" in here.refusal(A)
    assert here.refusal(B) == ""
    here.leave(first)
    assert here.refusal(A) == ""


def test_while_connections_are_scarce_who_has_many_is_refused_before_who_has_few() -> None:
    here = shares(10)
    while not here.refusal(A):
        here.enter(A)
    assert here.connections == 5  # as much again is left for the next
    while not here.refusal(B):
        here.enter(B)
    assert 5 < here.connections < 10
    assert here.refusal(61003) == ""
    assert "of 10 are in use" in here.refusal(A)


def test_root_always_gets_in() -> None:
    here = shares(2, connections=1)
    for _ in range(5):
        assert here.refusal(ROOT) == ""
        here.enter(ROOT)
    assert here.refusal(A) != ""


def test_what_a_share_was_is_forgotten_with_its_last_connection() -> None:
    here = shares()
    share = here.enter(A)
    here.enter(B)
    assert here.turns.slice_sec == SLICE_SEC
    here.leave(share)
    assert here.enter(A) is not share


def test_who_comes_and_goes_finds_the_slices_small(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("jobd.rpc.shares.time.perf_counter", lambda: now)
    here = shares()
    many = here.enter(A)
    assert here.turns.slice_sec == ALONE_SEC
    here.leave(here.enter(B))
    assert here.turns.slice_sec == SLICE_SEC
    now += ALONE_AFTER_SEC / 2
    here.turns.spend(many, 0)
    assert here.turns.slice_sec == SLICE_SEC
    now += ALONE_AFTER_SEC
    here.turns.spend(many, 0)
    assert here.turns.slice_sec == ALONE_SEC


async def test_each_gets_a_slice_however_many_stand_in_line() -> None:
    turns = Turns()
    turns.share_among(2)
    order: list[str] = []

    async def ask(share: Share, name: str) -> None:
        await turns.take(share)
        order.append(name)
        turns.spend(share, SLICE_SEC)

    many, one = Share(A), Share(B)
    many.used = one.used = SLICE_SEC
    many.began = one.began = float("inf")  # nothing is forgiven for its age
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, many, "many")
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, one, "one")
        await wait_all_tasks_blocked()
        nursery.start_soon(turns.serve)
        while len(order) < 11:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert "one" in order[:2]
    assert order.count("many") == 10


async def test_who_leaves_the_line_leaves_nothing_behind() -> None:
    turns = Turns()
    share = Share(A)
    share.used = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take, share)
        await wait_all_tasks_blocked()
        assert len(share.line) == 1
        nursery.cancel_scope.cancel()
    assert not share.line
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.serve)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
