"""Who may do what with whose job: every request of the protocol, by callers of every kind, in one table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.rpc.dispatch import TABLE
from jobd.wire import codec, errors
from jobd.wire import messages as m
from tests.system.callers import CallerAs
from tests.system.matrix import (
    ALICE,
    CALLERS,
    DAEMON,
    LAST,
    MAKES,
    MATRIX,
    SILENT,
    I,
)
from tests.system.matrix_crowd import Crowd, cell, matrix_crowd, why_no_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_no_namespace()), reason=why_no_namespace() or "-")]


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with matrix_crowd() as made:
        yield made


def test_the_table_has_every_request() -> None:
    asked = {type(make("web", bytes(16))) for _, make in MATRIX.values()}
    asked |= {type(make()) for _, make in (*DAEMON.values(), *LAST.values())}
    assert asked | SILENT | MAKES == set(TABLE)
    assert all(len(cells.split()) == len(CALLERS) for cells, _ in (*MATRIX.values(), *DAEMON.values(), *LAST.values()))


@pytest.mark.parametrize("request_name", MATRIX)
def test_alices_job(crowd: Crowd, request_name: str) -> None:
    cells, make = MATRIX[request_name]
    found = []
    for caller in crowd.callers.values():
        run = crowd.seen_newest("owner")
        found.append(cell(caller.ask(make(f"{ALICE}/web", run))))
    assert " ".join(found) == cells


# With a cursor, a job that may have gone since is no mistake.
@pytest.mark.parametrize("request_name", [name for name in MATRIX if name != "events after"])
def test_ones_own_job_and_a_missing_one(crowd: Crowd, request_name: str) -> None:
    _, make = MATRIX[request_name]
    for name, caller in crowd.callers.items():
        run = crowd.seen_newest(name)
        assert (name, cell(caller.ask(make("web", run)))) == (name, "+")
        for word in ("none", f"{ALICE}/none", "nobody-has-this-name/web", "61999/web"):
            missing = make(word, new_run_id())
            if word == "none" or missing != make("none", bytes(16)):
                assert (name, word, cell(caller.ask(missing))) == (name, word, ".")


@pytest.mark.parametrize("request_name", MATRIX)
def test_what_one_may_not_see_is_answered_as_what_is_not_there(crowd: Crowd, request_name: str) -> None:
    _, make = MATRIX[request_name]
    stranger = crowd.callers["other"]
    run, no_run = crowd.seen_newest("owner"), new_run_id()
    words = {f"{ALICE}/web": run, f"{ALICE}/wqb": no_run, f"{ALICE}/live": crowd.live, f"{ALICE}/lqve": no_run}
    answers = []
    for word, run_id in words.items():
        text = b"\n".join(stranger.frames(make(word, run_id)))
        plain = text.replace(word.encode(), b"WORD")  # names of one length, so that lengths are the same too
        hexed = run_id.hex().encode()
        for part in (hexed, hexed[-12:], hexed[-8:]):
            plain = plain.replace(part, b"RUN")
        answers.append(plain)
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]


@pytest.mark.parametrize("request_name", [*DAEMON, *LAST])
def test_acts_that_are_about_no_job(crowd: Crowd, request_name: str) -> None:
    cells, make = {**DAEMON, **LAST}[request_name]
    for (name, caller), expected in zip(crowd.callers.items(), cells.split(), strict=True):
        if request_name in LAST and expected == "+":
            decision = caller.body(m.AuthCanI(id=I, action=request_name))
            assert isinstance(decision, m.Decision)
            assert decision.allowed, name
        else:
            assert (name, cell(caller.ask(make()))) == (name, expected)


def visible(caller: CallerAs) -> list[list[bytes]]:
    """All that somebody can learn without naming a job, but for how far the numbers of events are."""
    asked: list[m.Request] = [
        m.List(id=I, all=True), m.List(id=I), m.List(id=I, patterns=["*", "*/*", f"{ALICE}/*", "li*"]),
        m.History(id=I), m.History(id=I, jobs=["*", f"{ALICE}/*", "*/live"]), m.History(id=I, states=["running"]),
        m.HistoryStats(id=I), m.HistoryStats(id=I, jobs=["*", f"{ALICE}/*", "*/live"]),
        m.Get(id=I, names=["*", "*/*", f"{ALICE}/*"]), m.Cat(id=I, names=[f"{ALICE}/*", "*/l*"]),
        m.Events(id=I), m.Events(id=I, audit=True), m.Events(id=I, jobs=[f"{ALICE}/*", "*/*"]),
        m.Wait(id=I, jobs=["*/*"]), m.Logs(id=I, jobs=["*/*"]), m.Stop(id=I, names=["*/live"]), m.DaemonStatus(id=I),
        m.ResetFailed(id=I), m.AuthRules(id=I),
    ]  # fmt: skip
    found = []
    for request in asked:
        answers = caller.ask(request)
        found.append(
            [repr(a).encode() for a in answers if not (isinstance(a, m.Item) and isinstance(a.body, m.Reached))]
        )
    return found


def test_a_stranger_learns_nothing_of_what_others_do(crowd: Crowd) -> None:
    stranger = crowd.callers["other"]
    before = visible(stranger)
    crowd.run("owner", b"false", "failing", run := new_run_id())
    crowd.settle("owner", run)
    crowd.make_web("reader")
    assert visible(stranger) == before
    pids = [crowd.live_pid, os.getpid(), 1]
    members = stranger.body(m.Whoami(id=I, pids=pids))
    assert members == m.Members(members=[m.Member(pid=pid) for pid in pids])
    for name in ("root", "admin", "owner", "reader", "operator"):
        members = crowd.callers[name].body(m.Whoami(id=I, pids=pids))
        assert isinstance(members, m.Members)
        assert [member.job for member in members.members] == ["live", "", ""], name


def test_a_bare_name_is_ones_own_or_read_of_the_only_one(crowd: Crowd) -> None:
    for name in ("root", "reader", "operator"):
        caller = crowd.callers[name]
        jobs = caller.body(m.Get(id=I, names=["live"]))
        assert isinstance(jobs, m.Jobs)
        assert (jobs.jobs[0].owner, jobs.jobs[0].active) == (ALICE, "active"), name
        (done, _) = caller.ask(m.Stop(id=I, names=["live"]))
        assert isinstance(done, m.Item)
        assert isinstance(done.body, m.Done)
        assert (done.body.code, f"did you mean '{ALICE}/live'?" in done.body.text) == (errors.NOT_FOUND, True), name
    own = crowd.callers["reader"].body(m.Get(id=I, names=["web"]))
    assert isinstance(own, m.Jobs)
    assert own.jobs[0].owner == crowd.callers["reader"].uid


def test_a_name_that_several_have_is_ambiguous_to_who_has_none(crowd: Crowd) -> None:
    for name in ("owner", "reader"):
        crowd.run(name, b"true", "both", run := new_run_id())
        crowd.settle(name, run)
    for request in (m.Get(id=I, names=["both"]), m.History(id=I, jobs=["both"])):
        fault = crowd.callers["root"].fault(request)
        assert fault.code == errors.AMBIGUOUS
        assert f"{ALICE}/both, {crowd.callers['reader'].uid}/both" in fault.message


def test_a_run_id_that_is_anothers_is_not_taken(crowd: Crowd) -> None:
    stranger, owner = crowd.callers["other"], crowd.callers["owner"]
    run = m.Run(id=I, run=crowd.live, argv=[b"true"], env=[], cwd=b"/")
    assert stranger.fault(run).code == errors.MALFORMED
    assert (
        owner.fault(m.Run(id=I, run=crowd.live, argv=[b"true"], env=[], cwd=b"/", name="web")).code == errors.MALFORMED
    )
    ended = crowd.seen_newest("owner")
    started = stranger.body(m.Run(id=I, run=ended, argv=[b"sleep 1000"], env=[], cwd=b"/", shell=True, name="double"))
    assert isinstance(started, m.Started)
    assert started.owner == stranger.uid
    jobs = owner.body(m.Get(id=I, names=["web"]))
    assert isinstance(jobs, m.Jobs)
    assert (jobs.jobs[0].active, jobs.jobs[0].cgroup, jobs.jobs[0].exit_code) == ("inactive", "", 0)
    assert cell(stranger.ask(m.Stop(id=I, names=["double"]))) == "+"


def test_an_administrators_start_runs_the_owners_job_and_is_recorded_as_his(crowd: Crowd) -> None:
    admin, run = crowd.callers["admin"], new_run_id()
    crowd.seen_newest("owner")
    (done, _) = admin.ask(m.Start(id=I, names=[f"{ALICE}/web"], runs=[run]))
    assert isinstance(done, m.Item)
    crowd.settle("owner", run)
    view = crowd.callers["owner"].body(m.Resolve(id=I, run=run.hex()))
    assert isinstance(view, m.Runs)
    assert (view.runs[0].owner, view.runs[0].by_uid) == (ALICE, admin.uid)
    for name, told in (("owner", True), ("admin", True), ("root", True), ("reader", False), ("other", False)):
        answers = crowd.callers[name].ask(m.Events(id=I, audit=True))
        acts = [a.body for a in answers if isinstance(a, m.Item) and isinstance(a.body, m.Change)]
        assert all(act.by_uid is not None and act.by_gid is not None for act in acts)
        assert any((act.run, act.by_uid, act.by_gid) == (run, admin.uid, admin.uid) for act in acts) is told, name
        assert any(act.kind == "daemon-reload" and not act.job for act in acts) is (name in ("root", "admin"))


def test_who_attaches_to_anothers_run_is_recorded(crowd: Crowd) -> None:
    for name, told in (("admin", True), ("owner", False)):
        uid, gid, groups = CALLERS[name]
        caller = CallerAs(crowd.people.socket, uid, gid=gid, groups=groups)
        caller.sock.sendall(codec.encode(m.Attach(id=I, run=crowd.live)))
        assert isinstance(codec.decode_daemon(caller.receive()), m.Item)
        caller.close()
        answers = crowd.callers["owner"].ask(m.Events(id=I, jobs=["live"], audit=True))
        acts = [a.body for a in answers if isinstance(a, m.Item) and isinstance(a.body, m.Change)]
        assert any((act.kind, act.run, act.by_uid) == ("attached", crowd.live, uid) for act in acts) is told


def test_the_last_word_is_an_administrators(crowd: Crowd) -> None:
    crowd.callers["owner"].ask(m.Stop(id=I, names=["live"]))
    assert cell(crowd.callers["admin"].ask(m.Shutdown(id=I))) == "+"
    crowd.people.keeper.wait(60)
