"""The sentences of `why`: each state, each end, and what is behind them."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.core import exits, records, states, why
from jobd.core.records import Event, JobRow, RunRow
from jobd.core.spec import JobSpec
from jobd.core.why import Facts, Other, Words

SEC = 10**9
NOW = 1000 * SEC
SAY = Words(who=lambda uid: f"uid {uid} (alice)", when=lambda at: f"second {at // SEC}", now=NOW)
SPEC = JobSpec(argv=(b"gunicorn",), cwd=b"/srv")
RUN = bytes(16)


def job(**fields: object) -> JobRow:
    usual: dict[str, object] = {
        "owner": 1000, "job": "web", "spec": b"", "env": b"", "created_at": 1, "transient": False, "latest": RUN,
        "changed_at": 900 * SEC,
    }  # fmt: skip
    return JobRow(**{**usual, **fields})  # type: ignore[arg-type]  # each test gives what it means


def run(**fields: object) -> RunRow:
    usual: dict[str, object] = {
        "seq": 4, "run": RUN, "owner": 1000, "job": "web", "number": 4, "spec": b"", "env": b"", "by_uid": 1000,
        "queued_at": 700 * SEC, "started_at": 800 * SEC,
    }  # fmt: skip
    return RunRow(**{**usual, **fields})  # type: ignore[arg-type]  # as above


def ended(result: str, **fields: object) -> RunRow:
    return run(**{"state": "finished", "result": result, "exited_at": 900 * SEC, "finished_at": 900 * SEC, **fields})


def asked(by_uid: int | None = 1000, at: int = 850 * SEC, **data: str) -> Event:
    return Event(seq=9, at=at, kind="stop-requested", owner=1000, job="web", run=RUN, by_uid=by_uid, data={**data})


def texts(row: JobRow, newest: RunRow | None = None, spec: JobSpec = SPEC, **facts: Any) -> list[str]:  # noqa: ANN401  # each test's own
    made = Facts(word="web", row=row, spec=spec, run=newest, **facts)
    return [found.text for found in why.reasons(made, SAY)]


# --- at rest --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("newest", "facts", "text"),
    [
        (ended("stopped", signal=15), {"events": (asked(),)},
         "web is not running: uid 1000 (alice) stopped it on second 850"),
        (ended("stopped"), {"events": (asked(None, reason="db was stopped"),)},
         "web is not running: it was stopped on second 850: db was stopped"),
        (ended("stopped"), {}, "web is not running: it was stopped on second 900"),
        (ended("success", exit_code=0), {}, "web is not running: run 4 ended well, with exit code 0 on second 900"),
        (ended("canceled"), {"events": (asked(),)},
         "web is not running: run 4 was canceled by uid 1000 (alice) before it began on second 900"),
        (ended("canceled"), {}, "web is not running: run 4 was canceled before it began on second 900"),
        (
            ended("canceled", reason="it requires db"),
            {},
            "web is not running: run 4 was canceled before it began on second 900: it requires db",
        ),
        (ended("lost", reason="the machine was restarted"), {},
         "web is not running: run 4 is lost on second 900: the machine was restarted"),
    ],
)  # fmt: skip
def test_what_came_to_rest(newest: RunRow, facts: dict[str, Any], text: str) -> None:
    assert texts(job(), newest, **facts) == [text]


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (None, "which does not exist"),
        (job(job="db", masked=True), "which is masked"),
        (job(job="db", load=records.BAD_SETTING), "whose definition has errors"),
        (job(job="db", load=records.NOT_FOUND, masked=True, sub="running", active="active"), ""),
        (job(job="db"), ""),
    ],
)
def test_what_is_required_and_cannot_be_started_is_named_beforehand(other: JobRow | None, text: str) -> None:
    first, *more = texts(job(), ended("stopped"), others=(Other("db", other, needed=True), Other("log", None)))
    if text:
        assert first == f"web cannot be started: it requires db, {text}"
    assert len(more) == bool(text)


@pytest.mark.parametrize(
    ("newest", "spec", "text"),
    [
        (ended("exit-code", exit_code=1), SPEC, "ended with exit code 1 on second 900"),
        (ended("signal", signal=9), SPEC, "was ended by SIGKILL on second 900"),
        (ended("core-dump", signal=11, core=True), SPEC, "was ended by SIGSEGV and dumped core on second 900"),
        (ended("timeout", signal=15, reason="it was not ready after 1min 30s"), SPEC,
         "was stopped for a time limit on second 900: it was not ready after 1min 30s"),
        (ended("watchdog", signal=6), SPEC,
         "was stopped by its watchdog: it had not shown that it lives on second 900"),
        (ended("watchdog", reason="tcp 8000: refused"), SPEC,
         "was stopped by its watchdog on second 900: tcp 8000: refused"),
        (ended("oom-kill", signal=9), SPEC, "was killed for lack of memory on second 900"),
        (ended("oom-kill", signal=9), JobSpec(argv=(b"x",), cwd=b"/", memory_max=1 << 29),
         "was killed for lack of memory, of which it may have 512.0M on second 900"),
        (ended("protocol", exit_code=0), SPEC, "ended before it was ready on second 900"),
        (ended("start-failed", reason="there is no keeper"), SPEC,
         "could not be started on second 900: there is no keeper"),
        (ended("from-the-future"), SPEC, "ended (from-the-future) on second 900"),
    ],
)  # fmt: skip
def test_what_failed(newest: RunRow, spec: JobSpec, text: str) -> None:
    assert texts(job(sub="failed", result=newest.result), newest, spec) == [
        f"web failed: run 4 {text}",
        'it is not started again by itself: restart = "no"',
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"restart": "on-abort"}, ['it is not started again by itself: restart = "on-abort" does not cover this']),
        ({"restart": "always", "restart_prevent_codes": (1,)},
         ['it is not started again by itself: restart = "always", and restart_prevent_exit_status has this end']),
        ({"type": "oneshot"}, []),
    ],
)  # fmt: skip
def test_why_it_is_not_started_again(fields: dict[str, object], said: list[str]) -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/", **fields)  # type: ignore[arg-type]
    assert texts(job(sub="failed", result="exit-code"), ended("exit-code", exit_code=1), spec)[1:] == said


def test_a_program_that_could_not_be_executed() -> None:
    newest = ended("start-failed", step="exec", errno=2)
    assert texts(job(sub="failed", transient=True), newest) == [
        "web failed on second 900: executing gunicorn: No such file or directory"
    ]


def test_an_environment_file_that_could_not_be_read_is_named() -> None:
    newest = ended("start-failed", step="environment.1", errno=2)
    spec = JobSpec(argv=(b"x",), cwd=b"/", env_files=((b"/a.env", True), (b"/b.env", False)))
    said = texts(job(sub="failed", transient=True), newest, spec)
    assert said == ["web failed on second 900: reading /b.env: No such file or directory"]


def test_the_start_limit() -> None:
    row = job(sub="failed", result="start-limit-hit", restarts=4)
    assert texts(row, ended("exit-code", exit_code=1)) == [
        "web failed: it was started 5 times within 10s, which is its limit",
        "its last run ended with exit code 1 on second 900",
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "web was never started; it is not enabled, so nothing starts it by itself"),
        ({"enabled": True}, "web was never started; it is enabled, and starts with jobd"),
        ({"transient": True}, "web was never started"),
    ],
)
def test_never_started(fields: dict[str, object], text: str) -> None:
    assert texts(job(latest=None, **fields)) == [text]


def test_a_template() -> None:
    made = Facts(word="web@", row=job(job="web@", latest=None), spec=SPEC)
    assert [found.text for found in why.reasons(made, SAY)] == [
        "web@ is a template: what is started is an instance of it, such as web@1"
    ]


def test_what_keeps_it_from_being_started_comes_first() -> None:
    act = Event(seq=1, at=5 * SEC, kind=records.MASKED, owner=1000, job="web", by_uid=0)
    assert texts(job(masked=True, latest=None), acts=(act,)) == [
        "web is masked, by uid 0 (alice) on second 5: nothing starts it until it is unmasked",
        "web was never started; it is not enabled, so nothing starts it by itself",
    ]
    bad = job(load=records.BAD_SETTING, problem="f:1:1: a\nf:2:1: b", latest=None, enabled=True)
    assert texts(bad)[:3] == ["web cannot be started: its definition has errors", "f:1:1: a", "f:2:1: b"]
    gone = job(load=records.NOT_FOUND, file="/etc/jobd/jobs/web.toml", sub="running")
    assert texts(gone, run())[1] == "web has no definition any more: /etc/jobd/jobs/web.toml is gone"
    assert texts(job(load=records.NOT_FOUND, masked=True, latest=None)) == [
        "web is masked: nothing starts it until it is unmasked",
        "web has no definition",
    ]


# --- under way ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("", "uid 1000 (alice) started it"),
        ("restart", "it was started again by itself"),
        ("enabled", "it is enabled"),
        ("required by api", "it is required by api"),
        ("restarted with db", "it was restarted with db"),
        ("on failure of db", "it was started on failure of db"),
        ("schedule", "its schedule started it"),
    ],
)
def test_what_runs(cause: str, text: str) -> None:
    assert texts(job(sub="running"), run(cause=cause)) == [f"web runs since second 800; {text}"]


def test_what_runs_and_has_been_restarted() -> None:
    assert texts(job(sub="running", restarts=3), run(cause="restart"), before=ended("signal", signal=9, number=3)) == [
        "web runs since second 800; it was started again by itself",
        "web restarted 3 times: the run before this one was ended by SIGKILL on second 900",
    ]


def test_what_remains_and_what_reloads() -> None:
    (said,) = texts(job(sub="exited"), run(exit_code=0, exited_at=900 * SEC))
    assert said.startswith(
        "web is active since second 800, though its program has ended with exit code 0: remain_after"
    )
    assert said.endswith("_exit is set; uid 1000 (alice) started it")
    assert texts(job(sub="reload"), run(ready_at=810 * SEC))[0].startswith(
        "web reads its configuration anew, and runs since second 810; "
    )


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (job(sub="auto-restart", restarts=3, restart_at=NOW + 4 * SEC + 300_000_000),
         "web restarted 3 times: its last run ended with exit code 1 on second 900; next start in 4s"),
        (job(sub="auto-restart", restart_at=NOW + SEC // 10),
         "web is not running: run 4 ended with exit code 1 on second 900; next start in 100ms"),
        (job(sub="auto-restart", restarts=1, restart_at=NOW - SEC),
         "web restarted once: its last run ended with exit code 1 on second 900; it is about to be started again"),
    ],
)  # fmt: skip
def test_between_two_runs(row: JobRow, text: str) -> None:
    assert texts(row, ended("exit-code", exit_code=1)) == [text]


def test_what_is_starting() -> None:
    assert texts(job(sub="start"), run(), waits="for tcp 8000") == [
        "web is starting since second 800, and not ready yet: it waits for tcp 8000; uid 1000 (alice) started it"
    ]
    oneshot = JobSpec(argv=(b"x",), cwd=b"/", type="oneshot")
    assert texts(job(sub="start"), run(), oneshot) == [
        "web is at its work since second 800; uid 1000 (alice) started it"
    ]


def test_what_waits_for_others() -> None:
    others = (
        Other("db", job(job="db", sub="start"), True, "for tcp 5432"), Other("net", job(job="net", sub="running")),
        Other("fs", job(job="fs", sub="stop-sigterm")), Other("none", None),
    )  # fmt: skip
    facts = Facts(word="web", row=job(sub="queued"), spec=SPEC, run=run(started_at=None), others=others)
    found = why.reasons(facts, SAY)
    assert [(each.text, each.other) for each in found] == [
        ("web waits for db, which is starting (for tcp 5432)", "db"),
        ("web waits for fs, which is being stopped", "fs"),
    ]
    assert texts(job(sub="queued"), run(started_at=None)) == ["web waits for its turn; uid 1000 (alice) started it"]
    assert texts(job(sub="queued"), run(started_at=None), waits="for a keeper")[0].startswith("web waits for a keeper;")
    (turn,) = texts(job(sub="queued"), run(started_at=None), queue="queue build is full: held by make-41; it is next")
    assert turn == (
        "web waits for its turn: queue build is full: held by make-41; it is next; uid 1000 (alice) started it"
    )


@pytest.mark.parametrize(
    ("facts", "fields", "text"),
    [
        ({"events": (asked(),), "processes": 2}, {"stop_asked": "stopped"},
         "web is being stopped since second 850: uid 1000 (alice) asked for that; 2 processes are left"),
        ({"events": (asked(None),), "processes": 1}, {"stop_asked": "timeout"},
         "web is being stopped since second 850: its result will be timeout; 1 process is left"),
        ({"events": (asked(None),)}, {"stop_asked": "watchdog", "reason": "tcp 8000 is silent"},
         "web is being stopped since second 850: tcp 8000 is silent"),
        ({}, {"exit_code": 0, "exited_at": 900 * SEC},
         "web is being stopped, as its program ended with exit code 0 and others of it were left"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sub", sorted(s for s, a in states.ACTIVE_STATE.items() if a == "deactivating"))
def test_what_is_being_stopped(sub: str, facts: dict[str, Any], fields: dict[str, object], text: str) -> None:
    assert texts(job(sub=sub), run(**fields), **facts) == [text]


# --- other jobs -----------------------------------------------------------------------------------------------------
def test_a_dependency_that_failed_is_named() -> None:
    others = (Other("net", job(job="net", sub="running"), True), Other("db", job(job="db", sub="failed"), True))
    for reason, text in (("db has failed", "db has failed"), ("", "db is not there")):
        row = job(sub="failed", result="dependency")
        facts = Facts(word="web", row=row, spec=SPEC, run=ended("dependency", reason=reason), others=others)
        (found,) = why.reasons(facts, SAY)
        assert (found.kind, found.text, found.other) == ("dependency", f"web was not started: {text}", "db")


# --- completeness ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sub", sorted(states.ACTIVE_STATE))
@pytest.mark.parametrize("newest", [None, run(), ended("exit-code", exit_code=1)])
def test_every_state_has_a_sentence(sub: str, newest: RunRow | None) -> None:
    assert texts(job(sub=sub), newest)


@pytest.mark.parametrize("result", sorted({*exits.GOOD_RESULTS, "exit-code", "dependency", "start-limit-hit"}))
def test_every_end_has_a_sentence(result: str) -> None:
    assert texts(job(sub="failed", result=result), ended(result))


# --- by the clock ---------------------------------------------------------------------------------------------------
def test_when_its_schedule_starts_it_and_why_it_did_not() -> None:
    armed = job(latest=None, enabled=True, elapse_next=1500 * SEC)
    assert texts(armed) == ["web was never started", "its schedule starts it on second 1500"]
    skipped = Event(
        seq=9, at=950 * SEC, kind="schedule-skipped", owner=1000, job="web",
        data={"job.elapse_last": 940 * SEC, "act.reason": "its time had passed when jobd came to it"},
    )  # fmt: skip
    row = job(enabled=True, elapse_last=940 * SEC, elapse_next=1500 * SEC)
    assert texts(row, ended("success", exit_code=0), acts=(skipped,))[1:] == [
        "its schedule did not start it on second 940: its time had passed when jobd came to it",
        "its schedule starts it on second 1500",
    ]
    later = job(enabled=True, elapse_last=960 * SEC)
    assert texts(later, ended("success", exit_code=0), acts=(skipped,))[1:] == []


def test_a_run_that_waits_for_its_time_says_until_when() -> None:
    waiting = run(state="queued", started_at=None, not_before=2000 * SEC)
    assert texts(job(sub="queued", active="activating"), waiting, waits="for its time") == [
        "web waits until second 2000; uid 1000 (alice) started it"
    ]
    held = run(state="queued", started_at=None, not_before=2000 * SEC, held=True)
    assert texts(job(sub="queued"), held, waits="until it is released")[0].startswith("web waits until it is released")
