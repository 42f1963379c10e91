"""list, is-active, is-failed: many jobs at a glance, with systemctl's columns and statuses."""

from __future__ import annotations

import os
import time

from jobctl import terminal
from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobctl.client import Client
    from jobctl.options import (
        All,
        Failed,
        FullLines,
        InQueue,
        JobTypes,
        JsonOutput,
        Legend,
        ListOutput,
        NoLegend,
        OptionalJobs,
        OptionalPatterns,
        Patterns,
        Plain,
        Quiet,
        States,
    )
    from jobctl.shapes import Body, JobView

GLYPHS = {  # of systemctl: what is failed or on its way has one, and its colour
    "failed": (terminal.FAILED_GLYPH, terminal.RED),
    "activating": (terminal.GLYPH, ""),
    "deactivating": (terminal.GLYPH, ""),
    "reloading": ("↻", terminal.GREEN),
}
FAILED_COLOURS = (terminal.RED, "", terminal.RED, terminal.RED)  # of all columns but LOAD and DESCRIPTION
RETRYING_COLOURS = ("", "", terminal.YELLOW, terminal.YELLOW)
UNLOADED_COLOURS = ("", terminal.RED)  # systemctl's, as is the yellow bullet
UNLOADED = ("not-found", "bad-setting", "masked")
RETRYING = "auto-restart"
NONE_ACTIVE, NONE_FAILED, NONE_EXISTS = 3, 1, 4  # as systemctl
TRUE, FALSE = ("yes", "y", "1", "true", "t", "on"), ("no", "n", "0", "false", "f", "off")  # systemd's booleans
PATIENCE_SEC = 0.2  # for one's own daemon, which is asked besides
WAITING = 100  # of each queue, that a person is shown
COLUMNS = ("JOB", "LOAD", "ACTIVE", "SUB", "DESCRIPTION")
LEGEND = (
    "",
    "LOAD   = Reflects whether the job's definition was properly loaded.",
    "ACTIVE = The high-level activation state, i.e. generalization of SUB.",
    "SUB    = The low-level activation state.",
    "",
)


def list_jobs(
    client: Client,
    patterns: OptionalPatterns = (),
    *,
    every: All = False,
    states: States = (),
    failed: Failed = False,
    queue: InQueue = None,
    full: FullLines = False,
    plain: Plain = False,
    no_legend: NoLegend = False,
    legend: Legend = "yes",
    types: JobTypes = (),
    quiet: Quiet = False,
    output: ListOutput = None,
) -> int:
    """List jobs that are active, queued, enabled or failed.

    A finished job leaves the list when it succeeded. This is the verb when none is given.
    """
    as_json = False
    if output is not None:
        from jobctl import rows

        as_json = rows.is_json(output, "name")
    if types or states:
        from jobctl import statewords

        asked = statewords.help_asked(types, states)
        if asked:
            terminal.say(asked)
            return 0
        states = tuple(statewords.of_jobs(states))
    shows_legend = _boolean(legend) and not no_legend and not quiet
    wanted = [*states, *(["failed"] if failed else [])]
    if output is None:
        waiting = WAITING if terminal.is_terminal() and not (every or wanted) else None
        pages = _pages(client, patterns, every, wanted, queue or "", waiting)
        _print_table(client, pages, full=full, plain=plain, count=_count(every, wanted) if shows_legend else "")
    else:
        views = fetch(client, patterns, every, wanted, queue or "")
        _print_others(client, views, output, as_json)
    if not quiet and client.path != client.target.socket and not client.target.mode:
        _mention_own(client)
    return 0


def _print_others(client: Client, views: list[JobView], output: str, as_json: bool) -> None:
    """As JSON, or names alone."""
    if as_json:
        from jobctl import rows

        rows.print_json([rows.job_row(view) for view in views], output)
    else:
        from jobctl import names

        terminal.say("".join(f"{names.view_name(view, client)}\n" for view in views))


def _boolean(word: str) -> bool:
    if word.lower() in (*TRUE, *FALSE):
        return word.lower() in TRUE
    raise UsageError(f"cannot read --legend={word}: it is yes or no")


def fetch(
    client: Client,
    patterns: tuple[str, ...],
    every: bool,
    states: list[str],
    queue: str = "",
    waiting: int | None = None,
) -> list[JobView]:
    """All the pages of a list. `waiting`: of each queue at most so many that wait."""
    return [view for page in _pages(client, patterns, every, states, queue, waiting) for view in page["jobs"]]


def _pages(
    client: Client, patterns: tuple[str, ...], every: bool, states: list[str], queue: str, waiting: int | None = None
) -> Iterator[Body]:
    """The pages of a list. `waiting`: of each queue at most so many that wait."""
    request: dict[str, object] = {"type": "list", "patterns": list(patterns), "all": every, "states": list(states)}
    if queue:
        request["queue"] = queue
    if waiting is not None:
        request["waiting"] = waiting
    after = ""
    while True:
        body = client.call({**request, "after": after})
        yield body
        after = body.get("more", "")
        if not after:
            return


def _mention_own(client: Client) -> None:
    """When the system's daemon answered and the caller's own has live jobs too, say so."""
    from jobd.core import paths

    if client.path != paths.SYSTEM_SOCKET or client.target.host or os.geteuid() == 0:
        return
    from jobctl.client import Client as Other
    from jobctl.connect import Target
    from jobctl.exits import ConnectionLostError, Fault

    own = Other(Target(paths.USER), start=False)
    own.deadline = time.monotonic() + PATIENCE_SEC
    try:
        views = own.call({"type": "list"}, repeat=False)["jobs"]
    except (Fault, ConnectionLostError, TimeoutError):
        return
    finally:
        own.close()
    count = sum(view.get("active", "inactive") not in ("inactive", "failed") for view in views)
    if count:
        terminal.note(f"{count} more: jobctl --user")


