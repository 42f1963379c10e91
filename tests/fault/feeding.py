"""A large stdin through `run --pipe` while jobd is killed all the time: what comes out is what went in."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from tests.fault.killing import OF_KEEPERS, Killer, told
from tests.fault.report import Report
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES: Final = 1 << 20
KILL_WITHIN_SEC: Final = 0.4  # of the fork of a daemon: some of the stdin is fed between two kills
END_SEC: Final = 600.0  # a GiB takes about a minute; whatever takes longer hangs


def run_feeding(root: Path, mib: int, seed: int) -> Report:
    """Feed `mib` MiB to `cat` by jobctl while daemon and keeper are killed, and compare."""
    data, size = root / "data", mib << 20
    right = make(data, size, seed)
    program = Program(root / "jobd")
    try:
        program.start()
        source = subprocess.Popen(["cat", data], env=program.env, stdout=subprocess.PIPE)  # a pipe, which is spliced
        client = subprocess.Popen(
            program.jobctl_command("run", "-P", "--name", "fed", "--", "cat"),
            env=program.env, stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert source.stdout is not None
        source.stdout.close()
        dice = random.Random(seed)
        with Killer(program, dice, sys.maxsize, within_sec=KILL_WITHIN_SEC, keepers=OF_KEEPERS) as killer:
            problem = compare(client, size, right)
        source.wait()
    finally:
        program.close()
    done = f"{mib} MiB through run --pipe, {told(killer)}"
    return Report(seed, done, {"wrong": int(bool(problem))}, [problem] if problem else [])


def make(path: Path, size: int, seed: int) -> str:
    """Write a file of random bytes; its hash."""
    numbers = random.Random(seed)
    found = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // BLOCK_BYTES):
            block = numbers.randbytes(BLOCK_BYTES)
            found.update(block)
            file.write(block)
    return found.hexdigest()


def compare(client: subprocess.Popen[bytes], size: int, right: str) -> str:
    """Read all that comes out; what is wrong with it, or with the client's end."""
    timer = threading.Timer(END_SEC, client.kill)
    timer.start()
    assert client.stdout is not None
    assert client.stderr is not None
    try:
        found, count = hashlib.sha256(), 0
        while block := client.stdout.read(BLOCK_BYTES):
            found.update(block)
            count += len(block)
        said = client.stderr.read().decode(errors="replace")
        status = client.wait()
    finally:
        timer.cancel()
        client.stdout.close()
        client.stderr.close()
    if status:
        return f"jobctl ended with {status} after {count} bytes: {said}"
    if count != size or found.hexdigest() != right:
        return f"{count} of {size} bytes came out, and they are not those that went in"
    return "" if said == "fed\n" else f"jobctl said {said!r}"
