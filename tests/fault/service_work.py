"""What the services of the campaign do: they hold a lock, tell a ledger what they do, and end as their run id says.

Run as a program (`python -I -S service_work.py LEDGER PART`) it is one of the parts that a job has: `main`, which says
READY=1 where it is asked for, the command that stops it, or a hook. Standard library only: it is started all the time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import sys
import time

CODES = (0, 1, 3, 77)
LIVES_SEC = (0.02, 0.2, 1.0, 600.0)


class Fate:
    """What a run writes and how it ends, if nobody stops it."""

    def __init__(self, run: str) -> None:
        dice = hashlib.shake_128(run.encode()).digest(8)
        self.out = hashlib.shake_128(run.encode()).hexdigest(1 + dice[0] * 40).encode()
        self.code = CODES[dice[1] % len(CODES)]
        self.life_sec = LIVES_SEC[dice[2] % len(LIVES_SEC)]


def tell(ledger: str, *words: str) -> None:
    """One line, in one write: it is there whole or not at all."""
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (" ".join(words) + "\n").encode())
    os.close(fd)


def serve(ledger: str, job: str, run: str, lives: bool = False) -> None:
    """The main process. With `lives` it goes on until it is stopped."""
    lock = os.open(f"{ledger}.{job}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        tell(ledger, "beside", job, run)
    tell(ledger, "begin", job, run)
    fate = Fate(run)

    def end(code: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends once
        tell(ledger, "end", job, run, str(code))
        os._exit(code)

    signal.signal(signal.SIGTERM, lambda *_: end(0))
    view = memoryview(fate.out)
    while view:
        view = view[os.write(1, view) :]
    if "NOTIFY_SOCKET" in os.environ:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    time.sleep(LIVES_SEC[-1] if lives else fate.life_sec)
    end(fate.code)


def main(ledger: str, part: str) -> None:
    job, run = os.environ["JOBD_JOB"], os.environ["JOBD_RUN"].replace("-", "")
    if part == "main":
        serve(ledger, job, run)
    elif part == "steady":
        serve(ledger, job, run, lives=True)
    elif part == "stop":
        tell(ledger, "stop", job, run)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(os.environ["MAINPID"]), signal.SIGTERM)
    else:
        tell(ledger, "begin", job, run)
        tell(ledger, "hook", os.environ["MONITOR_UNIT"], os.environ["MONITOR_INVOCATION_ID"])
        tell(ledger, "end", job, run, "0")


if __name__ == "__main__":
    main(*sys.argv[1:3])
