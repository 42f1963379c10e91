"""Handlers of queues: what is shown in which order, what is changed, and places that are exchanged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core.policy import Policy, Rule
from jobd.core.records import SHARED
from jobd.host.peer import Peer
from jobd.rpc import views
from jobd.rpc.access import Access
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers import hold, look, queues
from jobd.rpc.queueviews import line_words
from jobd.rpc.words import words_of
from jobd.runtime import holding
from jobd.runtime.places import Places
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ALICE, BOB = 61001, 61002
ONCE = "a" * 32
ALL_OF_ALICE = Rule(line=1, uids=frozenset({BOB}), actions=("@read",), owners=(str(ALICE),))


def context_of(bed: Bed, uid: int = 0) -> Context:
    world = SimpleNamespace(registry=bed.registry, store=bed.store, keeper=bed.keeper, pump=bed.pump)
    return Context(world, Answers(), Peer(uid=uid, gid=uid, pid=1), Access(shared=True))  # type: ignore[arg-type]


async def ask(bed: Bed, handler: Callable[..., Awaitable[None]], request: m.Request, uid: int = 0) -> m.AnyBody:
    """The one answer."""
    context = context_of(bed, uid)
    await handler(context, request)
    (body,) = context.connection.bodies  # type: ignore[attr-defined]  # a double
    return body  # type: ignore[no-any-return]


async def shown(bed: Bed, uid: int = 0, name: str = "build", after: str = "", limit: int = 1000) -> m.QueueDetail:
    body = await ask(bed, queues.show, m.QueueShow(id=1, name=name, after=after, limit=limit), uid)
    assert isinstance(body, m.QueueDetail)
    return body


def jobs_of(detail: m.QueueDetail) -> list[str]:
    return [run.job for run in detail.runs]


def listed(bed: Bed, uid: int = 0, **asked: object) -> list[tuple[str, int | None]]:
    found = queues.list_queues(context_of(bed, uid), m.QueueList(id=1, **asked))  # type: ignore[arg-type]
    return [(view.name, view.owner) for view in found.queues]


def filled(bed: Bed, slots: int | None, *names: str, owner: int = 0, queue: str = "build") -> Jobs:
    """A queue with these jobs in it."""
    bed.registry.queues.add(owner, queue, slots, ROOT)
    jobs = Jobs(bed)
    for name in names:
        jobs.make(name, owner, queue=queue)
    return jobs


async def test_runs_are_shown_in_their_order_and_page_by_page(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b", "c", "d")
        jobs.make("first", queue="build", priority=5)
        await wait_all_tasks_blocked()
        await ask(bed, hold.hold, m.Hold(id=1, names=["b"]))
        detail = await shown(bed)
        assert jobs_of(detail) == ["a", "first", "c", "d", "b"]
        assert (detail.view.running, detail.view.waiting, detail.view.held, detail.view.used) == (1, 3, 1, 1)
        assert detail.view.reason == "is full: held by a"
        assert (detail.more, detail.others) == ("", 0)
        found: list[str] = []
        after = ""
        while True:
            page = await shown(bed, after=after, limit=2)
            found += jobs_of(page)
            after = page.more
            if not after:
                break
        assert found == ["a", "first", "c", "d", "b"]


async def test_a_page_begins_anew_when_its_last_run_has_begun(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b", "c", "d")
        await wait_all_tasks_blocked()
        page = await shown(bed, limit=2)
        assert jobs_of(page) == ["a", "b"]
        await jobs.end("a")
        assert jobs_of(await shown(bed, after=page.more)) == ["b", "c", "d"], "nothing is left out"


async def test_of_others_in_a_shared_queue_one_sees_how_many(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.registry.queues.add(SHARED, "all", 1, ROOT)
        jobs = Jobs(bed)
        jobs.make("hers", ALICE, queue="all")
        jobs.make("his", BOB, queue="all")
        jobs.make("hers-too", ALICE, queue="all")
        await wait_all_tasks_blocked()
        detail = await shown(bed, BOB, "all")
        assert (jobs_of(detail), detail.others) == (["his"], 2)
        assert detail.view.reason == "is full: held by 1 run of others"
        assert (detail.view.running, detail.view.waiting) == (1, 2)
        assert (await shown(bed, ALICE, "all")).view.reason == "is full: held by hers"
        assert (await shown(bed, 0, "shared/all")).view.reason == f"is full: held by {ALICE}/hers"


async def test_which_queues_are_seen_and_what_they_are_called(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.registry.queues.add(ALICE, "build", 1, ROOT)
        bed.registry.queues.add(BOB, "build", 2, ROOT)
        bed.registry.queues.add(SHARED, "build", 3, ROOT)
        assert listed(bed, BOB, all=True) == [("build", BOB), ("batch", None), ("build", None)]
        assert listed(bed, ALICE, patterns=["b*"]) == [("build", ALICE), ("batch", None), ("build", None)]
        assert listed(bed, ALICE, patterns=["shared/*"]) == [("batch", None), ("build", None)]
        assert listed(bed, 0) == [("batch", None), ("build", None)]
        assert listed(bed, 0, all=True, patterns=[f"{ALICE}/*", "*/batch"]) == [("batch", None), ("build", ALICE)]
        assert context_of(bed, ALICE).queue("build").slots == 1
        assert context_of(bed, ALICE).queue("shared/build").slots == 3
        assert context_of(bed, 0).queue(f"{BOB}/build").slots == 2
        for word in (f"{BOB}/build", "none", "61009/none", "nobody-has-this-name/build"):
            with pytest.raises(Refused) as refused:
                context_of(bed, ALICE).queue(word)
            assert refused.value.code == errors.NOT_FOUND
            assert str(refused.value).endswith("(there are: batch, build)")


async def test_whoever_sees_a_queue_may_ask_what_ran_in_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.registry.queues.add(ALICE, "build", 1, ROOT)
        bed.registry.queues.add(BOB, "batch", 1, ROOT)
        bob = context_of(bed, BOB)
        with pytest.raises(Refused, match="there is no queue"):
            bob.past_queue(f"{ALICE}/build")
        bob.access.replace(Policy(allow=(ALL_OF_ALICE,)))
        assert bob.queue(f"{ALICE}/build").owner == ALICE
        assert bob.past_queue(f"{ALICE}/build") == (ALICE, "build")
        assert [bob.past_queue(word) for word in ("batch", "shared/batch")] == [(BOB, "batch"), (None, "/batch")]


@pytest.mark.parametrize(
    ("uid", "word", "shared", "code"),
    [
        (ALICE, "mine", False, ""),
        (ALICE, "all", True, errors.DENIED),
        (ALICE, "shared/all", False, errors.DENIED),
        (ALICE, f"{BOB}/his", False, errors.DENIED),
        (0, "all", True, ""),
        (0, "shared/all", False, ""),
        (0, f"{BOB}/his", False, ""),
        (0, f"{BOB}/his", True, errors.INVALID),
        (0, "nobody-has-this-name/x", False, errors.NOT_FOUND),
        (0, "with blank", False, errors.INVALID),
    ],
)
async def test_who_may_make_a_queue(autojump_clock: MockClock, uid: int, word: str, shared: bool, code: str) -> None:
    async with serving(Bed()) as bed:
        try:
            await ask(bed, queues.add, m.QueueAdd(id=1, name=word, slots=4, shared=shared), uid)
            found = ""
        except Exception as error:
            found = error.code  # type: ignore[attr-defined]  # as serving reads it
        assert found == code
        made = [event for event in bed.store.events if event.kind == "queue-added"]
        assert [event.by_uid for event in made] == ([] if code else [uid])


async def test_a_queue_is_changed(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b", "c", owner=ALICE)
        await wait_all_tasks_blocked()

        async def change(uid: int = ALICE, **fields: object) -> None:
            await ask(bed, queues.change, m.QueueSet(id=1, name="build", **fields), uid)  # type: ignore[arg-type]

        await change(state="paused")
        bed.keeper.exited(jobs.world.jobs[ALICE, "a"].run.id, 0)  # type: ignore[union-attr]  # it runs
        await wait_all_tasks_blocked()
        assert (await shown(bed, ALICE)).view.reason == "is paused"
        await change(slots=-1)
        await change(state="open")
        await wait_all_tasks_blocked()
        detail = await shown(bed, ALICE)
        assert (detail.view.slots, [run.state for run in detail.runs]) == (None, ["running", "running"])
        await change(state="open")
        assert [event.kind for event in bed.store.events if event.job == ""] == ["queue-added"] + ["queue-set"] * 3
        with pytest.raises(Refused, match="cannot set a queue to 'shut'"):
            await change(state="shut")
        with pytest.raises(Refused, match=r"^there is no queue"):
            await change(BOB, slots=1)
        with pytest.raises(Exception, match="runs are in it") as refused:
            await ask(bed, queues.remove, m.QueueRemove(id=1, name="build"), ALICE)
        assert refused.value.code == errors.EXISTS  # type: ignore[attr-defined]
        assert bed.replayed().queues[ALICE, "build"].slots is None


async def test_two_change_places_once(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b", "c")
        jobs.make("urgent", queue="build", priority=9)
        await wait_all_tasks_blocked()
        request = m.QueueSwitch(id=1, first="c", second="urgent", once=ONCE)
        await ask(bed, queues.switch, request)
        assert jobs_of(await shown(bed)) == ["a", "c", "b", "urgent"]
        await ask(bed, queues.switch, request)
        assert jobs_of(await shown(bed)) == ["a", "c", "b", "urgent"], "asked again they do not change back"
        await ask(bed, queues.switch, m.QueueSwitch(id=1, first="c", second="urgent", once="b" * 32))
        assert jobs_of(await shown(bed)) == ["a", "urgent", "b", "c"]
        assert {event.by_uid for event in bed.store.events if event.kind == "moved"} == {0}
        jobs.check()


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "free"), ("b", "elsewhere"), ("b", "done")])
async def test_what_cannot_change_places(autojump_clock: MockClock, first: str, second: str) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b")
        bed.registry.queues.add(0, "other", 1, ROOT)
        jobs.make("done")
        jobs.make("runs", queue="other")
        jobs.make("elsewhere", queue="other")
        jobs.submit("free", 0, {"held": True}, {})
        await wait_all_tasks_blocked()
        await jobs.end("done")
        with pytest.raises(Refused) as refused:
            await ask(bed, queues.switch, m.QueueSwitch(id=1, first=first, second=second))
        assert refused.value.code == errors.NOT_APPLICABLE


async def test_a_hold_of_what_is_about_to_begin_gives_its_slots_to_others(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b", "c")
        await wait_all_tasks_blocked()
        run = jobs.world.jobs[0, "b"].run
        assert run is not None
        jobs.world.launching = Places(0, 0)  # it gets its slot, and has to wait for a place
        bed.keeper.exited(jobs.world.jobs[0, "a"].run.id, 0)  # type: ignore[union-attr]  # it runs
        bed.pump.end(jobs.world.jobs[0, "a"].run.id)  # type: ignore[union-attr]
        jobs.world.slots.leave(jobs.world.jobs[0, "a"].run)  # type: ignore[arg-type]
        assert run.slot
        assert run.row.state == "queued"
        jobs.world.launching = Places()
        holding.hold(bed.registry, run, ROOT)
        await wait_all_tasks_blocked()
        assert (jobs.sub("b"), jobs.sub("c")) == ("queued", "running")
        await ask(bed, hold.release, m.Release(id=1, names=["b"]))
        await wait_all_tasks_blocked()
        assert jobs.sub("b") == "queued"
        await jobs.end("c")
        assert jobs.sub("b") == "running"


async def test_why_nothing_begins_in_words(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 4, *(f"j{n}" for n in range(4)))
        jobs.make("heavy", queue="build", weight=3)
        await wait_all_tasks_blocked()
        assert (await shown(bed)).view.reason == "is full: held by j0, j1, j2 and 1 more"
        await jobs.end("j0")
        assert (await shown(bed)).view.reason == ("has 1 of 4 slots free, and the next takes 3: held by j1, j2, j3")
        bed.registry.queues.set((0, "build"), ROOT, slots=0)
        assert (await shown(bed)).view.reason == "has no slots"


async def test_how_things_stand_in_the_line_of_one_that_waits(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.registry.queues.add(SHARED, "build", 2, ROOT)
        for name in "abcd":
            Jobs(bed).make(name, queue="build")
        await wait_all_tasks_blocked()

        def words(name: str, uid: int = 0) -> str:
            run = bed.registry.jobs[0, name].run
            assert run is not None
            return line_words(context_of(bed, uid), run)

        assert [words(name) for name in "abcd"] == [
            "",
            "",
            "queue build is full: held by a, b; it is next",
            "queue build is full: held by a, b; it is number 2 in line",
        ]
        assert words("c", BOB) == "queue build is full: held by 2 runs of others; it is next"
        view = views.job_view(bed.registry, bed.registry.jobs[0, "d"].row)
        assert (view.queue, view.position, view.waits) == ("build", 2, "for queue build, which is full")


@pytest.mark.parametrize(
    ("word", "kept"),
    [("build", "build"), ("shared/build", "shared/build"), ("61001/build", "61001/build"), ("who/build", "who/build")],
)
async def test_a_queue_is_kept_with_the_number_of_its_owner(word: str, kept: str) -> None:
    context = context_of(Bed(), ALICE)
    assert context.kept_word(word) == kept
    context.access.people._uids["alice"] = 0.0, ALICE  # looked up ahead
    assert context.kept_word("alice/build") == "61001/build"
    request = m.Run(
        id=1, run=b"r" * 16, argv=[b"x"], env=[], cwd=b"/", umask=0, settings={"queue": word}, after=["bob/a:ok"]
    )
    assert words_of(request) == ["bob/a", *([word] if word[:3] in ("610", "who") else [])]


async def test_status_names_who_has_the_slots_and_the_queue_as_one_knows_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        filled(bed, 1, "a", "b", owner=ALICE)
        bed.registry.queues.add(SHARED, "all", 1, ROOT)
        Jobs(bed).submit("c", BOB, {"held": True}, {"queue": "all"})
        await wait_all_tasks_blocked()

        def seen(word: str, uid: int) -> m.JobView:
            return look.get_quick(context_of(bed, uid), m.Get(id=1, names=[word])).jobs[0]

        assert seen("b", ALICE).waits == "for queue build, which is full: held by a"
        view = seen(f"{ALICE}/b", 0)
        assert (view.queue, view.position) == (f"{ALICE}/build", 1)
        assert view.waits == f"for queue {ALICE}/build, which is full: held by {ALICE}/a"
        assert (seen(f"{BOB}/c", 0).queue, seen("c", BOB).queue) == ("all", "all")
        bed.registry.queues.add(0, "all", 1, ROOT)
        assert (seen(f"{BOB}/c", 0).queue, seen("c", BOB).queue) == ("shared/all", "all")


# --- lists ----------------------------------------------------------------------------------------------------------
def names_of(bed: Bed, uid: int = 0, **asked: object) -> tuple[list[str], dict[str, int]]:
    found = look.list_jobs(context_of(bed, uid), m.List(id=1, **asked))  # type: ignore[arg-type]
    return [job.job for job in found.jobs], found.left_out


async def test_of_thousands_that_wait_the_next_stand_in_a_list(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, *(f"j{n:03}" for n in range(50)))
        jobs.make("free")
        jobs.make("urgent", queue="build", priority=1)
        for number in range(4):
            jobs.submit(f"held{number}", 0, {"held": True}, {"queue": "build"})
        jobs.make("failed")
        await wait_all_tasks_blocked()
        await jobs.end("failed", 256)
        shown, left_out = names_of(bed, waiting=3)
        assert shown == ["failed", "free", "held0", "held1", "held2", "j000", "j001", "j002", "urgent"]
        assert left_out == {"build": 48}
        assert names_of(bed, waiting=3, patterns=["j04*"]) == ([], {"build": 10})
        assert names_of(bed, waiting=3, after="0/held1") == (["held2", "j000", "j001", "j002", "urgent"], {})
        for every in ({}, {"all": True}, {"states": ["queued"]}):
            shown, left_out = names_of(bed, **({"waiting": 3} if every else {}), **every)
            assert len(shown) >= 54, every
            assert left_out == {}


async def test_a_list_of_what_is_or_was_in_a_queue(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 2, "a", "b", "c")
        bed.registry.queues.add(SHARED, "all", 2, ROOT)
        jobs.make("d", queue="all")
        jobs.make("free")
        jobs.make("hers", ALICE, queue="all")
        await wait_all_tasks_blocked()
        await jobs.end("a")
        assert names_of(bed, queue="build")[0] == ["b", "c"]
        assert names_of(bed, queue="build", all=True)[0] == ["a", "b", "c"]
        assert names_of(bed, queue="all")[0] == ["d", "hers"]
        assert names_of(bed, ALICE, queue="shared/all")[0] == ["hers"]
        assert names_of(bed, queue="batch")[0] == []
        bed.registry.queues.add(0, "empty", 2, ROOT)
        assert names_of(bed, queue="empty")[0] == []
        for word in ("nope", f"{BOB}/build"):
            with pytest.raises(Refused, match="there is no queue"):
                names_of(bed, queue=word)
