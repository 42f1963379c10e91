"""The words that `--state` takes: ours, and systemd's, so that scripts made for systemctl find nothing wrong."""

from __future__ import annotations

from jobctl.exits import UsageError
from jobd.core.names import closest

HELP = "help"
LOAD = ("loaded", "not-found", "masked", "bad-setting")
ACTIVE = ("active", "reloading", "inactive", "failed", "activating", "deactivating")
FROZEN = "frozen"  # beside what it is else
HELD = "held"  # of what is queued
SUB = (
    "dead",
    "queued",
    HELD,
    "start",
    "running",
    "exited",
    "reload",
    FROZEN,
    "stop",
    "stop-watchdog",
    "stop-sigterm",
    "stop-sigkill",
    "final-sigterm",
    "final-sigkill",
    "failed",
    "auto-restart",
)
# Of systemctl --state=help; no job has them.
SYSTEMD = (
    "abandoned", "activating-done", "auto-restart-queued", "cleaning", "condition", "elapsed", "error",
    "final-watchdog", "listening", "maintenance", "merged", "mounted", "plugged", "refreshing", "reload-notify",
    "reload-signal", "start-post", "start-pre", "stop-post", "stub", "tentative", "waiting",
)  # fmt: skip
FILES = ("enabled", "disabled", "static", "masked", "bad")  # of job files
# Of systemctl list-unit-files --state=help; no job file is so.
SYSTEMD_FILES = (
    "enabled-runtime", "linked", "linked-runtime", "alias", "masked-runtime", "indirect", "generated", "transient",
)  # fmt: skip
STATES = ("queued", "starting", "running", "stopping", "finished")  # of runs; records.STATES, and a test compares
RESULTS = (
    "success", "exit-code", "signal", "core-dump", "timeout", "protocol", "watchdog", "oom-kill", "start-limit-hit",
    "start-failed", "dependency", "stopped", "canceled", "lost",
)  # fmt: skip
FAILED = "failed"  # of runs: every bad result


# Of systemctl --type=help.
TYPE = "service"
OTHER_TYPES = (
    "automount", "device", "mount", "path", "scope", "slice", "socket", "swap", "target", "timer",
)  # fmt: skip


def help_asked(types: tuple[str, ...], states: tuple[str, ...]) -> str:
    """The words that --type=help or --state=help ask for; "" when neither does.

    Raises:
        UsageError: there are no jobs of this type.
    """
    if HELP in types:
        return f"Available job types:\n{TYPE}\n"
    for word in (word for group in types for word in group.split(",") if word):
        if word in OTHER_TYPES:
            raise UsageError(f"cannot list {word} units: jobctl knows jobs, which are what systemctl calls {TYPE}s")
        if word not in (TYPE, "job"):
            raise UsageError(f"unknown type {word!r}: every job is a {TYPE}")
    return job_help() if asks_for_help(states) else ""


def asks_for_help(groups: tuple[str, ...]) -> bool:
    """Whether the words themselves were asked for, as by `systemctl --state=help`."""
    return HELP in groups


def job_help() -> str:
    """What a job can be, as systemctl lists it."""
    parts = (("LOAD", LOAD), ("ACTIVE", ACTIVE), ("SUB", SUB))
    return "\n".join(f"{name} states:\n" + "".join(f"{word}\n" for word in words) for name, words in parts)


def run_help() -> str:
    """What a run can be, and how it can have ended."""
    parts = (("States", STATES), ("Results", (*RESULTS, FAILED)))
    return "\n".join(f"{name} of runs:\n" + "".join(f"{word}\n" for word in words) for name, words in parts)


def file_help() -> str:
    """What a job file can be."""
    return "States of job files:\n" + "".join(f"{word}\n" for word in FILES)


def of_files(groups: tuple[str, ...]) -> list[str]:
    """The words for `list-job-files`. Raises UsageError."""
    return _checked(groups, FILES, SYSTEMD_FILES)


def of_jobs(groups: tuple[str, ...]) -> list[str]:
    """The words for `list`. Raises UsageError for one that means nothing: it would find nothing, without a word."""
    return _checked(groups, (*ACTIVE, *SUB, *LOAD), SYSTEMD)


def of_runs(groups: tuple[str, ...]) -> list[str]:
    """The words for `history`. Raises UsageError."""
    return _checked(groups, (*STATES, *RESULTS, FAILED), ())


_OTHERS = {  # words of Slurm and pueue
    "pending": "queued", "waiting": "queued", "stashed": "held", "completed": "success", "done": "success",
    "cancelled": "canceled", "killed": "signal", "out_of_memory": "oom-kill", "node_fail": "lost",
}  # fmt: skip


def _checked(groups: tuple[str, ...], known: tuple[str, ...], silent: tuple[str, ...]) -> list[str]:
    words = [word for group in groups for word in group.split(",") if word]
    for word in words:
        if word not in known and word not in silent:
            other = _OTHERS.get(word.lower(), "")
            meant = other if other in known else closest(word.lower(), known)
            hint = f"did you mean {meant!r}?" if meant else "see --state=help"
            raise UsageError(f"unknown state {word!r}; {hint}")
    return words
