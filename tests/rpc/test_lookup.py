"""What words mean to whom, and what is seen through rules: lists, globs, neighbours, what is taken back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import spec as specs
from jobd.core.policy import Policy, Rule
from jobd.core.spec import JobSpec
from jobd.host.peer import Peer
from jobd.rpc import lookup_many
from jobd.rpc.access import Access
from jobd.rpc.context import Context, Refused
from jobd.rpc.dispatch import TABLE
from jobd.rpc.handlers import daemon, events, look, wait
from jobd.rpc.people import KNOWN_SEC
from jobd.runtime.job import Caller
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers
from tests.runtime.fakes import Bed, serving
from tests.runtime.test_registry import ended

if TYPE_CHECKING:
    from jobd.runtime.run import Run

ALICE, BOB, EVE = 61001, 61002, 61003
WEBS = Rule(line=1, uids=frozenset({BOB}), actions=("@read",), owners=("*",), jobs=("web*",))
OF_ALICE = Rule(line=5, uids=frozenset({BOB}), actions=("stop",), owners=("alice",), jobs=("*",))


class Town:
    """Jobs of several owners, and an access by which they are seen."""

    def __init__(self, bed: Bed, *rules: Rule) -> None:
        self.bed = bed
        self.access = Access(Policy(file="jobd.toml", allow=rules), shared=True)
        self.runs: dict[tuple[int, str], Run] = {}

    def context(self, uid: int) -> Context:
        configuration = SimpleNamespace(error="jobd.toml:7: a secret", path="jobd.toml")
        welcome = self.bed.keeper.welcome
        keeper = SimpleNamespace(alive=True, welcome=welcome)
        definitions = SimpleNamespace(error="", sources=lambda *_: [], files=SimpleNamespace(directory="jobs"))
        world = SimpleNamespace(
            registry=self.bed.registry, keeper=keeper, configuration=configuration, connections=lambda: 99,
            started_at=0, definitions=definitions,
        )  # fmt: skip
        answers = Answers()
        answers.share.connections = 1
        return Context(world, answers, Peer(uid, uid, 1), self.access)  # type: ignore[arg-type]  # doubles

    async def job(self, owner: int, name: str, *, live: bool = False) -> Run:
        spec = JobSpec(argv=(b"true",), cwd=b"/")
        run_id = (len(self.runs) + 1).to_bytes(16, "big")
        run = self.bed.registry.submit(owner, name, run_id, spec, specs.encode_env([]), Caller(owner, owner, 1))
        self.runs[owner, name] = run
        if not live:
            await ended(self.bed, run)
        return run


def names_of(found: m.Jobs) -> list[str]:
    return [f"{view.owner}/{view.job}" for view in found.jobs]


async def in_turns(context: Context, request: m.List) -> m.Jobs:
    """The page as who has to pick it out is given it."""
    answers = context.connection
    assert isinstance(answers, Answers)
    await look.list_in_turns(context, request)
    page = answers.bodies.pop()
    assert isinstance(page, m.Jobs)
    return page


def refused(act: object) -> Refused:
    with pytest.raises(Refused) as caught:
        act()  # type: ignore[operator]  # a lambda of the test
    return caught.value


async def test_lists_are_pages_of_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "LIST_PAGE", 2)
    async with serving(Bed()) as bed:
        town = Town(bed, WEBS)
        for owner in (ALICE, BOB, EVE):
            for name in ("db", "web", "web-2"):
                await town.job(owner, name)
        await town.job(EVE, "web-live", live=True)
        await town.job(EVE, "zeta", live=True)
        all_of = {owner: [f"{owner}/{name}" for name in ("db", "web", "web-2")] for owner in (ALICE, BOB, EVE)}
        late = [f"{EVE}/web-live", f"{EVE}/zeta"]
        for uid, expected in (
            (0, [*all_of[ALICE], *all_of[BOB], *all_of[EVE], *late]),
            (BOB, [*all_of[ALICE][1:], *all_of[BOB], *all_of[EVE][1:], late[0]]),
            (ALICE, all_of[ALICE]),
            (77, []),
        ):
            context, found, after = town.context(uid), [], ""
            while True:
                request = m.List(id=1, all=True, after=after)
                page = look.list_jobs(context, request)
                if context.filters():
                    assert await in_turns(context, request) == page
                found += names_of(page)
                assert page.more in ("", *expected)  # a cursor names nothing that he does not see
                if not (after := page.more):
                    break
            assert found == expected, uid
        for cursor in ("x", "web", "-1/web", "1e3/web"):
            with pytest.raises(Refused, match="no cursor"):
                look.list_jobs(town.context(0), m.List(id=1, after=cursor))


async def test_patterns_and_globs() -> None:
    async with serving(Bed()) as bed:
        town = Town(bed, WEBS)
        await town.access.people.learn([], BOB)
        for owner in (ALICE, BOB, EVE):
            for name in ("db", "web"):
                await town.job(owner, name)
        bob = town.context(BOB)
        for pattern, seen in (
            ("web", [ALICE, BOB, EVE]), ("db", [BOB]), ("*/web", [ALICE, BOB, EVE]), ("61001/*", [ALICE]),
            ("610*/db", [BOB]), ("nobody/*", []), (f"{EVE}/db", []),
        ):  # fmt: skip
            page = look.list_jobs(bob, m.List(id=1, all=True, patterns=[pattern]))
            assert [view.owner for view in page.jobs] == seen, pattern
        for words, action, expected in (
            (["*"], "logs", ["db", "web"]),  # without an owner his own
            (["*/web"], "logs", [f"{ALICE}/web", "web", f"{EVE}/web"]),
            (["*/*"], "stop", ["db", "web"]),  # those that allow it
            ([f"{ALICE}/*"], "stop", [f"{ALICE}/web"]),  # none does: those that he sees, to be told so
            ([f"{ALICE}/d*"], "stop", []),
            (["nobody/*", "x"], "stop", ["x"]),
        ):
            assert await bob.expand(words, action, at_rest=True) == expected, words
        assert await bob.expand(["w*"], "history", at_rest=True, everybody=True) == [
            f"{ALICE}/web",
            "web",
            f"{EVE}/web",
        ]
        assert await town.context(0).expand(["*"], "stop", at_rest=True) == []


async def test_many_patterns_are_looked_at_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read one takes half a millisecond, and of a request's thousands all others would wait for it."""
    turns = 0

    async def turn(_: Context) -> None:
        nonlocal turns
        turns += 1
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Context, "turn", turn)
    monkeypatch.setattr(lookup_many, "STEP", 3)
    async with serving(Bed()) as bed:
        town = Town(bed)
        for n in range(7):
            await town.job(ALICE, f"web-{n}")
        alice = town.context(ALICE)
        assert await alice.expand(["web-[1-5]"], "status", at_rest=True) == [f"web-{n}" for n in range(1, 6)]
        assert turns == 3
        monkeypatch.setattr(lookup_many, "FEW", 2)  # of each that a glob may mean it is asked whether it is an array
        turns = 0
        await alice.expand(["web-1", "web-[1-5]"], "start", at_rest=True)
        assert turns == 3 + 3
        patterns = [f"x{n}*" for n in range(99)] + ["*-3"]
        request = m.List(id=1, patterns=patterns, all=True)
        assert not TABLE[m.List].is_quick(alice, request)
        assert TABLE[m.List].is_quick(alice, m.List(id=1, patterns=["*"]))
        turns = 0
        assert names_of(await in_turns(alice, request)) == [f"{ALICE}/web-3"]
        assert turns > 7 * 99 / look.FEW_NAMES


