"""A full disk, and free again: the job waits, the daemon stays, no byte and no exit is lost. On small tmpfs mounts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC, Gate, Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs"),
]
SMALL_MIB = 24
WRITER = """
import hashlib, os
for number in range(40):
    view = memoryview(hashlib.shake_128(bytes([number])).digest(1 << 20))
    while view:
        view = view[os.write(1, view):]
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Program]:
    """A jobd whose state directory is a small file system."""
    state = tmp_path / "state"
    state.mkdir()
    options = f"size={SMALL_MIB}m,mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "jobd-test", state], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    program = Program(tmp_path)
    try:
        program.start()
        yield program
    finally:
        try:
            program.close()
        finally:
            subprocess.run(["umount", "--lazy", state], check=True)


def fill(path: Path, leave: int = 0) -> None:
    """Write zeros until the file system has `leave` bytes left."""
    free = shutil.disk_usage(path.parent).free
    with path.open("wb") as f:
        for _ in range(max(0, free - leave) >> 16):
            f.write(bytes(1 << 16))


def test_job_that_fills_the_disk_waits_and_goes_on(small: Program) -> None:
    small.jobctl("run", "--name", "writer", "--", sys.executable, "-I", "-c", WRITER, check=True)
    until(lambda: shutil.disk_usage(small.state_dir).free < 8 << 20, "the disk fills")
    # It is full, the job waits, and the daemon answers.
    assert small.jobctl("is-active", "writer").returncode == 0
    assert small.jobctl("daemon-status").returncode in (0, 1)
    subprocess.run(["mount", "-o", "remount,size=128m", small.state_dir], check=True)
    assert small.jobctl("wait", "writer").returncode == 0
    expected = b"".join(hashlib.shake_128(bytes([number])).digest(1 << 20) for number in range(40))
    assert hashlib.sha256(small.output("writer")).digest() == hashlib.sha256(expected).digest()


def test_the_log_that_fills_the_disk_can_be_removed(small: Program) -> None:
    small.jobctl("run", "--name", "writer", "--", sys.executable, "-I", "-c", WRITER, check=True)
    until(lambda: "file system of the logs is full" in small.jobctl("status", "writer").stdout, "the disk fills")
    assert small.jobctl("rm", "--now", "--purge", "writer").returncode == 0
    assert shutil.disk_usage(small.state_dir).free > 10 << 20


def test_exits_are_kept_while_there_is_no_room_for_them(small: Program, tmp_path: Path) -> None:
    gates = [Gate(tmp_path / f"gate-{number}") for number in range(3)]
    for number, gate in enumerate(gates):
        script = f"{gate.wait}; exit {number + 3}"
        small.jobctl("run", "--name", f"job-{number}", "--", "/bin/sh", "-c", script, check=True)
    filler = small.state_dir / "filler"
    fill(filler)
    for gate in gates:
        gate.open()
    refused = small.jobctl("run", "--name", "more", "--", "true", timeout=DEADLINE_SEC)
    assert refused.returncode in (0, 1, 125)  # taken from what the daemon holds in reserve, or refused
    filler.unlink()
    for number in range(3):
        assert small.jobctl("wait", f"job-{number}").returncode == number + 3
    until(lambda: small.jobctl("run", "--wait", "--", "true").returncode == 0, "new jobs are taken again")


def test_daemon_killed_on_a_full_disk_recovers(small: Program) -> None:
    small.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", "echo kept; sleep 1; exit 6", check=True)
    filler = small.state_dir / "filler"
    fill(filler)
    small.kill_daemon()
    filler.unlink()
    assert small.jobctl("wait", "job").returncode == 6
    assert small.output("job") == b"kept\n"


def test_damaged_database_is_set_aside_and_said(jobd: Program) -> None:
    jobd.jobctl("run", "--wait", "--", "true", check=True)
    jobd.keeper.terminate()
    jobd.keeper.wait(DEADLINE_SEC)
    database = jobd.state_dir / "state.db"
    for side in ("-wal", "-shm"):
        (jobd.state_dir / f"state.db{side}").unlink(missing_ok=True)
    damaged = b"this is no database " * 1000
    database.write_bytes(damaged)
    jobd.start()
    assert jobd.jobctl("run", "--wait", "--", "/bin/sh", "-c", "exit 3").returncode == 3
    aside = [path for path in jobd.state_dir.iterdir() if path.name != "state.db" and path.is_file()]
    assert damaged in [path.read_bytes() for path in aside]
    status = jobd.daemon_status()
    assert status.state == "degraded" or "set aside" in jobd.log_text()
