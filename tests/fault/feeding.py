"""A large stdin through `run --pipe` while jobd is killed all the time: what comes out is what went in."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from tests.fault.report import Report
from tests.system.program import Program
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES: Final = 1 << 20
DAEMONS_A_KEEPER: Final = 4  # kills, of which one is for the keeper
PAUSE_SEC: Final = 0.2  # between an answering daemon and the kill
END_SEC: Final = 600.0  # a GiB takes about a minute; whatever takes longer hangs


def run_feeding(root: Path, mib: int, seed: int) -> Report:
    """Feed `mib` MiB to `cat` by jobctl, killing the daemon 0.2 s after each start, and compare."""
    data, size = root / "data", mib << 20
    right = make(data, size, seed)
    program = Program(root / "jobd")
    stop = threading.Event()
    kills, keepers = 0, 0

    def kill() -> None:
        nonlocal kills, keepers
        while not stop.wait(PAUSE_SEC):
            if kills % DAEMONS_A_KEEPER or not has_pidfd_info():
                program.replace_daemon()
            else:
                program.kill_keeper()
                keepers += 1
            kills += 1

    killer = threading.Thread(target=kill, name="killer")
    try:
        program.start()
        source = subprocess.Popen(["cat", data], env=program.env, stdout=subprocess.PIPE)  # a pipe, which is spliced
        client = subprocess.Popen(
            program.jobctl_command("run", "-P", "--name", "fed", "--", "cat"),
            env=program.env, stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert source.stdout is not None
        source.stdout.close()
        killer.start()
        problem = compare(client, size, right)
        source.wait()
    finally:
        stop.set()
        if killer.ident is not None:
            killer.join()
        program.close()
    done = f"{mib} MiB through run --pipe, {kills - keepers} kills of the daemon and {keepers} of the keeper"
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
