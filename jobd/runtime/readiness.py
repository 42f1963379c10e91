"""When a service is ready: by its own word, or by a check; in time, or it is stopped.

What is asked, and how: checks.py and logwatch.py. What the service says by itself: notifying.py. The time is
`ready.timeout`, or what the service asked for by EXTEND_TIMEOUT_USEC.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import service, units
from jobd.runtime import checks, logwatch
from jobd.runtime.service import becomes_ready
from jobd.runtime.stopping import left_sec
from jobd.store.logs import RunLog

if TYPE_CHECKING:
    from jobd.core.service import Check
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run
    from jobd.runtime.service import Service

# A check that failed is asked again after a part of the time that it has taken so far: whoever starts in 100 ms is
# found ready within 10 ms, and whoever takes a minute costs a question a second.
PART: Final = 0.05
LEAST_SEC: Final = 0.01
LEAST_BY_KEEPER_SEC: Final = 0.1  # of those that cost a process
MOST_SEC: Final = 1.0
ONE_QUESTION_SEC: Final = 10.0  # who accepts and says nothing is asked anew

is_needed = becomes_ready


async def until_ready(run: Run, world: Registry) -> None:
    """Return when the service is ready; when its time is up, ask for its stop.

    In a task beside the run's, which cancels it when the main process ends or a stop is asked for.
    """
    of = run.service
    assert of is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_in_time, of)
        if run.spec.type == service.NOTIFY:
            of.waits = "for READY=1"
            while not of.announced:
                await of.changed.wait()
        elif run.spec.ready is not None:
            of.waits = f"for {checks.describe(run.spec.ready)}"
            await _until_good(of, run.spec.ready, world)
        of.waits = ""
        nursery.cancel_scope.cancel()


async def _end_in_time(of: Service) -> None:
    run = of.run
    while (left := _time_left(of)) > 0:
        with trio.move_on_after(left):
            await of.changed.wait()
    limit = units.format_duration(run.spec.ready_timeout_usec)
    _give_up(of, f"it was not ready within {limit}" + (f": it waited {of.waits}" if of.waits else ""))


def _time_left(of: Service) -> float:
    run = of.run
    return max(left_sec(run.spec.ready_timeout_usec, run.up_mono, run.row.started_at), of.extension_sec)


def _give_up(of: Service, reason: str) -> None:
    of.run.ask_stop(None, "timeout", reason=reason)


async def _until_good(of: Service, check: Check, world: Registry) -> None:
    if check.kind == service.DELAY:
        await trio.sleep(left_sec(check.delay_usec, of.run.up_mono, of.run.row.started_at))
    elif check.kind == service.LOG:
        await _until_line(of, check, world)
    else:
        await _until_answer(of, check, world)


async def _until_line(of: Service, check: Check, world: Registry) -> None:
    log = RunLog(world.streams.directory(of.run))
    try:
        await logwatch.until_line(of.run, log, world.streams.pump, re.compile(check.target), world.asking)
    except logwatch.PatternTooSlow:
        _give_up(of, f"the pattern of its check, {check.target}, takes too long on what it wrote")
        await trio.sleep_forever()


async def _until_answer(of: Service, check: Check, world: Registry) -> None:
    began = trio.current_time()
    least = LEAST_BY_KEEPER_SEC if check.kind in (service.UNIX, service.COMMAND) else LEAST_SEC
    while True:
        await world.asking.turn(of.run.row.owner, checks.cost_sec(check))
        why = f"no answer in {ONE_QUESTION_SEC:g} s"
        with trio.move_on_after(ONE_QUESTION_SEC):
            try:
                why = await checks.ask(check, of.run, world)
            except checks.NotAsked as error:
                why = str(error)
        if not why:
            return
        of.waits = f"for {checks.describe(check)} ({why})"
        await trio.sleep(max(least, min(MOST_SEC, PART * (trio.current_time() - began))))
