"""To which run a process belongs, found from the process: without asking for the tree of any run.

The answer is that of the trees (keeper.tree). A run with a control group has the processes in it and below it. Without
one it has its main process's group and session and all their descendants, and the orphans whose environment names it.
That environment is read here, by the daemon, which has the keeper's uid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.host import procs

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

MAX_ANCESTORS: Final = 4096  # deeper than processes are nested; a bound, should parents change while we walk
_ID_DIGITS: Final = 32


class Membership:
    """Answers for the live runs as they are now; made for one question and thrown away."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._mains: dict[int, Run] | None = None

    def find(self, pid: int) -> Run | None:
        """The live run that the process belongs to."""
        return self._by_control_group(pid) or self._by_ancestry(pid)

    def _by_control_group(self, pid: int) -> Run | None:
        parent = ""
        for part in procs.control_group(pid).split("/"):
            run = self._registry.runs.get(_run_id(part))
            if run is not None and run.cgroup.endswith(f"/{parent}/{part}"):
                return run
            parent = part
        return None

    def _by_ancestry(self, pid: int) -> Run | None:
        mains = self._untracked_mains()
        if not mains:
            return None
        chain: list[int] = []
        process = procs.process(pid)
        while process is not None and process.pid > 1 and len(chain) < MAX_ANCESTORS:
            for number in (process.pid, process.group, process.session):
                run = mains.get(number)
                if run is not None and _is_still(run):
                    return run
            chain.append(process.pid)
            process = procs.process(process.parent) if process.parent != self._keeper_pid() else None
        for ancestor in reversed(chain):
            run = self._registry.runs.get(procs.run_of(ancestor) or b"")
            if run is not None and not run.cgroup:
                return run
        return None

    def _untracked_mains(self) -> dict[int, Run]:
        """Main processes of the runs that have no control group."""
        if self._mains is None:
            runs = self._registry.runs.values()
            self._mains = {run.pid: run for run in runs if run.pid is not None and not run.cgroup}
        return self._mains

    def _keeper_pid(self) -> int:
        welcome = self._registry.keeper.welcome
        return 0 if welcome is None else welcome.keeper_pid


def _run_id(name: str) -> bytes:
    """The run that a control group is named for (keeper.cgroup: its id, and a number if that was taken)."""
    digits = name.partition(".")[0]
    try:
        return bytes.fromhex(digits) if len(digits) == _ID_DIGITS else b""
    except ValueError:
        return b""


def _is_still(run: Run) -> bool:
    """Whether the number of its main process is not another process's by now."""
    assert run.pid is not None
    main = procs.process(run.pid)
    return main is None or main.start == run.pid_start
