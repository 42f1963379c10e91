"""What a soak looks at: keeper and daemon from outside, what lies in the state directory, and how long a ping takes."""

from __future__ import annotations

import os
import statistics
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jobd.wire import messages as m
from tests.system.program import DEADLINE_SEC, children_of, memory_of
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

PING_SEC: Final = 0.02
LOST: Final = (EOFError, ConnectionError, FileNotFoundError)  # the daemon was killed
MIB: Final = 1 << 20


def memory_mib(pid: int) -> dict[str, float]:
    """Resident and proportional set size."""
    found = memory_of(pid)
    return {"RSS": found["Rss"] / MIB, "PSS": found["Pss"] / MIB}


def of_process(pid: int) -> dict[str, float]:
    """Memory in MiB, descriptors, threads and children that nobody has waited for. Raises OSError when it is gone."""
    return {
        **memory_mib(pid),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "zombies": sum(map(_is_zombie, children_of(pid))),
    }


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def of_state(directory: Path) -> dict[str, float]:
    """Files and directories, the logs in MiB, and the database with its write-ahead log."""
    entries, logs, database = 0, 0, 0
    for folder, folders, files in os.walk(directory):
        entries += len(folders) + len(files)
        for name in files:
            with suppress(OSError):
                size = os.stat(os.path.join(folder, name)).st_size
                if name.startswith("state.db"):
                    database += size
                else:
                    logs += size
    return {"files": entries, "logs": logs / MIB, "database": database / MIB}


class Pinger(threading.Thread):
    """Asks for the state of a job all the time, on a connection of its own."""

    def __init__(self, program: Program, job: str) -> None:
        super().__init__(name="pinger", daemon=True)
        self._program = program
        self._job = job
        self._took: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            with suppress(*LOST), Raw(self._program.socket) as raw:
                raw.sock.settimeout(DEADLINE_SEC)
                while not self.over.wait(PING_SEC):
                    began = time.perf_counter()
                    raw.ask(m.Get(id=raw.next_id(), names=[self._job]))
                    self._took.append(time.perf_counter() - began)
            self.over.wait(PING_SEC)

    def sample(self) -> dict[str, float]:
        """Median and worst twentieth since the last look, in ms."""
        took, self._took = self._took, []
        if len(took) < 2:
            return {}
        return {"ping": statistics.median(took) * 1000, "ping p95": statistics.quantiles(took, n=20)[-1] * 1000}