def _count(every: bool, states: list[str]) -> str:
    """The last line, with a place for the number, and where to look for more."""
    text = "{} job{} listed."
    if terminal.use_colour():
        text = f"{terminal.BOLD}{text}{terminal.PLAIN}"
    return text if every or states else f"{text} Pass --all to see inactive jobs, too."


def _print_table(client: Client, pages: Iterable[Body], *, full: bool, plain: bool, count: str) -> None:
    """The jobs, and above and below them the legend unless `count` is empty.

    A person sees the first page at once, however many there are; elsewhere all of it has the same columns.
    """
    from jobctl.table import Table

    table = Table(COLUMNS, COLUMNS.index("JOB"), indent="" if plain else "  ", full=full)
    shown, headed = 0, not count
    left_out: dict[str, int] = {}
    for views in _at_once(pages, left_out):
        rows = [_cells(client, view) for view in views]
        table.fit(rows)
        lines = [] if headed else [table.top()]
        headed = True
        for view, row in zip(views, rows, strict=True):
            glyph, colour, colours = _look(view)
            lines.append(table.line(row, colours, "" if plain else _mark(glyph, colour)))
        shown += len(views)
        terminal.say("".join(f"{line}\n" for line in lines))
    lines = [_more(client, queue, number) for queue, number in left_out.items()]
    if count:
        if not shown:
            count = count.replace(terminal.BOLD, terminal.RED)
        last = count.format(shown, "" if shown == 1 else "s")
        lines += [*(LEGEND if shown else ()), last]
    width = 0 if full else terminal.columns()  # a line that less had to chop would keep it open
    terminal.say("".join(f"{terminal.cut(line, width)}\n" for line in lines))


def _at_once(pages: Iterable[Body], left_out: dict[str, int]) -> Iterator[list[JobView]]:
    """The jobs, page by page on a terminal; how many that wait are left out is noted in `left_out`."""
    views: list[JobView] = []
    for page in pages:
        left_out.update(page.get("left_out", {}))
        views += page["jobs"]
        if terminal.is_terminal():
            yield views
            views = []
    if views or not terminal.is_terminal():
        yield views


def _more(client: Client, queue: str, number: int) -> str:
    """What stands in place of those that wait and are not shown."""
    from jobctl.escape import escape

    if not queue:
        return f"… {number:,} more wait: {client.target.program} list --state=queued"
    return f"… {number:,} more wait in queue {escape(queue)}: {client.target.program} queue show {escape(queue)}"


def _look(view: JobView) -> tuple[str, str, tuple[str, ...]]:
    """The bullet, its colour, and those of the cells."""
    glyph, colour = GLYPHS.get(view.get("active", "inactive"), ("", ""))
    if colour == terminal.RED:
        return glyph, colour, FAILED_COLOURS
    if view.get("load", "loaded") in UNLOADED:
        return glyph or terminal.GLYPH, terminal.YELLOW, UNLOADED_COLOURS
    return (glyph, terminal.YELLOW, RETRYING_COLOURS) if view.get("sub") == RETRYING else (glyph, colour, ())


def _mark(glyph: str, colour: str) -> str:
    """The two columns before a job's name."""
    if not glyph:
        return ""
    return f"{colour}{glyph}{terminal.PLAIN} " if colour and terminal.use_colour() else f"{glyph} "


def _cells(client: Client, view: JobView) -> tuple[str, ...]:
    from jobctl import names
    from jobctl.escape import escape, show_command

    description = view.get("description") or show_command(view.get("argv", []), view.get("shell", False))
    if view.get("array"):
        from jobctl import array_words

        description = f"{array_words.counts(view)}: {description}"
    return (
        names.view_name(view, client),
        view.get("load", "loaded"),
        view.get("active", "inactive"),
        "frozen" if view.get("frozen") else view.get("sub", "dead"),
        escape(description) or "-",
    )


def is_active(client: Client, jobs: Patterns, *, quiet: Quiet = False, output: JsonOutput = None) -> int:
    """Say whether jobs are active: 0 if at least one is, 3 if none is, 4 if none exists."""
    return _any_is(client, jobs, ("active", "reloading"), NONE_ACTIVE, quiet, output)


def is_failed(client: Client, jobs: OptionalJobs = (), *, quiet: Quiet = False, output: JsonOutput = None) -> int:
    """Say whether jobs have failed: 0 if at least one has, 1 if none has, 4 if none exists.

    Without a job: whether the daemon is degraded.
    """
    if jobs:
        return _any_is(client, jobs, ("failed",), NONE_FAILED, quiet, output)
    as_json = _is_json(output)
    body = client.call({"type": "daemon-status"})
    if as_json and not quiet:
        from jobctl import rows

        rows.print_json(rows.daemon_row(body), output or "")
    elif not quiet:
        terminal.say(f"{body['state']}\n")
    return 0 if body["state"] == "degraded" else NONE_FAILED


def _is_json(output: str | None) -> bool:
    if output is None:
        return False
    from jobctl import rows

    return rows.is_json(output)


def _any_is(
    client: Client, jobs: tuple[str, ...], states: tuple[str, ...], none: int, quiet: bool, output: str | None
) -> int:
    as_json = _is_json(output)
    from jobctl import names

    views = names.views(client, jobs)
    if as_json and not quiet:
        from jobctl import rows

        rows.print_json([rows.job_row(view) for view in views], output or "")
    elif not quiet:
        terminal.say("".join(f"{view.get('active', 'inactive')}\n" for view in views))
    if any(view.get("active", "inactive") in states for view in views):
        return 0
    return none if not all(map(names.is_missing, views)) else NONE_EXISTS
