"""logs in lines: journalctl's formats and options, and several jobs merged by time."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from jobctl.logs_lines import Line, Run
from jobctl.logs_reverse import CHUNK_BYTES, reverse
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    RUN_ID,
    FakeDaemon,
    jobctl,
    run_view,
    table,
    view,
)
from tests.jobctl.logfakes import ERR, OUT, SEC, TWO, UTC, asked, head, piece, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("short", ["Nov 14 22:13:20 web[7]: one", "Nov 14 22:13:21 web[7]: Oops", "Nov 14 22:13:20 web[7]: two"]),
        ("short-precise", ["Nov 14 22:13:20.000000 web[7]: one"]),
        ("short-iso", ["2023-11-14T22:13:20+0000 web[7]: one"]),
        ("short-iso-precise", ["2023-11-14T22:13:20.000000+0000 web[7]: one"]),
        ("short-full", ["Tue 2023-11-14 22:13:20 UTC web[7]: one"]),
        ("short-unix", ["1700000000.000000 web[7]: one"]),
        ("short-monotonic", ["[    0.000000] web[7]: one"]),
    ],
)
def test_formats_are_journalctls_and_a_lines_time_is_where_it_begins(
    daemon: Make, output: str, lines: list[str]
) -> None:
    fake = daemon(TWO)
    out = jobctl(fake.path, "logs", "-o", output, "web", env=UTC).stdout.decode().splitlines()
    assert len(out) == 4
    assert out[: len(lines)] == lines
    assert out[-1].endswith("web[7]: last")
    assert asked(fake).split


def test_json_lines(daemon: Make) -> None:
    fake = daemon(writes((OUT, 0, b"one\n", 0), (ERR, 0, b"\xff\x00end", 1)))
    one, two = map(json.loads, jobctl(fake.path, "logs", "-o", "json", "web").stdout.splitlines())
    assert (one["message"], one["stream"], one["offset"]) == ("one", "stdout", 0)
    assert one["time"] == "2023-11-14T22:13:20.000000Z"
    assert "newline" not in one
    assert base64.b64decode(two["message"]) == b"\xff\x00end"
    assert (two["message_encoding"], two["stream"], two["newline"]) == ("base64", "stderr", False)


def test_verbose(daemon: Make) -> None:
    out = jobctl(daemon(TWO).path, "logs", "-o", "verbose", "web", env=UTC).stdout.decode()
    assert out.startswith("Tue 2023-11-14 22:13:20 UTC [000000us]\n    JOB=web\n    RUN=00010203-0405-")
    assert "    STREAM=stderr\n    OFFSET=0\n" in out


def test_an_unknown_format(daemon: Make) -> None:
    result = jobctl(daemon(TWO).path, "logs", "-o", "jsno", "web")
    assert result.returncode == 2
    assert b"did you mean 'json'?" in result.stderr


def test_grep(daemon: Make) -> None:
    for pattern, found in (("oops", b"Oops\n"), ("oOps", b""), ("^(one|two)$", b"one\ntwo\n"), ("st$", b"last")):
        assert jobctl(daemon(TWO).path, "logs", "-g", pattern, "web").stdout == found
    bad = jobctl(daemon(TWO).path, "logs", "-g", "(", "web")
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert b"cannot search for '('" in bad.stderr


def test_the_last_lines_found(daemon: Make) -> None:
    fake = daemon(TWO)
    assert jobctl(fake.path, "logs", "-n", "1", "-g", "o", "web").stdout == b"two\n"
    assert asked(fake).lines is None


def test_reverse(daemon: Make) -> None:
    assert jobctl(daemon(TWO).path, "logs", "-r", "web").stdout == b"lasttwo\nOops\none\n"
    both = jobctl(daemon(TWO).path, "logs", "-r", "-f", "web")
    assert (both.returncode, both.stdout) == (2, b"")


def test_reverse_keeps_its_memory_bounded() -> None:
    body = m.LogRun(job="web", owner=0, run=RUN_ID, number=1)
    run = Run({"job": body.job, "owner": 0, "run": body.run, "number": 1}, "web")

    def lines() -> Iterator[Line]:
        for at in range(3 * CHUNK_BYTES // 1000):
            line = Line(run, 1, at, at, at)
            line.data = b"%d" % at + b" " * 900
            yield line

    offsets = [line.offset for line in reverse(lines())]
    assert offsets == list(reversed(range(3 * CHUNK_BYTES // 1000)))


def test_what_is_asked_for(daemon: Make) -> None:
    def ask(*args: str) -> m.Logs:
        fake = daemon(TWO)
        assert jobctl(fake.path, "logs", *args).returncode == 0
        return asked(fake)

    assert ask("web").run == "0"
    assert ask("-n", "20", "web").lines == 20
    assert ask("-n", "all", "web").lines is None
    assert ask("--run", "-1", "web").run == "-1"
    assert (ask("web#3").jobs, ask("web#3").run) == (["web"], "3")
    whole = "0197f000-0000-7000-8000-000000000001"
    assert (ask(whole).jobs, ask(whole).run) == ([], whole.replace("-", ""))
    assert ask("-S", "@5", "-u", "web").since == 5 * SEC
    assert (ask("-U", "@9", "web").until, ask("-U", "@9", "web").run) == (9 * SEC, "all")


@pytest.mark.parametrize("line", ["", "-n ten web", "-S soon web", "--run 1 web#2", "-n -5 web"])
def test_mistakes(daemon: Make, line: str) -> None:
    fake = daemon(TWO)
    result = jobctl(fake.path, "logs", *line.split())
    assert (result.returncode, result.stdout, fake.requests) == (2, b"", [])
    assert result.stderr


def test_no_such_job(daemon: Make) -> None:
    fake = daemon(table(logs=lambda _: m.Fault(code=errors.NOT_FOUND, message="no job no")))
    result = jobctl(fake.path, "logs", "no")
    assert (result.returncode, result.stdout, result.stderr) == (4, b"", b"jobctl: no job no\n")


def several(request: m.Request) -> Answer:
    if isinstance(request, m.Get):
        yield m.Reply(id=request.id, body=m.Jobs(jobs=[view("a"), view("b")]))
        return
    if not isinstance(request, m.Logs):
        return
    (job,) = request.jobs
    if job == "no":
        yield m.Fault(id=request.id, code=errors.NOT_FOUND, message="cannot read the log of no: no such job")
        return
    yield head(request)
    for at in (0, 2) if job == "a" else (1, 3):
        yield piece(request, OUT, at * 2, b"%d%s\n" % (at, job.encode()), at)
    yield m.End(id=request.id)


@pytest.mark.parametrize("names", [["a", "b"], ["*"], ["b", "a"]])
def test_several_jobs_are_merged_by_time(daemon: Make, names: list[str]) -> None:
    result = jobctl(daemon(several).path, "logs", *names)
    assert result.returncode == 0
    assert result.stdout == b"a | 0a\nb | 1b\na | 2a\nb | 3b\n"


def test_a_job_that_is_not_there_does_not_hide_the_others(daemon: Make) -> None:
    result = jobctl(daemon(several).path, "logs", "a", "no")
    assert (result.returncode, result.stdout) == (4, b"a | 0a\na | 2a\n")
    assert result.stderr == b"jobctl: cannot read the log of no: no such job\n"


def test_the_last_lines_of_several(daemon: Make) -> None:
    assert jobctl(daemon(several).path, "logs", "-n", "2", "a", "b").stdout == b"a | 2a\nb | 3b\n"


def test_several_are_followed_from_where_the_merge_ended(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Logs)
        if not request.follow:
            yield from several(request)
            return
        assert request.run == RUN_ID.hex()
        assert request.out_from == (7 if request.jobs == ["a"] else 9)
        yield head(request, out_from=request.out_from)
        yield piece(request, OUT, request.out_from, b"more\n", 9)
        yield m.End(id=request.id)

    def answer(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view()]))
        else:
            yield from script(request)

    out = jobctl(daemon(answer).path, "logs", "-f", "a", "b").stdout.decode()
    assert out.startswith("a | 0a\nb | 1b\na | 2a\nb | 3b\n")
    assert sorted(out.splitlines()[4:]) == ["a | more", "b | more"]
