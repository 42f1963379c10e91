"""The job of the campaigns, and what it must leave behind: both follow from a seed and an index alone.

Run as a program (`python -I -S work.py SEED INDEX LEDGER RUN`) it appends RUN to the ledger, writes its two streams in
random pieces, and ends with a code or by a signal. Imported, `plan` tells the checker the same. Standard library only,
and little of it: it is started thousands of times.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import time

MAX_STREAM_BYTES = 200_000
CODES = (0, 1, 3, 77, 255)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV)
MAX_PIECE_BYTES = 40_000


class Plan:
    """What job `index` of a campaign with `seed` writes and how it ends; `signal` 0 means by `code`."""

    def __init__(self, seed: int, index: int) -> None:
        dice = hashlib.shake_128(f"{seed}:{index}:dice".encode()).digest(16)
        self.out = self._stream(seed, index, "out", dice[0:4])
        self.err = self._stream(seed, index, "err", dice[4:8])
        end = dice[8] % (len(CODES) + len(SIGNALS))
        self.code = CODES[end] if end < len(CODES) else 0
        self.signal = int(SIGNALS[end - len(CODES)]) if end >= len(CODES) else 0
        self.pause_sec = dice[9] / 255 * 0.2  # some jobs live across a kill

    @staticmethod
    def _stream(seed: int, index: int, name: str, dice: bytes) -> bytes:
        # One in eight is empty, three in eight are of any order of magnitude, the rest of any size.
        share = int.from_bytes(dice[1:], "big") / 0xFFFFFF
        size = int(MAX_STREAM_BYTES**share if dice[0] < 128 else MAX_STREAM_BYTES * share)
        size = 0 if dice[0] < 32 else size
        return hashlib.shake_128(f"{seed}:{index}:{name}".encode()).digest(size)

    def pieces(self) -> list[tuple[int, bytes]]:
        """Both streams cut up, in the order in which they are written: (descriptor, bytes)."""
        left = {1: self.out, 2: self.err}
        cuts = hashlib.shake_128(self.out[:64] + self.err[:64]).digest(1024)
        found = []
        turn = 0
        while left[1] or left[2]:
            wanted = 1 + cuts[turn] % 2
            fd = wanted if left[wanted] else 3 - wanted
            size = 1 + cuts[turn + 1] * MAX_PIECE_BYTES // 255
            found.append((fd, left[fd][:size]))
            left[fd] = left[fd][size:]
            turn = (turn + 2) % len(cuts)
        return found


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def main(seed: str, index: str, ledger: str, run: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{run}\n".encode())
    os.close(fd)
    plan = Plan(int(seed), int(index))
    pieces = plan.pieces()
    for number, (stream, data) in enumerate(pieces):
        write_all(stream, data)
        if number == len(pieces) // 2:
            time.sleep(plan.pause_sec)
    if plan.signal:
        os.kill(os.getpid(), plan.signal)
        signal.pause()
    os._exit(plan.code)


if __name__ == "__main__":
    main(*sys.argv[1:5])
