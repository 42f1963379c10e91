"""The machine with job files: it writes them, has them read, enables jobs, reloads and freezes what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jobd.wire import errors
from tests.fault.model_filed import Filed
from tests.fault.model_machine import JOBS, ModelMachine, picks, plans
from tests.fault.model_rows import GATE, GONE, NO_QUEUE, RUNS

if TYPE_CHECKING:
    from tests.fault.model_rows import Job, Plan

FILES: Final = ("f", "f", "a")  # what files are for: a name of its own, and one that runs are submitted under
texts = st.sampled_from(("good", "good", "good", "broken", "none"))
services = plans.map(lambda plan: plan._replace(kind=GATE, queue=NO_QUEUE))
readings = st.sampled_from((True, True, True, False))
tendings = st.sampled_from(("reload", "reload", "freeze", "thaw", "thaw", "kill"))


class FiledMachine(ModelMachine):
    """Acts on one job more, which has a file, and on the files."""

    model: Filed
    names: ClassVar[tuple[str, ...]] = (*JOBS, "f")

    def __init__(self) -> None:
        super().__init__()
        self.model = Filed()

    # --- files --------------------------------------------------------------------------------------------------
    @rule(pick=picks, text=texts, plan=plans, read=readings)
    def define(self, pick: int, text: str, plan: Plan, read: bool) -> None:
        name = FILES[pick % len(FILES)]
        if text != "none":
            self.model.disk[name] = plan if text == "good" else None
            self.subject.define(name, self.model.disk[name])
            self.steps.append(f"{name}.toml is {self.model.disk[name]}")
        elif name in self.model.disk:
            del self.model.disk[name]
            self.subject.undefine(name)
            self.steps.append(f"{name}.toml is removed")
        if read:
            self.daemon_reload()
        else:
            self.cat()

    @rule(text=st.sampled_from(("good", "good", "good", "broken")), plan=services)
    def serve(self, text: str, plan: Plan) -> None:
        """A service that runs, mostly: it is what most is to be said of."""
        self.define(0, text, plan, read=True)
        self.states()
        self.starting("start", "f")

    @precondition(lambda self: self.model.disk)
    @rule()
    def daemon_reload(self) -> None:
        found, wanted = self.subject.daemon_reload(), self.model.daemon_reload()
        if self.was_killed():  # asked a second time, it tells what the first has left
            wanted = {name: change for name, change in wanted.items() if name in found}
        self.steps.append("daemon-reload")
        self.same("wrong answers", "daemon-reload", found, wanted)

    @rule()
    def cat(self) -> None:
        for name, job in self.model.jobs.items():
            if job.load != GONE and not job.bare:
                self.same("wrong definitions", f"cat {name}", self.subject.cat(name), self.model.cat(name))

    # --- starting with jobd -------------------------------------------------------------------------------------
    @rule(pick=picks, verb=st.sampled_from(("enable", "enable", "disable")))
    def set_enabled(self, pick: int, verb: str) -> None:
        there = [name for name, job in sorted(self.model.jobs.items()) if job.filed]
        name = there[pick % len(there)] if there and pick > 3 else self.named(pick)
        found, _ = self.subject.act(verb, name)
        self.did(f"{verb} {name}", found, getattr(self.model, verb)(name))

    @precondition(lambda self: self.subject.boots)
    @rule(chance=st.integers(0, 2))
    def boot(self, chance: int) -> None:
        """jobd is shut down, and started again: which reads all files, and starts what is enabled."""
        if chance:
            return
        self.steps.append("shutdown and start")
        self.model.shut_down()
        self.model.daemon_reload()
        names = self.model.started_with_jobd()
        runs = self.subject.boot({name: self.newest(name) for name in names})
        self.same("wrong answers", "started with jobd", sorted(runs), sorted(names))
        self.model.boot(runs)

    def newest(self, name: str) -> str:
        run = self.model.jobs[name].newest
        return run.id if run is not None else ""

    # --- what is done to what runs ------------------------------------------------------------------------------
    @rule(pick=picks, verb=tendings)
    def tend(self, pick: int, verb: str) -> None:
        there = [name for name, job in sorted(self.model.jobs.items()) if tendable(verb, job)]
        name = there[pick % len(there)] if there and pick > 1 else self.named(pick)
        if verb == "reload" and name in self.model.jobs and is_frozen(self.model.jobs[name]):
            return  # that would take as long as a start may
        how = {}
        if verb == "kill":  # a frozen one would keep the others until it is thawed
            how = {"signal": 9 if name in self.model.jobs and is_frozen(self.model.jobs[name]) else 10 + pick % 2 * 5}
        found, _ = self.subject.act(verb, name, **how)
        wanted = getattr(self.model, verb)(name, **how)
        self.did(f"{verb} {name}", found, wanted)
        if verb == "reload" and wanted in ("", errors.FAILED) and (run := self.model.jobs[name].live):
            self.same("wrong logs", f"logs of {name}", self.subject.until_output(run), (run.out, run.err))


def is_frozen(job: Job) -> bool:
    return bool(job.live and job.live.frozen)


def tendable(verb: str, job: Job) -> bool:
    if job.live is None or job.live.state != RUNS:
        return False
    return bool(job.live.plan.reload) if verb == "reload" else job.live.frozen == (verb == "thaw")
