"""To which run a process belongs, on a /proc of a test's own."""

from __future__ import annotations

import os

import pytest

from jobd.host import procs
from jobd.host.procs import Process
from jobd.keeper.membership import Membership
from jobd.keeper.table import Entry

KEEPER = 10
WEB, DB, OLD = (bytes([n]) * 16 for n in (1, 2, 3))
BASE = "/sys/fs/cgroup/user.slice/jobd-0a0b0c0d"


class Proc:
    """Processes by number: parent, group, session; control groups and environments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table: dict[int, Process] = {}
        self.groups: dict[int, str] = {}
        self.named: dict[int, bytes] = {}
        monkeypatch.setattr(procs, "process", self.table.get)
        monkeypatch.setattr(procs, "control_group", lambda pid: self.groups.get(pid, "/"))
        monkeypatch.setattr(procs, "run_of", self.named.get)
        monkeypatch.setattr(os, "getpid", lambda: KEEPER)

    def add(self, pid: int, parent: int, group: int = 0, session: int = 0, start: int = 5) -> None:
        fields = [0] * 22
        fields[:6] = [0, 0, 0, parent, group or pid, session or pid]
        fields[21] = start
        self.table[pid] = Process(pid, b"%d (a) b) S %s" % (pid, b" ".join(b"%d" % field for field in fields[3:])))


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> Proc:
    found = Proc(monkeypatch)
    found.add(1, 0)
    found.add(KEEPER, 1)
    return found


def entry(run: bytes, pid: int, cgroup: str = "") -> Entry:
    made = Entry(run)
    made.pid, made.start, made.cgroup = pid, 5, cgroup
    return made


def find(pid: int, db: int = 200) -> bytes | None:
    """WEB has a control group, DB and OLD have none; `db` is the main process of one, the other has none yet."""
    table = {WEB: entry(WEB, 100, f"{BASE}/{WEB.hex()}"), DB: entry(DB, db), OLD: entry(OLD, 0)}
    found = Membership(table).find(pid)
    return None if found is None else found.run


@pytest.mark.parametrize(
    ("path", "run"),
    [
        (f"/user.slice/jobd-0a0b0c0d/{WEB.hex()}", WEB),
        (f"/user.slice/jobd-0a0b0c0d/{WEB.hex()}/below/it", WEB),
        (f"/docker/abc/user.slice/jobd-0a0b0c0d/{WEB.hex()}", WEB),
        (f"/user.slice/jobd-ffffffff/{WEB.hex()}", None),  # another jobd's
        (f"/user.slice/jobd-0a0b0c0d/{OLD.hex()}", None),  # that one has none
        (f"/user.slice/jobd-0a0b0c0d/{'z' * 32}", None),
        (f"/{WEB.hex()}", None),
        ("/user.slice/jobd-0a0b0c0d", None),
        ("", None),
    ],
)
def test_by_control_group(proc: Proc, path: str, run: bytes | None) -> None:
    proc.groups[500] = path
    assert find(500) == run


def test_a_control_group_whose_name_was_taken_has_a_number(proc: Proc) -> None:
    name = f"{WEB.hex()}.1"
    table = {WEB: entry(WEB, 1, f"{BASE}/{name}")}
    proc.groups[500] = f"/user.slice/jobd-0a0b0c0d/{name}"
    assert Membership(table).find(500) is table[WEB]
    proc.groups[500] = f"/user.slice/jobd-0a0b0c0d/{WEB.hex()}"
    assert Membership(table).find(500) is None  # that one is of a child that never went


def test_by_number_group_session_and_parents(proc: Proc) -> None:
    proc.add(200, KEEPER)
    proc.add(201, KEEPER, group=200)
    proc.add(202, KEEPER, session=200)
    proc.add(203, 200, group=203, session=203)
    proc.add(204, 203, group=204, session=204)
    proc.add(205, 202, group=205, session=205)
    proc.add(300, KEEPER)
    proc.add(301, 1)
    assert [find(pid) for pid in range(200, 206)] == [DB] * 6
    assert [find(pid) for pid in (1, KEEPER, 300, 301, 999)] == [None] * 5


def test_a_number_that_is_another_process_by_now(proc: Proc) -> None:
    proc.add(200, 1, start=77)
    proc.add(201, 1, group=200)
    assert find(200) is None
    assert find(201) is None


def test_the_group_of_a_main_process_that_has_ended(proc: Proc) -> None:
    proc.add(201, KEEPER, group=200, session=200)
    assert find(201) == DB


def test_orphans_by_the_environment_of_the_eldest(proc: Proc) -> None:
    proc.add(400, KEEPER)
    proc.add(401, 400)
    proc.named[400] = DB
    assert find(401) == DB
    proc.named[401] = OLD  # of what it was executed with later; the tree it is in counts
    assert find(401) == DB
    proc.named[400] = WEB  # that run has a control group, and this process is not in it
    del proc.named[401]
    assert find(401) is None
    proc.named[400] = b"nonsense"
    assert find(400) is None


def test_parents_that_go_round_come_to_an_end(proc: Proc) -> None:
    proc.add(500, 501)
    proc.add(501, 500)
    assert find(500) is None


def test_the_real_proc() -> None:
    me = procs.process(os.getpid())
    assert me is not None
    assert (me.parent, me.group, me.session) == (os.getppid(), os.getpgrp(), os.getsid(0))
    assert procs.process(2**31 - 1) is None
    assert procs.control_group(2**31 - 1) == ""
    assert procs.run_of(2**31 - 1) is None
