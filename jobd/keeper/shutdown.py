"""The end of jobd: the daemon stops the runs in order and says bye; without a daemon the keeper does it itself.

Exits that no daemon could record are written to `last-exits` in the state directory, and the next keeper presents them.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from jobd.keeper import cgroup, files, sockets
from jobd.keeper.table import Entry
from jobd.wire.plainpack import PlainpackError, packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.loop import Keeper

ANSWER_SEC = 10.0  # DESIGN.md section 3: without an answer of a daemon the keeper stops the runs itself
NOBODY_SEC = 1.0  # the same where nothing runs and no daemon has come up
STRAYS_SEC = 0.1  # between looks whether what runs of an earlier keeper have left has ended
LEAVE_SEC = 5.0  # from bye to SIGKILL of the daemon
TERM_SEC, KILL_SEC = 10.0, 10.0  # from SIGTERM to SIGKILL, as a job's default stop timeout; and the wait after that
LAST_EXITS = "last-exits"
LAST_EXITS_BYTES = 64 << 20  # more is not a file that we wrote
_VERSION = 1


class Shutdown:
    """Where the keeper is on its way out: `_stage` is "", asked, begun, leaving, term, kill or strays."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._stage = ""
        self._why = ""
        self._until: float | None = None
        self._code = 0

    @property
    def begun(self) -> bool:
        """Whether jobd is on its way out."""
        return self._stage != ""

    @property
    def leaving(self) -> bool:
        """Whether nothing is left to be stopped: the state will be free in a moment."""
        return self._stage == "leaving" or self._keeper.exit_code is not None

    @property
    def wants_daemon(self) -> bool:
        """Whether a daemon that dies is to have a successor."""
        return self._stage in ("", "asked", "begun")

    def begin(self, why: str, code: int = 0) -> None:
        """Somebody wants jobd to end; with this exit status, if it goes well. The first who wants one has his."""
        self._code = self._code or code
        if not self._stage:
            self._keeper.log(f"shutting down ({why})")
            self._why, self._stage = why, "asked"
            nobody = not self._keeper.table and not self._keeper.daemon.ready
            self._until = time.monotonic() + (NOBODY_SEC if nobody else ANSWER_SEC)
            self.tell()  # first: nobody would say it again
            self._keeper.notifier.stopping()

    def tell(self) -> None:
        """Ask the daemon, if there is one, to stop all runs; each new daemon is asked again."""
        if self._stage == "begun":
            self._stage, self._until = "asked", time.monotonic() + ANSWER_SEC
        if self._stage == "asked":
            self._keeper.send({"op": "shutdown", "why": self._why})

    def answered(self) -> None:
        """The daemon has begun: it may take as long as the runs' own timeouts."""
        if self._stage == "asked":
            self._stage, self._until = "begun", None

    def bye(self, code: int) -> None:
        """The daemon has recorded everything and leaves; `code` is the exit status for jobd."""
        self._code, self._stage = code or self._code, "leaving"
        self._until = time.monotonic() + LEAVE_SEC

    def daemon_left(self) -> None:
        """The daemon was reaped."""
        if self._stage == "leaving":
            if all(entry.empty for entry in self._keeper.table.values()):
                self.finish(self._code)
            else:
                self._stop_runs()
        elif self._stage == "begun":
            self._stage, self._until = "asked", time.monotonic() + ANSWER_SEC

    def tick(self, now: float) -> float | None:
        """Do what is due. Returns when to look again."""
        ended = self._stage in ("term", "kill") and all(entry.empty for entry in self._keeper.table.values())
        if ended or (self._stage == "strays" and not self._strays()):
            self.finish(self._code)
        elif self._until is not None and now >= self._until:
            self._late()
        return now + STRAYS_SEC if self._stage == "strays" else self._until

    def _late(self) -> None:
        keeper = self._keeper
        if self._stage == "asked":
            keeper.log("no daemon answers: stopping the runs without it", "warning")
            keeper.lose_link()
            keeper.daemon.kill()
            self._stop_runs()
        elif self._stage == "leaving":
            keeper.daemon.kill()
            self._until = None
        elif self._stage == "strays":
            for path in self._strays():
                cgroup.kill(path)
            self.finish(self._code)
        elif self._stage == "term":
            self._stage, self._until = "kill", time.monotonic() + KILL_SEC
            for entry in keeper.table.values():
                keeper.ends.kill(entry)
        else:
            left = [entry.run.hex() for entry in keeper.table.values() if not entry.empty]
            keeper.log(f"leaving with processes that SIGKILL does not end: {' '.join(left)}", "error")
            self.finish(1)

    def _stop_runs(self) -> None:
        keeper = self._keeper
        self._stage, self._until = "term", time.monotonic() + TERM_SEC
        for entry in list(keeper.table.values()):
            if not entry.empty:
                with suppress(OSError):  # SIGKILL comes in any case, and the others have their turn
                    keeper.reaching.send(entry, signal.SIGTERM)
                keeper.freezer.thaw(entry)
        self._until = min(self._until, time.monotonic() + TERM_SEC)

    def _strays(self) -> list[str]:
        """What is left of runs that were lost with their keeper. Who has us end means those processes too."""
        known = {entry.cgroup for entry in self._keeper.table.values()}
        return self._keeper.cgroups.strays(known) if self._why else []

    def finish(self, code: int) -> None:
        """Leave nothing behind but what the next jobd needs."""
        keeper = self._keeper
        if self._stage != "strays" and (strays := self._strays()):
            keeper.log(f"ending what {len(strays)} lost runs have left", "warning")
            for path in strays:
                cgroup.terminate(path)
            self._code, self._stage, self._until = code, "strays", time.monotonic() + TERM_SEC
            return
        self.save()
        if not keeper.activated and keeper.listener_identity == sockets.identity(keeper.config.socket):
            _unlink(keeper.config.socket)
        _unlink(f"{keeper.config.state_dir}/{sockets.HANDOVER}")
        if keeper.root_socket is not None:
            keeper.root_socket.close()
        keeper.notify_sockets.close()
        keeper.cgroups.close()
        keeper.log("leaving")
        keeper.exit_code = code

    # --- last-exits -------------------------------------------------------------------------------------------------
    def save(self) -> None:
        """Write the exits that no daemon has acknowledged."""
        entries = [{**entry.plain(), "fds": []} for entry in self._keeper.table.values() if entry.ended]
        if not entries:
            return
        path = f"{self._keeper.config.state_dir}/{LAST_EXITS}"
        data = packb({"version": _VERSION, "entries": entries})
        try:
            files.replace_own(path, data)
        except OSError as e:
            self._keeper.log(f"cannot write {path}: {e.strerror}; {len(entries)} exits are lost", "error")

    def restore(self) -> None:
        """Put the exits that the last keeper wrote into the table, ahead of the first daemon."""
        path = f"{self._keeper.config.state_dir}/{LAST_EXITS}"
        try:
            loaded = unpackb(files.read_own(path, LAST_EXITS_BYTES))
            for fields in loaded["entries"]:  # type: ignore[index]  # checked by what is caught
                entry = Entry.load(fields, {})
                entry.child, entry.empty = False, True
                for helper in entry.helpers.values():
                    helper.done = True
                self._keeper.table.setdefault(entry.run, entry)
        except FileNotFoundError:
            return
        except (OSError, PlainpackError, KeyError, TypeError) as e:
            self._keeper.log(f"cannot read {path}: {e}", "error")

    def forgotten(self, entry: Entry) -> None:
        """A run was acknowledged: with the last that came from the file, the file has done its work."""
        if entry.restored and not any(other.restored for other in self._keeper.table.values()):
            _unlink(f"{self._keeper.config.state_dir}/{LAST_EXITS}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # not there any more, which is what is wanted
