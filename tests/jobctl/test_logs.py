"""logs of one job: exact bytes into a pipe or a file, and nothing that a terminal would act on."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl import terminals
from tests.jobctl.fakes import (
    DEADLINE_SEC,
    RUN_ID,
    FakeDaemon,
    frame,
    jobctl,
    jobctl_command,
)
from tests.jobctl.logfakes import OUT, TWO, UTC, asked, head, piece, writes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


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


def test_of_a_job_with_a_terminal_it_is_said_how_to_see_it_as_it_was(daemon: Make) -> None:
    hint = b"jobctl logs --raw"
    drawn = writes((OUT, 0, b"\x1b[1mbold\x1b[m\n", 0), stdin="pty")
    plain = writes((OUT, 0, b"plain\n", 0), stdin="pty")
    assert terminals.on_terminal(daemon(drawn).path, "logs", "web").endswith(hint + b"\r\n")
    assert hint not in terminals.on_terminal(daemon(drawn).path, "logs", "--raw", "web")
    assert hint not in terminals.on_terminal(daemon(plain).path, "logs", "web")
    assert hint not in terminals.on_terminal(daemon(EVIL).path, "logs", "web")


def test_raw_is_exact_on_a_terminal_too(daemon: Make) -> None:
    shown = on_terminal(daemon(EVIL).path, "logs", "--raw", "web")
    assert shown.startswith(b"\x1b]52;c;eA==\x07\xe2\x80\xaeevil\xff\r\n")
