"""What a submitted run waits for: the words of the request, and what is told of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core.records import JobRow
from jobd.core.rules import Who
from jobd.core.spec import JobSpec, encode_spec
from jobd.host.peer import Peer
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.rerun import rerun
from jobd.rpc.handlers.run import run
from jobd.rpc.terms import told
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import Bed, serving
from tests.runtime.jobs import Jobs


class Stranger(Context):
    """Somebody who sees all jobs but the secret one."""

    __slots__ = ()

    @property
    def who(self) -> Who:
        return Who(7, frozenset())

    def sees(self, owner: int, job: str) -> bool:
        return (owner, job) != (5, "secret")


def a_run(*words: str, run_id: bytes = b"", name: str = "new") -> m.Run:
    run_id = run_id or name.encode()
    return m.Run(id=1, run=run_id.ljust(16), argv=[b"true"], env=[], cwd=b"/", name=name, after=list(words))


async def ask(bed: Bed, *words: str, name: str = "new") -> m.Started:
    answers = Answers()
    await run(context_of(bed, answers), a_run(*words, name=name))
    (body,) = answers.bodies
    assert isinstance(body, m.Started)
    return body


@pytest.mark.parametrize("array", ["", "1-3"])
async def test_a_name_that_is_a_templates_is_not_one_for_a_run(array: str) -> None:
    async with serving(Bed()) as bed:
        request = replace(a_run(name="web@"), array=array)
        with pytest.raises(Refused, match="'web@' ends with '@', which is for templates") as info:
            await run(context_of(bed, Answers()), request)
    assert info.value.code == errors.INVALID


async def test_a_name_that_is_taken_by_what_waits_is_said_to_be_queued(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("first")
        await wait_all_tasks_blocked()
        await ask(bed, "first")
        with pytest.raises(Refused, match="a job of this name is queued; cancel it first, or choose another name"):
            await run(context_of(bed, Answers()), a_run("first", run_id=b"other"))
        with pytest.raises(Refused, match="a job of this name is running; stop it first, or choose another name"):
            await run(context_of(bed, Answers()), a_run(run_id=b"other", name="first"))
        context = context_of(bed, Answers())
        for job, why in (("new", "queued; cancel it first"), ("first", "running; stop it first, or restart it")):
            with pytest.raises(Refused, match=f"cannot rerun '{job}': it is {why}"):
                await rerun(context, m.Rerun(id=1, job=job, new=b"again".ljust(16)))
        await jobs.end("first")


async def test_the_answer_says_what_is_waited_for_or_why_it_never_begins(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        await wait_all_tasks_blocked()
        body = await ask(bed, "first", "first#1:any")
        assert (body.waits, body.text) == ("for first to succeed, first to end", "")
        assert bed.registry.jobs[0, "new"].row.sub == "queued"
        view = views.job_view(bed.registry, bed.registry.jobs[0, "new"].row)
        assert (view.after, view.waits) == (["first:ok", "first:any"], body.waits)
        await jobs.end("first", 256)
        assert jobs.sub("new") == "failed"
        body = await ask(bed, "first", name="late")
        assert body.text == "late never begins: it waits for first to succeed, which has failed (exit-code)"
        assert await ask(bed, "first", name="late") == body  # asked again after a lost reply
        body = await ask(bed, "first:failed", name="cleanup")
        assert (body.waits, body.text) == ("", "")
        assert first.gone


@pytest.mark.parametrize(
    ("word", "code", "text"),
    [
        ("first:", errors.INVALID, "after a job may come :ok, :failed or :any"),
        ("nobodys", errors.NOT_FOUND, "cannot find job 'nobodys'"),
        ("first#7", errors.NOT_FOUND, "cannot find run 7 of first"),
        ("db", errors.INVALID, "it is a service that does not end by itself; -p requires=db -p after=db"),
        ("forever", errors.INVALID, "it is a service that does not end by itself"),
        ("import", errors.NOT_FOUND, "cannot wait for import: it was never started"),
    ],
)
async def test_what_cannot_be_waited_for_is_refused(autojump_clock: MockClock, word: str, code: str, text: str) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        jobs.make("forever", restart="always")
        await wait_all_tasks_blocked()
        for name, kind in (("db", "exec"), ("import", "oneshot")):
            blob = encode_spec(JobSpec(argv=(b"true",), cwd=b"/", type=kind))
            bed.store.blobs[name.encode()] = blob
            env = first.row.env
            bed.store.jobs[0, name] = JobRow(
                owner=0, job=name, spec=name.encode(), env=env, created_at=0, transient=False
            )
        with pytest.raises(Refused) as refused:
            await ask(bed, word)
        assert refused.value.code == code
        assert text in str(refused.value)
        assert (0, "new") not in bed.registry.jobs


async def test_who_may_not_know_of_a_job_is_not_told_that_another_waits_for_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first", owner=5)
        secret = jobs.make("secret", owner=5)
        waiting = jobs.behind("new", (first, "ok"), (secret, "any"))
        view = views.job_view(bed.registry, waiting.job.row)
        context = context_of(bed, Answers())
        assert told(context, view) == view
        assert (view.after, view.waits) == (["5/first:ok", "5/secret:any"], "for 5/first to succeed, 5/secret to end")
        context = Stranger(context.world, context.connection, Peer(uid=7, gid=7, pid=1), context.access)
        context.own = 7
        seen = told(context, view)
        assert (seen.after, seen.waits) == (["5/first:ok"], "for other runs")
