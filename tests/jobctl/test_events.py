"""events: formats, cursors, and going on behind a lost connection."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobctl import rows
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, HangupError, jobctl
from tests.jobctl.logfakes import BASE, SEC, UTC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

Daemon = "Callable[[Script], FakeDaemon]"


def change(seq: int, kind: str = "started", **fields: object) -> m.Change:
    usual: dict[str, object] = {"job": "web", "owner": os.geteuid(), "run": RUN_ID, "number": 3, "at": BASE + seq * SEC}
    return m.Change(seq=seq, kind=kind, **{**usual, **fields})  # type: ignore[arg-type]  # a test's own words


LIFE = [
    change(2, "accepted", active="activating", sub="start", state="starting", by_uid=0, by_pid=7),
    change(4, "started", active="active", sub="running", state="running", pid=77),
    change(6, "finished", active="failed", sub="failed", state="finished", result="exit-code", exit_code=2),
    change(8, "reset", run=None, number=None, active="inactive", sub="dead", by_uid=0),
    change(10, "lost", result="lost", reason="bad\x1b[31m\u202e things", signal=9),
]


def tells(*bodies: m.AnyBody) -> Script:
    """A daemon with these changes, which goes on behind a cursor."""

    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Events)
        after = request.after or 0
        last = after
        for body in bodies:
            if not isinstance(body, m.Change) or body.seq > after:
                yield m.Item(id=request.id, body=body)
                last = body.seq if isinstance(body, m.Change) else last
        yield m.Item(id=request.id, body=m.Reached(seq=max(last, after)))
        yield m.End(id=request.id)

    return script


def asked(fake: FakeDaemon) -> m.Events:
    request = fake.requests[-1]
    assert isinstance(request, m.Events)
    return request


def test_short_has_a_line_for_each(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(tells(*LIFE))
    done = jobctl(fake.path, "events", env=UTC)
    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == [
        "Nov 14 22:13:22 web#3: accepted by root: activating (start)",
        "Nov 14 22:13:24 web#3: started: active (running), pid 77",
        "Nov 14 22:13:26 web#3: finished: failed (Result: exit-code), code=exited, status=2",
        "Nov 14 22:13:28 web: reset by root: inactive (dead)",
        "Nov 14 22:13:30 web#3: lost: Result: lost, code=killed, signal=KILL, bad\x1b[31m\u202e things",
    ]
    assert done.stderr == b""


def test_what_happens_to_queues_and_in_them(daemon: Callable[[Script], FakeDaemon]) -> None:
    def of_queue(seq: int, kind: str, owner: int, **fields: object) -> m.Change:
        return change(seq, kind, job="", owner=owner, run=None, number=None, queue="build", by_uid=0, **fields)

    made = [
        of_queue(2, "queue-added", os.geteuid(), slots=1, state="open"),
        of_queue(4, "queue-set", -1, slots=-1, state="paused"),
        of_queue(5, "queue-set", -1, slots=4, state="open"),
        of_queue(6, "queue-removed", 0x7FFFFFF0, slots=1, state="open"),
        change(8, "accepted", active="activating", sub="queued", queue="build", priority=-3),
        change(10, "held", held=True, by_uid=0),
        change(12, "timer-armed", run=None, number=None, due=BASE),
    ]
    fake = daemon(tells(*made))
    assert jobctl(fake.path, "events", "-o", "cat", env=UTC).stdout.decode().splitlines() == [
        "queue build: queue-added by root: 1 slot",
        "queue build: queue-set by root: any number of slots, paused",
        "queue build: queue-set by root: 4 slots, open",
        "queue 2147483632/build: queue-removed by root",
        "web#3: accepted: activating (queued), queue build, priority -3",
        "web#3: held by root",
        "web: timer-armed: due Tue 2023-11-14 22:13:20 UTC",
    ]
    rows = [json.loads(line) for line in jobctl(fake.path, "events", "-o", "json").stdout.splitlines()]
    assert [(row["job"], row["queue"], row["slots"], row["state"]) for row in [*rows[:2], rows[3]]] == [
        (None, "build", 1, "open"),
        (None, "build", None, "paused"),
        (None, "build", 1, "open"),
    ]
    assert [row["owner"] for row in (rows[1], rows[3])] == [None, "2147483632"]


def test_other_texts(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(tells(LIFE[1]))
    iso = jobctl(fake.path, "events", "-o", "short-iso", env=UTC)
    assert iso.stdout == b"2023-11-14T22:13:24+0000 web#3: started: active (running), pid 77\n"
    assert jobctl(fake.path, "events", "-o", "cat").stdout == b"web#3: started: active (running), pid 77\n"


def test_json_rows_have_all_fields_and_no_others(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(tells(m.Missed(after=1, before=2), *LIFE))
    lines = jobctl(fake.path, "events", "-o", "json", "--show-cursor").stdout.decode().splitlines()
    gap, *told, cursor = map(json.loads, lines)
    assert gap == {"missed": {"after": 1, "before": 2}}
    assert cursor == {"cursor": 10}
    assert told[0] == {
        "cursor": 2, "time": "2023-11-14T22:13:22.000000Z", "event": "accepted", "job": "web", "owner": "root",
        "run": "00010203-0405-0607-0809-0a0b0c0d0e0f", "number": 3, "active": "activating", "sub": "start",
        "state": "starting", "result": None, "exit_code": None, "signal": None, "pid": None, "failed_step": None,
        "reason": None, "queue": None, "slots": None, "priority": None, "held": None, "cause": None, "due": None,
        "by": "root", "by_uid": 0, "by_gid": None, "by_pid": 7,
    }  # fmt: skip
    assert {tuple(row) for row in told} == {tuple(told[0])}
    assert told[4]["signal"] == "SIGKILL"
    pretty = jobctl(fake.path, "events", "-o", "json-pretty").stdout.decode()
    assert '\n    "event": "started",\n' in pretty
    records = jobctl(fake.path, "events", "-o", "json-seq").stdout.decode().split(rows.RECORD_SEPARATOR)
    assert [json.loads(record) for record in records[1:]] == [gap, *told]


def test_what_is_asked_for(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(tells())
    jobctl(fake.path, "events", "web", "--job", "make-*", "-n", "5", "-S", "@100", "-U", "@200.5")
    assert asked(fake) == m.Events(id=1, jobs=["web", "make-*"], lines=5, since=100 * SEC, until=200 * SEC + SEC // 2)
    jobctl(fake.path, "events")
    assert asked(fake) == m.Events(id=1)
    for options, lines in (
        ((), 10), (("-n", "all"), None), (("-n", "0"), 0), (("-S", "today"), None), (("--after-cursor", "7"), None),
    ):  # fmt: skip
        jobctl(fake.path, "events", "-f", *options)
        assert (asked(fake).follow, asked(fake).lines) == (True, lines), options
    assert asked(fake).after == 7


def test_missed_changes_are_said_where_they_are_missing(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(tells(LIFE[0], m.Missed(after=2, before=121), change(122)))
    lines = jobctl(fake.path, "events", "-q", "-o", "cat").stdout.decode().splitlines()
    assert lines[1] == "-- changes missed: some between cursors 2 and 121 are gone --"
    assert len(lines) == 3
    fake.script = tells(m.Missed(after=500, before=0), change(2))
    done = jobctl(fake.path, "events", "--after-cursor", "500", "-o", "cat")
    assert done.stdout.startswith(b"-- changes missed: cursor 500 is not of this database --\n")


def test_the_cursor_is_shown_and_kept(daemon: Callable[[Script], FakeDaemon], tmp_path: Path) -> None:
    fake = daemon(tells(*LIFE[:3]))
    kept = tmp_path / "cursor"
    first = jobctl(fake.path, "events", "--cursor-file", kept.as_posix(), "--show-cursor")
    assert first.stdout.endswith(b"\n-- cursor: 6\n")
    assert kept.read_text() == "6\n"
    fake.script = tells(*LIFE)
    second = jobctl(fake.path, "events", "--cursor-file", kept.as_posix())
    assert asked(fake).after == 6
    assert len(second.stdout.splitlines()) == 2
    assert kept.read_text() == "10\n"
    assert jobctl(fake.path, "events", "--cursor-file", kept.as_posix()).stdout == b""
    assert [name for name in os.listdir(tmp_path) if "cursor" in name] == ["cursor"]


def test_where_others_changes_came_last_the_cursor_is_behind_them(
    daemon: Callable[[Script], FakeDaemon], tmp_path: Path
) -> None:
    fake = daemon(lambda r: [m.Item(id=getattr(r, "id"), body=m.Reached(seq=90)), m.End(id=getattr(r, "id"))])  # noqa: B009
    jobctl(fake.path, "events", "web", "--cursor-file", (tmp_path / "c").as_posix())
    assert (tmp_path / "c").read_text() == "90\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "fancy"), "unknown output format 'fancy'; it is one of short, short-iso, cat, json"),
        (("-n", "x"), "cannot read -n 'x'"),
        (("-f", "-U", "today"), "cannot follow until a time"),
        (("--after-cursor", "x1"), "cannot read cursor 'x1': a cursor of events is a number"),
        (("--after-cursor", str(2**63)), "a cursor of events is a number"),
        (("--after-cursor", "1", "--cursor-file", "c"), "only one of --after-cursor and --cursor-file"),
        (("--cursor-file", "/proc/version"), "cannot read cursor file /proc/version: 'Linux"),
        (("--cursor-file", "/"), "cannot read cursor file /: Is a directory"),
        (("-S", "whenever"), "cannot read time 'whenever'"),
    ],
)
def test_mistakes(daemon: Callable[[Script], FakeDaemon], options: tuple[str, ...], said: str) -> None:
    fake = daemon(tells())
    done = jobctl(fake.path, "events", *options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()


def test_an_unknown_job_is_4(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(lambda r: [m.Fault(id=getattr(r, "id"), code="not-found", message="cannot find job 'wbe'")])  # noqa: B009
    done = jobctl(fake.path, "events", "wbe")
    assert (done.returncode, done.stderr) == (4, b"jobctl: cannot find job 'wbe'; jobctl list -a lists all there are\n")


def dying(bodies: list[m.AnyBody], at: int) -> Script:
    """A daemon that is killed after every `at` answers, and never forgets."""

    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Events)
        after = -1 if request.after is None else request.after
        count = 0
        for body in bodies:
            seq = body.seq if isinstance(body, (m.Change, m.Reached)) else after
            if seq <= after:
                continue
            if count == at:
                raise HangupError
            count += 1
            yield m.Item(id=request.id, body=body)
        yield m.End(id=request.id)

    return script


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("options", [(), ("-f",), ("-f", "-n", "3")])
def test_a_lost_connection_loses_and_repeats_nothing(
    daemon: Callable[[Script], FakeDaemon], at: int, options: tuple[str, ...]
) -> None:
    told: list[m.AnyBody] = [*LIFE[:2], m.Reached(seq=4), *LIFE[2:]]
    fake = daemon(dying(told, at))
    done = jobctl(fake.path, "events", "-o", "json", *options)
    assert [json.loads(line)["cursor"] for line in done.stdout.splitlines()] == [2, 4, 6, 8, 10]
    assert [getattr(request, "lines", None) for request in fake.requests[1:]] == [None] * (len(fake.requests) - 1)


def test_a_follower_who_has_seen_nothing_knows_where_to_go_on(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(lambda _: [])

    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Events)
        if request.after is None:
            yield m.Item(id=request.id, body=m.Reached(seq=40))
            raise HangupError
        yield m.Item(id=request.id, body=change(42))
        yield m.End(id=request.id)

    fake.script = script
    done = jobctl(fake.path, "events", "-f", "-n", "0", "-o", "json")
    assert [json.loads(line)["cursor"] for line in done.stdout.splitlines()] == [42]
    assert (asked(fake).after, asked(fake).lines) == (40, None)


def test_a_gap_is_told_once(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(lambda _: [])
    gap = m.Missed(after=3, before=9)

    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Events)
        yield m.Item(id=request.id, body=gap)
        if len(fake.requests) == 1:
            raise HangupError
        yield m.Item(id=request.id, body=change(10))
        yield m.End(id=request.id)

    fake.script = script
    done = jobctl(fake.path, "events", "--after-cursor", "3", "-o", "json")
    assert ["missed" in json.loads(line) for line in done.stdout.splitlines()] == [True, False]
