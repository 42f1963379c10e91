"""list-timers: what starts by the clock, with systemctl's columns."""

from __future__ import annotations

import time

from jobctl import names, terminal
from jobctl.escape import escape
from jobctl.times import USEC, ago, rfc3339, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import AllTimers, FullLines, ListOutput, NoLegend, OptionalPatterns
    from jobctl.shapes import Json, TimerView

COLUMNS = ("NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES")
NONE = "-"


def list_timers(
    client: Client,
    patterns: OptionalPatterns = (),
    *,
    every: AllTimers = False,
    full: FullLines = False,
    no_legend: NoLegend = False,
    output: ListOutput = None,
) -> int:
    """List what starts by the clock: jobs with a schedule, and runs that wait for their time.

    The next comes first.
    """
    as_json = False
    if output is not None:
        from jobctl import rows

        as_json = rows.is_json(output, "name")
    views = _fetch(client, patterns, every)
    if as_json:
        assert output is not None
        rows.print_json([_row(view) for view in views], output)
    elif output is not None:
        terminal.say("".join(f"{_name(view, client)}\n" for view in views))
    else:
        _print(client, views, every, full, legend=not no_legend)
    return 0


def _fetch(client: Client, patterns: tuple[str, ...], every: bool) -> list[TimerView]:
    """All the pages."""
    request: dict[str, object] = {"type": "list-timers", "patterns": list(patterns), "all": every}
    views: list[TimerView] = []
    after = ""
    while True:
        body = client.call({**request, "after": after})
        views += body["timers"]
        after = body.get("more", "")
        if not after:
            return views


def _name(view: TimerView, client: Client) -> str:
    return names.shown_name(view["job"], view["owner"], client.uid)


def _print(client: Client, views: list[TimerView], every: bool, full: bool, legend: bool) -> None:
    from jobctl.table import Table

    now = time.time_ns()
    rows = [_cells(client, view, now) for view in views]
    table = Table(COLUMNS, COLUMNS.index("UNIT"), full=full)
    table.fit(rows)
    lines = [table.top()] if legend else []
    lines += map(table.line, rows)
    if legend:
        more = "" if every else "\nPass --all to see those that are not enabled, too."
        lines += ["", f"{len(rows)} timer{'' if len(rows) == 1 else 's'} listed.{more}"]
    terminal.say("".join(f"{line}\n" for line in lines))


def _cells(client: Client, view: TimerView, now: int) -> tuple[str, ...]:
    due, last = view.get("next"), view.get("last")
    name = escape(_name(view, client))
    return (
        NONE if due is None else timestamp(due),
        NONE if due is None else _left(due, now),
        NONE if last is None else timestamp(last),
        NONE if last is None else f"{ago(max(0, now - last) // USEC)} ago",
        name,
        name,
    )


def _left(due: int, now: int) -> str:
    """How long it is until then: `11h left`."""
    return f"{ago((due - now) // USEC)} left" if due > now else "now"


def _row(view: TimerView) -> dict[str, Json]:
    due, last, run = view.get("next"), view.get("last"), view.get("run")
    schedule: list[Json] = [*view.get("schedule", [])]
    return {
        "job": view["job"],
        "owner": names.owner_name(view["owner"]),
        "run": None if run is None else names.full_id(run),
        "next": None if due is None else rfc3339(due),
        "last": None if last is None else rfc3339(last),
        "schedule": schedule,
        "active": view.get("active", "inactive"),
        "description": view.get("description", ""),
    }
