"""How jobctl ends: its own exceptions, and the exit status of a run's end as a shell would give it.

Each verb returns its status or raises one of these; only `__main__` turns them into a line on stderr and an exit.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.shapes import RunView

USAGE = 2  # DESIGN.md, section 9
TIMED_OUT = 124  # as timeout(1)
NOT_THE_JOBS = 125  # what is not the job's own status, as env(1), nohup(1) and docker-run(1)
CANNOT_EXECUTE = 126  # POSIX shells, as the next
NOT_FOUND = 127
INTERRUPTED = 130  # 128 + SIGINT
SIGNALED = 128
ENOENT = 2
GOOD_RESULTS = ("success", "stopped", "canceled")  # jobd.core.exits.GOOD_RESULTS, and a test compares


class UsageError(Exception):
    """The command line asks for something that it cannot mean."""


class Fault(Exception):  # noqa: N818  # the protocol's word for it
    """The daemon refused, or could not; `code` is one of jobd.wire.errors."""

    def __init__(self, code: str, message: str, details: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}


class NoDaemonError(Fault):
    """There is no daemon to talk to."""

    def __init__(self, message: str) -> None:
        super().__init__("unavailable", message)  # errors.UNAVAILABLE, without importing it for every verb


class ShutDownError(Fault):
    """The daemon was told to end, and said so before it closed the connection."""

    def __init__(self, message: str) -> None:
        super().__init__("unavailable", message)


class ConnectionLostError(Exception):
    """The connection ended in the middle: the daemon was replaced or killed. Most callers connect again."""


def start_failure(step: str, errno: int) -> int:
    """126 or 127 for a command that could not be executed; also when its directory was not to be entered."""
    if step == "exec":
        return NOT_FOUND if errno == ENOENT else CANNOT_EXECUTE
    return CANNOT_EXECUTE if step == "chdir" else NOT_THE_JOBS


EARLY = "protocol"  # the result of what ended with 0 and was never ready: no success


def run_status(run: RunView) -> int:
    """The status for a run's end: its code, 128 + N after a signal, 126 or 127 if it never ran, else 125."""
    step = run.get("step", "")
    if step:
        return start_failure(step, run.get("errno", 0))
    signal = run.get("signal")
    if signal is not None:
        return SIGNALED + signal
    code = run.get("exit_code")
    return NOT_THE_JOBS if code is None or run.get("result") == EARLY else code


def why(run: RunView) -> str:
    """Why a run has no status of its own, in words; empty when it has one."""
    if run.get("step"):
        return f"{run['step']}: {_strerror(run.get('errno', 0))}"
    if run.get("signal") is None and run.get("exit_code") is None:
        result = run.get("result") or "unknown"
        return f"{result}: {run['reason']}" if run.get("reason") else result
    return "it ended well before it was ready" if run.get("result") == EARLY else ""


def _strerror(errno: int) -> str:
    import os

    return os.strerror(errno)
