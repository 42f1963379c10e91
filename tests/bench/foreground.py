"""A job in the foreground: 1 GiB through `run --pipe`, checked byte for byte, and a key's echo through `run --pty`."""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import time
import tty
from typing import TYPE_CHECKING, Final

from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path


SIZE: Final = measure.quick(1 << 30, 64 << 20)
ROUNDS: Final = measure.quick(5, 3)
KEYS: Final = measure.quick(500, 50)
ECHO_SEC: Final = 10.0  # a key that is not back by then never comes


def measure_all(root: Path) -> list[Figure]:
    with Program(root / "jobd") as jobd:
        return [_pipe(jobd, root), _keys(jobd)]


def _pipe(jobd: Program, root: Path) -> Figure:
    data = root / "data"
    with data.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 10) * 1024)
    right = _sum(["sha256sum"], data)

    def through(script: str) -> float:
        command = ["/bin/sh", "-c", script, "sh", str(data), measure.JOBCTL]
        took = measure.timed(lambda: subprocess.run(command, env=jobd.env, check=True, stderr=subprocess.DEVNULL))
        # The log of a round is the next one's burden, which cat leaves none of: the disk writes it, and its pages are
        # not there to be used again. On a virtual machine that gives free memory back, a new page costs ten old ones.
        subprocess.run([measure.JOBCTL, "rm", "--purge", "*"], env=jobd.env, check=False, stderr=subprocess.DEVNULL)
        return took

    assert _sum([measure.JOBCTL, "run", "-P", "--", "cat"], data, "| sha256sum", jobd.env) == right
    found = measure.medians(
        ROUNDS,
        {
            "cat": lambda: through('cat "$1" | cat | cat > /dev/null'),
            "jobd": lambda: through('cat "$1" | "$2" run -P -- cat | cat > /dev/null'),
        },
    )
    return Figure(
        name=f"{SIZE >> 20} MiB through run --pipe cat, exact",
        value=found["cat"] / found["jobd"],
        unit="x cat into cat",
        reach=0.3,
        higher_is_better=True,
        ours=f"{SIZE / found['jobd'] / 1e6:.0f} MB/s",
        yardstick=f"{SIZE / found['cat'] / 1e6:.0f} MB/s",
    )


def _sum(command: list[str], data: Path, more: str = "", env: dict[str, str] | None = None) -> str:
    script = f'"$@" < "$0" {more}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, str(data), *command], env=env, check=True, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout.split()[0]


def _keys(jobd: Program) -> Figure:
    """From a key on the user's terminal to its echo there, which the job's own terminal makes."""
    master, slave = os.openpty()
    tty.setraw(slave)
    client = subprocess.Popen(
        [measure.JOBCTL, "run", "-t", "--", "cat"], env=jobd.env, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _type(master, b"?")  # until it is there
        took = sorted(_type(master, b"%c" % (97 + i % 26)) for i in range(KEYS))
        _type(master, b"\r")
        os.write(master, b"\x04")
        client.wait(ECHO_SEC)
    finally:
        client.kill()
        client.wait()
        os.close(slave)
        os.close(master)
    return Figure(
        name="a key's echo through run --pty, median",
        value=statistics.median(took) * 1000,
        unit="ms",
        reach=5,
        ours=f"99 %: {measure.milliseconds(took[len(took) * 99 // 100])}, {KEYS} keys",
    )


def _type(master: int, key: bytes) -> float:
    began = time.perf_counter()
    os.write(master, key)
    echo = b"\n" if key == b"\r" else key
    while True:
        if not select.select([master], [], [], ECHO_SEC)[0]:
            raise RuntimeError(f"{key!r} has no echo")
        if echo in os.read(master, 4096):
            return time.perf_counter() - began
