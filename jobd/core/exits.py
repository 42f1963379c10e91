"""What an end means: wait statuses, signals, and systemd's numbers for steps that failed between fork and exec."""

from __future__ import annotations

import os
import signal
from typing import Final

# systemd.exec(5), "Process Exit Codes": the step that failed before the program ran.
STEP_STATUS: Final = {
    "chdir": (200, "CHDIR"),
    "nice": (201, "NICE"),
    "fds": (202, "FDS"),
    "exec": (203, "EXEC"),
    "limits": (205, "LIMITS"),
    "oom-adjust": (206, "OOM_ADJUST"),
    "signals": (207, "SIGNAL_MASK"),
    "stdin": (208, "STDIN"),
    "stdout": (209, "STDOUT"),
    "group": (216, "GROUP"),
    "user": (217, "USER"),
    "cgroup": (219, "CGROUP"),
    "setsid": (220, "SETSID"),
    "stderr": (222, "STDERR"),
}
# What a step is called in a sentence; a missing one is called by its name.
STEP_WORDS: Final = {
    "chdir": "changing directory to",
    "exec": "executing",
    "nice": "setting the nice value for",
    "limits": "setting resource limits for",
    "fds": "arranging descriptors for",
    "fork": "forking",
    "pipe": "making pipes for",
    "pidfd": "opening a pidfd for",
    "cgroup": "making a cgroup for",
    "setsid": "making a session for",
    "stdin": "making the stdin of",
    "pty": "making a terminal for",
    "user": "changing user for",
    "group": "changing groups for",
}


def signal_name(number: int) -> str:
    """SIGTERM for 15; real-time signals as SIGRTMIN+N; an unknown number as SIG<number>."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return f"SIG{number}"


class Exit:
    """A decoded wait status: either `code`, or `signal` with `core`; `unknown` when nobody could read it."""

    __slots__ = ("code", "core", "signal", "unknown")

    def __init__(self, status: int) -> None:
        """Decode a wait(2) status; -1 stands for an end whose status nobody could read."""
        self.unknown = status < 0
        self.code: int | None = None
        self.signal: int | None = None
        self.core = False
        if self.unknown:
            return
        if os.WIFSIGNALED(status):
            self.signal = os.WTERMSIG(status)
            self.core = os.WCOREDUMP(status)
        else:
            self.code = os.WEXITSTATUS(status)


def result_of(exit_: Exit, success_codes: frozenset[int] = frozenset((0,))) -> str:
    """systemd's Result for an end that nobody asked for."""
    if exit_.unknown:
        return "lost"
    if exit_.signal is not None:
        return "core-dump" if exit_.core else "signal"
    return "success" if exit_.code in success_codes else "exit-code"


# Results that do not make a job `failed`.
GOOD_RESULTS: Final = frozenset(("success", "stopped", "canceled"))


def describe_start_failure(job: str, step: str, errno: int, program: str, cwd: str) -> str:
    """`cannot start foo: changing directory to /srv/foo: No such file or directory`."""
    word = STEP_WORDS.get(step, step)
    thing = {"chdir": f" {cwd}", "exec": f" {program}"}.get(step, f" {program}" if step in STEP_WORDS else "")
    if step == "fork":
        thing = ""
    return f"cannot start {job}: {word}{thing}: {os.strerror(errno)}"
