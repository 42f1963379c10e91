"""logs: exact bytes, lines in journalctl's formats, several jobs, and daemons that go away in the middle."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from jobctl.logs_lines import Line, Run
from jobctl.logs_reverse import CHUNK_BYTES, reverse
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    DEADLINE_SEC,
    RUN_ID,
    FakeDaemon,
    HangupError,
    frame,
    jobctl,
    jobctl_command,
    missing,
    output_frame,
    run_view,
    table,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
OUT, ERR = 1, 2
SEC = 10**9
BASE = 1_700_000_000 * SEC
UTC = {**os.environ, "TZ": "UTC"}
OTHER = bytes(15) + b"2"


def piece(request: m.Logs, stream: int, offset: int, data: bytes, at: int = 0, run: bytes = RUN_ID) -> bytes:
    return output_frame(request.id, run, stream, offset, data, wall=BASE + at * SEC)


def head(request: m.Logs, run: bytes = RUN_ID, number: int = 1, **fields: object) -> m.Item:
    usual: dict[str, object] = {"job": request.jobs[0] if request.jobs else "web", "owner": os.geteuid(), "pid": 7}
    return m.Item(id=request.id, body=m.LogRun(run=run, number=number, **{**usual, **fields}))  # type: ignore[arg-type]


def writes(*pieces: tuple[int, int, bytes, int]) -> Script:
    """A job whose log is these pieces: stream, offset, data, seconds."""

    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Logs)
        yield head(request)
        for stream, offset, data, at in pieces:
            yield piece(request, stream, offset, data, at)
        yield m.End(id=request.id)

    return script


TWO = writes((OUT, 0, b"one\ntw", 0), (ERR, 0, b"Oops\n", 1), (OUT, 6, b"o\nlast", 2))


def asked(fake: FakeDaemon) -> m.Logs:
    (request,) = fake.of(m.Logs)
    assert isinstance(request, m.Logs)
    return request


# --- exact bytes --------------------------------------------------------------------------------------------------
BYTES = [
    pytest.param([b"\x00\xff\x1b[2Jno newline"], id="binary"),
    pytest.param([b""], id="nothing"),
    pytest.param(
        [b"x" * n for n in (1, 100, 153, 154, 155, 160, 161, 255, 256, 65_535, 65_536)], id="around the limits"
    ),
    pytest.param([os.urandom(1 << 19), b"\n", os.urandom((1 << 20) - 300)], id="large"),
    pytest.param([b"\xa4data\xc6\x00\x00\x00\x05hello"] * 3, id="like a frame itself"),
]


@pytest.mark.parametrize("parts", BYTES)
@pytest.mark.parametrize("to", ["pipe", "file"])
def test_exact_bytes(daemon: Make, tmp_path: Path, parts: list[bytes], to: str) -> None:
    offsets = [sum(map(len, parts[:i])) for i in range(len(parts))]
    fake = daemon(writes(*((OUT, offset, part, 0) for offset, part in zip(offsets, parts, strict=True))))
    if to == "pipe":
        result = jobctl(fake.path, "logs", "web")
        written = result.stdout
    else:
        with open(tmp_path / "out", "wb") as file:
            result = jobctl(fake.path, "logs", "-o", "cat", "web", capture_output=False, stdout=file, stderr=-1)
        written = (tmp_path / "out").read_bytes()
    assert (result.returncode, result.stderr) == (0, b"")
    assert written == b"".join(parts)


def test_pieces_written_by_another_encoder_are_as_good(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Logs)
        yield head(request)
        for offset, data in ((0, b"short"), (5, b"x" * 300), (305, b"y" * 70_000)):
            yield m.Item(id=request.id, body=m.Output(run=RUN_ID, stream=1, offset=offset, wall=0, mono=0, data=data))
        yield m.End(id=request.id)

    assert jobctl(daemon(script).path, "logs", "web").stdout == b"short" + b"x" * 300 + b"y" * 70_000


def test_bytes_that_come_one_by_one(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Logs)
        whole = frame(head(request)) + piece(request, OUT, 0, b"hello\n") + frame(m.End(id=request.id))
        for at in range(len(whole)):
            yield whole[at : at + 1]

    assert jobctl(daemon(script).path, "logs", "web").stdout == b"hello\n"


def test_both_streams_or_one(daemon: Make) -> None:
    for line, streams in (("", (True, True)), ("--stdout", (True, False)), ("--stderr", (False, True))):
        fake = daemon(TWO)
        jobctl(fake.path, "logs", *line.split(), "web")
        assert (asked(fake).stdout, asked(fake).stderr) == streams


def test_what_was_dropped_is_said_beside_the_bytes(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Logs)
        yield head(request)
        yield m.Item(id=request.id, body=m.Dropped(run=RUN_ID, stream=1, offset=4096, length=4096))
        yield piece(request, OUT, 4096, b"rest\n")
        yield m.End(id=request.id)

    result = jobctl(daemon(script).path, "logs", "web")
    assert result.stdout == b"rest\n"
    assert result.stderr == b"jobctl: 4096 bytes of stdout before offset 4096 were dropped\n"
    lines = jobctl(daemon(script).path, "logs", "-o", "short-iso", "web", env=UTC).stdout.decode()
    assert lines.startswith("-- 4096 bytes of stdout before offset 4096 were dropped --\n2023-")


def test_a_reader_that_went_away_ends_it_as_it_ends_cat(daemon: Make) -> None:
    many = tuple((OUT, at << 16, (b"y" * 1023 + b"\n") * 64, 0) for at in range(64))
    for line in ("logs web", "logs -o short web", "logs -r web"):
        child = subprocess.Popen(jobctl_command(daemon(writes(*many)).path, *line.split()), stdout=-1, stderr=-1)
        assert child.stdout is not None
        assert child.stdout.read(10)
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
        child.stderr.close()
        assert child.wait(DEADLINE_SEC) == -13


def test_a_follower_notices_that_its_reader_went_away_though_nothing_comes(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        assert isinstance(request, m.Logs)
        yield head(request)
        yield piece(request, OUT, 0, b"first\n")

    child = subprocess.Popen(jobctl_command(daemon(script).path, "logs", "-f", "web"), stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"first\n"
    child.stdout.close()
    assert child.wait(DEADLINE_SEC) == -13


# --- lines --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("short", ["Nov 14 22:13:20 web[7]: one", "Nov 14 22:13:21 web[7]: Oops", "Nov 14 22:13:20 web[7]: two"]),
        ("short-precise", ["Nov 14 22:13:20.000000 web[7]: one"]),
        ("short-iso", ["2023-11-14T22:13:20+0000 web[7]: one"]),
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
    assert b"short-monotonic" in result.stderr


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


# --- terminals ----------------------------------------------------------------------------------------------------
def on_terminal(path: str, *args: str) -> bytes:
    """What jobctl writes to a terminal without colours."""
    ours, theirs = pty.openpty()
    env = {**UTC, "NO_COLOR": "1", "COLUMNS": "80"}
    child = subprocess.Popen(jobctl_command(path, *args), stdout=theirs, stderr=subprocess.PIPE, env=env)
    os.close(theirs)
    found = b""
    while True:
        try:
            found += os.read(ours, 1 << 16)
        except OSError:  # EIO: the terminal's other end is closed
            break
    os.close(ours)
    assert child.stderr is not None
    child.stderr.close()
    assert child.wait(DEADLINE_SEC) == 0
    return found


EVIL = writes((OUT, 0, b"\x1b]52;c;eA==\x07\xe2\x80\xaeevil\xff\n\xc3\xa9\t|\r\n", 0))


def test_a_terminal_gets_times_and_nothing_it_would_act_on(daemon: Make) -> None:
    shown = on_terminal(daemon(EVIL).path, "logs", "web").decode().splitlines()
    assert shown == [
        "Nov 14 22:13:20 web[7]: \\x1b]52;c;eA==\\x07\\u202eevil\\xff",
        "Nov 14 22:13:20 web[7]: é\t|",
    ]
    cat = on_terminal(daemon(EVIL).path, "logs", "-o", "cat", "web").decode().splitlines()
    assert cat[0] == "\\x1b]52;c;eA==\\x07\\u202eevil\\xff"


def test_raw_is_exact_on_a_terminal_too(daemon: Make) -> None:
    shown = on_terminal(daemon(EVIL).path, "logs", "--raw", "web")
    assert shown.startswith(b"\x1b]52;c;eA==\x07\xe2\x80\xaeevil\xff\r\n")


# --- several jobs -------------------------------------------------------------------------------------------------
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


# --- a daemon that goes away --------------------------------------------------------------------------------------
TEXT = b"".join(b"line %d\n" % n for n in range(20_000))


def interrupted(text: bytes, *, cut: int, step: int = 65_536) -> tuple[Script, list[m.Logs]]:
    """A job that wrote `text`; every connection breaks after `cut` more bytes, in the middle of a frame."""
    requests: list[m.Logs] = []

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view()]))
            return
        assert isinstance(request, m.Logs)
        requests.append(request)
        yield head(request, out_from=request.out_from)
        left = cut
        for offset in range(request.out_from, len(text), step):
            part = piece(request, OUT, offset, text[offset : offset + step])
            if len(part) > left:
                yield part[:left]
                raise HangupError
            left -= len(part)
            yield part
        yield m.End(id=request.id)

    return script, requests


@pytest.mark.parametrize("line", ["logs web", "logs -f web", "logs -f -o cat --run 0 web", "logs -g . web"])
@pytest.mark.parametrize("cut", [50_000, 65_700, 140_000])
def test_nothing_is_lost_or_repeated_over_broken_connections(daemon: Make, line: str, cut: int) -> None:
    script, requests = interrupted(TEXT, cut=cut, step=65_536 if cut > 65_536 else 30_000)
    result = jobctl(daemon(script).path, *line.split())
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == TEXT
    assert len(requests) > 1
    assert [request.run for request in requests] == ["0"] + [RUN_ID.hex()] * (len(requests) - 1)


def test_a_file_gets_every_byte_once_too(daemon: Make, tmp_path: Path) -> None:
    script, _ = interrupted(TEXT, cut=50_000)
    with open(tmp_path / "out", "wb") as file:
        jobctl(daemon(script).path, "logs", "web", capture_output=False, stdout=file)
    assert (tmp_path / "out").read_bytes() == TEXT


def test_after_a_break_a_follower_goes_on_to_the_next_run(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view(run=OTHER, number=2)]))
            return
        assert isinstance(request, m.Logs)
        if request.run == "2":
            yield head(request, run=OTHER, number=2)
            yield piece(request, OUT, 0, b"second\n", run=OTHER)
        else:
            yield head(request, out_from=request.out_from)
            if request.run == "0":
                yield piece(request, OUT, 0, b"fir")
                raise HangupError
            yield piece(request, OUT, 3, b"st\n")
        yield m.End(id=request.id)

    assert jobctl(daemon(script).path, "logs", "-f", "web").stdout == b"first\nsecond\n"


def test_a_follower_of_the_last_lines_resumes_where_they_began(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view()]))
            return
        assert isinstance(request, m.Logs)
        if request.lines is not None:
            yield head(request, out_from=100, err_from=50)
            raise HangupError
        assert (request.out_from, request.err_from) == (100, 50)
        yield head(request, out_from=100, err_from=50)
        yield piece(request, ERR, 50, b"new\n")
        yield m.End(id=request.id)

    assert jobctl(daemon(script).path, "logs", "-n", "0", "-f", "web").stdout == b"new\n"


def test_a_daemon_that_dies_at_every_request_is_not_asked_for_ever(daemon: Make) -> None:
    def script(_: m.Request) -> Answer:
        raise HangupError

    fake = daemon(script)
    result = jobctl(fake.path, "logs", "web")
    assert result.returncode == 1
    assert b"lost again and again" in result.stderr
    assert len(fake.requests) < 20


def test_a_socket_that_is_gone_for_a_moment_is_waited_for(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) == 1:
            os.rename(fake.path, fake.path + ".away")
            threading.Timer(0.1, os.rename, (fake.path + ".away", fake.path)).start()
            raise HangupError
        yield from TWO(request)

    fake = daemon(script)
    assert jobctl(fake.path, "logs", "web").stdout == b"one\ntwoOops\no\nlast".replace(b"twoOops\no", b"twOops\no")


# --- cursors ------------------------------------------------------------------------------------------------------
def test_a_cursor_file_goes_on_where_it_ended(daemon: Make, tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    size = len(TEXT) // 2

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view(number=runs)]))
            return
        assert isinstance(request, m.Logs)
        run = OTHER if request.run == "2" else RUN_ID
        yield head(request, run=run, number=2 if run == OTHER else 1, out_from=request.out_from)
        text = b"next run\n" if run == OTHER else TEXT[request.out_from : size]
        if text:
            yield piece(request, OUT, request.out_from, text, run=run)
        yield m.End(id=request.id)

    runs = 1
    fake = daemon(script)
    line = ("logs", "--cursor-file", str(cursor), "web")
    assert jobctl(fake.path, *line).stdout == TEXT[:size]
    assert jobctl(fake.path, *line).stdout == b""
    size = len(TEXT)
    runs = 2
    assert jobctl(fake.path, *line).stdout == TEXT[len(TEXT) // 2 :] + b"next run\n"
    assert cursor.read_text().splitlines()[1] == f"web {OTHER.hex()} 2 9 0"


def test_a_cursor_whose_run_is_gone_goes_on_with_the_next(daemon: Make, tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    cursor.write_text(f"jobctl-cursor 1\nweb {RUN_ID.hex()} 1 500 0\n")

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view(run=OTHER, number=2)]))
            return
        assert isinstance(request, m.Logs)
        if request.run != "2":
            yield m.Fault(id=request.id, code=errors.NOT_FOUND, message="gone")
            return
        yield head(request, run=OTHER, number=2)
        yield piece(request, OUT, 0, b"second\n", run=OTHER)
        yield m.End(id=request.id)

    result = jobctl(daemon(script).path, "logs", "--cursor-file", str(cursor), "web")
    assert (result.returncode, result.stdout) == (0, b"second\n")


@pytest.mark.parametrize("text", ["", "hello", "jobctl-cursor 1\nweb zz 1 0 0\n", "jobctl-cursor 1\nweb\n"])
def test_a_file_that_is_no_cursor_is_left_alone(daemon: Make, tmp_path: Path, text: str) -> None:
    cursor = tmp_path / "cursor"
    cursor.write_text(text)
    result = jobctl(daemon(TWO).path, "logs", "--cursor-file", str(cursor), "web")
    assert (result.returncode, result.stdout, cursor.read_text()) == (2, b"", text)


# --- result -------------------------------------------------------------------------------------------------------
def result_script(out: bytes, err: bytes) -> Script:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            row = run_view(exit_code=2, result="exit-code", out_bytes=len(out), err_bytes=len(err))
            yield m.Reply(id=request.id, body=m.Runs(runs=[row]))
            return
        assert isinstance(request, m.Logs)
        assert request.stdout != request.stderr
        yield head(request)
        text, start = (out, request.out_from) if request.stdout else (err, request.err_from)
        for offset in range(start, len(text), 1 << 19):
            yield piece(request, OUT if request.stdout else ERR, offset, text[offset : offset + (1 << 19)])
        yield m.End(id=request.id)

    return script


def test_result_has_both_streams(daemon: Make) -> None:
    row = json.loads(jobctl(daemon(result_script("é\n".encode(), b"\xff")).path, "result", "-o", "json", "web").stdout)
    assert (row["exit_code"], row["result"], row["truncated"]) == (2, "exit-code", False)
    assert (row["stdout"], base64.b64decode(row["stderr"])) == ("é\n", b"\xff")
    assert row["stderr_encoding"] == "base64"
    assert "stdout_encoding" not in row


def test_a_long_result_is_its_end_and_says_so(daemon: Make) -> None:
    text = "é".encode() * (1 << 20) + b"\n"
    row = json.loads(jobctl(daemon(result_script(text, b"")).path, "result", "-o", "json", "web").stdout)
    assert row["truncated"] is True
    assert row["stdout"].encode() == text[-len(row["stdout"].encode()) :]
    assert (1 << 20) - 4 < len(row["stdout"].encode()) <= 1 << 20
    full = json.loads(jobctl(daemon(result_script(text, b"")).path, "result", "-l", "-o", "json", "web").stdout)
    assert (full["truncated"], full["stdout"].encode()) == (False, text)


def test_result_for_people(daemon: Make) -> None:
    out = jobctl(daemon(result_script(b"hello", b"")).path, "result", "web", env=UTC).stdout.decode()
    assert "        Run: web#1 00010203-0405-0607-0809-0a0b0c0d0e0f\n" in out
    assert "     Result: exit-code (2)\n" in out
    assert out.endswith("\nstdout:\nhello\n")


def test_result_of_an_unknown_job(daemon: Make) -> None:
    fake = daemon(table(resolve=lambda _: m.Fault(code=errors.NOT_FOUND, message="no job no")))
    assert jobctl(fake.path, "result", "no").returncode == 4
    assert missing("no").load == "not-found"
