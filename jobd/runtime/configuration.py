"""The configuration in force: read at the start and on `daemon-reload`; a broken file changes nothing and is told.

User and group names are looked up in a thread, as the name service may ask the network, and not for ever.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import configfile
from jobd.core.configfile import ConfigError
from jobd.core.paths import CONFIG_FILE
from jobd.core.policy import ONE_USER, Policy, UserLimits
from jobd.host import ownfile
from jobd.host.accounts import Accounts
from jobd.runtime import daemonlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobd.runtime.keeperlink import KeeperLink
    from jobd.runtime.lastgood import LastGood

log = logging.getLogger("jobd.runtime")

LOOKUP_SEC: Final = 20.0  # for all names of a file
RETRY_SEC: Final = 60.0  # a name service that did not answer when the machine came up will later


class LookupTimeoutError(ConfigError):
    """The name service does not answer."""


class Configuration:
    """Owns the policy. `on_change` is told of every new one, and `refresh` waited for, before `load` returns."""

    def __init__(self, config_dir: str, keeper: KeeperLink, last: LastGood, log_level: str = "") -> None:
        self.path = os.path.join(config_dir, CONFIG_FILE)
        self._usual = UserLimits() if keeper.shared else ONE_USER
        self.policy = Policy(file=self.path, limits=self._usual)
        self.error = ""  # why the file as it is now could not be taken
        self.on_change: Callable[[Policy], None] = lambda _: None
        self.refresh: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint  # what else is looked up by name
        self._trust = ownfile.Trust.of(system=keeper.shared)
        self._keeper = keeper
        self._level_option = log_level  # of the command line, which goes before the file
        self._level_told = ""
        self._last = last
        self._try_again = False
        self._lock = trio.Lock()

    async def load(self) -> None:
        """Read the file and put it in force. Raises ConfigError: what was in force before is still."""
        async with self._lock:
            try:
                text = await self._text()
                policy = await self._parse(text)
            except ConfigError as error:
                self.error = str(error)
                for problem in error.problems:
                    log.error("%s", problem)
                raise
            for warning in policy.warnings:
                log.warning("%s", warning.replace(": warning: ", ": ", 1))
            self.error = ""
            await self._put_in_force(policy)
            try:
                await trio.to_thread.run_sync(self._last.save, text)
            except OSError as error:
                log.warning("cannot keep the settings for the next daemon: %s", error)

    async def check(self) -> Policy:
        """What the file would come to. Raises ConfigError. Nothing changes."""
        return await self._parse(await self._text())

    async def load_first(self) -> None:
        """At the start, where the file may be broken: then what another daemon of this keeper has last taken holds.

        There may be none: then there are no rules. The state says why.
        """
        try:
            await self.load()
            return
        except ConfigError as error:
            self._try_again = isinstance(error, LookupTimeoutError)
        before = None if self._try_again else await trio.to_thread.run_sync(self._last.load)
        with suppress(ConfigError):
            if before is not None:
                await self._put_in_force(await self._parse(before))
                log.warning("going on with the settings of before")
                return
        log.error("starting without rules: nobody but owners and administrators may do anything")

    async def _put_in_force(self, policy: Policy) -> None:
        self.policy = policy
        self._set_level(policy.log_level)
        self.on_change(policy)
        with trio.move_on_after(LOOKUP_SEC):
            await self.refresh()

    async def catch_up(self) -> None:
        """Try again until there is an answer, if the name service gave none at the start."""
        while self._try_again:
            await trio.sleep(RETRY_SEC)
            try:
                await self.load()
            except LookupTimeoutError:
                continue
            except ConfigError:
                return  # it has been told
            self._try_again = False

    def _set_level(self, level: str) -> None:
        if self._level_option:
            return
        daemonlog.set_level(level)
        if level != self._level_told:
            self._level_told = level
            self._keeper.send("log-level", level=level)

    async def _parse(self, text: str) -> Policy:
        with trio.move_on_after(LOOKUP_SEC):
            parse = partial(configfile.parse, text, self.path, Accounts(), self._usual)
            return await trio.to_thread.run_sync(parse, abandon_on_cancel=True)
        why = f"{self.path}: its users and groups could not be looked up within {LOOKUP_SEC:g} s"
        raise LookupTimeoutError([why])

    async def _text(self) -> str:
        try:
            with ownfile.explained(self.path):
                return ownfile.read(await self._open(), self.path, self._trust)
        except FileNotFoundError:
            return ""

    async def _open(self) -> int:
        """By the keeper: the daemon of a whole machine may not be allowed to read it."""
        with suppress(PermissionError):
            ownfile.check_directory(self.path, self._trust)
        try:
            return await self._keeper.open_config(CONFIG_FILE)
        except ConnectionResetError:  # it is dead
            return ownfile.open_regular(self.path, self._trust)
