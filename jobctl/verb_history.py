"""history: runs that were and are, page by page; their figures; and who asked for what."""

from __future__ import annotations

from jobctl import names, terminal, times
from jobctl.escape import show_command
from jobctl.exits import GOOD_RESULTS, UsageError
from jobctl.verb_runs import duration, exit_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.options import (
        Audit,
        FullLines,
        HistoryCursor,
        HistoryLimit,
        HistoryOffset,
        InQueue,
        JsonOutput,
        NoLegend,
        OptionalJobs,
        RunStates,
        Since,
        Stats,
        Units,
        Until,
    )
    from jobctl.shapes import RunView

PAGE = 1000  # History.limit's largest
DEFAULT_LIMIT = "100"
MAX_OFFSET = 2**40  # History.offset's
MAX_CURSOR = 2**53  # History.before's
COLUMNS = ("RUN", "JOB", "STATE", "EXIT", "STARTED", "DURATION", "COMMAND")
NOT_BEGUN = ("queued", "canceled", "dependency")  # states and results of runs that have begun nothing
WIDE = 110  # columns from which a full time leaves room for the command


def history(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    units: Units = (),
    audit: Audit = False,
    stats: Stats = False,
    limit: HistoryLimit = None,
    offset: HistoryOffset = None,
    after_cursor: HistoryCursor = None,
    states: RunStates = (),
    queue: InQueue = None,
    since: Since = None,
    until: Until = None,
    full: FullLines = False,
    no_legend: NoLegend = False,
    output: JsonOutput = None,
) -> int:
    """Show past and present runs, the newest first.

    With --stats: how often each job ran, how well, how long, with how much memory. With --audit: what was asked for,
    when and by whom.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    _check(audit, stats, states, {"--queue": queue, "--offset": offset, "--after-cursor": after_cursor}, limit)
    request: dict[str, object] = {"type": "history", "jobs": [*jobs, *units]}
    if states:
        from jobctl import statewords

        if statewords.asks_for_help(states):
            terminal.say(statewords.run_help())
            return 0
        request["states"] = statewords.of_runs(states)
    if queue is not None:
        request["queue"] = queue
    _set_times(request, since, until)
    count = names.check_count(limit or DEFAULT_LIMIT, "-n")
    if audit:
        from jobctl import acts

        request["type"] = "events"
        return acts.show(client, request, count, output, full, legend=not no_legend)
    if stats:
        from jobctl import figures

        return figures.show(client, {**request, "type": "history-stats"}, output, full, legend=not no_legend)
    _set_place(request, offset, after_cursor)
    pages = Pages(client, request, count)
    if as_json:
        from jobctl.rows import print_rows, run_row

        assert output is not None
        print_rows((run_row(run) for page in pages.each() for run in page), output)
        return 0
    _print_table(client, pages, full, legend=not no_legend)
    return 0


def _check(audit: bool, stats: bool, states: tuple[str, ...], chosen: dict[str, str | None], limit: str | None) -> None:
    """Refuse what means nothing together."""
    if audit and states:
        raise UsageError("cannot pick acts by the state of a run: give --audit or --state")
    if audit and stats:
        raise UsageError("cannot show two things at once: give --audit or --stats")
    given = [option for option, value in chosen.items() if value is not None]
    if stats:
        given = [option for option in given if option != "--queue"] + ["--limit"] * (limit is not None)
        given += ["--state"] * bool(states)
    if given and (audit or stats):
        what = "acts are" if audit else "figures are of all finished runs, and"
        raise UsageError(f"cannot take {given[0]} with --{'audit' if audit else 'stats'}: {what} not chosen by that")


def _set_times(request: dict[str, object], since: str | None, until: str | None) -> None:
    if since is None and until is None:
        return
    import time

    from jobctl.timespec import parse_time

    now = time.time_ns()
    request.update((key, parse_time(t, now)) for key, t in (("since", since), ("until", until)) if t is not None)


def _set_place(request: dict[str, object], offset: str | None, cursor: str | None) -> None:
    """Where the list begins."""
    if offset is not None:
        request["offset"] = _number(offset, "--offset", MAX_OFFSET)
    if cursor is not None:
        request["before"] = _number(cursor, "--after-cursor", MAX_CURSOR)


def _number(text: str, option: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) or int(text) > most:
        raise UsageError(f"cannot read {option} {text[:40]!r}: it is a number, 0 or more")
    return int(text)


class Pages:
    """Pages of runs, `count` in all. `more`: where to go on, if that was not the end."""

    def __init__(self, client: Client, request: dict[str, object], count: int | None) -> None:
        self.more: int | None = None
        self._client = client
        self._request = request
        self._left = count

    def each(self) -> Iterator[list[RunView]]:
        """The pages; None of them is empty but for the first, if there is nothing."""
        while self._left is None or self._left > 0:
            asked = {**self._request, "limit": PAGE if self._left is None else min(self._left, PAGE)}
            body = self._client.call(asked)
            runs: list[RunView] = body["runs"]
            more = body.get("more")
            self.more = None if more is None or not runs else runs[-1]["seq"]
            self._left = None if self._left is None else self._left - len(runs)
            yield runs
            if self.more is None:
                return
            self._request["before"] = more
            self._request.pop("offset", None)


def _print_table(client: Client, pages: Pages, full: bool, legend: bool) -> None:
    """A page at a time, as wide as the widest so far: a million runs are never held."""
    from jobctl.table import Table

    table = Table(COLUMNS, COLUMNS.index("JOB"), gap="  ", full=full)
    short = not full and 0 < terminal.columns() < WIDE
    header, shown = legend, 0
    for page in pages.each():
        rows = [_cells(client, run, short) for run in page]
        table.fit(rows)
        lines = [table.top()] if header else []
        header = False
        lines += [table.line(row, _colours(run)) for run, row in zip(page, rows, strict=True)]
        terminal.say("".join(f"{line}\n" for line in lines))
        shown += len(page)
    if legend and pages.more is not None and shown:
        text = f"{shown} run{'' if shown == 1 else 's'} listed, and there are more: --after-cursor {pages.more}"
        terminal.say(f"\n{text}\n")


def _colours(run: RunView) -> tuple[str, ...]:
    """A run that went wrong is as red as a failed job in `list`."""
    bad = run.get("result") not in (None, *GOOD_RESULTS)
    return ("", terminal.RED, terminal.RED, terminal.RED) if bad else ()


def _cells(client: Client, run: RunView, short: bool) -> tuple[str, ...]:
    how = run.get("result") or run["state"]
    started = run.get("started_at") or (None if how in NOT_BEGUN else run.get("queued_at"))
    return (
        names.short_id(run["run"]),
        f"{names.shown_name(run['job'], run['owner'], client.uid)}#{run['number']}",
        how,
        exit_text(run) or "-",
        "-" if started is None else (times.short if short else times.timestamp)(started),
        duration(run) or "-",
        show_command(run.get("argv", []), run.get("shell", False)),
    )
