"""A supervisor as all benchmarks see it: services that it looks after, commands for them, its processes, its end.

Each has the settings that its own documentation calls the defaults. What had to be set besides is in `settings`, and
goes into the results.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from tests.bench import measure
from tests.bench.measure import CannotMeasureError
from tests.system.program import is_alive, marked_processes, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

START_SEC = 60.0  # until many services are up, or one command has its effect
END_SEC = 5.0  # for a polite end, before what is left is killed


class Service(NamedTuple):
    """A service of service.c.

    Attributes:
        mode: its words behind the file for its stamps.
        up: it starts with the supervisor, and not by a command.
    """

    name: str
    mode: tuple[str, ...] = ()
    up: bool = False


class Stamp(NamedTuple):
    what: str
    pid: int
    value: int  # ns of the monotonic clock, or a count


class Supervisor:
    """One supervisor in a directory of its own. The subclasses say how it is set up and spoken to."""

    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # programs
    settings: ClassVar[str] = ""

    def __init__(self, root: Path, binary: Path) -> None:
        """Prepare; nothing is started. Raises CannotMeasureError where it is not installed."""
        self.require(self.needs)
        self.root, self.binary = root, binary
        self.mark = uuid.uuid4().hex
        self.env = {**os.environ, "JOBD_TEST_MARK": self.mark}
        self.started: list[subprocess.Popen[bytes]] = []
        root.mkdir()
        self.stamps_folder = root / "stamps"
        self.stamps_folder.mkdir()
        self.proc = Path("/proc")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def require(names: Iterable[str]) -> None:
        """Raises CannotMeasureError when one of these programs is not installed."""
        if missing := [name for name in names if shutil.which(name) is None]:
            raise CannotMeasureError(f"not installed: {', '.join(missing)} (make peers)")

    # --- what each does its own way -----------------------------------------------------------------------------
    def open(self, services: Sequence[Service]) -> None:
        """Start it with these services; back when it takes commands."""
        raise NotImplementedError

    def command(self, verb: str, name: str) -> list[str]:
        """The words for 'start', 'stop', 'restart' or 'status' of one service, done when the prompt is back."""
        raise NotImplementedError

    def log(self, name: str) -> bytes:
        """All that can be read back of what a service has written."""
        raise NotImplementedError

    def log_folder(self, name: str) -> Path:
        """Where the output of a service is on disk."""
        raise NotImplementedError

    def targets(self, names: Sequence[str]) -> dict[str, Callable[[], None]]:
        """Those processes of it that somebody may kill, each with what kills it; `names` are the services."""
        raise NotImplementedError

    def revive(self) -> None:
        """What its manual says to do when it is gone, if it is."""
        raise NotImplementedError

    def exit_told(self, name: str, pid: int) -> str:
        """Where it says afterwards that the process of a service has ended with 7, or is lost; "": nowhere."""
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    # --- what is the same for all -------------------------------------------------------------------------------
    def argv(self, service: Service) -> list[str]:
        return [str(self.binary), self.inside(self.stamps_folder / service.name), *service.mode]

    def inside(self, path: Path) -> str:
        """A path as the services see it."""
        return str(path)

    def stamp_command(self, file: Path) -> str:
        """A job that writes the time of its first instruction into a file of the stamps' folder."""
        return f"{self.binary.with_name('stamp')} {self.inside(file)}"

    def timed(self, words: list[str]) -> float:
        """Seconds of a command, from its start to its end with 0."""
        return measure.timed_process([shutil.which(words[0]) or words[0], *words[1:]], self.env)

    def run(self, *words: str, check: bool = True, timeout: float = START_SEC) -> str:
        """A command's output, both streams."""
        done = subprocess.run(
            words, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", check=False, timeout=timeout,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.returncode}: {done.stdout}"
        return done.stdout

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a process that stays; what it says goes to `said`."""
        with (self.root / "said").open("ab") as said:
            process = subprocess.Popen(
                words, env=self.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        self.started.append(process)
        return process

    def stamps(self, name: str, what: str = "began") -> list[Stamp]:
        try:
            lines = (self.stamps_folder / name).read_text().splitlines()
        except FileNotFoundError:
            return []
        found = (Stamp(words[0], int(words[1]), int(words[2])) for words in map(str.split, lines))
        return [stamp for stamp in found if stamp.what == what]

    def began(self, name: str, before: int = 0, timeout: float = START_SEC) -> Stamp:
        """The newest stamp of a service that has begun more often than `before`."""
        until(lambda: len(self.stamps(name)) > before, f"{self.title}: {name} begins", timeout)
        return self.stamps(name)[-1]

    def alive(self, pid: int) -> bool:
        """Whether a process of a service is there and no zombie, by the pid that it has itself."""
        try:
            return (self.proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except OSError:
            return False

    def kill_service(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """The supervisor's own processes: what carries the mark and is no service."""
        return [pid for pid in marked_processes(self.mark) if not self._is_service(pid)]

    def _is_service(self, pid: int) -> bool:
        try:
            return os.path.samefile(f"/proc/{pid}/exe", self.binary)
        except OSError:
            return True  # it has just gone: nothing of the supervisor's that stays

    def named(self, comm: str) -> list[int]:
        """Its processes of this name."""
        return [pid for pid in marked_processes(self.mark) if _comm(pid) == comm]

    def close(self) -> None:
        """End it as a person would, then by SIGKILL whatever is left of it."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(self.polite)
        end = time.monotonic() + END_SEC
        while time.monotonic() < end and any(process.poll() is None for process in self.started):
            time.sleep(0.02)
        end = time.monotonic() + START_SEC
        while left := marked_processes(self.mark):
            assert time.monotonic() < end, f"left behind: {left}"
            kill_all(left)
            time.sleep(0.02)
        for process in self.started:
            process.wait(START_SEC)

    polite: ClassVar[signal.Signals] = signal.SIGTERM


def kill_some(pids: Iterable[int]) -> None:
    """SIGKILL processes, of which there must be one."""
    found = list(pids)
    assert found, "there is no such process"
    kill_all(found)


def kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        if is_alive(pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def bytes_on_disk(folder: Path) -> int:
    """What the files below a folder take of the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
