"""F3: the pump is killed every few milliseconds while jobs write as fast as they can; every byte is there, once.

The pump is that of the product, in a process of its own (pump_work.py); the campaign has the pipes and the relay, as
the keeper has. It goes in rounds, each with new runs, whose files are removed when they were compared.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from jobd.store import logs_index
from jobd.store.logs import RunLog
from jobd.store.logs_index import STDERR, STDOUT
from tests.fault.pump_checker import KINDS, check_bytes, check_index
from tests.fault.pump_work import Flow, Pipes, Pumps, Writer
from tests.fault.report import Problem, Report, details, tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUND_KILLS: Final = 25
RUNS: Final = 2  # in a pump at a time: the relay goes from one to the other
# From the moment of its fork: what a killed one left is taken up within the first two milliseconds.
LIVE_SEC: Final = 0.04
# A round takes a second or two; this only bounds what a disk may be given if something goes wrong.
STREAM_BYTES: Final = 400 << 20
READ_BYTES: Final = 1 << 20
JOIN_SEC: Final = 60.0
KILLED: Final = "killed"
RELEASED: Final = "released"


def end_of(sig: signal.Signals, code: int) -> str:
    """What became of a pump that was sent this: "" if it had ended by itself. One not yet up dies of SIGTERM, too."""
    if code == -sig:
        return KILLED
    return RELEASED if (sig, code) == (signal.SIGTERM, 0) else ""


class Round:
    """Runs whose pump is killed a few times, and what became of them."""

    def __init__(self, root: Path, seed: int, number: int) -> None:
        self.dice = random.Random(f"{seed}:{number}")
        self.root = root / f"round-{number}"
        self.root.mkdir(parents=True)
        self.ends = Counter[str]()
        self.relay = os.pipe() if self.dice.random() < 0.75 else None
        self.runs: list[Pipes] = []
        self.writers: dict[tuple[int, int], Writer] = {}
        for index in range(RUNS):
            ends = {}
            for stream in (STDOUT, STDERR):
                ends[stream], write = os.pipe()
                self.writers[index, stream] = Writer(write, Flow(seed, f"{number}:{index}:{stream}"), STREAM_BYTES)
            self.runs.append(Pipes(bytes(15) + bytes([index]), str(self.root / str(index)), *ends.values()))

    def run(self, pumps: Pumps, kills: int) -> list[Problem]:
        problems = []
        for writer in self.writers.values():
            writer.start()
        try:
            for _ in range(kills):
                pid = pumps.start(str(self.root / "relay"), self.relay, self.runs)
                time.sleep(self.dice.uniform(0, LIVE_SEC))
                # One in eight gives its runs back, as a daemon that is replaced: what is in the relay goes first.
                sig = signal.SIGTERM if self.dice.random() < 0.125 else signal.SIGKILL
                os.kill(pid, sig)
                code = os.waitstatus_to_exitcode(pumps.reap())
                self.ends[end_of(sig, code)] += 1
                if not end_of(sig, code):
                    problems.append(Problem("deaths", self.root.name, f"a pump ended with {code} before {sig.name}"))
            for writer in self.writers.values():
                writer.stop.set()
            pumps.start(str(self.root / "relay"), self.relay, self.runs)
            status = pumps.reap()
        finally:
            for fd in (*(self.relay or ()), *(fd for one in self.runs for fd in (one.out, one.err))):
                os.close(fd)  # who still writes has no reader, and ends
            for writer in self.writers.values():
                writer.stop.set()
                writer.join(JOIN_SEC)
        if status:
            problems.append(Problem("deaths", self.root.name, f"the last pump ended with wait status {status}"))
        return [*problems, *self._compare()]

    def _compare(self) -> list[Problem]:
        problems = []
        for index, one in enumerate(self.runs):
            shown: dict[int, list[tuple[int, int]]] = {STDOUT: [], STDERR: []}
            with RunLog(one.directory) as log:
                cursor = log.start()
                for piece in log.pieces(cursor, split=True):  # not final: the index covers everything
                    shown[piece.stream].append((piece.offset, piece.length))
                for held in cursor.merge.waiting():  # behind a line of the other stream that has no end
                    shown[held.stream].append((held.start, held.end - held.start))
            for stream, records in shown.items():
                writer = self.writers[index, stream]
                name = f"{self.root.name}, run {index}, stream {stream}"
                problems += check_bytes(name, writer.flow.upto(writer.written), read(one.directory, stream))
                problems += check_index(name, writer.written, records)
        return problems

    @property
    def written(self) -> int:
        return sum(writer.written for writer in self.writers.values())


def read(directory: str, stream: int) -> Iterator[bytes]:
    """A stream as its files have it."""
    for segment in logs_index.segments(directory)[stream]:
        with open(segment.path, "rb") as file:
            while data := file.read(READ_BYTES):
                yield data


@contextlib.contextmanager
def pumps() -> Iterator[Pumps]:
    """The program that forks pumps; it ends with its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            command = [sys.executable, "-m", "tests.fault.pump_work", str(theirs.fileno())]
            program = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        try:
            ours.settimeout(JOIN_SEC)
            yield Pumps(ours)
        finally:
            ours.close()
            try:
                program.wait(JOIN_SEC)
            except subprocess.TimeoutExpired:  # it waits for a pump that does not end
                program.kill()
                program.wait()


def run_pumping(root: Path, size: int, seed: int) -> Report:
    """Kill the pump `size` times."""
    problems: list[Problem] = []
    written, ends = 0, Counter[str]()
    with pumps() as made:
        for number, first in enumerate(range(0, size, ROUND_KILLS)):
            one = Round(root, seed, number)
            found = one.run(made, min(ROUND_KILLS, size - first))
            written += one.written
            ends += one.ends
            problems += found
            if not found:  # else they are what there is to look at
                shutil.rmtree(one.root)
    done = f"{ends[KILLED]} kills of the pump, {ends[RELEASED]} times replaced, {written / 1e9:.1f} GB"
    return Report(seed, done, tally((*KINDS, "deaths"), problems), details(problems))
