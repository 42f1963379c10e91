"""history --audit: who asked for what."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, HangupError, jobctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

AT, TIME = 1_700_000_000_000_000_000, "Tue 2023-11-14 22:13:20 UTC"
ACTS = [
    m.Change(
        seq=4, at=AT, kind="accepted", job="web", owner=61001, run=RUN_ID, number=2, active="activating", sub="queued",
        by_uid=61002, by_gid=100, by_pid=77,
    ),
    m.Change(seq=9, at=AT, kind="daemon-reload", job="", owner=0, reason="asked\nfor", by_uid=0, by_gid=0, by_pid=1),
]  # fmt: skip


def audit(request: m.Request) -> Answer:
    yield from (m.Item(id=request.id, body=change) for change in ACTS)
    yield m.Item(id=request.id, body=m.Reached(seq=9))
    yield m.End(id=request.id)


def rows(fake: FakeDaemon, *args: str) -> list[list[str]]:
    done = jobctl(fake.path, "history", "--audit", *args, env={**os.environ, "TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, b"")
    return [line.split("  ") for line in done.stdout.decode().splitlines()]


def test_acts_are_a_table_the_newest_first(daemon: Make) -> None:
    fake = daemon(audit)
    found = [[cell.strip() for cell in row if cell] for row in rows(fake)]
    assert found == [
        ["TIME", "USER", "UID", "GID", "PID", "ACT", "JOB", "STATE"],
        [TIME, "root", "0", "0", "1", "daemon-reload", "jobd", r"asked\nfor"],
        [TIME, "61002", "61002", "100", "77", "accepted", "61001/web#2", "activating (queued)"],
    ]
    assert fake.requests == [m.Events(id=1, audit=True, lines=100)]


def test_what_is_asked_for(daemon: Make) -> None:
    fake = daemon(audit)
    assert len(rows(fake, "-n", "all", "-S", "@5", "-U", "@6", "--no-legend", "web", "alice/*")) == 2
    assert fake.requests == [m.Events(id=1, jobs=["web", "alice/*"], audit=True, since=5 * 10**9, until=6 * 10**9)]
    assert rows(fake, "-n", "0", "--no-legend") == []


def test_json_is_that_of_events(daemon: Make) -> None:
    found = json.loads(jobctl(daemon(audit).path, "history", "--audit", "-o", "json").stdout)
    assert [(row["cursor"], row["job"], row["by"], row["by_uid"], row["by_gid"], row["by_pid"]) for row in found] == [
        (9, None, "root", 0, 0, 1),
        (4, "web", "61002", 61002, 100, 77),
    ]


def test_a_lost_connection_repeats_nothing(daemon: Make) -> None:
    def dying(request: m.Request) -> Answer:
        assert isinstance(request, m.Events)
        if request.after is None:
            yield m.Item(id=request.id, body=ACTS[0])
            raise HangupError
        assert request.after == 4
        yield m.Item(id=request.id, body=ACTS[1])
        yield m.End(id=request.id)

    assert len(rows(daemon(dying), "--no-legend")) == 2


def test_states_are_of_runs(daemon: Make) -> None:
    done = jobctl(daemon(audit).path, "history", "--audit", "--state", "failed")
    assert done.returncode == 2
    assert b"give --audit or --state" in done.stderr
