"""What reading definitions again changes, and what a definition lets be done. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import names, records, service
from jobd.core.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.records import JobRow

ADDED, CHANGED, REMOVED, BROKEN, UNCHANGED = "added", "changed", "removed", "broken", "unchanged"

# Fields of JobSpec by the keys of a job file that make them. Those of a service's readiness, health and limits are
# shown as the table they stand in: what of it has changed the person knows who has changed it.
KEY_OF: Final[dict[str, str]] = {
    "argv": "command", "shell": "command", "cwd": "working_directory", "env_files": "environment_file",
    "umask": "limits.umask", "rlimits": "limits", "nice": "limits.nice", "stop_signal": "stop.signal",
    "stop_timeout_usec": "stop.timeout", "kill_mode": "stop.kill_mode", "runtime_usec": "limits.runtime",
    "log_max_size": "logs.max_size", "merge_output": "logs.merge_output", "on_full": "logs.on_full",
    "success_codes": "success_exit_status", "success_signals": "success_exit_status", "stdin": "command",
    "restart_delay_usec": "restart_delay", "restart_max_delay_usec": "restart_max_delay",
    "restart_prevent_codes": "restart_prevent_exit_status", "restart_prevent_signals": "restart_prevent_exit_status",
    "ready_timeout_usec": "ready.timeout", "watchdog_usec": "watchdog.interval", "stop_command": "stop.command",
    "reload_signal": "reload.signal", "reload_command": "reload.command", "memory_max": "limits.memory",
    "cpu_percent": "limits.cpu", "tasks_max": "limits.tasks", "oom_score_adjust": "limits.oom_score_adjust",
    "gid": "user",
}  # fmt: skip
ENVIRONMENT: Final = "environment"
# What is asked of a job, and not of one of its runs: it counts from now on.
AT_ONCE: Final = frozenset({"description", *service.DEPENDENCIES})

# Why a job cannot be started, whoever wants it to.
MASKED, BAD, MISSING, TEMPLATE = "masked", "bad-setting", "not-found", "template"


def changed_keys(old: JobSpec, new: JobSpec, old_env: Sequence[bytes], new_env: Sequence[bytes]) -> list[str]:
    """The keys of a job file that have other values, each once."""
    found = [KEY_OF.get(f, f) for f in JobSpec.__struct_fields__ if getattr(old, f) != getattr(new, f)]
    if list(old_env) != list(new_env):
        found.append(ENVIRONMENT)
    return list(dict.fromkeys(found))


def needs_restart(keys: Sequence[str]) -> bool:
    """Whether a run goes on with what these were."""
    return not AT_ONCE.issuperset(keys)


def obstacle(row: JobRow) -> tuple[str, str] | None:
    """Why a job cannot be started: one of the words above, and the end of a sentence; None: it can."""
    if row.masked:
        return MASKED, "it is masked"
    if names.is_template(row.job) and not row.transient:
        return TEMPLATE, f"it is a template; name an instance of it, such as {row.job}1"
    if row.load == records.NOT_FOUND:
        return MISSING, "its file is gone" if row.file else "it has no definition"
    if row.load == records.BAD_SETTING:
        return BAD, f"its definition cannot be taken: {row.problem}"
    return None


def is_idle_leftover(row: JobRow) -> bool:
    """Whether nothing keeps this row: its definition is gone, nobody has enabled or masked it, and it has not failed.

    Its state decides besides: of a job that is not at rest the row stays.
    """
    return row.load == records.NOT_FOUND and not (row.enabled or row.masked or row.transient) and row.sub == "dead"
