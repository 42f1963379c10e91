"""What an end means: wait statuses, signals, and what a step is called that failed between fork and exec."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a step between fork and exec is called in a sentence; the steps are those of the keeper (spawn, child) and ours.
STEP_WORDS: Final = {
    "chdir": "changing directory to",
    "exec": "executing",
    "nice": "setting the nice value for",
    "limits": "setting resource limits for",
    "descriptors": "finding free descriptors for",
    "stdio": "arranging the streams of",
    "signals": "resetting signals for",
    "oom": "resetting the OOM score of",
    "argv": "passing arguments and environment to",
    "spawn": "making a process for",
    "fork": "forking",
    "pipe": "making pipes for",
    "cgroup": "making a cgroup for",
    "session": "making a session for",
    "stdin": "making the stdin of",
    "pty": "making a terminal for",
    "user": "becoming",
    "groups": "taking the groups of",
    "nologin": "letting in",
    "grant": "becoming",
    "notify": "making the notify socket of",
    "environment": "reading",  # a file: the step has its place among them behind a point
}
USER_STEPS: Final = ("user", "groups", "nologin", "grant")  # those that are about the user, not about the program
# What the number means there, where errno's own words would mislead.
STEP_REASONS: Final = {
    ("user", errno.ESRCH): "there is no such user",
    ("user", errno.EINVAL): "this is no user whom jobs may have",
    ("user", errno.ETIMEDOUT): "looking the user up took too long",
    ("groups", errno.EPERM): "the groups could not be had, or are not for a user without a passwd entry",
    ("spawn", errno.ENOSYS): "the keeper is of an older version; jobctl daemon-reexec --keeper replaces it",
    ("environment", errno.EFBIG): "it is larger than 256 KiB",
    ("environment", errno.EINVAL): "it is not a regular file",
    ("nologin", errno.EPERM): "logins are not allowed at present (nologin(5))",
    ("grant", errno.EPERM): "root has not allowed this command; only root's own jobctl run and his job files do",
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


def result_of(
    exit_: Exit, success_codes: frozenset[int] = frozenset((0,)), success_signals: frozenset[int] = frozenset()
) -> str:
    """systemd's Result for an end that nobody asked for."""
    if exit_.unknown:
        return "lost"
    if exit_.signal in success_signals and not exit_.core:
        return "success"
    if exit_.signal is not None:
        return "core-dump" if exit_.core else "signal"
    return "success" if exit_.code in success_codes else "exit-code"


# Results that do not make a job `failed`.
GOOD_RESULTS: Final = frozenset(("success", "stopped", "canceled"))


def describe_start_failure(
    job: str, step: str, number: int, program: str, cwd: str, user: str = "", env_files: Sequence[str] = ()
) -> str:
    """`cannot start foo: changing directory to /srv/foo: No such file or directory`."""
    step, _, place = step.partition(".")
    word = STEP_WORDS.get(step, step)
    thing = {"chdir": f" {cwd}", "exec": f" {program}"}.get(step, f" {program}" if step in STEP_WORDS else "")
    if step == "fork":
        thing = ""
    if step == "exec" and "/" in program and not program.startswith("/"):
        thing += f" in {cwd}"
    if step == "environment":
        index = int(place) if place.isdecimal() else len(env_files)
        thing = f" {env_files[index]}" if index < len(env_files) else " an environment file"
    if step in USER_STEPS:
        thing = f" {user or 'its user'}"
    return f"cannot start {job}: {word}{thing}: {STEP_REASONS.get((step, number)) or os.strerror(number)}"
