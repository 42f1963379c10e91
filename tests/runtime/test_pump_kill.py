"""SIGKILL at any instant loses no byte and doubles none: the pump in a child process, the pipes kept by the test."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from jobd.store.logs import RunLog
from jobd.store.logs_index import STDERR, STDOUT
from tests.runtime.pump_rig import stream, write_all

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 16
BYTES = 24_000_000  # a stream at most: the test ends earlier when the kills are done


class Writer(threading.Thread):
    """Writes a stream that never repeats itself, in pieces of all sizes, until told to stop."""

    def __init__(self, fd: int, seed: int) -> None:
        super().__init__()
        self._fd = fd
        self._random = random.Random(seed)
        self.written = bytearray()
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        while len(self.written) < BYTES and not self.stop.is_set():
            size = self._random.choice((1, 20, 700, 9_000, 70_000, 400_000))
            lines = b"".join(b"%d\n" % value for value in range(number, number + size // 8 + 1))
            number += size // 8 + 1
            self.written += lines
            write_all(self._fd, lines)
            if size < 100:
                self.stop.wait(0.001)
        os.close(self._fd)


def start_child(directory: Path, fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.runtime.pump_child", str(directory), *map(str, fds)]
    # Unbuffered: what `readline` has read ahead `communicate` would not find.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=fds, bufsize=0)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


@pytest.mark.slow
@pytest.mark.parametrize("with_relay", [False, True])
def test_kills_at_random_moments_leave_both_streams_exact(tmp_path: Path, with_relay: bool) -> None:
    seed = int(os.environ.get("JOBD_TEST_SEED", "20"))
    moments = random.Random(seed)
    directory = tmp_path / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    relay = os.pipe() if with_relay else ()
    fds = (out, err, *relay)
    writers = {STDOUT: Writer(out_w, seed), STDERR: Writer(err_w, seed + 1)}
    for writer in writers.values():
        writer.start()
    try:
        for _ in range(KILLS):
            child = start_child(directory, fds)
            threading.Event().wait(moments.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
            child.communicate(timeout=20)
    finally:
        for writer in writers.values():
            writer.stop.set()
    last = start_child(directory, fds)
    assert last.communicate(timeout=60)[0] == b"done\n"
    for number, writer in writers.items():
        writer.join(20)
        assert stream(directory, number) == writer.written, f"seed {seed}"
    with RunLog(directory) as log:
        shown = {STDOUT: bytearray(), STDERR: bytearray()}
        for piece in log.pieces(log.start(), split=True):  # not final: the index covers everything
            shown[piece.stream] += log.read(piece)
    assert shown == {number: writer.written for number, writer in writers.items()}, f"seed {seed}"
    for fd in fds:
        os.close(fd)
