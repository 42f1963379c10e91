"""What root's job files allow a daemon that is not root: the hashes of all commands in files that root owns.

To parse a job file takes what the keeper does not have, and what one says may be wrong in any way. So a child of root's
own does it, a program of a moment (`jobd.filegrants`), which writes 32 bytes a command to a pipe. The daemon says when
that is due, as it knows when files are read again; what it is worth, the files say.

An instance of a template is granted when root's files name it, or when root himself has: otherwise who takes the
daemon over could choose any word for `%i`.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from jobd.core.names import valid_job_name
from jobd.host import pidfd
from jobd.keeper import files, kernel
from jobd.wire.grants import DIGEST_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from jobd.keeper.grants import Grants
    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper

PROGRAM = "jobd.filegrants"
INSTANCES = "instances"  # the file with those that root has named, one a line
MOST_INSTANCES = 4096
MOST_WAITING = 1024  # a daemon that asks more often is told of the last ones
READ_SEC = 30.0  # an interpreter starts in 0.1 s, and reads 1,000 files in a second
MOST_BYTES = DIGEST_BYTES * 65536  # of the answer
_PIECE = 65536
_FAILED = 127


class FileGrants:
    """The hashes of root's files, and the child that finds them."""

    def __init__(self, keeper: Keeper, grants: Grants | None) -> None:
        self._keeper = keeper
        self._grants = grants
        self._waiting: list[Callable[[], None]] = []  # to be told, who asked since the child was started
        self._asked: list[Callable[[], None]] = []  # for whom it works
        self._afresh = False  # all is in force as it is in the files: what they allowed before does not hold any more
        self._pid = 0
        self._pidfd = -1
        self._pipe = -1
        self._data = bytearray()
        self._until = 0.0
        self._replaces = False  # what the child finds, all that was found before
        self._instances = self._load() if grants is not None else {}

    # --- what the daemon asks ---------------------------------------------------------------------------------------
    def ask(self, message: Message, _: Fds) -> None:
        """Read root's files again, and say when that is done.

        A daemon that has read some of them goes on with the others as they were: `all` says that it has read all.
        """
        tag = message["tag"]
        assert isinstance(tag, int)
        if self._grants is None:
            self._keeper.send({"op": "files-granted", "tag": tag, "count": 0})
            return
        self._afresh |= message.get("all") is True
        self._read_for(lambda: self._tell(tag))

    def _tell(self, tag: int) -> None:
        assert self._grants is not None
        self._keeper.send({"op": "files-granted", "tag": tag, "count": len(self._grants.of_files)})

    def _read_for(self, done: Callable[[], None]) -> None:
        self._waiting = [*self._waiting, done][-MOST_WAITING:]
        self._begin()

    def _begin(self) -> None:
        """Start the child, if none is there: what comes meanwhile is for the next one."""
        if self._pid or not self._waiting:
            return
        self._asked, self._waiting = self._waiting, []
        self._replaces, self._afresh = self._afresh, False
        self._data.clear()
        try:
            self._pipe, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._pid, self._pidfd, _ = kernel.clone(None)
            if self._pid == 0:
                self._execute(theirs)
            os.close(theirs)
        except OSError as e:
            self._keeper.log(f"cannot look at root's job files: {e}", "error")
            self._answer()
            return
        self._until = time.monotonic() + READ_SEC
        self._keeper.watch(self._pipe, self._on_data)
        self._keeper.ends.readers[self._pid] = self._ended

    def _execute(self, pipe: int) -> NoReturn:
        """In the child: become the program. Its last words go where the keeper's go."""
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.dup2(pipe, 1)
            os.set_blocking(1, True)
            kernel.close_from(3)
            config = self._keeper.config
            words = [config.mode, config.config_dir, *self._instances]
            os.execv(sys.executable, [sys.executable, "-I", "-m", PROGRAM, *words])
        finally:
            os._exit(_FAILED)

    def tick(self, now: float) -> float | None:
        """Do what is due. Returns when to look again."""
        if not self._pid:
            return None
        if now >= self._until:
            self._until = now + READ_SEC
            pidfd.send_signal(self._pidfd, signal.SIGKILL)
        return self._until

    def _on_data(self) -> bool:
        """Take what is there. Returns whether there may be more."""
        try:
            piece = os.read(self._pipe, _PIECE)
        except BlockingIOError:
            return False
        self._data += piece[: max(0, MOST_BYTES - len(self._data))]
        if not piece:
            self._keeper.unwatch(self._pipe)
        return bool(piece)

    def _ended(self, status: int) -> None:
        """The child was reaped: what it has written counts if it came to its end."""
        while self._on_data():
            pass
        self._keeper.unwatch(self._pipe)
        for fd in (self._pipe, self._pidfd):
            os.close(fd)
        self._pid, self._pipe, self._pidfd = 0, -1, -1
        assert self._grants is not None
        if status == 0:
            before = frozenset() if self._replaces else self._grants.of_files
            self._grants.set_of_files(bytes(self._data))
            self._grants.of_files |= before
        else:
            text = f"cannot read what root's job files allow (wait status {status}): what they did holds"
            self._keeper.log(text, "error")
        self._answer()
        self._begin()

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        for done in asked:
            done()

    # --- instances that root has named ------------------------------------------------------------------------------
    def _load(self) -> dict[str, None]:
        try:
            text = files.read_own(self._path(), 1 << 20).decode("ascii", "replace")
        except FileNotFoundError:
            return {}
        except OSError as e:
            self._keeper.log(f"cannot read {self._path()}: {e.strerror}", "error")
            return {}
        return dict.fromkeys(line for line in text.splitlines() if valid_job_name(line))

    def _path(self) -> str:
        return f"{self._keeper.config.state_dir}/{INSTANCES}"

    def add_instance(self, name: str, done: Callable[[], None]) -> None:
        """Root names one; the newest count. `done` is called when its template was read for it."""
        if name not in self._instances:
            self._remember(name)
        self._read_for(done)

    def _remember(self, name: str) -> None:
        self._instances[name] = None
        while len(self._instances) > MOST_INSTANCES:
            del self._instances[next(iter(self._instances))]
        try:
            files.replace_own(self._path(), "".join(f"{one}\n" for one in self._instances).encode())
        except OSError as e:
            self._keeper.log(f"cannot write {self._path()}: {e.strerror}; it is forgotten with the keeper", "error")
