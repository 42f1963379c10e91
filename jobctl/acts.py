"""history --audit: who asked for what, when, and with which rights."""

from __future__ import annotations

from jobctl import names, terminal, times
from jobctl.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.shapes import Body

COLUMNS = ("TIME", "USER", "UID", "GID", "PID", "ACT", "JOB", "STATE")
WIDE = 110  # columns from which a full time leaves room for the rest
NONE = "-"


def show(
    client: Client, request: dict[str, object], count: int | None, output: str | None, full: bool, legend: bool
) -> int:
    """Show acts, the newest first; 0.

    Args:
        client: asks.
        request: an Events, with jobs and times.
        count: so many of the newest; None for all.
        output: a format of JSON.
        full, legend: of the table.
    """
    found = _fetch(client, request, count)
    if output is not None:
        from jobctl.rows import print_json
        from jobctl.rows_changes import change_row

        print_json([change_row(body) for body in found], output)
        return 0
    from jobctl.table import Table

    short = not full and 0 < terminal.columns() < WIDE
    rows = [_cells(client, body, short) for body in found]
    table = Table(COLUMNS, COLUMNS.index("JOB"), gap="  ", full=full)
    table.fit(rows)
    lines = [table.top()] if legend else []
    lines += [table.line(row) for row in rows]
    terminal.say("".join(f"{line}\n" for line in lines))
    return 0


def _fetch(client: Client, request: dict[str, object], count: int | None) -> list[Body]:
    """The acts, the newest first. A lost connection goes on behind the last that came."""
    from jobctl.verb_events import Stream

    if count == 0:
        return []
    asked = {**request, "audit": True, **({} if count is None else {"lines": count})}
    found = [body for body in Stream(client, asked, None).bodies() if body["type"] == "change"]
    found.reverse()
    return found


def _cells(client: Client, change: Body, short: bool) -> tuple[str, ...]:
    from jobctl.verb_events import outcome

    by, number = change.get("by_uid"), change.get("number")
    name = names.change_name(change, client.uid)
    return (
        (times.short if short else times.timestamp)(change["at"]),
        NONE if by is None else names.owner_name(by),
        _number(by),
        _number(change.get("by_gid")),
        _number(change.get("by_pid")),
        escape(change["kind"]),
        name if number is None else f"{name}#{number}",
        escape(outcome(change)) or NONE,
    )


def _number(value: int | None) -> str:
    return NONE if value is None else str(value)
