"""A real keeper process whose daemon is the test: the daemon that it forks hands its end of the link to us and waits.

Every wait has a deadline; leaving the context kills the keeper, its daemons and whatever it told us of its runs.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from _socket import AF_UNIX, SO_RCVTIMEO, SOCK_SEQPACKET, SOL_SOCKET, socket
from array import array
from pathlib import Path
from socket import CMSG_SPACE
from struct import pack
from typing import TYPE_CHECKING

from jobd.keeper.cgroup import Cgroups
from jobd.keeper.link import Link, LinkClosed

if TYPE_CHECKING:
    from types import TracebackType

    from jobd.keeper.link import Fds, Message

DEADLINE_SEC = 30.0  # for anything; what is awaited takes milliseconds, but the machine may be busy

# What the keeper runs as its daemon: it passes descriptor 3 to the socket named in argv[1], with its pid, and waits.
DAEMON = """
import array, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
    s.connect(sys.argv[1])
    s.sendmsg([b"%d" % os.getpid()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [3]))])
while True:
    signal.pause()
"""
KEEPER = """
import sys
from jobd.config import Config
from jobd.core.paths import socket_paths
from jobd.keeper import start
config = Config(socket_paths(sys.argv[1], sys.argv[2], sys.argv[2] + "/config"), log_level="debug")
config.daemon_argv = [sys.executable, "-I", "-S", "-c", sys.argv[3], sys.argv[4]]
sys.exit(start.run(config))
"""


class Daemon:
    """The daemon's end of the link, and the process that stands for it."""

    def __init__(self, link: Link, pid: int, mark: str = "") -> None:
        self.link = link
        self.pid = pid
        self.mark = b"TEST_DIRECTORY=" + mark.encode()  # in the environment of all jobs, so that none outlives its test
        self.seen: list[tuple[Message, Fds]] = []  # received and not asked for yet

    def send(self, op: str, own: tuple[int, ...] = (), /, **fields: object) -> None:
        """Send one message now."""
        self.link.send({"op": op, **fields}, own)
        deadline = time.monotonic() + DEADLINE_SEC
        while not self.link.flush():
            select.select([], [self.link.sock], [], deadline - time.monotonic())

    def expect(self, op: str, **fields: object) -> tuple[Message, Fds]:
        """The next message with this op and these fields; others stay for later."""
        deadline = time.monotonic() + DEADLINE_SEC
        while True:
            for i, (message, fds) in enumerate(self.seen):
                if message["op"] == op and all(message[name] == value for name, value in fields.items()):
                    del self.seen[i]
                    return message, fds
            self.receive(deadline, f"{op} {fields}")

    def receive(self, deadline: float, what: str = "a message") -> None:
        """Wait for the next batch."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.link.sock], [], [], left)[0]:
            raise AssertionError(f"no {what}; there was {[message for message, _ in self.seen]}")
        self.take()

    def take(self) -> None:
        """Take what is there; pings are answered."""
        for message, fds in self.link.receive():
            if message["op"] == "ping":
                self.send("pong")
            else:
                self.seen.append((message, fds))

    def list(self) -> dict[bytes, tuple[Message, Fds]]:
        """What the keeper has."""
        self.send("list")
        found: dict[bytes, tuple[Message, Fds]] = {}
        last = False
        while not last:
            message, fds = self.expect("entries")
            entries = message["entries"]
            assert isinstance(entries, list)
            for i, entry in enumerate(entries):
                found[entry["run"]] = entry, {name: fds.pop(f"{i}.{name}") for name in entry["fds"]}
            last = bool(message["last"])
        return found

    def spawn(self, run: bytes, *argv: bytes, env: tuple[bytes, ...] = (), **fields: object) -> tuple[Message, Fds]:
        """Spawn and wait for the answer, spawned or not."""
        self.send("spawn", run=run, argv=list(argv), env=environment(run, self.mark, *env), **{**SPAWN, **fields})
        return self.answer(run, "spawned", "spawn-failed")

    def go(self, run: bytes) -> Message:
        """Let it run and wait for the answer."""
        self.send("go", run=run)
        return self.answer(run, "execd", "exec-failed")[0]

    def answer(self, run: bytes, *ops: str) -> tuple[Message, Fds]:
        """The next message about a run with one of these ops."""
        deadline = time.monotonic() + DEADLINE_SEC
        while True:
            for i, (message, fds) in enumerate(self.seen):
                if message.get("run") == run and message["op"] in ops:
                    del self.seen[i]
                    return message, fds
            self.receive(deadline, f"{ops} for {run.hex()}")

    def start(self, run: bytes, *argv: bytes, env: tuple[bytes, ...] = (), **fields: object) -> tuple[Message, Fds]:
        """Spawn and go."""
        message, fds = self.spawn(run, *argv, env=env, **fields)
        assert message["op"] == "spawned", message
        assert self.go(run)["op"] == "execd"
        return message, fds

    def wait_closed(self) -> None:
        """Wait until the keeper has let the link go."""
        deadline = time.monotonic() + DEADLINE_SEC
        try:
            while True:
                self.receive(deadline, "end of the link")
        except LinkClosed:
            return

    def kill(self) -> None:
        """End it as kill -9 does: process and link."""
        os.kill(self.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Close our copy of its link and all that came."""
        for _, fds in self.seen:
            close_all(fds)
        self.seen.clear()
        self.link.close()


