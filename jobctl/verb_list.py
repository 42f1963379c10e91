"""list, is-active, is-failed: many jobs at a glance, with systemctl's columns and statuses."""

from __future__ import annotations

import os

from jobctl import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import (
        All,
        Failed,
        FullLines,
        ListOutput,
        NoLegend,
        OptionalJobs,
        OptionalPatterns,
        Patterns,
        Plain,
        Quiet,
        States,
    )
    from jobctl.shapes import JobView

BULLETED = ("failed", "activating", "deactivating", "reloading")
NONE_ACTIVE, NONE_FAILED, NONE_EXISTS = 3, 1, 4  # as systemctl
COLUMNS = ("JOB", "LOAD", "ACTIVE", "SUB", "DESCRIPTION")
LEGEND = """
LOAD   = Reflects whether the job's definition was properly loaded.
ACTIVE = The high-level activation state, i.e. generalization of SUB.
SUB    = The low-level activation state.
"""


def list_jobs(
    client: Client,
    patterns: OptionalPatterns = (),
    *,
    every: All = False,
    states: States = (),
    failed: Failed = False,
    full: FullLines = False,
    plain: Plain = False,
    no_legend: NoLegend = False,
    quiet: Quiet = False,
    output: ListOutput = None,
) -> int:
    """List jobs that are active, queued or failed.

    A finished job leaves the list when it succeeded. This is the verb when none is given.
    """
    wanted = []
    if states:
        from jobctl import statewords

        if statewords.asks_for_help(states):
            terminal.say(statewords.job_help())
            return 0
        wanted = statewords.of_jobs(states)
    if failed:
        wanted.append("failed")
    views = fetch(client, patterns, every, wanted)
    if output is not None and output != "name":
        from jobctl import rows

        rows.is_json(output, "name")
        rows.print_json([rows.job_row(view) for view in views], output)
    elif output == "name":
        from jobctl import names

        terminal.say("".join(f"{names.view_name(view, client)}\n" for view in views))
    else:
        terminal.say(_table(client, views, full, plain, legend=not (no_legend or quiet), every=every))
    if not quiet and client.path != client.target.socket and not client.target.mode:
        _mention_own(client)
    return 0


def fetch(client: Client, patterns: tuple[str, ...], every: bool, states: list[str]) -> list[JobView]:
    """All the pages of a list."""
    views: list[JobView] = []
    after = ""
    while True:
        body = client.call(
            {"type": "list", "patterns": list(patterns), "all": every, "states": list(states), "after": after}
        )
        views += body["jobs"]
        after = body.get("more", "")
        if not after:
            return views


def _mention_own(client: Client) -> None:
    """When the system's daemon answered and the caller's own has live jobs too, say so."""
    from jobd.core import paths

    if client.path != paths.SYSTEM_SOCKET or os.geteuid() == 0:
        return
    from jobctl.client import Client as Other
    from jobctl.connect import Target
    from jobctl.exits import ConnectionLostError, Fault

    own = Other(Target(paths.USER), start=False)
    try:
        count = len(own.call({"type": "list"}, repeat=False)["jobs"])
    except (Fault, ConnectionLostError):
        return
    finally:
        own.close()
    if count:
        terminal.note(f"{count} more: jobctl --user")


def _table(client: Client, views: list[JobView], full: bool, plain: bool, legend: bool, every: bool) -> str:
    lines = [_cells(client, view) for view in views]
    widths = [max(len(row[i]) for row in [*lines, COLUMNS]) for i in range(len(COLUMNS) - 1)]
    colour = terminal.use_colour()
    width = 0 if full else terminal.columns()
    out = []
    if lines and legend:
        out.append(_line("" if plain else "  ", COLUMNS, widths, width))
    for view, row in zip(views, lines, strict=True):
        bullet = "" if plain else _bullet(view, colour)
        text = _line("" if plain else "  ", row, widths, width)
        out.append(bullet + text if plain else bullet + text[1:])
    text = "\n".join(out) + "\n" if out else ""
    if legend:
        text += (LEGEND if lines else "") + f"\n{len(views)} job{'' if len(views) == 1 else 's'} listed."
        text += "\n" if every else " Pass --all to see inactive jobs, too.\n"
        text = text if lines else text.lstrip("\n")
    return text


def _cells(client: Client, view: JobView) -> tuple[str, ...]:
    from jobctl import names
    from jobctl.escape import escape, show_command

    description = view.get("description") or show_command(view.get("argv", []), view.get("shell", False))
    return (
        names.view_name(view, client),
        view.get("load", "loaded"),
        view.get("active", "inactive"),
        view.get("sub", "dead"),
        escape(description) or "-",
    )


def _line(indent: str, row: tuple[str, ...], widths: list[int], width: int) -> str:
    cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=False)]
    text = f"{indent}{' '.join(cells)} {row[-1]}"
    return f"{text[: width - 1]}…" if width and len(text) > width else text


def _bullet(view: JobView, colour: bool) -> str:
    active = view.get("active", "inactive")
    if view.get("load", "loaded") == "loaded" and active not in BULLETED:
        return " "
    glyph = terminal.FAILED_GLYPH if active == "failed" else terminal.GLYPH
    return f"{terminal.RED}{glyph}{terminal.PLAIN}" if colour and active == "failed" else glyph


def is_active(client: Client, jobs: Patterns, *, quiet: Quiet = False) -> int:
    """Say whether jobs are active: 0 if at least one is, 3 if none is, 4 if none exists."""
    return _any_is(client, jobs, ("active", "reloading"), quiet, NONE_ACTIVE)


def is_failed(client: Client, jobs: OptionalJobs = (), *, quiet: Quiet = False) -> int:
    """Say whether jobs have failed: 0 if at least one has, 1 if none has, 4 if none exists.

    Without a job: whether the daemon is degraded.
    """
    if jobs:
        return _any_is(client, jobs, ("failed",), quiet, NONE_FAILED)
    state = client.call({"type": "daemon-status"})["state"]
    if not quiet:
        terminal.say(f"{state}\n")
    return 0 if state == "degraded" else NONE_FAILED


def _any_is(client: Client, jobs: tuple[str, ...], states: tuple[str, ...], quiet: bool, none: int) -> int:
    views = client.call({"type": "get", "names": list(jobs)})["jobs"]
    if not quiet:
        terminal.say("".join(f"{view.get('active', 'inactive')}\n" for view in views))
    if any(view.get("active", "inactive") in states for view in views):
        return 0
    return none if any(view.get("load", "loaded") != "not-found" for view in views) else NONE_EXISTS
