"""Helpers of a run: the commands that stop or reload it and those that look how it does, executed by the keeper.

Who asks for one names it by an operation that comes from committed state: `reload-3`, `stop-cmd-1`. After a daemon's
death the next one asks for the same name and is told how it ended; the keeper executes none twice. Names of checks
begin with `check-`, and each has a fresh one: the keeper forgets the answer, and ends one that nobody waits for.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from jobd.core import exits
from jobd.runtime.spawning import command
from jobd.runtime.wake import Changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.keeperlink import Fields
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

CHECK: Final = "check-"  # jobd.keeper.helpers.CHECK
KEPT: Final = 16  # jobd.keeper.helpers.KEPT: those that have ended
UNKNOWN: Final = -1  # the status of one that nobody could read
USEC_PER_MSEC: Final = 1_000
MAX_TIMEOUT_MS: Final = 1 << 40  # 34 years


class HelperEnd(Struct, frozen=True):
    """How a helper ended."""

    status: int = UNKNOWN  # the wait status
    step: str = ""  # what failed instead of the program's start, with errno
    errno: int = 0
    timed_out: bool = False  # it was killed, as it took too long

    @property
    def good(self) -> bool:
        """Whether it ran and ended with 0."""
        return not self.step and self.status == 0

    def trouble(self, argv: tuple[bytes, ...]) -> str:
        """What went wrong, in words that follow "its command"; "" when nothing did."""
        if self.step:
            word, program = exits.STEP_WORDS.get(self.step, self.step), argv[0].decode(errors="backslashreplace")
            return f"could not be started: {word} {program}: {os.strerror(self.errno)}"
        if self.timed_out:
            return "took too long"
        end = exits.Exit(self.status)
        if end.unknown:
            return "ended, and nobody could see how"
        if end.signal is not None:
            return f"was ended by {exits.signal_name(end.signal)}"
        return f"ended with exit code {end.code}" if end.code else ""


class Helpers:
    """What the keeper has said of one run's helpers."""

    __slots__ = ("_known", "changed")

    def __init__(self) -> None:
        self._known: dict[str, Fields] = {}  # by operation, as the keeper's table has them
        self.changed = Changed()

    def note(self, message: Fields) -> None:
        """The keeper has started one, or tells how it ended."""
        self._known.pop(str(message["o"]), None)
        self._known[str(message["o"])] = {name: value for name, value in message.items() if name not in ("op", "run")}
        done = [opid for opid, fields in self._known.items() if fields["done"]]
        for opid in done[:-KEPT]:
            del self._known[opid]
        self.changed.set()

    def load(self, listed: object) -> None:
        """Take what is in the keeper's list; one of before the helpers has none."""
        for fields in listed if isinstance(listed, list) else ():
            self.note(fields)

    def forget(self, opid: str) -> None:
        """Nobody waits for it any more."""
        self._known.pop(opid, None)

    def end(self, opid: str) -> HelperEnd | None:
        """How it ended, None while it runs or is not known."""
        fields = self._known.get(opid)
        if fields is None or not fields["done"]:
            return None
        return HelperEnd(**{name: fields[name] for name in HelperEnd.__struct_fields__})  # type: ignore[arg-type]

    @property
    def at_work(self) -> bool:
        """Whether one of them runs."""
        return bool(self._known) and any(not fields["done"] for fields in self._known.values())

    @property
    def pid_at_work(self) -> int | None:
        """The process of the one that runs, if one does."""
        if not self._known:
            return None  # as of most runs
        pids = (fields["pid"] for fields in self._known.values() if not fields["done"])
        return next((pid for pid in pids if isinstance(pid, int)), None)

    @property
    def operation_at_work(self) -> str:
        """The operation of the one that runs; "" if none does."""
        return next((opid for opid, fields in self._known.items() if not fields["done"]), "")

    def plain(self) -> list[Fields]:
        """For the next keeper."""
        return [fields for opid, fields in self._known.items() if not (fields["done"] and opid.startswith(CHECK))]


async def execute(
    run: Run, world: Registry, opid: str, argv: tuple[bytes, ...], timeout_usec: int | None = None
) -> HelperEnd:
    """Have a command executed in the run's tree, as its user, and wait for its end.

    Args:
        run: whose tree it is in; $MAINPID is its main process if that lives.
        world: where the keeper and the environment are.
        opid: its name from committed state. One that has been executed is not executed again.
        argv: the command.
        timeout_usec: when the keeper kills it; None is never.

    Without a keeper this waits: the daemon that comes after the next keeper asks it for the same. Cancelling ends a
    check, and leaves any other helper as it is.
    """
    if not world.keeper.serves:
        return HelperEnd(step="spawn", errno=errno.ENOSYS)
    is_check = opid.startswith(CHECK)
    if is_check:
        run.helpers.forget(opid)
    timeout_ms = None if timeout_usec is None else min(timeout_usec // USEC_PER_MSEC, MAX_TIMEOUT_MS)
    fields = command(run, argv, world.keeper, world.environment(run), world.policy)
    world.keeper.send("helper", run=run.id, o=opid, timeout_ms=timeout_ms, **fields)
    try:
        while (end := run.helpers.end(opid)) is None:
            await run.helpers.changed.wait()
    except trio.Cancelled:
        if is_check:
            world.keeper.send("helper-kill", run=run.id, o=opid)
        raise
    finally:
        if is_check:
            run.helpers.forget(opid)
    return end


async def beside(
    run: Run, world: Registry, opid: str, argv: tuple[bytes, ...], look: Callable[[], object] = lambda: None
) -> None:
    """The same by the run's own task, which goes on to `look` at what it is woken for, until that is true.

    Cancelling leaves the command at work.
    """
    if run.helpers.end(opid) is not None:
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, run, world, opid, argv)
        while run.helpers.end(opid) is None and world.keeper.serves and not look():
            await run.wake.wait()
        nursery.cancel_scope.cancel()
