"""Jobs that end: submitted by a command each, and run to the end, by those that take jobs.

Each takes turns by its own defaults: task-spooler and nq run one job at a time, jobd's queue has a slot for each core,
systemd-run has no queue, so each of its jobs is waited for before the next.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, ClassVar

from tests.bench import measure
from tests.bench.peers.ours import Jobd
from tests.bench.peers.services import Row
from tests.bench.peers.supervisor import Supervisor
from tests.bench.peers.systemd import Systemd
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JOBS = measure.quick(200, 40)
ROUNDS = measure.quick(15, 4)
LOOPS = measure.quick(3, 2)
LOOP = "i=0; while [ $i -lt {count} ]; do {submit} >/dev/null || exit 1; i=$((i + 1)); done; {wait}"


class Runner:
    """What takes jobs, at some place. The commands are words of a shell."""

    title: ClassVar[str]
    settings: ClassVar[str] = ""

    def __init__(self, place: Supervisor) -> None:
        self.place = place
        self.prepare()

    def prepare(self) -> None:
        """Before the first job."""

    def submit(self, command: str) -> str:
        """Submit a job, and do not wait for it."""
        raise NotImplementedError

    def wait_all(self) -> str:
        """Wait for all that was submitted."""
        return ":"

    def run(self, command: str) -> str:
        """Submit a job and wait for it."""
        raise NotImplementedError

    def timed(self, script: str) -> float:
        return self.place.timed(["/bin/sh", "-c", script])

    def first_instruction(self) -> float:
        """Seconds from the submitting command's start to the job's first instruction."""
        file = self.place.stamps_folder / "first"
        file.unlink(missing_ok=True)
        at = time.monotonic_ns()
        self.timed(f"exec {self.submit(self.place.stamp_command(file))} >/dev/null")
        until(lambda: file.exists() and file.read_bytes().endswith(b"\n"), f"{self.title}: the job has run")
        return (int(file.read_text()) - at) / 1e9

    def prompt(self) -> float:
        return self.timed(f"exec {self.run('true')} >/dev/null")

    def rate(self) -> float:
        """Jobs a second, from the first submission to the end of the last."""
        return JOBS / self.timed(LOOP.format(count=JOBS, submit=self.submit("true"), wait=self.wait_all()))


class JobctlRun(Runner):
    title = "jobd"

    def prepare(self) -> None:
        self.place.open([])
        self.place.run(measure.JOBCTL, "queue", "add", "some", f"slots={os.cpu_count()}")

    def submit(self, command: str) -> str:
        return f"{measure.JOBCTL} run -q --queue some {command}"

    def wait_all(self) -> str:
        return f"{measure.JOBCTL} wait --queue some 2>/dev/null"

    def run(self, command: str) -> str:
        return f"{measure.JOBCTL} run -q --wait {command}"


class TaskSpooler(Runner):
    title = "task-spooler"

    def prepare(self) -> None:
        self.place.env |= {"TS_SOCKET": str(self.place.root / "ts"), "TMPDIR": str(self.place.root)}

    def submit(self, command: str) -> str:
        return f"tsp {command}"

    def wait_all(self) -> str:
        return "exec tsp -w"

    def run(self, command: str) -> str:
        return f"tsp -f {command}"


class Nq(Runner):
    title = "nq"

    def prepare(self) -> None:
        self.place.env["NQDIR"] = str(self.place.root / "nq")

    def submit(self, command: str) -> str:
        return f"nq {command}"

    def wait_all(self) -> str:
        return "exec nq -w"

    def run(self, command: str) -> str:
        return f"sh -c 'nq {command} && exec nq -w'"


class SystemdRun(Runner):
    title = "systemd-run"

    def submit(self, command: str) -> str:
        return f"systemd-run --quiet --wait {command}"

    def run(self, command: str) -> str:
        return self.submit(command)


class Shell(Runner):
    """The yardstick: no supervisor at all."""

    title = "sh, no supervisor"

    def submit(self, command: str) -> str:
        return f"sh -c '{command}'"

    def run(self, command: str) -> str:
        return self.submit(command)


class Plain(Supervisor):
    """A place for what has no process of its own before there are jobs."""

    title = "plain"


RUNNERS: Sequence[tuple[type[Runner], type[Supervisor], tuple[str, ...]]] = (
    (JobctlRun, Jobd, ()),
    (TaskSpooler, Plain, ("tsp",)),
    (Nq, Plain, ("nq",)),
    (SystemdRun, Systemd, ()),
    (Shell, Plain, ()),
)


def rows(runners: Sequence[Runner]) -> list[Row]:
    def medians(count: int, act: Callable[[Runner], float]) -> dict[str, float | None]:
        found = measure.medians(count, {each.title: lambda each=each: act(each) for each in runners})  # type: ignore[misc]
        return dict(found)

    def ms(found: dict[str, float | None]) -> dict[str, float | None]:
        return {title: value and value * 1000 for title, value in found.items()}

    return [
        Row("submission to the job's first instruction", "ms", ms(medians(ROUNDS, Runner.first_instruction))),
        Row("`true`, submitted and waited for", "ms", ms(medians(ROUNDS, Runner.prompt))),
        Row(f"{JOBS} times `true`, a command each", "jobs/s", medians(LOOPS, Runner.rate), higher_is_better=True),
    ]
