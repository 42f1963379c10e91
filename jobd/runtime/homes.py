"""Where the owners of job files are at home: what %h and %t in them stand for. Asked ahead, in a thread."""

from __future__ import annotations

import os
import pwd
from functools import partial
from typing import Final

import trio

from jobd.core import paths
from jobd.core.jobfile import Owner

LOOKUP_SEC: Final = 5.0  # a name service that takes longer says nothing
MAX_KNOWN: Final = 4096  # owners; one is 200 bytes
ROOT: Final = 0
SYSTEM_RUNTIME_DIR: Final = "/run"  # as of systemd's own %t for the whole system
NOWHERE: Final = "/"  # the home of a uid without a passwd entry: DESIGN.md, section 7


class Homes:
    """Owners, as far as they have been asked for. One a daemon."""

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._known: dict[int, Owner] = {}

    def known(self, uid: int) -> Owner:
        """The owner as he was last found; one who was not has no home."""
        return self._known.get(uid) or self._owner(uid, NOWHERE)

    async def learn(self, uid: int) -> Owner:
        """Look him up. One who is not found in time is as he was, or has no home."""
        with trio.move_on_after(LOOKUP_SEC):
            home = await trio.to_thread.run_sync(partial(self._home, uid), abandon_on_cancel=True)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[uid] = self._owner(uid, home)
        return self.known(uid)

    def _home(self, uid: int) -> str:
        if not self._shared:
            return paths.home_dir(os.environ, uid) or NOWHERE
        try:
            return pwd.getpwuid(uid).pw_dir or NOWHERE
        except (KeyError, OverflowError):
            return NOWHERE

    def _owner(self, uid: int, home: str) -> Owner:
        if not self._shared:
            return Owner(uid=uid, home=home, runtime_dir=paths.runtime_dir(os.environ, uid))
        runtime = SYSTEM_RUNTIME_DIR if uid == ROOT else f"/run/user/{uid}"
        return Owner(uid=uid, home=home, runtime_dir=runtime, shared=True)
