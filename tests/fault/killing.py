"""Who is killed in a campaign, and when: `kill -9` at a random moment of a daemon's or a keeper's life."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from tests.fault.background import Background
from tests.system.program import children_of, is_alive, until
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    import random

    from tests.system.program import Program

OF_KEEPERS: Final = 0.25  # of the kills
KILL_WITHIN_SEC: Final = 0.5  # of the fork of a daemon: it takes 0.2 s to be there, and may die on its way
LONGEST_SEC: Final = 10.0  # a kill, with all that comes before the next one; six times what it takes on a busy machine


def daemon_of(program: Program, keeper: int = 0) -> int:
    """The pid of the keeper's newest daemon, also of one that has not got to its main function; 0 if none.

    `keeper`: its pid, where it is another than was started last. A child of a daemon that was killed looks like one
    until it executes something else, and the keeper adopts it; but a daemon has a session of its own.
    """
    for child in reversed(children_of(keeper or program.keeper.pid)):
        try:
            with open(f"/proc/{child}/cmdline", "rb") as f:
                if b"jobd.daemon" in f.read() and is_alive(child) and os.getsid(child) == child:
                    return child
        except (FileNotFoundError, ProcessLookupError):
            continue
    return 0


class Killer(Background):
    """Kills one daemon after the other, by turns while it comes up and while it works, until it has killed so many or
    its block ends. (Were more than one in a row to die on its way up, the keeper would rightly wait longer and longer.)

    Attributes:
        kills: how many there were so far, each of a process that lived.
        of_keepers: how many of those were of keepers.
    """

    def __init__(
        self,
        program: Program,
        dice: random.Random,
        wanted: int,
        *,
        within_sec: float = KILL_WITHIN_SEC,
        keepers: float = 0.0,
    ) -> None:
        """`keepers`: how many of the kills are for the keeper, where the kernel lets nothing be lost by that."""
        super().__init__("killer")
        self.kills = self.of_keepers = 0
        self._program, self._dice, self._wanted, self._within_sec = program, dice, wanted, within_sec
        self._keepers = keepers if has_pidfd_info() else 0.0

    @property
    def busy(self) -> bool:
        """Whether there are more kills to come."""
        return self.is_alive()

    def finish(self) -> None:
        """Wait for all kills."""
        until(lambda: not self.busy, "all kills are done", self._wanted * LONGEST_SEC)

    def act(self) -> None:
        last, keeper = 0, self._program.keeper_pid

        def fresh() -> int:
            pid = daemon_of(self._program, keeper)
            return pid if pid != last else -1 if self.over.is_set() else 0

        while self.kills < self._wanted and (pid := until(fresh, "the keeper forks a daemon")) > 0:
            if self.kills % 2:
                self._program.daemon_status()
            if self.over.wait(self._dice.uniform(0, self._within_sec)):
                return
            if self._dice.random() < self._keepers:
                self._program.kill_keeper()
                keeper = self._program.keeper_pid
                self.of_keepers += 1
            elif is_alive(pid):
                os.kill(pid, signal.SIGKILL)
                last = pid
            else:  # by itself (`own_deaths`), or its keeper's: this was no kill
                continue
            self.kills += 1


def told(*killers: Killer) -> str:
    """What they did, in words."""
    kills, of_keepers = sum(one.kills for one in killers), sum(one.of_keepers for one in killers)
    return f"{kills - of_keepers} kills of the daemon and {of_keepers} of the keeper"
