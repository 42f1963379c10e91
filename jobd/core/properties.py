"""What `set-property` may change of a job that is there, and what of it a run takes up while it goes on. Pure.

What says which program runs, as whom and where is not among it: that is another job, or an edit of its file. Neither is
how jobs hang together.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import jobwords, keytext, names, settings
from jobd.core.jobkeys import KEYS
from jobd.core.spec import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.core.spec import JobSpec

# By the kernel, for what runs: the control group's, the main process's, and that of all processes.
LIMITS: Final = ("limits.memory", "limits.cpu", "limits.tasks", "limits.nofile", "limits.core")
OOM: Final = "limits.oom_score_adjust"
# By the daemon, which looks when it is due. A stop that is under way goes on as it began.
AT_ONCE: Final = (
    "description", "restart", "restart_delay", "restart_max_delay", "start_limit", "success_exit_status",
    "restart_prevent_exit_status", "stop.signal", "stop.timeout", "stop.kill_mode", "limits.runtime",
    "logs.keep_runs", "logs.keep_for",
)  # fmt: skip
# What a process is made with.
NEXT: Final = (
    "limits.nice", "logs.max_size", "logs.on_full", "ready.timeout", "remain_after_exit", "watchdog.interval",
)  # fmt: skip
# Of a run that waits: where it stands. One that has begun has had its turn.
PLACES: Final = ("queue", "priority", "weight")
KEYS_TO_SET: Final = (*AT_ONCE, *LIMITS, OOM, *NEXT, *PLACES)

RLIMITS: Final = "rlimits"  # the field of several keys
# Fields of JobSpec that the keeper has to be told of, by the key.
KERNEL: Final[Mapping[str, str]] = {
    "limits.memory": "memory_max",
    "limits.cpu": "cpu_percent",
    "limits.tasks": "tasks_max",
    "limits.nofile": RLIMITS,
    "limits.core": RLIMITS,
    OOM: "oom_score_adjust",
}
NOW, LATER = "now", "at the next start"


def read(asked: Mapping[str, str]) -> dict[str, object]:
    """The settings as fields of JobSpec; of `rlimits` those that are asked for.

    Raises:
        SpecError: a key that is none, or not to be set, or a value that cannot be read.
    """
    if not asked:
        raise SpecError("cannot set nothing: KEY=VALUE is missing")
    for key in asked:
        within = [known for known in KEYS if known.startswith(f"{key}.")]  # of a table
        settable = [known for known in within if known in KEYS_TO_SET]
        if settable:
            raise SpecError(f"cannot set all of {key} at once: set a key of it, such as {settable[0]}")
        if within or (key in KEYS and key not in KEYS_TO_SET):
            raise SpecError(f"cannot set {key} of a job that is there; its definition says that: edit it")
        if key not in KEYS:
            hint = jobwords.meant(key)
            meant = names.closest(key, KEYS_TO_SET) if hint is None else None
            found = hint or (f'; did you mean "{meant}"?' if meant else "")
            raise SpecError(f'cannot set "{key[:60]}": there is no such key{found}')
    return settings.parse_settings(asked)


def applied(spec: JobSpec, fields: Mapping[str, object]) -> JobSpec:
    """The spec with these fields; limits of processes that are not named stay."""
    rlimits = fields.get(RLIMITS)
    if isinstance(rlimits, dict):
        fields = {**fields, RLIMITS: {**spec.rlimits, **rlimits}}
    return replace(spec, **fields)


def of_a_run(asked: Mapping[str, str], fields: Mapping[str, object], waits: bool = False) -> dict[str, object]:
    """Those of the fields that a run takes up while it goes on, or while it `waits` for its turn."""
    later = {KEYS[key].field for key in (NEXT if waits else (*NEXT, *PLACES)) if key in asked}
    return {name: value for name, value in fields.items() if name not in later}


def for_the_keeper(asked: Mapping[str, str], fields: Mapping[str, object]) -> dict[str, object]:
    """What the keeper has to change of a run: as in its message."""
    found: dict[str, object] = {}
    for key in asked:
        name = KERNEL.get(key)
        if name is not None and name in fields:
            value = fields[name]
            found[name] = {one: list(pair) for one, pair in value.items()} if isinstance(value, dict) else value
    return found


def is_in_force(spec: JobSpec, fields: Mapping[str, object]) -> bool:
    """Whether a definition says all of this already."""
    return applied(spec, fields) == spec


def answer(
    asked: Mapping[str, str], runs: bool, failed: Mapping[str, int], missing: Mapping[str, str], waits: bool = False
) -> list[str]:
    """Key by key, when it takes effect.

    Args:
        asked: the settings.
        runs: whether there is a run to change.
        failed: what the keeper could not change of it, with the errno.
        missing: what this machine cannot do at all, with the reason.
        waits: whether the run has not had its turn.
    """
    lines = []
    for key in asked:
        if key in missing:
            when = f"kept, without effect: {missing[key]}"
        elif key == "description" or (runs and _is_taken_up(key, waits) and KERNEL.get(key) not in failed):
            when = NOW
        else:
            when = LATER
        lines.append(f"{key}: {when}")
    return lines


def _is_taken_up(key: str, waits: bool) -> bool:
    return key not in NEXT and (waits or key not in PLACES)


# --- as a drop-in ---------------------------------------------------------------------------------------------------
DROPIN: Final = "set-property.toml"  # its file name
_HEAD: Final = "# Made by jobctl set-property, which changes it; what stands here goes before the job file.\n"


def dropin(old: str, asked: Mapping[str, str]) -> str:
    """The text of the drop-in that keeps settings, and what another one before it has kept.

    Raises:
        SpecError: the old text is no TOML.
    """
    try:
        said: dict[str, object] = tomllib.loads(old)
    except ValueError as error:
        raise SpecError(f"{DROPIN} is not TOML: {error}") from error
    plain = {key: text if KEYS[key].literal else text.replace("%", "%%") for key, text in asked.items()}
    for key, value in settings.values(plain).items():
        before = said.get(key)
        said[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    lines = [f"{key} = {_text(value)}" for key, value in said.items() if not isinstance(value, dict)]
    for table, values in said.items():
        if isinstance(values, dict):
            lines += ["", f"[{table}]", *(f"{key} = {_text(value)}" for key, value in values.items())]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return str(value) if isinstance(value, int | float) else keytext.quote(str(value))
