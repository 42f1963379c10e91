"""What the jobs of the model are to jobd: commands, settings, and the text of job files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tests.fault.model_rows import (
    BY_COMMAND,
    BY_FAILING,
    BY_SIGNAL,
    FOREVER,
    GATE,
    GREETING,
    MISSING,
    NO_RELOAD,
    Plan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Everything is open to both ends of a gate at once: so what is told to a job that lives is never lost.
SCRIPT: Final = """trap 'echo {signal} >&2' HUP; exec 3<>{gate}; printf '{greeting} %s\\n' "$JOBD_RUN"
while :; do read -r line <&3 && eval "$line"; done"""
RELOADS: Final = {
    NO_RELOAD: {},
    BY_SIGNAL: {"signal": "HUP"},
    BY_COMMAND: {"command": f"/bin/sh -c 'echo {BY_COMMAND} >&2'"},
    BY_FAILING: {"command": f"/bin/sh -c 'echo {BY_FAILING} >&2; exit 3'"},
}
MARK: Final = "# plan: "


def command(kind: str, gate: Path) -> list[str]:
    if kind == MISSING:
        return ["/nonexistent/program"]
    if kind != GATE:
        return ["/bin/sh", "-c", f"printf '{GREETING} %s\\n' \"$JOBD_RUN\"; exit {kind}"]
    return ["/bin/sh", "-c", SCRIPT.format(gate=gate, greeting=GREETING, signal=BY_SIGNAL)]


def settings(plan: Plan) -> dict[str, str]:
    """As of `run -p`."""
    found = {"weight": str(plan.weight)}
    if plan.restart:
        found |= {"restart": "on-failure", "restart_delay": FOREVER}
    return found | {f"reload.{key}": value for key, value in RELOADS[plan.reload].items()}


def file_text(plan: Plan | None, words: Sequence[str], env: Mapping[str, str], queue: str) -> str:
    """A job file, from which `plan_in` tells what it says; without a plan one with an error."""
    lines = [f"{MARK}{plan!r}"]
    if plan is None:
        return "\n".join([*lines, 'comand = "true"', ""])
    table = ", ".join(f"{name} = {quoted(value)}" for name, value in env.items())
    lines += [f"command = [{', '.join(map(quoted, words))}]", f"environment = {{ {table} }}"]
    lines += [f"priority = {plan.priority}", f"weight = {plan.weight}", f"queue = {quoted(queue)}"]
    if plan.restart:
        lines += ['restart = "on-failure"', f"restart_delay = {quoted(FOREVER)}"]
    lines += [f"reload.{key} = {quoted(value)}" for key, value in RELOADS[plan.reload].items()]
    return "\n".join([*lines, ""])


def plan_in(text: str) -> str:
    return text.partition("\n")[0].removeprefix(MARK)


def quoted(text: str) -> str:
    """As TOML has it, and % as job files have it."""
    return json.dumps(text.replace("%", "%%"))
