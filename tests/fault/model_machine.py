"""The machine that draws acts at random, has both jobd and the model do them, and compares all that can be seen.

It drives a Subject: the real jobd (model_world.py), or one in memory that is right, or has a planted fault
(model_fake.py), by which test_model.py shows that each kind of mistake is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobd.core.ids import new_run_id
from jobd.wire import errors
from tests.fault.model import Model
from tests.fault.model_rows import (
    BY_COMMAND,
    BY_FAILING,
    BY_SIGNAL,
    ENDED,
    GATE,
    KINDS,
    NO_QUEUE,
    NO_RELOAD,
    RUNS,
    SUCCESS,
    Ending,
    Job,
    Plan,
    RunSeen,
    Seen,
    run_seen,
    turn,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.fault.model_rows import Run

KINDS_OF_PROBLEM: Final = (
    "wrong answers", "wrong states", "wrong lists", "wrong queues", "wrong ends", "wrong history", "wrong logs",
    "wrong events", "wrong definitions", "broken off",
)  # fmt: skip

JOBS: Final = ("a", "b", "c")
QUEUES: Final = ("q", "r")
jobs = st.sampled_from(JOBS)
picks = st.integers(0, 11)
pauses = st.sampled_from((0.0, 0.0, 0.004, 0.02))  # before a kill, in seconds: the next act has begun by then
queues = st.sampled_from(QUEUES)
slots = st.sampled_from((1, 2, 0, None))
plans = st.builds(
    Plan,
    kind=st.sampled_from((GATE, GATE, GATE, *KINDS)),
    queue=st.sampled_from((NO_QUEUE, NO_QUEUE, *QUEUES)),
    priority=st.integers(-1, 1),
    weight=st.integers(1, 2),
    restart=st.sampled_from((False, False, True)),
    reload=st.sampled_from((NO_RELOAD, BY_SIGNAL, BY_COMMAND, BY_FAILING)),
)
endings = st.sampled_from((SUCCESS, Ending("exit-code", 1), Ending("exit-code", 77), Ending("signal", signal=9)))
texts = st.sampled_from((b"line\n", b"no end", b"\0\xff\x80", b"twice\ntwice\n", b"x" * 700))


STARTS: Final = ("start", "restart", "try_restart")
verbs = st.sampled_from(
    (
        "start", "start", "restart", "try_restart", "stop", "cancel", "hold", "hold", "release", "release", "mask",
        "unmask", "reset_failed", "reset_failed", "kill 9", "kill 10", "kill 15", "remove", "remove stop",
        "remove purge", "remove stop purge",
    )
)  # fmt: skip


def fits(verb: str, job: Job) -> bool:
    waits = job.live is not None and job.live.state != RUNS
    if verb in ("hold", "release", "cancel"):
        return waits and job.live is not None and job.live.held == (verb == "release")
    if verb in ("kill", "stop", "try_restart"):
        return job.live is not None
    if verb in ("run", "rerun"):
        return job.live is None and not (job.masked or (not job.runs if verb == "rerun" else job.filed))
    if verb == "reset_failed":
        return job.sub in ("failed", "auto-restart")
    return verb != "unmask" or job.masked


class Told(NamedTuple):
    """One event, as far as it is compared."""

    seq: int
    kind: str
    job: str
    run: str
    number: int | None
    active: str
    sub: str
    state: str
    result: str
    code: int | None
    signal: int | None


class QueueSeen(NamedTuple):
    """A queue, and the numbers of what is in it: JOB#NUMBER in order, those that run first."""

    slots: int | None
    state: str
    used: int
    running: tuple[str, ...]
    waiting: tuple[str, ...]


def queues_of(model: Model) -> dict[str, QueueSeen]:
    """How the queues must look."""
    found = {}
    for name, queue in model.queues.items():
        live = [job.live for job in model.jobs.values() if job.live and job.live.plan.queue == name]
        waiting = sorted((run for run in live if run.state != RUNS), key=lambda run: (run.held, *turn(run)))
        found[name] = QueueSeen(
            queue.slots,
            "paused" if queue.paused else "open",
            model.used(name),
            tuple(sorted(f"{run.job}#{run.number}" for run in live if run.state == RUNS)),
            tuple(f"{run.job}#{run.number}" for run in waiting),
        )
    return found


