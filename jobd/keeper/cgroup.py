"""One cgroup per run, below the keeper's own in the v2 hierarchy, also where that is a hybrid mount.

The directory of a keeper is named for its state directory, so that the next keeper of the same state finds what is
left in it.

Where a service manager has delegated our cgroup, the runs get controllers too, so that each is accounted for by itself.
The kernel allows that only in a cgroup without processes: keeper and daemons then live in a leaf beside the runs. No
process can be started in such a cgroup either, which concerns the manager that is to start the next keeper there:
`jobd.keeper.release` undoes it for that time.
"""

from __future__ import annotations

import errno
import os
import signal
from binascii import crc32
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

TRACKING_VARIABLE = "JOBD_TRACKING"  # "process" does without cgroups; for tests
KEEPER = "keeper"  # our leaf; the unit has it as DelegateSubgroup=
CONTROLLERS = ("cpu", "io", "memory", "pids")  # for limits and accounting; systemd gives a user's manager less
_MARKS = ("user.delegate", "trusted.delegate")  # how systemd marks a cgroup as given away with all below it
# Looks that a signal to all takes: the second finds what was forked between the first and its signals, and so on for
# what that has forked before it got one.
ROUNDS = 8
_ATTEMPTS = 1000  # names to try: a run id comes twice only when a child that never went is still dying in the first


class Cgroups:
    """The keeper's directory of cgroups. `usable` says whether there is one."""

    def __init__(self, state_dir: str, parent: str | None = None) -> None:
        own = own_cgroup() if parent is None else parent
        self.unit = delegated(own)
        within = self.unit or own
        self._name = f"jobd-{crc32(os.path.realpath(state_dir).encode()):08x}"
        self.base = f"{within}/{self._name}" if own else ""
        self._wanted: list[str] = []  # controllers that are to be enabled
        self._leftover: set[str] = set()
        self.known: list[str] = []  # controllers that the runs' cgroups may have
        self.usable = bool(own) and os.environ.get(TRACKING_VARIABLE) != "process"
        if self.usable:
            try:
                os.makedirs(self.base, exist_ok=True)
                self.usable = os.access(self.base + "/cgroup.procs", os.W_OK)
            except OSError:
                self.usable = False
        self.known = self.controllers

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

    @property
    def controllers(self) -> list[str]:
        """What a run's cgroup has, or will have as soon as nobody else is in the unit's own."""
        there = _read(self.base + "/cgroup.subtree_control").decode().split() if self.usable else []
        return [name for name in CONTROLLERS if name in there or name in self._wanted]

    def limit(self, path: str, files: Iterable[tuple[str, str]]) -> None:
        """Write limits to the files of a run's cgroup; those of controllers that it has not are left out.

        Raises:
            OSError: the kernel refuses one.
        """
        files = [*files]
        if files and self._wanted:
            self._enable()
        for name, text in files:
            with suppress(FileNotFoundError):
                write(f"{path}/{name}", text)

    def is_of(self, path: str, run: bytes) -> bool:
        """Whether the path is that of a run's cgroup, made by a keeper of this state wherever that was started.

        What is not in the kernel's own file system is none, there or not: somebody may put files there that look like
        a cgroup's, and lead elsewhere.
        """
        parts = path.split("/")
        shape = path.startswith("/") and "\0" not in path and len(parts) > 3 and not {"", ".", ".."} & {*parts[1:]}
        if not shape or parts[-2] != self._name or parts[-1].partition(".")[0] != run.hex():
            return False
        return any(path.startswith(point + "/") for _, point in mounts())

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

    def settle(self) -> str:
        """Where the cgroup is ours: move to its leaf, and have controllers for the runs.

        A new keeper finds runs of the last one there, and controllers that `release` has turned off.

        Returns:
            Why this keeper cannot move, for the log; "" if it could, or need not.
        """
        if not self.usable or not self.unit:
            return ""
        leaf = f"{self.unit}/{KEEPER}"
        try:
            os.makedirs(leaf, exist_ok=True)
            if own_cgroup() != leaf:
                write(leaf + "/cgroup.procs", "0")
        except OSError as e:
            return f"cannot move to {leaf}: {e.strerror}; runs have no controllers"
        offered = _read(self.unit + "/cgroup.controllers").decode().split()
        self._wanted = [name for name in CONTROLLERS if name in offered]
        self._enable()
        return ""

    def _enable(self) -> None:
        """Turn on what is wanted. Whoever else is in the unit's own cgroup, such as who waits for our start, leaves."""
        for name in list(self._wanted):
            try:
                for path in (self.unit, self.base):
                    write(path + "/cgroup.subtree_control", "+" + name)
            except OSError:
                continue  # `tidy` tries again
            self._wanted.remove(name)
        self.known = self.controllers

    def find_leftovers(self, known: Container[str] = ()) -> None:
        """Have all but those of known runs removed: a keeper of the same state may have been killed over them."""
        try:
            found = [entry.path for entry in os.scandir(self.base) if entry.is_dir()] if self.usable else []
        except OSError:
            return
        self._leftover.update(path for path in found if path not in known)
        self.tidy()

    def strays(self, known: set[str]) -> list[str]:
        """Cgroups with processes of runs that are not in the table: what two deaths at once have left."""
        try:
            found = [entry.path for entry in os.scandir(self.base) if entry.is_dir()] if self.usable else []
        except OSError:
            return []
        return [path for path in found if path not in known and populated(path)]

    def leave(self, path: str) -> None:
        """Remove a forgotten run's cgroup, now or when it is empty."""
        if path and not self.remove(path):
            self._leftover.add(path)

    def tidy(self) -> None:
        """Try again what could not be removed yet, or enabled."""
        if self._wanted:
            self._enable()
        self._leftover = {path for path in self._leftover if not self.remove(path)}

    def close(self) -> None:
        """At the keeper's end: leave nothing, unless processes are in it."""
        if self.usable:
            self._wanted.clear()
            self.tidy()
            self.remove(self.base)


