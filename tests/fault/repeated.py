"""Arrays, and jobs that start by the clock, while daemon and keeper are killed."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec

from jobd.core.arrays import element_id
from jobd.core.ids import new_run_id
from jobd.core.whystarts import SKIPPED
from jobd.runtime.schedule import ELAPSED
from jobd.wire import messages as m
from tests.fault.asking import Client
from tests.fault.killing import OF_KEEPERS, Killer, told
from tests.fault.repeated_checker import (
    ARRAY_KINDS,
    CODES,
    NSEC,
    SCHEDULE_KINDS,
    Elapse,
    Element,
    check_array,
    check_schedule,
)
from tests.fault.report import Problem, Report, concluded
from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOGETHER: Final = 3  # arrays at a time
ELEMENTS: Final = 40  # of an array: they are accepted in steps of 24
AT_ONCE: Final = 4
# A line in one write is there whole or not at all; `end` is written before the element gives up its place.
SCRIPT: Final = 'echo "begin %i" >>"{0}"; echo "end %i" >>"{0}"; exit $((%i - %i / {1} * {1}))'
SCHEDULES_SEC: Final = {"quarter": 0.25, "half": 0.5, "second": 1.0, "other": 1.0}
KILL_WITHIN_SEC: Final = 1.0


def run_arrays(root: Path, kills: int, seed: int) -> Report:
    """Each element of each array runs once: one campaign in `root`."""
    program, dice = Program(root), random.Random(seed)
    client = Client(program)
    problems: list[Problem] = []
    arrays = 0
    try:
        program.start()
        with Killer(program, dice, kills, keepers=OF_KEEPERS) as killer:
            while killer.busy:
                numbers = range(arrays, arrays + TOGETHER)
                bases = {number: _submit(client, root, number, program.mark) for number in numbers}
                for number, base in bases.items():
                    seen = _elements(client, base)
                    problems += check_array(f"array-{number}", ELEMENTS, AT_ONCE, seen, _ledger(root, number))
                arrays += TOGETHER
    finally:
        client.close()
        program.close()
    done = f"{told(killer)}, {arrays} arrays of {ELEMENTS}"
    return concluded(program, seed, done, ARRAY_KINDS, problems, client.errors)


def _submit(client: Client, root: Path, number: int, mark: str) -> bytes:
    """Submit an array; its id."""
    base, name = new_run_id(), f"array-{number}"
    script = SCRIPT.format(root / name, CODES)
    env = [b"PATH=/usr/bin:/bin", b"JOBD_TEST_MARK=" + mark.encode()]
    client.ask(
        m.Run(
            id=0, run=base, argv=[script.encode()], shell=True, env=env, cwd=b"/", name=name,
            array=f"0-{ELEMENTS - 1}%{AT_ONCE}", exec_wait=False,
        )
    )  # fmt: skip
    return base


def _ledger(root: Path, number: int) -> list[tuple[str, int]]:
    path = root / f"array-{number}"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(word, int(element)) for word, element in map(str.split, lines)]


def _elements(client: Client, base: bytes) -> dict[int, Element]:
    """What jobd says of the elements once all have ended."""
    places = {element_id(base, place): place for place in range(ELEMENTS)}
    return {
        places.get(view.run, -1 - number): Element(view.state, view.result, view.exit_code)
        for number, view in enumerate(client.wait([base]))
    }


def run_schedules(root: Path, kills: int, seed: int) -> Report:
    """Each time is seen to once, and is never in the past again: one campaign in `root`."""
    program, dice = Program(root), random.Random(seed)
    jobs = program.config_dir / "jobs"
    jobs.mkdir()
    for job, every in SCHEDULES_SEC.items():
        command = json.dumps(["/bin/sh", "-c", 'echo "$JOBD_RUN" | tr -d - >>"$0"', str(root / job)])
        environment = f'{{ JOBD_TEST_MARK = "{program.mark}" }}'
        text = f'command = {command}\ntype = "oneshot"\nschedule = "*:*:0/{every}"\nenvironment = {environment}\n'
        (jobs / f"{job}.toml").write_text(text + 'start_limit = "infinity"\n')
    problems: list[Problem] = []
    counted = 0
    try:
        program.start()
        program.jobctl("enable", *SCHEDULES_SEC, check=True)
        with Killer(program, dice, kills, keepers=OF_KEEPERS, within_sec=KILL_WITHIN_SEC) as killer:
            killer.finish()
        program.daemon_status()
        time.sleep(min(SCHEDULES_SEC.values()))  # a schedule goes by the clock, and so does this
        program.jobctl("disable", *SCHEDULES_SEC, check=True)
        program.jobctl("wait", *SCHEDULES_SEC)
    finally:
        program.close()
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        for job, every in SCHEDULES_SEC.items():
            elapses, seen = list(_elapses(db, job)), _runs(db, job)
            ledger = (root / job).read_text().split() if (root / job).exists() else []
            problems += check_schedule(job, round(every * NSEC), elapses, seen, ledger)
            counted += len(elapses)
    return concluded(program, seed, f"{told(killer)}, {counted} times of schedules", SCHEDULE_KINDS, problems)


def _elapses(db: sqlite3.Connection, job: str) -> Iterator[Elapse]:
    rows = db.execute("SELECT kind, at, run, data FROM events WHERE job = ? ORDER BY seq", (job,))
    for kind, at, run, data in rows:
        if kind in (ELAPSED, SKIPPED):
            due = msgspec.msgpack.decode(data)["job.elapse_last"]
            yield Elapse(due, at, run.hex() if run and kind == ELAPSED else "")


def _runs(db: sqlite3.Connection, job: str) -> dict[str, Element]:
    rows = db.execute("SELECT run, state, result, exit_code FROM runs WHERE job = ?", (job,))
    return {run.hex(): Element(state, result, code) for run, state, result, code in rows}
