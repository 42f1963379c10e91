"""Other users, as forked processes: what each does is a function of ours, run as that uid.

A fork needs no program that the uid could read, and a path that is open to all is all that the socket needs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIVE_SEC = 120  # nobody outlives his test by more, whatever happens to it
ALICE, BOB, CAROL = 61001, 61002, 61003


class User:
    """A process of another uid that runs `act` and ends; what that returns comes back as JSON."""

    def __init__(self, uid: int, act: Callable[[], object]) -> None:
        reader, writer = os.pipe()
        self._reader = reader
        self.pid = os.fork()
        if self.pid:
            os.close(writer)
            return
        status = 1
        try:
            os.close(reader)
            signal.alarm(LIVE_SEC)
            if uid != os.geteuid():  # who is not root can be nobody else
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            result = act()
            os.write(writer, json.dumps(result).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def result(self) -> object:
        """Wait for the end, and return what `act` returned."""
        with open(self._reader, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"a user's process ended with {status}"
        return json.loads(data)

    def end(self) -> None:
        """Kill it, and see it gone."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._reader)


@contextmanager
def users(uid: int, act: Callable[[], object], count: int = 1) -> Iterator[list[User]]:
    """`count` processes of `uid` that do `act` until the end of the block."""
    them = [User(uid, act) for _ in range(count)]
    try:
        yield them
    finally:
        for user in them:
            user.end()


@contextmanager
def for_everybody(name: str, config: str = "") -> Iterator[Program]:
    """A jobd of root's that every uid can reach: not below a directory that only root may enter."""
    root = Path(tempfile.mkdtemp(prefix=f"jobd-{name}-"))
    root.chmod(0o755)
    program = Program(root)
    if config:
        (program.config_dir / "jobd.toml").write_text(config)
    try:
        program.start()
        yield program
    finally:
        try:
            program.close()
        finally:
            shutil.rmtree(root, ignore_errors=True)