def own_cgroup() -> str:
    """The path of this process's cgroup in the v2 hierarchy, "" where none is mounted."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    except OSError:
        return ""
    for root, point in mounts() if own else ():
        if own == root or own.startswith(root + "/"):
            return (point + own[len(root) :]).rstrip("/")
    return ""


def mounts() -> list[tuple[str, str]]:
    """Where the v2 hierarchy is mounted: which cgroup ("" for the root) at which path."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    return [(words[3].rstrip("/"), words[4]) for words in lines if words[words.index("-") + 1] == "cgroup2"]


def delegated(own: str) -> str:
    """The cgroup that a service manager has given to the service in `own`; "" if it has not.

    Elsewhere, as in the scope of a login, controllers and processes are the manager's to arrange.
    """
    unit = os.path.dirname(own) if os.path.basename(own) == KEEPER else own
    for mark in _MARKS if unit else ():
        try:
            if os.getxattr(unit, mark) == b"1":
                return unit
        except OSError:
            continue  # not marked, or not with a mark that we may see
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
    yield from _processes_in(path)  # first, and without a look at what is below: that one may fail
    for directory, names, _ in os.walk(path):
        for name in names:
            yield from _processes_in(f"{directory}/{name}")


def _processes_in(path: str) -> list[int]:
    try:
        with open(path + "/cgroup.procs", "rb") as file:
            return [int(word) for word in (file.read() or b"").split()]
    except OSError:
        return []  # removed meanwhile


def terminate(path: str) -> None:
    """SIGTERM to all in the cgroup, which may be held; also to those that are forked meanwhile."""
    told: set[int] = set()
    for _ in range(ROUNDS):
        fresh = set(processes(path)) - told
        if not fresh:
            break
        told |= fresh
        for pid in fresh:
            for sig in (signal.SIGTERM, signal.SIGCONT):
                try:
                    os.kill(pid, sig)
                except OSError:
                    break  # it has ended
    freeze(path, False)


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


def write(path: str, text: str) -> None:
    """Write to a file of a cgroup, in one call as the kernel wants it. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(256) or b""
    except OSError:
        return b""
