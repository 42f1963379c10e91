"""The real programs, `jobd` and `jobctl`, in a directory of their own, and ended without a trace.

Everything that a Program starts inherits JOBD_TEST_MARK in its environment; by that mark `close` finds what is left,
however far it has forked away, and ends it by pid. Anything left is a failure of the test.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from binascii import crc32
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from jobd.wire import messages as m
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

# Bounds for waits on events that come in milliseconds; a machine busy with seven other things may need this.
DEADLINE_SEC = 60.0
POLL_SEC = 0.005
BIN = Path(sys.executable).parent


def until(probe: Callable[[], T], what: str, timeout: float = DEADLINE_SEC) -> T:
    """The first true value of `probe`; fails when there is none in time."""
    end = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not in {timeout:.0f} s: {what}")
        time.sleep(POLL_SEC)


def is_alive(pid: int) -> bool:
    """Whether `pid` is a process that is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_fds(pid: int) -> dict[int, str]:
    """What `pid` has open, by number."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def children_of(pid: int) -> list[int]:
    """The children of all its threads, oldest first; none when it is gone."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as f:
                found += map(int, f.read().split())
    return found


def memory_of(pid: int) -> dict[str, int]:
    """Bytes of memory by kind, as the kernel names them: Rss, Pss, Private_Dirty, … Raises OSError when it is gone."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        next(f)  # the range
        lines = [line.split() for line in f]
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines}


def marked_processes(mark: str) -> dict[int, str]:
    """Processes whose environment carries `mark`, with their command lines."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                marked = f"JOBD_TEST_MARK={mark}".encode() in f.read().split(b"\0")
            if marked and is_alive(int(name)):
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    found[int(name)] = f.read().replace(b"\0", b" ").decode(errors="replace")[:200]
        except OSError:
            continue
    return found


