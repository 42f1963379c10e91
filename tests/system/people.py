"""A machine of many users: one jobd that root has started, and jobctl as whoever is to ask."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.own import public_python
from tests.system.program import DEADLINE_SEC, Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = 0
ALICE, BOB, EVE = 61101, 61102, 61103  # uids that no account has
DAEMON, GAMES = "daemon", "games"  # accounts that every Debian has, for users with a name


class People(Program):
    """A jobd for all users. `rules`: the text of its jobd.toml."""

    def __init__(self, root: Path, rules: str = "", options: Sequence[str] = ()) -> None:
        super().__init__(root, options=options)
        self.python = public_python(root)
        self.env.pop("SUDO_UID", None)
        self.toml = self.config_dir / "jobd.toml"
        if rules:
            self.toml.write_text(rules)
        self.place = root / "place"  # where everybody may be
        self.place.mkdir()
        self.place.chmod(0o1777)

    def command(self) -> list[str]:
        """With a Python that the daemon's own user can run, too."""
        return [self.python or sys.executable, *super().command()[1:]]

    def command_as(self, uid: int, *args: str | bytes, gid: int | None = None, groups: str = "") -> list[str | bytes]:
        """The command line of a jobctl that this user calls; `groups` with commas between them."""
        client: list[str | bytes] = [self.python or sys.executable, "-I", "-m", "jobctl", *args]
        if uid == ROOT and gid is None and not groups:
            return client
        supplementary = f"--groups={groups}" if groups else "--clear-groups"
        return ["setpriv", f"--reuid={uid}", f"--regid={uid if gid is None else gid}", supplementary, "--", *client]

    def ask(
        self,
        uid: int,
        *args: str | bytes,
        gid: int | None = None,
        groups: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Have this user call jobctl, and wait for its end."""
        done = subprocess.run(
            self.command_as(uid, *args, gid=gid, groups=groups),
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.place,
            text=True,
            errors="surrogateescape",
            timeout=DEADLINE_SEC,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert not check or done.returncode == 0, f"jobctl {args} as {uid}: {done.returncode}: {done.stderr}"
        return done

    def said(self, uid: int, *args: str | bytes) -> str:
        """What jobctl writes for this user, who is allowed to ask."""
        return self.ask(uid, *args, check=True).stdout


@contextlib.contextmanager
def many_users(rules: str = "", options: Sequence[str] = ()) -> Iterator[People]:
    """A jobd for all users, in a directory that all can reach; ended without a trace."""
    root = Path(tempfile.mkdtemp(prefix="jobd-people-"))
    root.chmod(0o755)
    people = People(root, rules, options)
    try:
        people.start()
        yield people
    finally:
        people.close()
        shutil.rmtree(root)


@functools.cache  # asked by every file of tests, and the answer costs a start of Python
def why_not() -> str:
    """Why a test of many users cannot be made here; "" if it can."""
    if os.geteuid() != 0:
        return "only root can be several users"
    if not shutil.which("setpriv"):
        return "setpriv is not installed"
    with tempfile.TemporaryDirectory(prefix="jobd-people-") as root:
        os.chmod(root, 0o755)
        python = public_python(Path(root))
        if python is None:
            return "no Python here that every user may run"
        # Executed twice: the first time it is root's privilege that finds the file.
        inner = 'exec "$0" -I -c "import jobd.daemon"'
        command = ["setpriv", f"--reuid={EVE}", f"--regid={EVE}", "--clear-groups", "sh", "-c", inner, python]
        if subprocess.run(command, cwd="/", capture_output=True, check=False).returncode:
            return "other users cannot read this checkout, or what it needs"
    return ""
