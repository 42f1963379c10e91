"""wait: until runs have ended, however often the daemon is replaced meanwhile; the runs' own status.

What is waited for is made run ids first: a name, and still more a queue, would mean other runs once the connection was
lost and the wait is asked for again.
"""

from __future__ import annotations

import time

from jobctl import names, terminal
from jobctl.escape import escape
from jobctl.exits import (
    INTERRUPTED,
    TIMED_OUT,
    ConnectionLostError,
    Fault,
    UsageError,
    run_status,
    why,
)
from jobd.core.names import is_glob
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from jobctl.client import Client
    from jobctl.options import AnyOne, JsonOutput, LogRuns, Timeout, WaitQueue
    from jobctl.progress_runs import Waiting
    from jobctl.shapes import Body, JobView, RunView

    Targets: TypeAlias = dict[bytes, bytes]  # runs, and by which id jobd is asked about each

AT_ONCE = 4096  # runs in a request; `--any` of more looks at the first
MOST_IN_LINE = 1000  # of one job; messages.History.limit
USEC_PER_SEC = 1_000_000
# Results behind a status that looks as if somebody had sent the signal.
WORDS_FOR_RESULTS = {
    "timeout": "its time was over (limits.runtime)",
    "watchdog": "it did not show that it lives",
    "oom-kill": "the kernel had no memory left for it",
}


class DeadlineError(Exception):
    """The time of `wait --timeout` ran out."""


class Outcome:
    """The runs that were waited for, in the order in which they ended."""

    def __init__(self, runs: list[RunView], caller: int) -> None:
        self.caller = caller
        self.runs = sorted(runs, key=lambda run: run.get("finished_at") or 0)

    def status(self) -> int:
        """That of the first that failed; says why where a run has no status of its own, or none that says it."""
        status = 0
        for run in self.runs:
            reason = why(run)
            shown = f"{names.shown_name(run['job'], run['owner'], self.caller)}#{run['number']}"
            if reason:
                terminal.warn(f"{shown} has no exit status: {reason}")
            elif reason := WORDS_FOR_RESULTS.get(run.get("result") or "", ""):
                reason = escape(run.get("reason") or reason)
                terminal.warn(f"{shown} was ended: {reason}")
            status = status or run_status(run)
        return status


