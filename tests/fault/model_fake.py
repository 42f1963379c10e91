"""A jobd in memory as the subject of the model's machine: what it is right about it knows from a model of its own.

So nothing is learned of jobd by it, and all of the machine: with a fault planted in it the machine must find something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import errors
from tests.fault.model_filed import Filed
from tests.fault.model_machine import QueueSeen, Told, queues_of
from tests.fault.model_rows import ENDED, GATE, Plan, Run, run_seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.fault.model_rows import Ending, RunSeen, Seen

NO_RUN = Run("", "", 0, Plan(), 0)


class Fake:
    """Answers as jobd has to. Faults are planted by overriding."""

    kills = False
    boots = True
    dying = False

    def __init__(self) -> None:
        self.finish()

    def begin(self) -> None:
        pass

    def finish(self) -> None:
        self.model = Filed()
        self.told: list[Told] = []
        self.known: dict[str, str] = {}  # the state in which each run was when somebody was told

    # --- acts ---------------------------------------------------------------------------------------------------
    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str:
        return self._tell(self.model.run(name, plan, run, hold=hold))

    def rerun(self, name: str, run: str) -> str:
        return self._tell(self.model.rerun(name, run))

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        run = new_run_id().hex()
        if verb in ("start", "restart", "try_restart"):
            code = getattr(self.model, verb)(name, run, **how)
        else:
            code = getattr(self.model, verb)(name, **how)
        job = self.model.jobs.get(name)
        newest = job.newest if job is not None else None
        return self._tell(code), newest.id if newest is not None and not code else run if code == errors.FAILED else ""

    def tell_text(self, name: str, out: bytes, err: bytes) -> None:
        run = self.model.jobs[name].live
        assert run is not None
        assert run.plan.kind == GATE
        run.out, run.err = run.out + out, run.err + err

    def tell_end(self, name: str, ending: Ending) -> None:
        self.model.end(self.model.jobs[name], ending)
        self.model.settle()
        self._tell("")

    def queue_act(self, verb: str, name: str, slots: int | None) -> str:
        if verb == "add":
            return self._tell(self.model.queue_add(name, slots))
        if verb == "remove":
            return self._tell(self.model.queue_remove(name))
        if verb == "slots":
            return self._tell(self.model.queue_set(name, slots=slots))
        return self._tell(self.model.queue_set(name, paused=verb == "pause"))

    def disturb(self, how: str, after: float) -> None:  # noqa: ARG002  # of the protocol
        raise AssertionError("nothing to kill")

    # --- job files ----------------------------------------------------------------------------------------------
    def define(self, name: str, plan: Plan | None) -> None:
        self.model.disk[name] = plan

    def undefine(self, name: str) -> None:
        del self.model.disk[name]

    def daemon_reload(self) -> dict[str, str]:
        found = self.model.daemon_reload()
        self._tell("")
        return found

    def cat(self, name: str) -> str:
        return self.model.cat(name)

    def boot(self, newest: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002  # of the protocol
        self.model.shut_down()
        self._tell("")
        self.model.daemon_reload()
        runs = {name: new_run_id().hex() for name in self.started()}
        self.model.boot(runs)
        self._tell("")
        return runs

    def started(self) -> list[str]:
        return self.model.started_with_jobd()

    # --- events -------------------------------------------------------------------------------------------------
    def _tell(self, code: str) -> str:
        """Note what has become of all runs since this was done last."""
        for run in self.every_run():
            before = self.known.get(run.id)
            if before is None:
                self.event(run, "accepted", "queued")
            if run.state != before and run.state == ENDED:
                self.event(run, "finished", run.state)
            elif run.state != before:
                self.event(run, "started", run.state)
            self.known[run.id] = run.state
        for job in self.model.jobs.values():
            self.told.append(self.blank(job.name)._replace(kind="changed", sub=job.sub))
        return code

    def blank(self, job: str) -> Told:
        return Told((len(self.told) + 1) * 2, "", job, "", None, "", "", "", "", None, None)

    def event(self, run: Run, kind: str, state: str) -> None:
        seen = run_seen(run) if state == ENDED else None
        self.told.append(
            self.blank(run.job)._replace(
                kind=kind,
                run=run.id,
                number=run.number,
                state=state,
                result=seen.result if seen else "",
                code=seen.code if seen else None,
                signal=seen.signal if seen else None,
            )
        )

    # --- questions ----------------------------------------------------------------------------------------------
    def every_run(self) -> list[Run]:
        return self.model.every_run()

    def find(self, run: str) -> Run:
        return next((each for each in self.every_run() if each.id == run), NO_RUN)

    def until_seen(self, wanted: dict[str, Seen]) -> dict[str, Seen]:
        return {name: self.model.seen(name) for name in wanted}

    def until_output(self, run: Run) -> tuple[bytes, bytes]:
        return self.output(run.job, run.id)

    def output(self, name: str, run: str) -> tuple[bytes, bytes]:  # noqa: ARG002  # of the protocol
        found = self.find(run)
        return found.out, found.err

    def listed(self) -> set[str]:
        return self.model.listed()

    def queues(self) -> dict[str, QueueSeen]:
        return queues_of(self.model)

    def wait(self, runs: Sequence[str]) -> dict[str, RunSeen]:
        return {run: run_seen(self.find(run)) for run in runs}

    def history(self, name: str) -> list[RunSeen] | None:
        return self.model.history(name)

    def events(self) -> tuple[list[Told], list[Told]]:
        return self.told, self.told
