"""logs over broken connections and from cursors: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from jobctl import client
from jobctl.connect import Target
from jobctl.exits import NoDaemonError
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    RUN_ID,
    FakeDaemon,
    HangupError,
    jobctl,
    run_view,
)
from tests.jobctl.logfakes import ERR, OTHER, OUT, TWO, head, piece

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


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


def test_a_daemon_that_dies_at_every_request_is_not_asked_for_ever(
    daemon: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(_: m.Request) -> Answer:
        raise HangupError

    fake = daemon(script)
    monkeypatch.setattr(client, "PAUSE_SEC", 0.0)
    with pytest.raises(NoDaemonError, match="lost again and again"):
        client.Client(Target(socket=fake.path)).call({"type": "get", "names": ["web"]})
    assert len(fake.requests) == client.MAX_LOSSES + client.MAX_SLOW_LOSSES + 1


def test_a_request_is_asked_more_slowly_when_daemons_die_by_themselves(
    daemon: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) <= client.MAX_LOSSES + 2:
            raise HangupError
        yield m.Reply(id=request.id, body=m.Jobs(jobs=[]))

    fake = daemon(script)
    monkeypatch.setattr(client, "PAUSE_SEC", 0.0)
    asking = client.Client(Target(socket=fake.path))
    try:
        assert asking.call({"type": "get", "names": ["web"]})["type"] == "jobs"
    finally:
        asking.close()
    assert capfd.readouterr().err.count("is lost again and again; going on") == 1


def test_a_socket_that_is_gone_for_a_moment_is_waited_for(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) == 1:
            os.rename(fake.path, fake.path + ".away")
            threading.Timer(0.1, os.rename, (fake.path + ".away", fake.path)).start()
            raise HangupError
        yield from TWO(request)

    fake = daemon(script)
    assert jobctl(fake.path, "logs", "web").stdout == b"one\ntwoOops\no\nlast".replace(b"twoOops\no", b"twOops\no")


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