async def test_neighbours_are_those_that_are_seen() -> None:
    async with serving(Bed()) as bed:
        town = Town(bed, WEBS)
        for name in ("webs", "dbase"):
            await town.job(ALICE, name)
        await town.job(ALICE, "dbases", live=True)
        told = {
            (uid, word): str(refused(lambda u=uid, w=word: town.context(u).job(w, "status")))
            for uid in (0, ALICE, BOB, EVE)
            for word in (f"{ALICE}/webz", f"{ALICE}/dbas")
        }
        assert f"{ALICE}/webs" in told[BOB, f"{ALICE}/webz"]
        assert f"{ALICE}/dbase" in told[0, f"{ALICE}/dbas"]
        assert f"{ALICE}/dbase" in told[ALICE, f"{ALICE}/dbas"]
        for uid, word in ((BOB, "dbas"), (EVE, "dbas"), (EVE, "webz")):
            assert told[uid, f"{ALICE}/{word}"] == f"cannot find job '{ALICE}/{word}'"


async def test_owners_by_name_once_it_is_known(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        town = Town(bed, OF_ALICE)
        await town.job(ALICE, "web")
        bob = town.context(BOB)
        request = m.Get(id=1, names=["alice/web"])
        assert set(bob.unknown(request)) == {"alice", ALICE}
        assert not bob.sees(ALICE, "web")
        people = town.access.people
        now = autojump_clock.current_time()
        people._uids["alice"] = now + KNOWN_SEC, ALICE
        people._names[ALICE] = now + KNOWN_SEC, "alice"
        assert bob.unknown(request) == []
        assert bob.job("alice/web", "stop").owner == ALICE
        assert bob.word(ALICE, "web") == "alice/web"
        assert refused(lambda: bob.job("alice/web", "logs")).code == errors.DENIED
        assert refused(lambda: bob.job("web", "stop")).details["meant"] == "alice/web"
        assert bob.job("web", "status").owner == ALICE
        assert bob.scope() == ((BOB, "*"), (ALICE, "*"))
        assert town.context(ALICE).unknown(m.Get(id=1, names=["web"])) == []  # of no rule, and of no name


async def test_a_name_service_that_hangs_is_not_waited_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(Bed()) as bed:
        town = Town(bed, OF_ALICE)

        async def hangs(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(town.access.people, "learn", hangs)
        bob = town.context(BOB)
        request = m.Get(id=1, names=["alice/web"])
        await bob.learn(request)
        assert autojump_clock.current_time() < 5
        assert look.get_quick(bob, request).jobs[0].load == "not-found"
        assert bob.unknown(request) == []


async def test_what_is_taken_back_ends_what_is_being_read() -> None:
    async with serving(Bed()) as bed:
        town = Town(bed, WEBS)
        run = await town.job(ALICE, "web", live=True)
        await wait_all_tasks_blocked()
        bob = town.context(BOB)
        failures: list[Refused] = []

        async def waiting() -> None:
            try:
                await wait.wait(bob, m.Wait(id=1, runs=[run.id]))
            except Refused as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting)
            await wait_all_tasks_blocked()
            town.access.replace(Policy())
            await ended(bed, run)
        assert [error.code for error in failures] == [errors.NOT_FOUND]
        assert refused(lambda: bob.run(run.id, "wait")).code == errors.NOT_FOUND


async def test_the_daemons_state_has_nothing_of_others() -> None:
    async with serving(Bed()) as bed:
        town = Town(bed)
        for owner in (ALICE, BOB):
            run = await town.job(owner, "web", live=True)
            await wait_all_tasks_blocked()
            run.log_error = "its disk is full"
        bed.store.notices, bed.store.trouble = [], ""  # type: ignore[attr-defined]  # as of a store
        told = {uid: daemon.status(town.context(uid), m.DaemonStatus(id=1)) for uid in (0, ALICE, EVE)}
        assert [told[uid].running for uid in told] == [2, 1, 0]
        assert [told[uid].connections for uid in told] == [99, 1, 1]
        assert [len([r for r in told[uid].reasons if "disk" in r]) for uid in told] == [2, 1, 0]
        assert [any("secret" in r for r in told[uid].reasons) for uid in told] == [True, False, False]
        assert told[EVE].reasons == ["jobd.toml cannot be taken"]


def test_audits_are_scoped_to_ones_own() -> None:
    town = Town.__new__(Town)
    town.access = Access(Policy(allow=(WEBS,)), shared=True)
    town.bed = SimpleNamespace(registry=SimpleNamespace(jobs={}, store=None), keeper=SimpleNamespace(welcome=None))  # type: ignore[assignment]  # no more is asked
    for uid, audit, scope, by in (
        (BOB, False, ((BOB, "*"), (None, "web*")), None),
        (BOB, True, ((BOB, "*"),), BOB),
        (0, True, None, None),
        (0, False, None, None),
    ):
        wanted = events._wanted(town.context(uid), m.Events(id=1, audit=audit))
        assert (wanted.scope, wanted.by, wanted.acts) == (scope, by, audit)


async def test_who_sees_nobody_elses_definitions_looks_at_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    async with serving(bed):
        asked: list[int] = []
        monkeypatch.setattr(bed.registry, "owners", lambda: {ALICE, BOB, EVE})
        monkeypatch.setattr(bed.store, "defining_owners", set, raising=False)
        monkeypatch.setattr(bed.registry.catalog, "defined_after", lambda uid, *_: asked.append(uid))
        for rules, whose in (((), [BOB]), ((WEBS,), [ALICE, BOB, EVE])):
            asked.clear()
            assert [row async for row in Town(bed, *rules).context(BOB).defined("list-timers", -1, "")] == []
            assert asked == whose