class Gate:
    """A named pipe on which a job waits until the test lets it go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    @property
    def wait(self) -> str:
        """Shell text that waits, and has what `open` was given in `$line`."""
        return f'read -r line < "{self.path}"'

    def open(self, text: str = "go") -> None:
        """Let the job go on, once it is there."""

        def reader() -> int:
            try:
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as e:
                if e.errno != errno.ENXIO:  # nobody reads yet
                    raise
                return 0

        fd = until(reader, f"the job waits at {self.path}")
        os.write(fd, text.encode() + b"\n")
        os.close(fd)


class Program:
    """One jobd on its own socket and state, with jobctl beside it.

    Attributes:
        keeper: the newest keeper that was started here.
        env: the environment of everything started.
        changes: statements that the keeper executes first, which change a module of it.
    """

    changes = ""

    def __init__(self, root: Path, *, env: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> None:
        self.root = root
        self.socket = root / "s" / "jobd.sock"
        self.state_dir = root / "state"
        self.config_dir = root / "config"
        self.log = root / "jobd.log"
        self.mark = uuid.uuid4().hex
        self.options = tuple(options)
        self.env = {**os.environ, "JOBD_TEST_MARK": self.mark, "JOBD_SOCKET": str(self.socket), **(env or {})}
        self.keepers: list[subprocess.Popen[bytes]] = []
        self._clients: list[subprocess.Popen[bytes]] = []
        for path in (self.socket.parent, self.state_dir, self.config_dir):
            path.mkdir(parents=True, exist_ok=True)

    # --- jobd ---------------------------------------------------------------------------------------------------
    @property
    def keeper(self) -> subprocess.Popen[bytes]:
        return self.keepers[-1]

    def command(self) -> list[str]:
        places = ("--socket", self.socket, "--state-dir", self.state_dir, "--config-dir", self.config_dir)
        main = "from jobd.__main__ import main; raise SystemExit(main())"
        what = ["-c", f"{self.changes}; {main}"] if self.changes else ["-m", "jobd"]
        return [sys.executable, "-I", *what, *map(str, places), *self.options]

    def start(self, *, wrapper: Sequence[str] = (), answering: bool = True) -> None:
        """Start a keeper; with `answering` wait until its daemon has answered a request."""
        with self.log.open("ab") as log:
            command = [*wrapper, *self.command()]
            keeper = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.keepers.append(keeper)
        if answering:
            until(lambda: self._answers() or keeper.poll() is not None, "jobd answers")
            assert keeper.poll() is None or not keeper.returncode, self.log_text()

    def _answers(self) -> bool:
        try:
            return bool(self.daemon_pid())
        except (FileNotFoundError, ConnectionRefusedError):  # not bound yet, or the socket of a dead one
            return False

    def __enter__(self) -> Self:
        """Started, and closed at the end, also when it could not be started."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def daemon_status(self) -> m.Daemon:
        """What the daemon says of itself; asks the next one when it dies over the answer."""
        end = time.monotonic() + DEADLINE_SEC
        while True:
            try:
                with Raw(self.socket) as raw:
                    answer = raw.ask(m.DaemonStatus(id=1))
            except (EOFError, ConnectionResetError, BrokenPipeError):
                assert time.monotonic() < end, "no daemon answers"
                continue
            assert isinstance(answer, m.Reply), answer
            assert isinstance(answer.body, m.Daemon), answer
            return answer.body

    def daemon_pid(self) -> int:
        return self.daemon_status().pid

    def kill_daemon(self, sig: int = signal.SIGKILL) -> int:
        """Signal the daemon; the pid it had."""
        pid = self.daemon_pid()
        os.kill(pid, sig)
        return pid

    def replace_daemon(self) -> int:
        """Kill the daemon and wait for the next one; the pid of the dead one."""
        old = self.kill_daemon()
        until(lambda: self.daemon_pid() != old, "the keeper forks the next daemon")
        return old

    @property
    def keeper_pid(self) -> int:
        """The keeper now: after a handover it is not one that was started here."""
        pid = self.daemon_status().keeper_pid
        assert pid is not None, "there is no keeper"
        return pid

    def kill_keeper(self) -> None:
        """SIGKILL the keeper and wait for the one that the daemon starts in its place."""
        old = self.keeper_pid
        os.kill(old, signal.SIGKILL)
        if old == self.keeper.pid:
            self.keeper.wait()
        until(lambda: self.daemon_status().keeper_pid not in (None, old), "a new keeper has taken over")

    # --- jobctl -------------------------------------------------------------------------------------------------
    def jobctl_command(self, *args: str | bytes) -> list[str | bytes]:
        return [str(BIN / "jobctl"), *args]

    def jobctl(
        self,
        *args: str | bytes,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = DEADLINE_SEC,
    ) -> subprocess.CompletedProcess[str]:
        """Run jobctl to its end. Output that is not UTF-8 comes as surrogates."""
        done = subprocess.run(
            self.jobctl_command(*args),
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
        result = subprocess.CompletedProcess(
            done.args, done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr)
        )
        assert "Traceback" not in result.stderr, result.stderr
        if check:
            assert result.returncode == 0, f"jobctl {args}: {result.returncode}: {result.stderr}"
        return result

    def start_jobctl(self, *args: str | bytes) -> subprocess.Popen[bytes]:
        """Start jobctl, and do not wait for its end."""
        client = subprocess.Popen(
            self.jobctl_command(*args),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._clients.append(client)
        return client

    def output(self, job: str, stream: str = "stdout", *options: str) -> bytes:
        """The exact bytes of one stream of the job's newest run."""
        done = subprocess.run(
            self.jobctl_command("logs", f"--{stream}", "-o", "cat", *options, job),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_SEC,
            check=True,
        )
        return done.stdout

    def history(self, job: str) -> list[dict[str, object]]:
        """The rows of `history -o json JOB`, newest first."""
        rows = json.loads(self.jobctl("history", "-o", "json", job, check=True).stdout)
        assert isinstance(rows, list)
        return rows

    def show(self, job: str, name: str) -> str:
        """One property of a job."""
        return self.jobctl("show", "-p", name, "--value", job, check=True).stdout.strip()

    # --- the end ------------------------------------------------------------------------------------------------
    def _terminate(self) -> list[str]:
        """SIGTERM to the keeper, which must end jobd; what went wrong."""
        with contextlib.suppress(OSError):
            self._stop_politely()
        for keeper in self.keepers:
            try:
                keeper.wait(DEADLINE_SEC)
            except subprocess.TimeoutExpired:
                return ["the keeper did not end on SIGTERM"]
        return []

    def cgroups(self) -> list[Path]:
        """The cgroups of this jobd: in the keeper's own, which is ours, named for the state directory."""
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
        name = f"jobd-{crc32(os.path.realpath(self.state_dir).encode()):08x}"
        found = (Path(mount) / own / name for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
        return [path for path in found if path.exists()]

    def _stop_politely(self) -> None:
        if self.keepers and self.keeper.poll() is None:
            self.keeper.terminate()
        elif self.socket.exists():
            pid = self.keeper_pid
            os.kill(pid, signal.SIGTERM)
            until(lambda: not is_alive(pid), "the keeper ends")

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def close(self) -> None:
        """End jobd as a person would; then nothing of it may be left. Raises AssertionError if something is."""
        problems = []
        for client in self._clients:  # only those of a test that has failed are still there
            client.kill()
            with client:
                pass
        problems += self._terminate()
        try:
            until(lambda: not marked_processes(self.mark), "everything has ended", 10)
        except AssertionError:
            problems.append(f"left behind: {marked_processes(self.mark)}")
        for pid in marked_processes(self.mark):
            os.kill(pid, signal.SIGKILL)
        if not problems and (cgroups := self.cgroups()):
            problems.append(f"left behind: {cgroups}")
        for keeper in self.keepers:
            keeper.wait(DEADLINE_SEC)
        assert not problems, f"{problems}\njobd said:\n{self.log_text()[-4000:]}"


class Impatient(Program):
    """A jobd whose keeper waits a second for its daemon, and not ten, nor long for the next: tests/keeper knows the
    real times."""

    changes = (
        "from jobd.keeper import daemonproc, loop, shutdown; loop.PING_SEC, daemonproc.PONG_SEC = 0.3, 1.5; "
        "daemonproc.BACKOFF_MAX_SEC = 0.1; shutdown.ANSWER_SEC = 1.0"
    )
