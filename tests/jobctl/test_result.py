"""result: how a run ended, and what it wrote."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    FakeDaemon,
    jobctl,
    missing,
    run_view,
    table,
)
from tests.jobctl.logfakes import ERR, OUT, UTC, head, piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


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