class Mismatch(AssertionError):  # noqa: N818
    """What a client sees is not what must be."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text


class Subject(Protocol):
    """What the machine does to a jobd, and asks it. Names are of one example; acts return an error code and a run."""

    @property
    def kills(self) -> bool: ...
    @property
    def boots(self) -> bool: ...
    @property
    def dying(self) -> bool: ...

    def begin(self) -> None: ...
    def define(self, name: str, plan: Plan | None) -> None: ...
    def undefine(self, name: str) -> None: ...
    def daemon_reload(self) -> dict[str, str]: ...
    def cat(self, name: str) -> str: ...
    def finish(self) -> None: ...
    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str: ...
    def rerun(self, name: str, run: str) -> str: ...
    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]: ...
    def tell_text(self, name: str, out: bytes, err: bytes) -> None: ...
    def tell_end(self, name: str, ending: Ending) -> None: ...
    def queue_act(self, verb: str, name: str, slots: int | None) -> str: ...
    def until_seen(self, wanted: dict[str, Seen]) -> dict[str, Seen]: ...
    def until_output(self, run: Run) -> tuple[bytes, bytes]: ...
    def listed(self) -> set[str]: ...
    def queues(self) -> dict[str, QueueSeen]: ...
    def wait(self, runs: Sequence[str]) -> dict[str, RunSeen]: ...
    def history(self, name: str) -> list[RunSeen] | None: ...
    def output(self, name: str, run: str) -> tuple[bytes, bytes]: ...
    def events(self) -> tuple[list[Told], list[Told]]: ...
    def disturb(self, how: str, after: float) -> None: ...
    def boot(self, newest: Mapping[str, str]) -> dict[str, str]: ...


class ModelMachine(RuleBasedStateMachine):
    """Acts on three jobs and two queues, and a look at everything after each."""

    subject: ClassVar[Subject]
    found: ClassVar[list[Mismatch]]  # kept here, whatever hypothesis makes of what is raised
    names: ClassVar[tuple[str, ...]] = JOBS

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.steps: list[str] = []
        self.broken = False
        self.dying = False  # a kill was still to come before this act
        self.greeted: set[str] = set()  # runs whose first output has been seen
        self.subject.begin()

    # --- comparing ----------------------------------------------------------------------------------------------
    def same(self, kind: str, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.fail(kind, f"{what}: {found}, and not {wanted}")

    def fail(self, kind: str, text: str) -> None:
        self.broken = True
        mismatch = Mismatch(kind, f"{text}; after {'; '.join(self.steps)}")
        self.found.append(mismatch)
        raise mismatch

    def did(self, step: str, found: str, wanted: str) -> None:
        self.steps.append(step)
        self.same("wrong answers", step, found or "done", wanted or "done")

    def named(self, pick: int) -> str:
        """Mostly one of the jobs that are there: of the others there is little to be said."""
        there = sorted(self.model.jobs)
        return there[pick % len(there)] if there and pick else self.names[pick % len(self.names)]

    # --- submitting ---------------------------------------------------------------------------------------------
    @rule(pick=picks, plan=plans, hold=st.sampled_from((False, False, False, True)))
    def run(self, pick: int, plan: Plan, hold: bool) -> None:
        free = [name for name in self.names if name not in self.model.jobs or fits("run", self.model.jobs[name])]
        name = free[pick % len(free)] if free and pick else self.names[pick % len(self.names)]
        run = new_run_id().hex()
        found = self.subject.run(name, plan, run, hold=hold)
        self.did(f"run {name} {plan}{' hold' * hold}", found, self.model.run(name, plan, run, hold=hold))

    @precondition(lambda self: self.model.queues)
    @rule(pick=picks, plan=plans)
    def run_in_queue(self, pick: int, plan: Plan) -> None:
        there = sorted(self.model.queues)
        self.run(pick, plan._replace(queue=there[pick % len(there)]), hold=False)

    @rule(pick=picks)
    def rerun(self, pick: int) -> None:
        name = self.fitting("rerun", pick)
        run = new_run_id().hex()
        self.did(f"rerun {name}", self.subject.rerun(name, run), self.model.rerun(name, run))

    # --- acts ---------------------------------------------------------------------------------------------------
    @rule(pick=picks, priority=st.integers(-1, 2))
    def set_priority(self, pick: int, priority: int) -> None:
        name = self.fitting("cancel", pick)
        if name in self.model.jobs and self.model.jobs[name].filed:
            return  # a drop-in, which jobctl writes
        found, _ = self.subject.act("set_priority", name, priority=priority)
        self.did(f"set-property {name} priority={priority}", found, self.model.set_priority(name, priority))

    @rule(pick=picks, verb=verbs)
    def act(self, pick: int, verb: str) -> None:
        """One rule, as hypothesis takes rules in equal shares, and what it ends would end all of the time else."""
        verb, *options = verb.split()
        name = self.fitting(verb, pick)
        how: dict[str, bool | int] = {option: True for option in options if not option.isdecimal()}
        if verb == "remove":
            how = {option: option in options for option in ("stop", "purge")}
        elif verb == "kill":
            job = self.model.jobs.get(name)
            how = {"signal": 9 if job and job.live and job.live.frozen else int(options[0])}  # another one would wait
        elif verb in STARTS:
            self.starting(verb, name)
            return
        found, _ = self.subject.act(verb, name, **how)
        self.did(f"{verb} {name} {' '.join(options)}".strip(), found, getattr(self.model, verb)(name, **how))

    def starting(self, verb: str, name: str) -> None:
        """One of the verbs that may make a run."""
        no_block = self.model.waits_long(name)
        found, run = self.subject.act(verb, name, no_block=no_block)
        wanted = getattr(self.model, verb)(name, run, no_block=no_block)
        if no_block and wanted == errors.FAILED:  # who does not wait may be told of it, or not
            found = found or wanted
        self.did(f"{verb} {name}", found, wanted)
        newest = self.model.jobs[name].newest if name in self.model.jobs else None
        if not wanted and run and newest is not None:
            self.same("wrong answers", f"the run that {verb} {name} names", run, newest.id)

    def fitting(self, verb: str, pick: int) -> str:
        """Mostly a job for which the verb does something."""
        there = [name for name, job in sorted(self.model.jobs.items()) if fits(verb, job)]
        return there[pick % len(there)] if there and pick > 1 else self.named(pick)

    # --- what the jobs do ---------------------------------------------------------------------------------------
    def at_gates(self) -> list[Run]:
        live = [job.live for _, job in sorted(self.model.jobs.items())]
        return [run for run in live if run is not None and run.state == RUNS and not run.frozen]

    @precondition(lambda self: self.at_gates())
    @rule(pick=picks, ending=endings)
    def end(self, pick: int, ending: Ending) -> None:
        there = self.at_gates()
        run = there[pick % len(there)]
        self.subject.tell_end(run.job, ending)
        self.model.end(self.model.jobs[run.job], ending)
        self.model.settle()
        self.steps.append(f"{run.job} ends with {ending}")
        self.same("wrong ends", f"wait for {run.job}", self.subject.wait([run.id]), {run.id: run_seen(run)})

    @precondition(lambda self: self.at_gates())
    @rule(pick=picks, out=texts, err=texts)
    def write(self, pick: int, out: bytes, err: bytes) -> None:
        there = self.at_gates()
        run = there[pick % len(there)]
        self.subject.tell_text(run.job, out, err)
        run.out, run.err = run.out + out, run.err + err
        self.steps.append(f"{run.job} writes")
        self.same("wrong logs", f"logs of {run.job}", self.subject.until_output(run), (run.out, run.err))

    # --- queues -------------------------------------------------------------------------------------------------
    @rule(name=queues, slots=slots, verb=st.sampled_from(("add", "add", "slots", "pause", "resume", "remove")))
    def queue(self, name: str, slots: int | None, verb: str) -> None:
        found = self.subject.queue_act(verb, name, slots)
        if verb == "add":
            wanted = self.model.queue_add(name, slots)
        elif verb == "remove":
            wanted = self.model.queue_remove(name)
            if wanted == errors.NOT_FOUND and self.was_killed():
                wanted = found and wanted  # asked a second time, the client takes it for gone by the first
        elif verb == "slots":
            wanted = self.model.queue_set(name, slots=slots)
        else:
            wanted = self.model.queue_set(name, paused=verb == "pause")
        self.did(f"queue {verb} {name} {slots}", found, wanted)

    # --- disturbance --------------------------------------------------------------------------------------------
    @precondition(lambda self: self.subject.kills)
    @rule(how=st.sampled_from(("daemon", "daemon", "daemon", "keeper", "reexec")), after=pauses)
    def disturb(self, how: str, after: float) -> None:
        self.steps.append(f"{how} killed")
        self.subject.disturb(how, after)

    def was_killed(self) -> bool:
        """Whether a daemon may die over the act that comes now, and the client ask another a second time."""
        return self.dying or (bool(self.steps) and self.steps[-1].endswith("killed"))

    # --- looking ------------------------------------------------------------------------------------------------
    @invariant()
    def states(self) -> None:
        wanted = {name: self.model.seen(name) for name in self.names}
        found = self.subject.until_seen(wanted)
        for name in self.names:
            self.same("wrong states", f"job {name}", found[name], wanted[name])
        for run in self.at_gates():
            if run.id not in self.greeted:
                self.same("wrong logs", f"logs of {run.job}", self.subject.until_output(run), (run.out, run.err))
                self.greeted.add(run.id)
        self.dying = self.subject.dying

    @rule()
    def look(self) -> None:
        """Lists, queues, and the history of every job."""
        self.same("wrong lists", "list", self.subject.listed(), self.model.listed())
        self.same("wrong queues", "queues", self.subject.queues(), queues_of(self.model))
        for name in self.names:
            self.same("wrong history", f"history {name}", self.subject.history(name), self.model.history(name))

    def teardown(self) -> None:
        """At the end of an example: all that has been is still so, and the events tell the same."""
        try:
            if not self.broken:
                self.look()
                self.outputs()
                self.ends()
                self.events()
        finally:
            self.subject.finish()

    def outputs(self) -> None:
        for run in self.model.every_run():
            if run.state == ENDED:
                found = self.subject.output(run.job, run.id)
                self.same("wrong logs", f"logs of {run.job}#{run.number}", found, (run.out, run.err))

    def ends(self) -> None:
        ended = [run for run in self.model.every_run() if run.state == ENDED]
        if ended:
            wanted = {run.id: run_seen(run) for run in ended}
            self.same("wrong ends", "wait for all", self.subject.wait(list(wanted)), wanted)

    def events(self) -> None:
        """What a follower was told all the while is what one is told now, and both lead to the present state."""
        followed, told = self.subject.events()
        missing = [each for each in told if each not in followed]
        self.same("wrong events", "not told to the follower", missing, [])
        firsts = {each.job: each.seq for each in reversed(told)}
        gone = {name: firsts.get(name, followed[-1].seq + 1) for name in self.model.purged} if followed else {}
        more = [each for each in followed if each not in told and each.seq >= gone.get(each.job, 0)]
        self.same("wrong events", "told to the follower alone", more, [])
        self.same("wrong events", "order", [each.seq for each in followed], sorted({each.seq for each in followed}))
        for run in self.model.every_run():
            self.events_of(run, [each for each in told if each.run == run.id])
        for name, job in self.model.jobs.items():
            subs = [each.sub for each in told if each.job == name and each.sub]
            if subs:
                self.same("wrong events", f"state of {name} by its events", subs[-1], job.sub)

    def events_of(self, run: Run, told: list[Told]) -> None:
        what = f"events of {run.job}#{run.number}"
        self.same("wrong events", f"{what}: accepted", [each.kind for each in told].count("accepted"), 1)
        ends = [each for each in told if each.state == ENDED]
        self.same("wrong events", f"{what}: ended", len(ends), int(run.state == ENDED))
        for each in ends:
            assert run.end is not None
            seen = RunSeen(each.run, each.job, each.number or 0, each.state, each.result, each.code, each.signal)
            self.same("wrong events", f"{what}: end", seen, run_seen(run))
