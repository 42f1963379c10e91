"""history: pages by a cursor, a footer that says when there is more, and figures."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobctl.figures import success_rate
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, Script, jobctl, run_view, table
from tests.jobctl.terminals import on_terminal
from tests.jobctl.test_verbs import found

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[Script], FakeDaemon]

UTC = {**os.environ, "TZ": "UTC"}
SEC = 10**9


def test_history_has_a_table_and_pages(daemon: Make) -> None:
    def pages(request: m.Request) -> m.Runs:
        assert isinstance(request, m.History)
        if request.before is None:
            return m.Runs(runs=[run_view(seq=9, number=2, signal=15, exit_code=None, result="signal")], more=9)
        return m.Runs(runs=[run_view(seq=8, step="exec", errno=2, exit_code=None, result="start-failed")])

    fake = daemon(table(history=pages, get=found))
    out = jobctl(fake.path, "history", "--state", "failed", "-S", "@5", env={**os.environ, "TZ": "UTC"}).stdout
    assert out.decode().splitlines() == [
        "RUN       JOB    STATE   EXIT  STARTED                      DURATION  COMMAND",
        "0c0d0e0f  web#2  signal  TERM  Sun 2001-09-09 01:46:40 UTC  1.999s    true",
        "0c0d0e0f  web#1  start-failed  exec  Sun 2001-09-09 01:46:40 UTC  1.999s    true",
    ]
    asked = fake.requests[0]
    assert isinstance(asked, m.History)
    assert (asked.states, asked.since, asked.limit) == (["failed"], 5 * 10**9, 100)


def test_jobs_are_named_as_operands_or_as_logs_names_them(daemon: Make) -> None:
    fake = daemon(table(history=lambda _: m.Runs(runs=[]), history_stats=lambda _: m.Stats(stats=[])))
    for verb in (("history",), ("history", "--stats")):
        assert jobctl(fake.path, *verb, "a", "--job", "b", "--unit=c", "-u", "d").returncode == 0
    assert [request.jobs for request in fake.requests] == [["a", "b", "c", "d"]] * 2  # type: ignore[union-attr]


def test_what_has_not_begun_has_no_time_of_a_start(daemon: Make) -> None:
    ends = [("queued", None), ("finished", "canceled"), ("finished", "dependency")]
    runs = [run_view(state=state, result=result, started_at=None, exit_code=None) for state, result in ends]
    lines = jobctl(daemon(table(history=lambda _: m.Runs(runs=runs))).path, "history").stdout.decode().splitlines()
    assert [line.split()[2:5] for line in lines[1:]] == [
        ["queued", "-", "-"],
        ["canceled", "-", "-"],
        ["dependency", "-", "-"],
    ]


def test_history_of_an_unknown_job(daemon: Make) -> None:
    refused = m.Fault(code="not-found", message="cannot find job 'wbe'; did you mean 'web'?")
    result = jobctl(daemon(table(history=lambda _: refused)).path, "history", "wbe")
    assert (result.returncode, result.stderr) == (4, b"jobctl: cannot find job 'wbe'; did you mean 'web'?\n")


def numbered(first: int, last: int) -> Callable[[m.Request], m.Runs]:
    """A history of runs with these numbers as seq, the newest first."""

    def pages(request: m.Request) -> m.Runs:
        assert isinstance(request, m.History)
        top = last if request.before is None else min(last, request.before - 1)
        seqs = [*range(top, first - 1, -1)][request.offset :]
        page = seqs[: min(request.limit, 3)]
        return m.Runs(runs=[run_view(seq=n, number=n) for n in page], more=page[-1] if len(seqs) > len(page) else None)

    return pages


def test_the_last_line_says_that_there_is_more_and_where(daemon: Make) -> None:
    fake = daemon(table(history=numbered(1, 9)))
    lines = jobctl(fake.path, "history", "-n", "5").stdout.decode().splitlines()
    assert [line.split()[1] for line in lines[1:6]] == ["web#9", "web#8", "web#7", "web#6", "web#5"]
    assert lines[6:] == ["", "5 runs listed, and there are more: --after-cursor 5"]
    lines = jobctl(fake.path, "history", "--limit=1", "--after-cursor", "5").stdout.decode().splitlines()
    assert (lines[1].split()[1], lines[-1]) == ("web#4", "1 run listed, and there are more: --after-cursor 4")
    for args in (("-n", "all"), ("--lines", "9"), ("--after-cursor", "4"), ("-n5", "--no-legend"), ("--offset", "6")):
        assert b"more" not in jobctl(fake.path, "history", *args).stdout, args


def test_an_offset_counts_once(daemon: Make) -> None:
    fake = daemon(table(history=numbered(1, 20)))
    rows = json.loads(jobctl(fake.path, "history", "--offset", "2", "-n", "7", "-o", "json").stdout)
    assert [row["cursor"] for row in rows] == [18, 17, 16, 15, 14, 13, 12]
    assert [getattr(request, "offset") for request in fake.requests] == [2, 0, 0]  # noqa: B009


@pytest.mark.parametrize("output", ["json", "json-pretty", "json-seq"])
def test_json_of_any_length(daemon: Make, output: str) -> None:
    for last in (0, 1, 8):
        text = jobctl(daemon(table(history=numbered(1, last))).path, "history", "-n", "all", "-o", output).stdout
        rows = [json.loads(part) for part in text.split(b"\x1e")[1:]] if output == "json-seq" else json.loads(text)
        assert [row["cursor"] for row in rows] == [*range(last, 0, -1)]


def test_what_is_asked_for(daemon: Make) -> None:
    fake = daemon(table(history=numbered(1, 1), history_stats=lambda _: m.Stats(stats=[])))
    jobctl(fake.path, "history", "web", "make-*", "--queue", "build", "-U", "@7")
    jobctl(fake.path, "history", "--stats", "web", "--queue", "shared/batch", "-S", "@3")
    assert fake.requests[0] == m.History(id=1, jobs=["web", "make-*"], queue="build", until=7 * SEC, limit=100)
    assert fake.requests[1] == m.HistoryStats(id=1, jobs=["web"], queue="shared/batch", since=3 * SEC)


def figures(request: m.Request) -> m.Stats:
    assert isinstance(request, m.HistoryStats)
    if not request.after:
        many = m.StatsView(
            job="make-*", owner=os.geteuid(), runs=1002, success=999, failed=1, p50_usec=1_500_000, p95_usec=2_000_000,
            p50_bytes=5 << 20, p95_bytes=3 << 30, cpu_usec=7, last_at=10**18,
        )  # fmt: skip
        return m.Stats(stats=[many], more="x")
    assert request.after == "x"
    return m.Stats(stats=[m.StatsView(job="web", owner=os.geteuid(), runs=1, last_at=10**18)])


def test_figures(daemon: Make) -> None:
    out = jobctl(daemon(table(history_stats=figures)).path, "history", "--stats", env=UTC).stdout.decode()
    assert out.splitlines() == [
        "JOB     RUNS  FAILED  SUCCESS  P50   P95  MEM50  MEM95  LAST",
        "make-*  1002  1       99.9%    1.5s  2s   5.0M   3.0G   Sep 09 01:46:40",
        "web     1     0       -        -     -    -      -      Sep 09 01:46:40",
    ]
    first, second = json.loads(
        jobctl(daemon(table(history_stats=figures)).path, "history", "--stats", "-o", "json").stdout
    )
    assert (first["success_percent"], first["duration_p95_usec"], first["memory_p50_bytes"]) == (99, 2_000_000, 5 << 20)
    assert second["success_percent"] is second["duration_p50_usec"] is None
    assert success_rate({"job": "x", "owner": 0, "runs": 3, "success": 3}) == 1


def test_figures_fit_a_terminal_and_keep_their_times(daemon: Make) -> None:
    def wide(_: m.Request) -> m.Stats:
        name = "a-job-with-a-long-name-*"
        return m.Stats(stats=[m.StatsView(job=name, owner=os.geteuid(), runs=1, p50_usec=88 * 10**6, last_at=10**18)])

    path = daemon(table(history_stats=wide)).path
    shown = on_terminal(path, "history", "--stats", columns=80, NO_COLOR="1", TZ="UTC").decode().splitlines()
    assert shown[0].split()[-1] == "LAST"
    assert shown[1].startswith("a-job…ame-*  1 ")
    assert shown[1].endswith("Sep 09 01:46:40")
    assert len(shown[1]) <= 80


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--stats", "--audit"), "cannot show two things at once"),
        (("--stats", "--state", "failed"), "cannot take --state with --stats"),
        (("--stats", "-n", "3"), "cannot take --limit with --stats"),
        (("--stats", "--after-cursor", "3"), "cannot take --after-cursor with --stats"),
        (("--audit", "--queue", "build"), "cannot take --queue with --audit"),
        (("--audit", "--offset", "3"), "cannot take --offset with --audit"),
        (("--offset", "-1"), "cannot read --offset '-1': it is a number, 0 or more"),
        (("--after-cursor", "1x"), "cannot read --after-cursor '1x'"),
        (("--after-cursor", "9" * 30), "cannot read --after-cursor"),
        (("--limit", "many"), "cannot read -n 'many'"),
    ],
)
def test_mistakes(daemon: Make, args: tuple[str, ...], said: str) -> None:
    done = jobctl(daemon(table()).path, "history", *args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
