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
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.options import AnyOne, JsonOutput, LogRuns, Timeout, WaitQueue
    from jobctl.progress_runs import Waiting
    from jobctl.shapes import RunView

AT_ONCE = 4096  # runs in a request; `--any` of more looks at the first
FEW = 8  # names that are asked about one by one, each with its own words for what is wrong; more are asked at once
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
            runs += _in_queue(client, queue)
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


def await_runs(client: Client, runs: list[bytes], any_one: bool, deadline: float | None) -> Outcome:
    """Wait for runs by id, so that a lost connection never makes it another run.

    Raises:
        DeadlineError: `deadline`, of time.monotonic, has passed.
        Fault: the daemon knows no such run.
    """
    left = dict.fromkeys(runs)
    ended: list[RunView] = []
    client.deadline = deadline
    waiting = _waiting(client, runs, any_one)
    try:
        while left:
            try:
                asked = list(left)[:AT_ONCE]
                for run in client.ended({"type": "wait", "runs": asked, "any": any_one}):
                    if run["run"] in left:
                        del left[run["run"]]
                        ended.append(run)
                        waiting.ended(run)
                if any_one:
                    break
                if not left.keys().isdisjoint(asked):
                    raise Fault(errors.INTERNAL, "cannot wait any longer: jobd said that all is over, and it is not")
            except ConnectionLostError:
                if any_one and ended:
                    break
                client.reconnect()
                waiting.connected_again()
    except TimeoutError:
        raise DeadlineError from None
    finally:
        client.deadline = None
        waiting.end()
    return Outcome(ended, client.uid)


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


def _all_live(client: Client) -> list[bytes]:
    from jobctl.verb_list import fetch

    live = ("active", "reloading", "activating", "deactivating")
    found = []
    owner = client.call({"type": "auth-whoami"})["owner"]  # to jobd we may be another than we are to ourselves
    for view in fetch(client, (f"{owner}/*",), every=False, states=[]):
        run = view.get("run")
        if view["owner"] == owner and run is not None and view.get("active", "inactive") in live:
            found.append(run)
    return found


def _resolve(client: Client, jobs: tuple[str, ...]) -> list[bytes]:
    """The ids of the runs that are meant: a job's newest, JOB#N, an id, or for a glob the newest of each job."""
    plain = [word for word in jobs if not is_glob(word) and "#" not in word]
    known = dict(_newest(client, plain)) if len(plain) > FEW else {}
    found: list[bytes] = []
    for word in jobs:
        if word in known:
            found.append(known[word])
        elif is_glob(word):
            found += [run for view in names.views(client, [word]) if (run := view.get("run")) is not None]
        else:
            found.append(names.resolve(client, word)["run"])
    return found


def _newest(client: Client, words: list[str]) -> Iterator[tuple[str, bytes]]:
    """The newest runs of the jobs among `words`, asked for in few requests; not all words are jobs that have any."""
    for at in range(0, len(words), names.AT_ONCE):
        asked = list(dict.fromkeys(words[at : at + names.AT_ONCE]))
        for word, view in zip(asked, names.views(client, asked), strict=True):
            run = view.get("run")
            if run is not None and not names.is_missing(view):
                yield word, run


def _in_queue(client: Client, queue: str) -> list[bytes]:
    """The ids of the runs that are in a queue now, in its order, as far as the caller sees them."""
    found: list[bytes] = []
    after = ""
    while True:
        body = client.call({"type": "queue-show", "name": queue, "after": after})
        found += [run["run"] for run in body["runs"]]
        after = body.get("more", "")
        if not after:
            return found
