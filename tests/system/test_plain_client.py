"""A client written from man/jobd-protocol.7 alone does all that the page says: run, follow, wait, feed, and go on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC

if TYPE_CHECKING:
    from tests.system.program import Program

pytest.importorskip("msgpack")
pytestmark = pytest.mark.slow
CLIENT = Path(__file__).with_name("plain_client.py")
NOISE_BYTES = 24 << 20
KILLS = 4


def command(program: Program, *words: str) -> list[str]:
    return [sys.executable, "-I", str(CLIENT), str(program.socket), *words]


def run(program: Program, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(program, *words), input=stdin, capture_output=True, timeout=DEADLINE_SEC, env=program.env, check=False
    )


def test_it_imports_nothing_of_ours() -> None:
    text = CLIENT.read_text()
    assert "import jobd" not in text
    assert "from jobd" not in text
    assert "from tests" not in text


def test_run_follow_and_wait(shared: Program) -> None:
    done = run(shared, "/bin/sh", "-c", "echo out; echo err >&2; pwd; exit 3")
    assert (done.returncode, done.stderr) == (3, b"err\n")
    assert done.stdout == f"out\n{os.getcwd()}\n".encode()


def test_what_the_status_is(shared: Program) -> None:
    assert run(shared, "/bin/sh", "-c", "kill -9 $$").returncode == 128 + 9
    missing = run(shared, "/no/such/program")
    assert missing.returncode == 125
    assert b"No such file" in missing.stderr


@pytest.mark.parametrize("stdin", [b"", b"x", b"one\ntwo\n", bytes(range(256)) * 4096])
def test_stdin_is_fed_and_ends(shared: Program, stdin: bytes) -> None:
    done = run(shared, "cat", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == stdin


def test_job_that_does_not_read_to_the_end(shared: Program) -> None:
    done = run(shared, "head", "-c", "5", stdin=b"abcdefgh" * (1 << 20))
    assert (done.returncode, done.stdout) == (0, b"abcde")


def test_every_byte_both_ways_while_the_daemon_is_killed(jobd: Program, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(NOISE_BYTES))
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < KILLS and not over.wait(0.3):
            killed.append(jobd.replace_daemon())

    killer = threading.Thread(target=kill)
    # The job takes longer than the kills, however fast the machine is: it reads in pieces, with pauses.
    script = (
        "import sys, time\nwhile d := sys.stdin.buffer.read(1 << 20):\n  sys.stdout.buffer.write(d)\n  time.sleep(.1)"
    )
    with noise.open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        client = subprocess.Popen(
            command(jobd, sys.executable, "-I", "-c", script),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=jobd.env,
        )
        killer.start()
        try:
            assert client.communicate(timeout=DEADLINE_SEC)[1] == b""
        finally:
            over.set()
            killer.join()
            client.kill()
    assert client.returncode == 0
    assert len(killed) == KILLS
    assert digest(tmp_path / "out") == digest(noise)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
