"""What `queue list` and `queue show` print."""

from __future__ import annotations

import time

from jobctl import names, terminal, times
from jobctl.escape import escape, show_command
from jobctl.status_text import LABEL_WIDTH
from jobctl.table import Table
from jobctl.verb_queue import INFINITY, shown_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.shapes import Body, Json, QueueView, RunView

COLUMNS = ("QUEUE", "OWNER", "STATE", "SLOTS", "USED", "RUNNING", "WAITING", "HELD", "REASON")
RUN_COLUMNS = ("POS", "RUN", "JOB", "STATE", "PRIO", "WEIGHT", "QUEUED", "COMMAND")
EVERYBODY = "shared"
NONE = "-"
COLOURS = {"paused": terminal.YELLOW, "draining": terminal.YELLOW}


# --- list -----------------------------------------------------------------------------------------------------------
def list_queues(
    client: Client, patterns: list[str], every: bool, full: bool, no_legend: bool, output: str | None
) -> int:
    """Show queues, a line each; 0."""
    views = client.call({"type": "queue-list", "patterns": patterns, "all": every})["queues"]
    own = {view["name"] for view in views if view.get("owner") == client.uid}
    shown = [_name(view, client, view["name"] in own) for view in views]
    if output == "name":
        terminal.say("".join(f"{name}\n" for name in shown))
    elif output is not None:
        from jobctl.rows import print_json
        from jobctl.rows_queues import queue_row

        print_json([queue_row(view) for view in views], output)
    else:
        _print_queues(views, shown, full, legend=not no_legend)
    return 0


def _name(view: QueueView, client: Client, shadowed: bool) -> str:
    return escape(shown_queue(view["name"], view.get("owner"), client.uid, shadowed))


def _print_queues(views: list[QueueView], shown: list[str], full: bool, legend: bool) -> None:
    rows = [_cells(view, name) for view, name in zip(views, shown, strict=True)]
    table = Table(COLUMNS, 0, gap="  ", full=full)
    table.fit(rows)
    lines = [table.top()] if legend else []
    lines += [table.line(row, ("", "", COLOURS.get(row[2], ""))) for row in rows]
    if legend:
        lines += ["", f"{len(rows)} queue{'' if len(rows) == 1 else 's'} listed."]
    terminal.say("".join(f"{line}\n" for line in lines))


def _cells(view: QueueView, name: str) -> tuple[str, ...]:
    numbers = (view.get("used", 0), view.get("running", 0), view.get("waiting", 0), view.get("held", 0))
    return (
        name,
        _owner(view),
        escape(view.get("state", "open")),
        _slots(view),
        *map(str, numbers),
        _reason(view) or NONE,
    )


def _owner(view: QueueView) -> str:
    owner = view.get("owner")
    return EVERYBODY if owner is None else names.owner_name(owner)


def _reason(view: QueueView) -> str:
    """Why nothing more begins, where there is no "queue build" before it; "" for what its state says."""
    reason = view.get("reason", "").removeprefix("is ")
    return "" if reason == view.get("state") else escape(reason)


def _slots(view: QueueView) -> str:
    slots = view.get("slots")
    return INFINITY if slots is None else str(slots)


# --- show -----------------------------------------------------------------------------------------------------------
def show_queue(client: Client, name: str, full: bool, no_legend: bool, output: str | None) -> int:
    """Show a queue, and its runs in order: what runs, what waits, what is held; 0."""
    pages = _pages(client, name)
    if output is not None:
        _print_json(pages, output)
        return 0
    first = next(pages)
    terminal.say(_head(client, first, name))
    table = Table(RUN_COLUMNS, RUN_COLUMNS.index("JOB"), gap="  ", full=full)
    legend = not no_legend
    now = time.time_ns()
    for body in _with_first(first, pages):  # a page at a time: the first is there at once, however many there are
        if not body["runs"]:
            continue
        rows = [_run_cells(client, run, now) for run in body["runs"]]
        table.fit(rows)
        lines = ["", table.top()] if legend else []
        legend = False
        terminal.say("".join(f"{line}\n" for line in (*lines, *map(table.line, rows))))
    others = first.get("others", 0)
    if others:
        terminal.say(
            f"\n{others} run{'' if others == 1 else 's'} of others {'is' if others == 1 else 'are'} not shown.\n"
        )
    return 0


def _pages(client: Client, name: str) -> Iterator[Body]:
    after = ""
    while True:
        body = client.call({"type": "queue-show", "name": name, **({"after": after} if after else {})})
        yield body
        after = body.get("more", "")
        if not after:
            return


def _with_first(first: Body, rest: Iterator[Body]) -> Iterator[Body]:
    yield first
    yield from rest


def _print_json(pages: Iterator[Body], output: str) -> None:
    from jobctl.rows import print_json, run_row
    from jobctl.rows_queues import queue_row

    row: dict[str, Json] = {}
    runs: list[Json] = []
    for body in pages:
        row = row or {**queue_row(body["view"]), "others": body.get("others", 0)}
        runs += [run_row(run) for run in body["runs"]]
    print_json({**row, "runs": runs}, output)


def _head(client: Client, body: Body, asked: str) -> str:
    """The lines above the runs."""
    view = body["view"]
    name = escape(asked) if view.get("owner") is None else _name(view, client, shadowed=False)
    state = view.get("state", "open")
    glyph, colour = terminal.GLYPH, COLOURS.get(state, terminal.GREEN)
    if terminal.use_colour():
        glyph = f"{colour}{glyph}{terminal.PLAIN}"
    counts = (("running", "running"), ("waiting", "waiting"), ("held", "held"))
    numbers = {"running": view.get("running", 0), "waiting": view.get("waiting", 0), "held": view.get("held", 0)}
    fields = (
        ("State", "; ".join(part for part in (escape(state), _reason(view)) if part)),
        ("Owner", _owner(view)),
        ("Slots", f"{_slots(view)} ({view.get('used', 0)} taken)"),
        ("Runs", ", ".join(f"{numbers[key]} {word}" for key, word in counts)),
    )
    lines = "".join(f"{label:>{LABEL_WIDTH}}: {value}\n" for label, value in fields)
    return f"{glyph} {name}\n{lines}"


def _run_cells(client: Client, run: RunView, now: int) -> tuple[str, ...]:
    queued = run.get("queued_at")
    return (
        str(run.get("position") or NONE),
        names.short_id(run["run"]),
        f"{names.shown_name(run['job'], run['owner'], client.uid)}#{run['number']}",
        run_state(run),
        str(run.get("priority", 0)),
        str(run.get("weight", 1)),
        NONE if queued is None else f"{times.ago((now - queued) // 1000)} ago",
        show_command(run.get("argv", []), run.get("shell", False)),
    )


def run_state(run: RunView) -> str:
    """`held` of a run that waits to be released, else its state."""
    return "held" if run.get("held") and run["state"] == "queued" else run["state"]
