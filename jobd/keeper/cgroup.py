"""One cgroup per run, below the keeper's own in the v2 hierarchy, also where that is a hybrid mount.

No controllers are enabled here: the cgroups only say which processes belong to a run. The directory of a keeper is
named for its state directory, so that the next keeper of the same state finds what is left in it.
"""

from __future__ import annotations

import errno
import os
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TRACKING_VARIABLE = "JOBD_TRACKING"  # "process" does without cgroups; for tests
_ATTEMPTS = 1000  # names to try: a run id comes twice only when a child that never went is still dying in the first


class Cgroups:
    """The keeper's directory of cgroups. `usable` says whether there is one."""

    def __init__(self, state_dir: str, parent: str | None = None) -> None:
        own = own_cgroup() if parent is None else parent
        self.base = f"{own}/jobd-{crc32(os.path.realpath(state_dir).encode()):08x}" if own else ""
        self._leftover: set[str] = set()
        self.usable = bool(own) and os.environ.get(TRACKING_VARIABLE) != "process"
        if self.usable:
            try:
                os.makedirs(self.base, exist_ok=True)
                self.usable = os.access(self.base + "/cgroup.procs", os.W_OK)
            except OSError:
                self.usable = False

    def make(self, run: bytes) -> tuple[str, int]:
        """Make a run's cgroup. Returns its path and a descriptor of the directory; raises OSError."""
        path = first = f"{self.base}/{run.hex()}"
        for i in range(1, _ATTEMPTS):
            try:
                os.mkdir(path)
                break
            except FileExistsError:
                path = f"{first}.{i}"
            except FileNotFoundError:  # an administrator tidied up
                os.makedirs(self.base, exist_ok=True)
        return path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def remove(self, path: str) -> bool:
        """Remove a run's cgroup, with those the job made below it. Returns whether it was empty and is gone."""
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            if populated(path):
                return False
            try:
                for directory, _, _ in os.walk(path, topdown=False):
                    os.rmdir(directory)
            except OSError as e:
                return e.errno == errno.ENOENT
        return True

    def find_leftovers(self) -> None:
        """Have those removed that a keeper of the same state left when it was killed."""
        if self.usable:
            self._leftover.update(entry.path for entry in os.scandir(self.base) if entry.is_dir())
            self.tidy()

    def leave(self, path: str) -> None:
        """Remove a forgotten run's cgroup, now or when it is empty."""
        if path and not self.remove(path):
            self._leftover.add(path)

    def tidy(self) -> None:
        """Try again what could not be removed yet."""
        self._leftover = {path for path in self._leftover if not self.remove(path)}

    def close(self) -> None:
        """At the keeper's end: leave nothing, unless processes are in it."""
        if self.usable:
            self.tidy()
            self.remove(self.base)


def own_cgroup() -> str:
    """The path of this process's cgroup in the v2 hierarchy, "" where none is mounted."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return ""
    for fields in mounts:
        if own and fields[fields.index("-") + 1] == "cgroup2":
            root, point = fields[3].rstrip("/"), fields[4]
            if own == root or own.startswith(root + "/"):
                return (point + own[len(root) :]).rstrip("/")
    return ""


def populated(path: str) -> bool:
    """Whether a process lives in the cgroup or below it; one that does not exist is empty."""
    return b"populated 1" in _read(path + "/cgroup.events")


def frozen(path: str) -> bool:
    """Whether all in the cgroup and below it is held."""
    return b"frozen 1" in _read(path + "/cgroup.events")


def to_be_frozen(path: str) -> bool:
    """Whether somebody has asked for that."""
    return _read(path + "/cgroup.freeze").strip() == b"1"


def freeze(path: str, hold: bool) -> None:
    """Ask the kernel to hold all in the cgroup, or to let it go on; a cgroup that is gone needs neither."""
    try:
        with open(path + "/cgroup.freeze", "wb", buffering=0) as file:
            file.write(b"1" if hold else b"0")
    except OSError:
        return


def processes(path: str) -> Iterator[int]:
    """The pids in a cgroup and below it."""
    for directory, _, _ in os.walk(path):
        try:
            with open(directory + "/cgroup.procs", "rb") as file:
                yield from map(int, file.read().split())
        except OSError:
            continue  # removed meanwhile


def kill(path: str) -> bool:
    """SIGKILL to all in the cgroup at once. False where the kernel cannot (before 5.14)."""
    try:
        fd = os.open(path + "/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return not os.path.isdir(path)
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)
    return True


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(256)
    except OSError:
        return b""
