"""Who gets in, whose his jobs are, and with what standing."""

from __future__ import annotations

import grp
import os
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.core.policy import Policy, Rule
from jobd.core.rules import ADMIN_GROUP
from jobd.host.peer import NOBODY, Peer, serves_all_uids
from jobd.rpc import access
from jobd.rpc.access import Access

if TYPE_CHECKING:
    from trio.testing import MockClock

OVERFLOW = 65534
ADMINS = 61900
OWN = 61000


def made(monkeypatch: pytest.MonkeyPatch, *, shared: bool, own: int = OWN, mapped: bool = True) -> Access:
    monkeypatch.setattr(os, "geteuid", lambda: own)
    monkeypatch.setattr(access, "serves_all_uids", lambda: mapped)
    monkeypatch.setattr(access, "overflow_uid", lambda: OVERFLOW)
    one = Access(shared=shared)
    one.admin_gid = ADMINS
    return one


def peer(uid: int, *groups: int) -> Peer:
    return Peer(uid, groups[0] if groups else uid, 1, groups[1:])


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_who_may_connect(monkeypatch: pytest.MonkeyPatch, shared: bool, mapped: bool) -> None:
    one = made(monkeypatch, shared=shared, mapped=mapped)
    assert one.may_connect(peer(0))
    assert one.may_connect(peer(OWN))
    assert one.may_connect(peer(61001)) is shared
    assert not one.may_connect(peer(NOBODY))
    # Where not every user has a number, all who have none are this one.
    assert one.may_connect(peer(OVERFLOW)) is (shared and mapped)


def test_the_overflow_uid_may_have_a_jobd_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(monkeypatch, shared=False, own=OVERFLOW, mapped=False).may_connect(peer(OVERFLOW))


def test_whose_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, own = made(monkeypatch, shared=True), made(monkeypatch, shared=False)
    for uid in (0, OWN, 61001):
        assert shared.owner_of(peer(uid)) == uid
        assert own.owner_of(peer(uid)) == OWN


def test_standing(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, own = made(monkeypatch, shared=True), made(monkeypatch, shared=False)
    for one, uid, groups, standing in (
        (shared, 0, (0,), "root"),
        (own, 0, (0,), "root"),
        (shared, OWN, (), "the daemon's own user"),
        (own, OWN, (), "owner"),
        (shared, 61001, (ADMINS,), f"group {ADMIN_GROUP}"),
        (shared, 61001, (5, 6, ADMINS), f"group {ADMIN_GROUP}"),
        (shared, 61001, (5, 6), ""),
    ):
        assert one.who(uid, groups).standing == standing
    shared.admin_gid = None  # no such group here
    assert not shared.who(61001, (ADMINS, 0)).is_admin


async def test_a_reload_changes_what_is_decided_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(monkeypatch, shared=True)
    who = one.who(61002, ())
    assert not one.decide(who, "logs", 61001, "web").visible
    before = one.generation
    one.replace(Policy(file="f", allow=(Rule(line=2, any_user=True, actions=("logs",)),)))
    assert one.decide(who, "logs", 61001, "web").rule == "f:2"
    assert one.generation > before
    monkeypatch.setattr(access, "admin_gid", lambda: 5)
    await one.look_up_group()
    assert one.who(61002, (5,)).is_admin
    assert not one.who(61002, (ADMINS,)).is_admin


async def test_the_group_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    answer = trio.Event()

    async def slow(_: object, **__: object) -> int:
        await answer.wait()
        return ADMINS

    one = made(monkeypatch, shared=True)
    one.admin_gid = None
    monkeypatch.setattr(trio.to_thread, "run_sync", slow)
    async with trio.open_nursery() as nursery:
        await one.begin(nursery)
        assert autojump_clock.current_time() == pytest.approx(access.GROUP_SEC)
        assert not one.who(61001, (ADMINS,)).is_admin
        assert one.who(0, ()).is_admin
        answer.set()
    assert one.who(61001, (ADMINS,)).is_admin


def test_the_real_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/proc/self/uid_map") as file:
        covers = sum(int(line.split()[2]) for line in file)
    assert serves_all_uids() is (covers >= NOBODY)

    def nobody(_: str) -> grp.struct_group:
        raise KeyError

    monkeypatch.setattr(grp, "getgrnam", nobody)
    assert access.admin_gid() is None
