"""Why a job is in the state that it is in: facts and events in, sentences out. Pure.

Theory. A state has one cause, and what is asked for is that: somebody's wish, the end of a program, a limit, a
definition, or another job, of which the same can be asked. The first reason says how the job is and why; those that
follow say what else keeps it from being otherwise. Each is a whole sentence, and its values beside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobd.core import exits, records, service, states, units, whystarts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobd.core.records import Event, JobRow, RunRow
    from jobd.core.spec import JobSpec

USEC: Final = 1_000  # in nanoseconds
ACCURACY_USEC: Final = units.USEC_PER_SEC  # of the time until the next start …
FINE_USEC: Final = 10_000  # … and below a second
STOP_REQUESTED: Final = "stop-requested"
# Kinds of reasons that another job is behind.
WAITS, DEPENDENCY = "waits", "dependency"
QUEUE: Final = "queue"  # that it waits for its turn in one
UNDER_WAY: Final = frozenset(states.ACTIVE_STATE) - frozenset(
    (states.DEAD, states.FAILED, states.RUNNING, states.EXITED)
)


class Other(Struct, frozen=True):
    """A job that this one comes after, or cannot be without; `row` is None if it is not there."""

    job: str
    row: JobRow | None
    needed: bool = False  # requires, binds_to
    waits: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """All that is known of one job."""

    word: str  # its name, as the reader writes it
    row: JobRow
    spec: JobSpec
    run: RunRow | None = None  # the newest
    before: RunRow | None = None  # the one before that
    events: tuple[Event, ...] = ()  # of the newest run, the newest first
    acts: tuple[Event, ...] = ()  # on the job itself, the newest first
    waits: str = ""  # what the newest run waits for, in words
    queue: str = ""  # how things stand in the queue in whose line it is: "queue build is full: held by make-41"
    others: tuple[Other, ...] = ()
    processes: int | None = None  # that are left of it


class Words(Struct, frozen=True):
    """How to say things: `who` a uid is, and `when` a time of the wall clock was; `now` is the time."""

    who: Callable[[int], str]
    when: Callable[[int], str]
    now: int


class Found(Struct, frozen=True, kw_only=True):
    """One reason."""

    kind: str
    text: str
    at: int | None = None
    run: RunRow | None = None
    by_uid: int | None = None
    other: str = ""


def reasons(facts: Facts, say: Words) -> list[Found]:
    """Why the job is as it is: at least one sentence."""
    sub = facts.row.sub
    if sub in states.AT_REST:
        return [
            *_hindrances(facts, say),
            *_at_rest(facts, say),
            *(
                Found(kind=kind, text=text, at=at)
                for kind, text, at in whystarts.said(facts.row, (*facts.events, *facts.acts), say)
            ),
        ]
    makers = {
        states.QUEUED: _waiting, states.START: _starting, states.RUNNING: _running, states.EXITED: _running,
        states.RELOAD: _running, states.AUTO_RESTART: _between,
    }  # fmt: skip
    return [*makers.get(sub, _stopping)(facts, say), *_hindrances(facts, say)]


# --- what keeps it from being started -------------------------------------------------------------------------------
def _hindrances(facts: Facts, say: Words) -> Iterator[Found]:
    row, word = facts.row, facts.word
    if row.masked:
        act = next((act for act in facts.acts if act.kind == records.MASKED), None)
        by = "" if act is None or act.by_uid is None else f", by {say.who(act.by_uid)} on {say.when(act.at)}"
        yield Found(
            kind="masked", text=f"{word} is masked{by}: nothing starts it until it is unmasked",
            at=None if act is None else act.at, by_uid=None if act is None else act.by_uid,
        )  # fmt: skip
    if row.load == records.BAD_SETTING:
        yield Found(kind="bad-setting", text=f"{word} cannot be started: its definition has errors")
        for line in row.problem.splitlines():
            yield Found(kind="bad-setting", text=line)
    elif row.load == records.NOT_FOUND and not row.transient:
        where = f": {row.file} is gone" if row.file not in ("", records.STORED) else ""
        more = " any more" if row.file or facts.run is not None else ""
        yield Found(kind="not-found", text=f"{word} has no definition{more}{where}")
    elif row.sub in states.AT_REST and not row.masked:
        for other in facts.others:
            if other.needed and (lacks := _lacks(other.row)):
                text = f"{word} cannot be started: it requires {other.job}, {lacks}"
                yield Found(kind=DEPENDENCY, text=text, other=other.job)


def _lacks(row: JobRow | None) -> str:
    """Why a job that is required cannot be started; "" if it can be, or runs."""
    if row is None:
        return "which does not exist"
    if row.sub not in states.AT_REST:
        return ""
    if row.masked:
        return "which is masked"
    return {records.NOT_FOUND: "which has no definition", records.BAD_SETTING: "whose definition has errors"}.get(
        row.load, ""
    )


# --- at rest --------------------------------------------------------------------------------------------------------
def _at_rest(facts: Facts, say: Words) -> Iterator[Found]:
    run, row, word = facts.run, facts.row, facts.word
    if row.load == records.NOT_FOUND and run is None:
        return
    if row.job.endswith("@"):
        yield Found(
            kind="template", text=f"{word} is a template: what is started is an instance of it, such as {word}1"
        )
        return
    if run is None:
        yield Found(kind="never-started", text=f"{word} was never started{_nobody_starts(row)}")
        return
    if row.result == "start-limit-hit":
        most, window = facts.spec.start_limit
        text = f"{word} failed: it was started {most} times within {units.format_duration(window)}, which is its limit"
        yield Found(kind="start-limit", text=text, at=row.changed_at)
        yield Found(kind="exited", text=f"its last run {_ended(facts, run, say)}", at=_end_of(run), run=run)
        return
    if run.result == "stopped":
        yield _stopped(facts, run, say)
        return
    if run.result == "dependency":
        other = _culprit(facts, run)
        why = run.reason or f"{other or 'a job that it needs'} is not there"
        text = f"{word} was not started: {why}"
        yield Found(kind=DEPENDENCY, text=text, at=_end_of(run), run=run, other=other)
        return
    yield _last_end(facts, run, say)
    yield from _not_again(facts, run)


def _nobody_starts(row: JobRow) -> str:
    if row.transient:
        return ""
    if row.elapse_next is not None:
        return ""
    if row.enabled:
        return "; it is enabled, and starts with jobd"
    return "; it is not enabled, so nothing starts it by itself"


def _last_end(facts: Facts, run: RunRow, say: Words) -> Found:
    """The end of a run that nobody asked for."""
    word = facts.word
    if run.result == "canceled":
        asked = _asked(facts, run)
        by = "" if asked is None or asked.by_uid is None else f" by {say.who(asked.by_uid)}"
        because = f": {run.reason}" if run.reason else ""
        text = f"{word} is not running: run {run.number} was canceled{by} before it began{_on(run, say)}{because}"
        return Found(
            kind="canceled",
            text=text,
            at=_end_of(run),
            run=run,
            by_uid=asked.by_uid if asked else None,
            other=_named(facts, run.reason),
        )
    if run.step:
        text = exits.describe_start_failure(
            word, run.step, run.errno, _shown(facts.spec.argv[0] if facts.spec.argv else b"?"), _shown(facts.spec.cwd),
            facts.spec.user, [_shown(path) for path, _ in facts.spec.env_files],
        )  # fmt: skip
        text = text.removeprefix(f"cannot start {word}: ")
        return Found(kind="start-failed", text=f"{word} failed{_on(run, say)}: {text}", at=_end_of(run), run=run)
    how = "failed" if facts.row.sub == states.FAILED else "is not running"
    kind = "lost" if run.result == "lost" else "exited"
    return Found(kind=kind, text=f"{word} {how}: run {run.number} {_ended(facts, run, say)}", at=_end_of(run), run=run)


def _not_again(facts: Facts, run: RunRow) -> Iterator[Found]:
    """Why a failed service is not started again by itself."""
    policy = facts.spec.restart
    if facts.row.transient or facts.row.sub != states.FAILED or facts.spec.type == service.ONESHOT:
        return
    text = f'it is not started again by itself: restart = "{policy}"'
    if policy != service.NO:
        prevented = run.exit_code in facts.spec.restart_prevent_codes
        prevented = prevented or run.signal in facts.spec.restart_prevent_signals
        text += " does not cover this" if not prevented else ", and restart_prevent_exit_status has this end"
    yield Found(kind="no-restart", text=text)


def _stopped(facts: Facts, run: RunRow, say: Words) -> Found:
    asked = _asked(facts, run)
    at = asked.at if asked is not None else _end_of(run)
    on = "" if at is None else f" on {say.when(at)}"
    by = None if asked is None else asked.by_uid
    reason = run.reason or (str(asked.data.get("reason") or "") if asked is not None else "")
    if by is not None:
        text = f"{facts.word} is not running: {say.who(by)} stopped it{on}{reason and f' ({reason})'}"
    else:
        text = f"{facts.word} is not running: it was stopped{on}{reason and f': {reason}'}"
    return Found(kind="stopped", text=text, at=at, run=run, by_uid=by, other=_named(facts, reason))


def _asked(facts: Facts, run: RunRow) -> Event | None:
    """The act by which the run was to stop."""
    return next((event for event in facts.events if event.run == run.run and event.kind == STOP_REQUESTED), None)


# --- how a run ended ------------------------------------------------------------------------------------------------
def _ended(facts: Facts, run: RunRow, say: Words) -> str:
    """`ended with exit code 1 on Sun …`; why it did so, where somebody has said that, comes behind the time."""
    how = _how(facts.spec, run)
    because = f": {run.reason}" if run.reason else ""
    return f"{how.removesuffix(because)}{_on(run, say)}{because}" if how.endswith(because) else how + _on(run, say)


def _how(spec: JobSpec, run: RunRow) -> str:
    because = f": {run.reason}" if run.reason else ""
    match run.result:
        case "timeout":
            return f"was stopped for a time limit{because}"
        case "watchdog":
            return f"was stopped by its watchdog{because or ': it had not shown that it lives'}"
        case "oom-kill":
            limit = "" if spec.memory_max is None else f", of which it may have {units.format_size(spec.memory_max)}"
            return f"was killed for lack of memory{limit}"
        case "protocol":
            return f"ended before it was ready{because}"
        case "lost":
            return f"is lost{because or ': nobody saw its end'}"
        case "start-failed":
            return f"could not be started{because}"
    if run.signal is not None:
        return f"was ended by {exits.signal_name(run.signal)}" + (" and dumped core" if run.core else "") + because
    if run.exit_code is not None:
        well = " well" if run.result == "success" else ""
        return (
            f"ended{well}, with exit code {run.exit_code}" if well else f"ended with exit code {run.exit_code}{because}"
        )
    return f"ended ({run.result or 'with no result yet'}){because}"


def _end_of(run: RunRow) -> int | None:
    return run.exited_at if run.exited_at is not None else run.finished_at


def _on(run: RunRow, say: Words) -> str:
    at = _end_of(run)
    return "" if at is None else f" on {say.when(at)}"


def _shown(data: bytes) -> str:
    return os.fsdecode(data)


# --- under way ------------------------------------------------------------------------------------------------------
def _running(facts: Facts, say: Words) -> Iterator[Found]:
    run, row, word = facts.run, facts.row, facts.word
    since = None if run is None else run.ready_at or run.started_at
    on = "" if since is None else f" since {say.when(since)}"
    doing = {states.RELOAD: "reads its configuration anew, and runs", states.EXITED: "is active"}.get(row.sub, "runs")
    text = f"{word} {doing}{on}"
    if row.sub == states.EXITED and run is not None:
        text += f", though its program has {_how(facts.spec, run)}: remain_after_exit is set"
    by = None if run is None or run.cause else run.by_uid
    yield Found(kind="running", text=f"{text}; {whystarts.began(facts.run, say)}", at=since, run=run, by_uid=by)
    yield from _restarted(facts, say)


def _restarted(facts: Facts, say: Words) -> Iterator[Found]:
    """That it was started again by itself, and after which end."""
    before, count = facts.before, facts.row.restarts
    if count and before is not None:
        text = f"{facts.word} restarted {_times(count)}: the run before this one {_ended(facts, before, say)}"
        yield Found(kind="restarts", text=text, at=_end_of(before), run=before)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _between(facts: Facts, say: Words) -> Iterator[Found]:
    run, row, word = facts.run, facts.row, facts.word
    left = 0 if row.restart_at is None else max(0, row.restart_at - say.now) // USEC
    accuracy = ACCURACY_USEC if left >= ACCURACY_USEC else FINE_USEC
    soon = f"next start in {units.format_duration(left, accuracy)}" if left else "it is about to be started again"
    if run is None:
        yield Found(kind="restarts", text=f"{word} is not running: {soon}", at=row.restart_at)
        return
    end = f"run {run.number} {_ended(facts, run, say)}"
    if row.restarts:
        end = f"its last run {_ended(facts, run, say)}"
    how = f"restarted {_times(row.restarts)}" if row.restarts else "is not running"
    yield Found(kind="restarts", text=f"{word} {how}: {end}; {soon}", at=_end_of(run), run=run)


def _starting(facts: Facts, say: Words) -> Iterator[Found]:
    run, word = facts.run, facts.word
    at = None if run is None else run.started_at or run.queued_at
    on = "" if at is None else f" since {say.when(at)}"
    if facts.spec.type == service.ONESHOT:
        text = f"{word} is at its work{on}"
    else:
        text = f"{word} is starting{on}, and not ready yet" + (f": it waits {facts.waits}" if facts.waits else "")
    by = None if run is None or run.cause else run.by_uid
    yield Found(kind="starting", text=f"{text}; {whystarts.began(facts.run, say)}", at=at, run=run, by_uid=by)
    yield from _restarted(facts, say)


def _waiting(facts: Facts, say: Words) -> Iterator[Found]:
    run, word = facts.run, facts.word
    at = None if run is None else run.queued_at
    held = [other for other in facts.others if other.row is not None and other.row.sub in UNDER_WAY]
    for other in held:
        assert other.row is not None
        text = f"{word} waits for {other.job}, which {_is(other)}"
        yield Found(kind=WAITS, text=text, at=at, run=run, other=other.job)
    if held:
        return
    kind, words = WAITS, facts.waits or "for its turn"
    if facts.queue:
        kind, words = QUEUE, f"for its turn: {facts.queue}"
    elif run is not None and run.not_before is not None and not run.held:
        words = f"until {say.when(run.not_before)}"
    yield Found(kind=kind, text=f"{word} waits {words}; {whystarts.began(facts.run, say)}", at=at, run=run)


def _is(other: Other) -> str:
    assert other.row is not None
    what = {
        states.QUEUED: "waits itself", states.START: "is starting", states.AUTO_RESTART: "is about to be started again",
        states.RELOAD: "reads its configuration anew",
    }.get(other.row.sub, "is being stopped")  # fmt: skip
    return what + (f" ({other.waits})" if other.waits else "")


def _stopping(facts: Facts, say: Words) -> Iterator[Found]:
    run, word = facts.run, facts.word
    if run is None:
        yield Found(kind="stopping", text=f"{word} is being stopped")
        return
    asked = _asked(facts, run)
    left = f"; {facts.processes} process{'es are' if facts.processes != 1 else ' is'} left" if facts.processes else ""
    if asked is None:
        text = f"{word} is being stopped, as its program {_how(facts.spec, run)} and others of it were left{left}"
        yield Found(kind="stopping", text=text, at=run.exited_at, run=run)
        return
    why = run.reason or ("" if run.stop_asked in ("", "stopped") else f"its result will be {run.stop_asked}")
    by = f"{say.who(asked.by_uid)} asked for that" if asked.by_uid is not None else why or "jobd does so"
    text = f"{word} is being stopped since {say.when(asked.at)}: {by}{left}"
    yield Found(kind="stopping", text=text, at=asked.at, run=run, by_uid=asked.by_uid, other=_named(facts, why))


# --- other jobs -----------------------------------------------------------------------------------------------------
def _culprit(facts: Facts, run: RunRow) -> str:
    """Which of the jobs that it cannot be without was not there."""
    return _named(facts, run.reason) or next(
        (each.job for each in facts.others if each.needed and (each.row is None or each.row.sub in states.AT_REST)), ""
    )


def _named(facts: Facts, text: str) -> str:
    """The other job that a text names."""
    words = {word.strip(",:;()'\"") for word in text.split()}
    return next((each.job for each in facts.others if each.job in words), "")