SPAWN: Message = {"cwd": b"/", "umask": 0o22, "rlimits": {}, "nice": 0, "stdin": "null", "merge": False}


def environment(run: bytes, *more: bytes) -> list[bytes]:
    """The environment of a job."""
    return [b"PATH=/usr/bin:/bin", b"JOBD_RUN=" + run.hex().encode(), *more]


class KeeperProcess:
    """A keeper in a directory of its own."""

    def __init__(self, directory: Path, tracking: str = "process") -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self.socket = directory / "run" / "jobd.sock"
        self.tracking = tracking
        self.processes: list[subprocess.Popen[bytes]] = []
        self.daemons: list[Daemon] = []
        self.listener = socket(AF_UNIX, SOCK_SEQPACKET)
        self._path = str(directory / "daemons")
        self.listener.bind(self._path)
        self.listener.listen(16)
        self.listener.setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack("ll", int(DEADLINE_SEC), 0))

    def start(self) -> subprocess.Popen[bytes]:
        """Start a keeper process; its log is `log` in the directory."""
        env = {**os.environ, "JOBD_TRACKING": self.tracking}
        argv = [sys.executable, "-I", "-c", KEEPER, str(self.socket), str(self.state_dir), DAEMON, self._path]
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def daemon(self) -> Daemon:
        """The next daemon that the keeper forks."""
        fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        sock = socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)
        data, ancillary, _, _ = sock.recvmsg(32, CMSG_SPACE(4))
        sock.close()
        link = Link(socket(AF_UNIX, SOCK_SEQPACKET, 0, array("i", ancillary[0][2])[0]))
        daemon = Daemon(link, int(data), str(self.directory))
        self.daemons.append(daemon)
        return daemon

    def ready_daemon(self) -> Daemon:
        """The next daemon, introduced and ready."""
        daemon = self.daemon()
        close_all(daemon.expect("welcome")[1])
        daemon.send("ready")
        return daemon

    @property
    def log(self) -> str:
        """What the keeper has written so far."""
        return (self.directory / "log").read_text()

    def wait_log(self, text: str) -> None:
        """Wait until the log has `text`."""
        deadline = time.monotonic() + DEADLINE_SEC
        while text not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def __enter__(self) -> KeeperProcess:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            sys.stderr.write(self.log)
        for process in self.processes:
            process.kill()
            process.wait(DEADLINE_SEC)
        for daemon in self.daemons:
            if Path(f"/proc/{daemon.pid}/cmdline").exists() and self._path in command_line(daemon.pid):
                os.kill(daemon.pid, signal.SIGKILL)
            daemon.close()
        self.listener.close()
        kill_marked(str(self.directory))
        if self.tracking == "cgroup":
            deadline = time.monotonic() + DEADLINE_SEC
            while not remove_cgroups(str(self.state_dir)) and time.monotonic() < deadline:
                time.sleep(0.01)  # SIGKILL has been sent to all that is in them


def remove_cgroups(state_dir: str) -> bool:
    """Remove what a killed keeper could not; whether nothing is left."""
    cgroups = Cgroups(state_dir)
    cgroups.find_leftovers()
    cgroups.close()
    return not cgroups.usable or not os.path.isdir(cgroups.base)


def command_line(pid: int) -> str:
    """The arguments of a process, "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill_marked(mark: str) -> None:
    """End what a failed test left: the processes whose command line or environment names its directory."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                text = (path / "environ").read_bytes()
            except OSError:
                continue
            if b"\0TEST_DIRECTORY=" + mark.encode() + b"\0" in b"\0" + text:
                os.kill(int(path.name), signal.SIGKILL)


def close_all(fds: Fds) -> None:
    """Close descriptors that came with a message."""
    for fd in fds.values():
        os.close(fd)


def read_all(fd: int) -> bytes:
    """What a pipe or a terminal holds until its end."""
    data = b""
    while select.select([fd], [], [], DEADLINE_SEC)[0]:
        try:
            part = os.read(fd, 65536)
        except OSError as e:  # how the last one who has a terminal open leaves it
            if e.errno != errno.EIO:
                raise
            part = b""
        if not part:
            return data
        data += part
        assert len(data) < 1 << 20
    raise AssertionError(f"no end of file after {data!r}")


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rsplit(b") ", 1)[1][:1] not in (b"Z", b"X")
    except OSError:
        return False


def until_gone(pids: list[int]) -> None:
    """Wait until none of these processes lives any more."""
    deadline = time.monotonic() + DEADLINE_SEC
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "processes live on"
        time.sleep(0.01)