def wait(
    client: Client,
    jobs: LogRuns = (),
    *,
    any_one: AnyOne = False,
    queue: WaitQueue = None,
    timeout: Timeout = None,
    output: JsonOutput = None,
) -> int:
    """Wait until the newest runs of jobs have ended, and exit as the first that failed did.

    Without a job or a queue: until all of the caller's runs that are live now have ended.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    deadline = None if timeout is None else _deadline(timeout)
    try:
        runs = _resolve(client, jobs)
        if queue is not None:
            runs |= _in_queue(client, queue)
        elif not jobs:
            runs = _all_live(client)
        outcome = await_runs(client, runs, any_one, deadline)
    except DeadlineError:
        unit = "s" if timeout and timeout.isdecimal() else ""
        words = [*jobs, *([] if queue is None else [f"queue {queue}"])]
        terminal.warn(f"cannot wait longer for {' '.join(words) or 'all runs'}: not ended after {timeout}{unit}")
        return TIMED_OUT
    except KeyboardInterrupt:
        terminal.warn("interrupted; what was waited for goes on")
        return INTERRUPTED
    if as_json:
        from jobctl.rows import print_json, run_rows

        assert output is not None
        print_json(run_rows(outcome.runs), output)
    elif any_one:
        for run in outcome.runs:
            terminal.say(f"{names.shown_name(run['job'], run['owner'], client.uid)}\n")
    return outcome.status()


def accepted(started: Body) -> Targets:
    """What was accepted, to be waited for: a run, or the elements of an array."""
    run, elements = started["run"], started.get("elements", 0)
    if not elements:
        return {run: run}
    from jobd.core.arrays import element_id

    return {element_id(run, place): run for place in range(elements)}


def await_runs(client: Client, targets: Targets, any_one: bool, deadline: float | None) -> Outcome:
    """Wait for runs by id, so that a lost connection never makes it another run.

    Raises:
        DeadlineError: `deadline`, of time.monotonic, has passed.
        Fault: the daemon knows no such run.
    """
    left = dict(targets)
    ended: list[RunView] = []
    client.deadline = deadline
    waiting = _waiting(client, list(left), any_one)
    try:
        while left:
            try:
                asked = list(dict.fromkeys(left.values()))[:AT_ONCE]
                for run in client.ended({"type": "wait", "runs": asked, "any": any_one}):
                    if left.pop(run["run"], None) is not None:
                        ended.append(run)
                        waiting.ended(run)
                if any_one:
                    break
                left = _still(left, asked)
            except ConnectionLostError:
                if any_one and ended:
                    break
                client.reconnect(lasting=True)
                waiting.connected_again()
    except TimeoutError:
        raise DeadlineError from None
    finally:
        client.deadline = None
        waiting.end()
    return Outcome(ended, client.uid)


def _still(left: Targets, asked: list[bytes]) -> Targets:
    """What is left after jobd has said that all that was asked about is over; elements that were removed are gone."""
    over = set(asked)
    if any(run in over for run, target in left.items() if run == target):
        raise Fault(errors.INTERNAL, "cannot wait any longer: jobd said that all is over, and it is not")
    return {run: target for run, target in left.items() if target not in over}


class Unseen:
    """In place of what a person sees meanwhile, where there is none."""

    def ended(self, run: RunView) -> None:
        """One run less."""

    def connected_again(self) -> None:
        """The connection is another one."""

    def end(self) -> None:
        """The wait is over."""


def _waiting(client: Client, runs: list[bytes], any_one: bool) -> Waiting | Unseen:
    """What a person sees meanwhile."""
    if not runs or not terminal.is_terminal(terminal.STDERR):
        return Unseen()
    from jobctl.progress_runs import Waiting

    return Waiting(client, runs, any_one)


def _deadline(text: str) -> float:
    from jobd.core.units import parse_duration

    try:
        usec = parse_duration(text)
    except ValueError as e:
        raise UsageError(str(e)) from None
    return time.monotonic() + (float("inf") if usec is None else usec / USEC_PER_SEC)


def _all_live(client: Client) -> Targets:
    from jobctl.verb_list import fetch

    live = ("active", "reloading", "activating", "deactivating")
    found: Targets = {}
    owner = client.call({"type": "auth-whoami"})["owner"]  # to jobd we may be another than we are to ourselves
    for view in fetch(client, (f"{owner}/*",), every=False, states=[]):
        if view["owner"] == owner and view.get("active", "inactive") in live:
            found |= _runs_of(client, view)
            if view.get("in_line"):
                found |= _in_line(client, view)
    return found


def _in_line(client: Client, view: JobView) -> Targets:
    """The runs that wait for the live one of a job (`run --singleton`)."""
    asked = {"type": "history", "jobs": [f"{view['owner']}/{view['job']}"], "states": ["queued"], "limit": MOST_IN_LINE}
    return {row["run"]: row["run"] for row in client.call(asked)["runs"]}


def _resolve(client: Client, jobs: tuple[str, ...]) -> Targets:
    """What is meant: a job's newest run, an array's elements, JOB#N, an id, or for a glob the newest of each job."""
    known = _newest(client, [word for word in jobs if not is_glob(word) and not names.split_run(word)[1]])
    found: Targets = {}
    for word in jobs:
        if word in known:
            found |= known[word]
        elif is_glob(word):
            for view in names.views(client, [word]):
                found |= _runs_of(client, view)
        else:  # no job, or one that has had no run: an id, the end of one, or words about what is wrong
            run = names.resolve(client, word)["run"]
            found[run] = run
    return found


def _newest(client: Client, words: list[str]) -> dict[str, Targets]:
    """The runs of the jobs among `words`; not all words are jobs that have any. Few requests for hundreds."""
    words = list(dict.fromkeys(words))
    found = zip(words, names.views(client, words), strict=True)
    return {word: runs for word, view in found if not names.is_missing(view) and (runs := _runs_of(client, view))}


def _runs_of(client: Client, view: JobView) -> Targets:
    """The newest run of a job; of an array its elements', of which jobd tells when all have been accepted."""
    found = [view]
    if view.get("array"):
        elements = names.views(client, [f"{view['owner']}/{view['job']}@*"])
        found = [each for each in elements if each.get("array_of") == view["job"]]  # and no instance of a template
    return {run: run for each in found if (run := each.get("run")) is not None}


def _in_queue(client: Client, queue: str) -> Targets:
    """The runs that are in a queue now, in its order, as far as the caller sees them; and of arrays those to come."""
    from jobctl.verb_list import fetch

    arrays = [view for view in fetch(client, (), every=False, states=[], queue=queue, waiting=0) if view.get("array")]
    found: Targets = {}
    jobs: dict[tuple[int, str], int | None] = {}
    after = ""
    while True:
        body = client.call({"type": "queue-show", "name": queue, "after": after})
        for run in body["runs"]:
            found[run["run"]] = run["run"]
            jobs[run["owner"], run["job"]] = run.get("array_index")
        after = body.get("more", "")
        if not after:
            break
    for view in arrays:
        found |= _to_come(view, jobs)
    return found


def _to_come(view: JobView, jobs: Mapping[tuple[int, str], int | None]) -> Targets:
    """The elements of an array that were still to be accepted when these jobs were in its queue: behind all of them."""
    from jobd.core.arrays import element_id, parse

    begins = f"{view['job']}@"
    there = [at for (owner, job), at in jobs.items() if owner == view["owner"] and job.startswith(begins)]
    counts, base = view.get("counts", {}), view["run"]
    if base is None or counts.get("queued", 0) + counts.get("running", 0) <= len(there):
        return {}
    last = max((at for at in there if at is not None), default=-1)
    return {element_id(base, place): base for place, at in enumerate(parse(view["array"]).indices) if at > last}
