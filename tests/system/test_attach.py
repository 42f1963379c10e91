"""attach: a job goes on in another foreground, at the exact byte."""

from __future__ import annotations

import shlex
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.clients import Clients, read, shell
from tests.system.program import DEADLINE_SEC, Gate, open_fds, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

    Popen = subprocess.Popen[bytes]

pytestmark = pytest.mark.slow

LEAVES_SEC = 600  # a job that a test ends itself


def fed(clients: Clients, name: str, data: bytes) -> None:
    """A job that was fed this, and whose jobctl is then killed: that is no end of its input."""
    client = clients.start("run", "-P", "-u", name, "--", "tee", "/dev/null")
    assert client.stdin is not None
    client.stdin.write(data)
    assert read(client.stdout, len(data)) == data
    client.kill()
    client.wait()


def test_attach_goes_on_with_the_same_file(shared: Program, clients: Clients, name: str, tmp_path: Path) -> None:
    fed(clients, name, b"0123456789")
    (tmp_path / "in").write_bytes(b"not0123456789and the rest")
    with open(tmp_path / "in", "rb", buffering=0) as file:
        file.seek(3)  # its first byte is where it stands
        client = clients.start("attach", name, stdin=file)
        assert read(client.stdout, 100) == b"and the rest"
    assert client.wait(DEADLINE_SEC) == 0
    assert read(client.stderr, 100) == b"jobctl: stdin goes on at byte 10\n"
    assert shared.output(name) == b"0123456789and the rest"


@pytest.mark.parametrize("mode", ["same", "more"])
def test_attach_goes_on_with_a_pipe(shared: Program, clients: Clients, name: str, mode: str) -> None:
    fed(clients, name, b"0123456789")
    client = clients.start("attach", *(["--input", "same"] if mode == "same" else []), name)
    assert client.stdin is not None
    client.stdin.write(b"0123")
    client.stdin.write(b"456789ab")
    client.stdin.close()
    expected = b"ab" if mode == "same" else b"0123456789ab"
    assert read(client.stdout, 100) == expected
    assert client.wait(DEADLINE_SEC) == 0
    assert shared.output(name) == b"0123456789" + expected


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_an_input_that_is_shorter_than_what_the_job_has_had_is_refused(
    shared: Program, clients: Clients, name: str, tmp_path: Path, kind: str
) -> None:
    fed(clients, name, b"0123456789")
    (tmp_path / "in").write_bytes(b"0123")
    with open(tmp_path / "in", "rb") as file:
        if kind == "file":
            client = clients.start("attach", name, stdin=file)
        else:
            client = clients.start("attach", "--input", "same", name)
            assert client.stdin is not None
            client.stdin.write(b"0123")
            client.stdin.close()
        assert client.wait(DEADLINE_SEC) == 125
    assert b"it has 6 bytes less than the job has had already" in read(client.stderr, 1000)
    assert shared.show(name, "ActiveState") == "active"
    shared.jobctl("stop", name, check=True)


def test_attach_takes_over(clients: Clients, name: str) -> None:
    first = clients.start("run", "-P", "-u", name, "--", "cat")
    assert first.stdin is not None
    assert first.stderr is not None
    first.stdin.write(b"one ")
    assert read(first.stdout, 4) == b"one "
    second = clients.start("attach", name)
    assert read(second.stderr, 32) == b"jobctl: stdin goes on at byte 4\n"
    text = f"{name}\njobctl: another jobctl feeds {name} now; what it had from here ends at byte 4\n".encode()
    assert read(first.stderr, len(text)) == text
    assert second.stdin is not None
    second.stdin.write(b"two")
    second.stdin.close()
    assert read(first.stdout, 100) == b"two"
    assert read(second.stdout, 100) == b"two"
    assert (first.wait(DEADLINE_SEC), second.wait(DEADLINE_SEC)) == (0, 0)


def test_attach_shows_what_comes_and_what_was_asked_for(
    shared: Program, clients: Clients, name: str, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"echo one; echo two; echo oops >&2; echo three; {gate.wait}; echo four; exit 3"
    shared.jobctl("run", "-u", name, "--shell", script, check=True)
    until(lambda: b"three" in shared.output(name), "it has written")
    now = clients.start("attach", name)
    last = clients.start("attach", "-n", "2", name)
    every = clients.start("attach", "-n", "all", name)
    assert read(last.stdout, 6) == b"three\n"
    assert read(every.stdout, 14) == b"one\ntwo\nthree\n"
    until(lambda: is_attached(now), "all are attached")
    gate.open()
    for client, out, err in ((now, b"four\n", b""), (last, b"four\n", b"oops\n"), (every, b"four\n", b"oops\n")):
        assert read(client.stdout, 100) == out
        assert read(client.stderr, 100) == err
        assert client.wait(DEADLINE_SEC) == 3


def is_attached(client: Popen) -> bool:
    """Whether a jobctl waits in its loop: it has all connections, and polls."""
    with open(f"/proc/{client.pid}/wchan") as file:
        polls = "poll" in file.read()
    return polls and sum(each.startswith("socket:") for each in open_fds(client.pid).values()) == 3


def test_a_null_stdin_is_no_end_of_the_jobs(shared: Program, clients: Clients, name: str) -> None:
    """cron's, or `ssh -n`'s: who has nothing to say looks on, unless he says that this is all."""
    fed(clients, name, b"0123456789")
    client = clients.start("attach", name, stdin=subprocess.DEVNULL)
    until(lambda: is_attached(client), "it is attached")
    assert shared.show(name, "ActiveState") == "active"
    last = clients.start("attach", "--input", "more", name, stdin=subprocess.DEVNULL)
    assert (last.wait(DEADLINE_SEC), client.wait(DEADLINE_SEC)) == (0, 0)


def test_interrupting_who_looks_on_leaves_the_job(shared: Program, clients: Clients, name: str) -> None:
    shared.jobctl("run", "-u", name, "sleep", str(LEAVES_SEC), check=True)
    client = clients.start("attach", name)
    until(lambda: is_attached(client), "it is attached")
    client.send_signal(signal.SIGINT)
    assert client.wait(DEADLINE_SEC) == 130
    assert client.stderr is not None
    assert client.stderr.read() == f"jobctl: interrupted; {name} goes on: jobctl attach {name}\n".encode()
    assert shared.show(name, "ActiveState") == "active"
    shared.jobctl("stop", name, check=True)


def test_attach_to_what_is_not_there_says_what_to_do(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "-u", name, "true", check=True)
    for word in (name, f"{name}#1"):
        result = shared.jobctl("attach", word)
        assert (result.returncode, result.stdout) == (125, "")
        assert f"cannot attach to {name}#1: it has ended" in result.stderr
        assert f"jobctl logs '{name}#1'" in result.stderr
    assert shared.jobctl("attach", "nothing-like-it").returncode == 125


def test_rerun_may_be_in_the_foreground(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "-u", name, "cat", check=True)
    result = shell(shared, f"echo again | jobctl rerun -P {shlex.quote(name)}")
    assert (result.stdout, result.stderr) == (b"again\n0 0\n", f"{name}\n".encode())
