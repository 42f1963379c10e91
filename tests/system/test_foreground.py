"""Jobs in the foreground on pipes: exact bytes through anything, and what a shell's pipeline may expect."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.system.clients import MIB, Clients, read, shell, write_all
from tests.system.program import DEADLINE_SEC, Gate

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.system.program import Program

    Popen = subprocess.Popen[bytes]

pytestmark = pytest.mark.slow

# As slow as lets the daemon be killed some times.
SLOW_CAT = "import os, time\nwhile data := os.read(0, 65536): os.write(1, data); time.sleep(0.002)"
LEAVES_SEC = 600  # a job that a test ends itself


# --- bytes ----------------------------------------------------------------------------------------------------------
def test_both_directions_are_exact(shared: Program, clients: Clients, name: str) -> None:
    data = random.Random(1).randbytes(20 * MIB)
    client = clients.start("run", "-P", "-u", name, "--", "tee", "/dev/stderr")
    assert client.stdin is not None
    assert client.stderr is not None
    writer = write_all(client.stdin, data)
    said = bytearray()
    reader = threading.Thread(target=lambda: said.extend(client.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    assert client.stdout is not None
    assert hashlib.sha256(read(client.stdout, len(data) + 1)).digest() == hashlib.sha256(data).digest()
    writer.join()
    reader.join()
    assert client.wait(DEADLINE_SEC) == 0
    assert said == f"{name}\n".encode() + data
    assert shared.output(name) == data


def test_nothing_is_lost_while_the_daemon_is_killed(jobd: Program, name: str) -> None:
    """64 MiB in and out; the daemon is killed 200 ms after each time that it answers."""
    clients = Clients(jobd)
    data = random.Random(1).randbytes(64 * MIB)
    client = clients.start("run", "-P", "-u", name, "--", sys.executable, "-c", SLOW_CAT)
    kills = 0
    stop = threading.Event()

    def kill() -> None:
        nonlocal kills
        while not stop.wait(0.2):
            jobd.replace_daemon()
            kills += 1

    killer = threading.Thread(target=kill)
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        writer = write_all(client.stdin, data)
        killer.start()
        digest = hashlib.sha256(read(client.stdout, len(data) + 1))
        stop.set()
        killer.join()
        writer.join()
        assert client.stderr is not None
        assert (client.wait(DEADLINE_SEC), client.stderr.read()) == (0, f"{name}\n".encode())
        assert digest.digest() == hashlib.sha256(data).digest()
        assert kills
    finally:
        stop.set()
        clients.close()


def test_a_reader_may_stop_and_go_on(jobd: Program, name: str) -> None:
    """It holds up neither the writer nor the job, the daemon dies meanwhile, and then all is there."""
    clients = Clients(jobd)
    data = random.Random(3).randbytes(48 * MIB)
    client = clients.start("run", "-P", "-u", name, "--", "cat")
    try:
        assert client.stdin is not None
        assert client.stderr is not None
        writer = write_all(client.stdin, data)
        first = read(client.stdout, 1000)
        jobd.replace_daemon()
        writer.join()
        jobd.replace_daemon()
        assert first + read(client.stdout, len(data)) == data
        assert (client.wait(DEADLINE_SEC), client.stderr.read()) == (0, f"{name}\n".encode())
    finally:
        clients.close()


def test_a_stream_that_nobody_reads_holds_up_no_other(clients: Clients, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"head -c 5000000 /dev/zero; echo one >&2; {gate.wait}; echo two >&2"
    client = clients.start("run", "-P", "-u", name, "--shell", script)
    assert read(client.stderr, len(name) + 5) == f"{name}\none\n".encode()
    gate.open()
    assert read(client.stderr, 4) == b"two\n"
    assert len(read(client.stdout, 6_000_000)) == 5_000_000
    assert client.wait(DEADLINE_SEC) == 0


@pytest.mark.parametrize(
    ("redirection", "expected"),
    [("<&-", b""), ("< /dev/null", b""), ("< FILE", b"text\n"), ("<<< word", b"word\n"), ("0> out", b"")],
)
def test_every_stdin_a_shell_can_give(
    shared: Program, name: str, tmp_path: Path, redirection: str, expected: bytes
) -> None:
    (tmp_path / "FILE").write_text("text\n")
    result = shell(shared, f"jobctl run -P -u {name} -- cat {redirection}", cwd=tmp_path)
    assert (result.stdout, result.stderr) == (expected + b"0\n", f"{name}\n".encode())


def test_a_directory_is_none(shared: Program, name: str) -> None:
    result = shell(shared, f"jobctl run -P -u {name} -- cat < /")
    assert result.stdout != b"0\n"
    assert b"directory" in result.stderr
    assert shared.jobctl("history", name).returncode == 4


# --- pipelines ------------------------------------------------------------------------------------------------------
def test_head_ends_everything(shared: Program, name: str) -> None:
    result = shell(shared, f"yes gen | jobctl run -P -u {name} -- yes job | head -1")
    assert result.stdout == b"job\n141 141 0\n"
    assert result.stderr == f"{name}\n".encode()
    assert shared.show(name, "Result") == "success"  # its reader has asked for that end


def test_head_ends_what_writes_nothing_more(shared: Program, name: str) -> None:
    result = shell(shared, f"jobctl run -P -u {name} --shell 'echo job; exec sleep {LEAVES_SEC}' | head -1")
    assert result.stdout == b"job\n141 0\n"


def test_a_job_that_closes_its_stdin_ends_who_writes_there(shared: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    read_end, write_end = os.pipe()
    with open(write_end, "wb", buffering=0) as writer, open(read_end, "rb") as reader:
        clients = Clients(shared)
        client = clients.start("run", "-P", "-u", name, "--shell", f"exec <&-; {gate.wait}", stdin=reader)
        reader.close()
        with pytest.raises(BrokenPipeError):
            writer.writelines(bytes(65_536) for _ in range(1_000))
    gate.open()
    assert client.wait(DEADLINE_SEC) == 0
    clients.close()


def test_a_pipeline_of_jobs(shared: Program, name: str) -> None:
    line = f"seq 100000 | jobctl run -P -u {name}.1 -- sort -rn | jobctl run -P -u {name}.2 -- head -2"
    # As in a pipeline of programs, sort may have written all before head leaves, or not.
    assert shell(shared, line).stdout in (b"100000\n99999\n0 0 0\n", b"100000\n99999\n0 141 0\n")


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("sh -c 'exit 7'", 7), ("sh -c 'kill -9 $$'", 137), ("/nonexistent", 127), ("/etc/passwd", 126)],
)
def test_the_status_is_the_jobs(shared: Program, name: str, command: str, status: int) -> None:
    result = shell(shared, f"jobctl run -P -u {name} -- {command}")
    assert result.stdout == f"{status}\n".encode()


def test_a_closed_stdout_is_told_and_leaves_the_job(shared: Program, name: str) -> None:
    result = shell(shared, f"jobctl run -P -u {name} --shell 'echo x; exec sleep {LEAVES_SEC}' >&-")
    assert result.stdout == b"125\n"
    assert f"cannot write to standard output: Bad file descriptor; {name} goes on".encode() in result.stderr
    assert shared.show(name, "ActiveState") == "active"
    shared.jobctl("stop", name, check=True)


# --- signals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_are_the_jobs(clients: Clients, name: str, number: signal.Signals) -> None:
    script = f'trap "echo caught; exit 42" {number.name[3:]}; echo ready; while :; do sleep 0.01; done'
    client = clients.start("run", "-P", "-u", name, "--shell", script)
    assert read(client.stdout, 6) == b"ready\n"
    client.send_signal(number)
    assert read(client.stdout, 100) == b"caught\n"
    assert client.wait(DEADLINE_SEC) == 42


def test_a_job_may_mind_no_signal(clients: Clients, name: str) -> None:
    script = 'trap "echo no" INT; echo ready; while read -r line; do echo "$line"; done; echo over'
    client = clients.start("run", "-P", "-u", name, "--shell", f"{script} 2>&1")
    assert read(client.stdout, 6) == b"ready\n"
    client.send_signal(signal.SIGINT)
    assert read(client.stdout, 3) == b"no\n"
    assert client.stdin is not None
    client.stdin.close()
    assert read(client.stdout, 100) == b"over\n"
    assert client.wait(DEADLINE_SEC) == 0


def test_a_hangup_leaves_the_job_and_attach_goes_on(clients: Clients, name: str) -> None:
    data = random.Random(5).randbytes(5 * MIB)
    client = clients.start("run", "-P", "-u", name, "--", "sha256sum")
    assert client.stdin is not None
    assert client.stderr is not None
    client.stdin.write(data[: 2 * MIB])
    client.send_signal(signal.SIGHUP)
    assert client.wait(DEADLINE_SEC) == 129
    said = f"{name}\njobctl: hangup; {name} goes on: jobctl attach {name}\n"
    assert client.stderr.read() == said.encode()
    second = clients.start("attach", "--input", "same", name)
    assert second.stdin is not None
    write_all(second.stdin, data).join()
    assert read(second.stdout, 64).decode() == hashlib.sha256(data).hexdigest()
    assert second.wait(DEADLINE_SEC) == 0
