"""logs: what jobs wrote, exact into a pipe and readable on a terminal."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.exits import INTERRUPTED, Fault, UsageError
from jobctl.logs_source import ALL, NEWEST, NOT_FOUND, Query, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.logs_lines import Line
    from jobctl.options import (
        Catalog,
        CursorFile,
        Follow,
        Grep,
        LogOutput,
        LogRuns,
        OnlyStderr,
        OnlyStdout,
        PagerEnd,
        Raw,
        Reverse,
        Selector,
        Since,
        TailLines,
        Units,
        Until,
    )

END_LINES = "1000"  # journalctl -e
PTY = "pty"  # JobSpec.stdin


def logs(
    client: Client,
    jobs: LogRuns = (),
    *,
    units: Units = (),
    follow: Follow = False,
    lines: TailLines = None,
    reverse: Reverse = False,
    since: Since = None,
    until: Until = None,
    grep: Grep = None,
    stdout: OnlyStdout = False,
    stderr: OnlyStderr = False,
    selector: Selector = None,
    output: LogOutput = None,
    raw: Raw = False,
    cursor_file: CursorFile = None,
    pager_end: PagerEnd = False,
    catalog: Catalog = False,  # noqa: ARG001  # journalctl's explanations, of which there are none
) -> int:
    """Show what jobs wrote: the newest run from its first byte, both streams.

    Into a pipe or a file these are the exact bytes; on a terminal, lines with their times.
    """
    words = (*jobs, *units)
    if pager_end and lines is None:
        lines = END_LINES
    count = None if lines is None else names.check_count(lines, "-n")
    if not words:
        raise UsageError("logs needs a JOB; jobctl list -a lists all there are, and '*' means all of them")
    if follow and reverse:
        raise UsageError("cannot follow in reverse order: use -f or -r")
    query = Query("", names.plain_selector(selector or NEWEST))
    query.lines = count
    query.follow = follow
    _set_times(query, since, until)
    if selector is None and until is not None and since is None:
        query.run = ALL  # as -n and -S reach over runs, where the daemon sees to it
    query.stdout, query.stderr = stdout or not stderr, stderr or not stdout
    view = View(output, raw, grep, reverse)
    targets = _targets(client, words, query)
    try:
        return _show(client, targets, view, cursor_file)
    except KeyboardInterrupt:
        view.progress.clear()
        if follow:
            terminal.warn("interrupted; the job goes on" if len(targets) == 1 else "interrupted; the jobs go on")
        return INTERRUPTED


class View:
    """How to show it."""

    def __init__(self, output: str | None, raw: bool, grep: str | None, reverse: bool) -> None:
        terminal_there = terminal.is_terminal()
        self.output = output or ("short" if terminal_there and not raw else "cat")
        self.safe = terminal_there and not raw
        self.exact = self.output == "cat" and not self.safe and grep is None and not reverse
        self.reverse = reverse
        self.grep = grep
        self.progress = terminal.Progress()
        if output is not None:
            from jobctl.logs_lines import check_format

            check_format(output)


def _set_times(query: Query, since: str | None, until: str | None) -> None:
    if since is None and until is None:
        return
    import time

    from jobctl.timespec import parse_time

    now = time.time_ns()
    query.since = None if since is None else parse_time(since, now)
    query.until = None if until is None else parse_time(until, now)


def _targets(client: Client, words: tuple[str, ...], query: Query) -> list[Query]:
    """A query for each job named; `JOB#N` and a run's id name one run."""
    found = []
    plain = len(words) == 1 and not any(c in words[0] for c in "*?[")
    for word in words if plain else names.expand(client, words, begun=True):
        job, run = names.split_run(word)
        if run and query.run not in (NEWEST, ALL):
            raise UsageError(f"cannot show {word}: it names a run, and so does --run")
        each = query.copy(job, run or query.run)
        found.append(each)
    return found


def _show(client: Client, targets: list[Query], view: View, cursor_file: str | None) -> int:
    if not targets:
        return 0
    if any(query.follow for query in targets):
        client.watch_stdout = True
    searched = view.grep is not None or (targets[0].lines is not None and _has_times(targets[0]))
    if len(targets) == 1 and cursor_file is None and not view.reverse and not searched:
        return _show_job_or_run(client, targets[0], view)
    from jobctl import logs_many

    return logs_many.show(client, targets, view, cursor_file)


def _has_times(query: Query) -> bool:
    return query.since is not None or query.until is not None


def _show_job_or_run(client: Client, query: Query, view: View) -> int:
    """One job; or the run with this end of an id, where there is no such job."""
    try:
        return _show_one(client, query, view)
    except Fault as fault:
        run = names.end_of_id(query.job)
        if fault.code != NOT_FOUND or not run or query.run != NEWEST:
            raise
        return _show_one(client, query.copy("", run), view)


def _show_one(client: Client, query: Query, view: View) -> int:
    """One job, in order: nothing is kept."""
    source = Source(client, query)
    if view.exact:
        from jobctl import logs_raw

        logs_raw.copy(source, view.progress)
    else:
        from jobctl.logs_lines import Splitter, shown_name

        query.split = view.output != "cat"
        lines = Splitter(shown_name(client), view.progress).lines(source.bodies())
        if print_lines(lines, view, prefixed=False) and query.job:
            _hint_at_raw(client, query.job)
    view.progress.clear()
    return 0


def _hint_at_raw(client: Client, job: str) -> None:
    """A job that has a terminal of its own writes for one, and can hardly be read with that escaped."""
    if any(view.get("stdin") == PTY for view in names.views(client, [job])):
        terminal.note("what it did to its terminal is shown escaped; as it was: jobctl logs --raw")


def print_lines(lines: Iterator[Line], view: View, prefixed: bool) -> bool:
    """Write lines as they come; whether something of them was escaped."""
    from jobctl.logs_lines import Writer

    writer = Writer(view.output, view.safe, prefixed)
    for line in lines:
        view.progress.clear()
        terminal.write(writer.text(line))
    return writer.escaped
