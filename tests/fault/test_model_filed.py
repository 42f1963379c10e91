"""The machine with job files finds nothing in a jobd that is right, and each fault that is planted in one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from tests.fault.model_campaign import explore
from tests.fault.model_fake import Fake
from tests.fault.model_filed import Filed
from tests.fault.model_filed_machine import FiledMachine
from tests.fault.model_rows import BROKEN, BY_COMMAND, BY_FAILING, GONE, LOADED, STOPPED, Ending, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fault.model_rows import Seen

SEED = 4
EXAMPLES = 300  # at most; a fault is found long before
STEPS = 120  # of one example


class FilesAlone(FiledMachine):
    """Without the acts that have nothing to do with files: so a fault is found sooner."""

    run_in_queue = rerun = queue = set_priority = write = None  # type: ignore[assignment]


def test_nothing_is_found_in_a_jobd_that_is_right() -> None:
    assert explore(Fake(), 15, SEED) == []


class AnswersAlone(Fake):
    """Says that it has done one of its verbs, and has not."""

    verb = ""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        before = self.model.jobs.get(name)
        if verb == self.verb and before is not None and getattr(Filed, verb)(self.copied(), name) == "":
            return "", ""
        return super().act(verb, name, **how)

    def copied(self) -> Filed:
        """To see what would be the answer."""
        return copy.deepcopy(self.model)


class EnablesNot(AnswersAlone):
    verb = "enable"


class DisablesNot(AnswersAlone):
    verb = "disable"


class ReloadsNot(AnswersAlone):
    verb = "reload"


class FreezesNot(AnswersAlone):
    verb = "freeze"


class ThawsNot(AnswersAlone):
    verb = "thaw"


class EnableStarts(Fake):
    """What is enabled is started at once."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        if verb == "enable" and not answer[0]:
            super().act("start", name)
        return answer


class DisableStops(Fake):
    """What is disabled is stopped."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        if verb == "disable" and not answer[0]:
            super().act("stop", name)
        return answer


class EnablesAnything(Fake):
    """A job from run is enabled, too."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        return ("", "") if verb == "enable" and answer[0] == "not-applicable" else answer


class ReloadsTwice(Fake):
    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        if verb == "reload" and not answer[0]:
            super().act(verb, name)
        return answer


class ReloadFailureLost(Fake):
    """A reload command that fails is taken for one that does not."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        return ("", "") if verb == "reload" and answer[0] == "failed" else answer


class ReloadKills(Fake):
    """A job whose reload fails is stopped."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        if verb == "reload" and answer[0] == "failed":
            super().act("stop", name)
        return answer


class ReloadsAsItIsNow(Fake):
    """What runs is reloaded by the way that its file has now."""

    def daemon_reload(self) -> dict[str, str]:
        found = super().daemon_reload()
        for job in self.model.jobs.values():
            if job.filed and job.live is not None:
                job.live.plan = job.live.plan._replace(reload=job.plan.reload)
        return found


class BrokenStarts(Fake):
    """A job whose file has errors is started as it was before."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        job = self.model.jobs.get(name)
        if verb != "start" or job is None or job.load != BROKEN:
            return super().act(verb, name, **how)
        job.load = LOADED
        answer = super().act(verb, name, **how)
        job.load = BROKEN
        return answer


class BrokenStops(Fake):
    """What runs is stopped when its file is found to have errors."""

    def daemon_reload(self) -> dict[str, str]:
        found = super().daemon_reload()
        for name, change in found.items():
            if change == "broken" and self.model.jobs[name].filed:
                super().act("stop", name)
        return found


class ReloadsAllTheTime(Fake):
    """A file counts as soon as it is written."""

    def define(self, name: str, plan: Plan | None) -> None:
        super().define(name, plan)
        super().daemon_reload()


class ForgetsFailed(Fake):
    """A job that has failed goes with its file."""

    def daemon_reload(self) -> dict[str, str]:
        found = super().daemon_reload()
        for name, job in list(self.model.jobs.items()):
            if job.filed and job.load == GONE and job.sub == "failed":
                super().act("reset_failed", name)
        return found


class TellsNothing(Fake):
    """daemon-reload does not tell what has changed."""

    def daemon_reload(self) -> dict[str, str]:
        return {name: change for name, change in super().daemon_reload().items() if change != "changed"}


class CatOfDisk(Fake):
    """cat shows what the file is now."""

    def cat(self, name: str) -> str:
        found = super().cat(name)
        return repr(self.model.disk[name]) if found and name in self.model.disk else found


class TermFails(Fake):
    """SIGTERM counts as a failure, as of a job from run."""

    def until_seen(self, wanted: dict[str, Seen]) -> dict[str, Seen]:
        for job in self.model.jobs.values():
            if job.newest is not None and job.newest.end == Ending("success", signal=15):
                job.newest.end = STOPPED
        return super().until_seen(wanted)


class RunsOverFile(Fake):
    """run takes the name of a job with a file."""

    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str:
        code = super().run(name, plan, run, hold=hold)
        job = self.model.jobs.get(name)
        return "" if code == "exists" and job is not None and job.filed else code


class RemovesUnderFile(Fake):
    """rm takes away a job whose file is there."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        if verb != "remove":
            return super().act(verb, name, **how)
        kept = self.model.disk.pop(name, None)
        answer = super().act(verb, name, **how)
        if kept is not None:
            self.model.disk[name] = kept
        return answer


class BootStartsNothing(Fake):
    """What is enabled is not started with jobd."""

    def started(self) -> list[str]:
        return []


class BootStartsAll(Fake):
    """What is not enabled is started, too."""

    def started(self) -> list[str]:
        for job in self.model.jobs.values():
            job.enabled = job.filed
        return super().started()


class BootReadsNothing(Fake):
    """The files are not read at the start."""

    def boot(self, newest: Mapping[str, str]) -> dict[str, str]:
        disk, self.model.disk = (
            self.model.disk,
            {name: job.read for name, job in self.model.jobs.items() if job.filed and job.load != GONE},
        )
        found = super().boot(newest)
        self.model.disk = disk
        return found


FAULTS = (
    EnablesNot, DisablesNot, ReloadsNot, FreezesNot, ThawsNot, EnableStarts, DisableStops, EnablesAnything,
    ReloadsTwice, ReloadFailureLost, ReloadKills, ReloadsAsItIsNow, BrokenStarts, BrokenStops, ReloadsAllTheTime,
    ForgetsFailed, TellsNothing, CatOfDisk, TermFails, RunsOverFile, RemovesUnderFile,
    BootStartsNothing, BootStartsAll, BootReadsNothing,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: type[Fake]) -> None:
    found = explore(fault(), EXAMPLES, SEED, machine=FilesAlone, steps=STEPS)
    assert found
    assert found[0].kind != "broken off", found[0]


def test_what_runs_goes_on_as_it_was_started_whatever_becomes_of_its_file() -> None:
    model = Filed()
    model.disk["f"] = Plan(reload=BY_COMMAND)
    assert model.daemon_reload() == {"f": "added"}
    assert model.start("f", "1") == ""
    model.disk["f"] = Plan(reload=BY_FAILING)
    assert model.daemon_reload() == {"f": "changed"}
    assert model.reload("f") == ""
    del model.disk["f"]
    assert model.daemon_reload() == {"f": "removed"}
    assert model.jobs["f"].runs[0].err == b"command\n"
    assert model.stop("f") == ""
    assert "f" not in model.jobs
