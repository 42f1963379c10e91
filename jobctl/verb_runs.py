"""result and history: runs that were, by systemd's words for how they ended."""

from __future__ import annotations

from jobctl import names, terminal, times
from jobctl.escape import escape, show_bytes, show_command
from jobctl.exits import UsageError
from jobctl.logs_source import Query, Source
from jobctl.signals import signal_name
from jobctl.status_text import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.options import (
        Audit,
        FullLines,
        FullOutput,
        HistoryLines,
        JsonOutput,
        NoLegend,
        OneRun,
        OptionalJobs,
        RunStates,
        Selector,
        Since,
        Until,
    )
    from jobctl.shapes import Json, RunView

RESULT_BYTES = 1 << 20  # DESIGN.md, section 9: of each stream, unless --full
PAGE = 1000  # History.limit's largest
DEFAULT_LINES = "100"
COLUMNS = ("RUN", "JOB", "STATE", "EXIT", "STARTED", "DURATION", "COMMAND")
LABEL_WIDTH = 11
GOOD_RESULTS = ("success", "stopped", "canceled")  # exits.GOOD_RESULTS, and a test compares
WIDE = 110  # columns from which a full time leaves room for the command


def result(
    client: Client, job: OneRun, *, selector: Selector = None, full: FullOutput = False, output: JsonOutput = None
) -> int:
    """Show how a run ended, and what it wrote.

    The end of each stream, 1 MiB at most unless --full.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    if len(job) != 1:
        raise UsageError("cannot show more than one result at a time")
    row = names.resolve(client, job[0], selector)
    limit = None if full else RESULT_BYTES
    streams = {1: _stream(client, row, 1, limit), 2: _stream(client, row, 2, limit)}
    if as_json:
        assert output is not None
        _print_json(row, streams, output)
    else:
        _print_text(client, row, streams)
    return 0


def _stream(client: Client, row: RunView, stream: int, limit: int | None) -> tuple[bytes, bool]:
    """One stream of a run, or its end; whether something was left out."""
    size = row.get("out_bytes") if stream == 1 else row.get("err_bytes")
    query = Query("", row["run"].hex())
    query.stdout, query.stderr = stream == 1, stream == 2
    start = 0 if limit is None else max(0, (size or 0) - limit)
    if stream == 1:
        query.out_from = start
    else:
        query.err_from = start
    parts: list[bytes] = []
    length, cut = 0, start > 0
    for body in Source(client, query).bodies():
        if body["type"] == "dropped":
            cut = True
        if body["type"] != "output":
            continue
        parts.append(body["data"])
        length += len(body["data"])
        while limit is not None and length - len(parts[0]) >= limit:  # it is still being written to
            length -= len(parts.pop(0))
            cut = True
    data = b"".join(parts)
    if limit is not None and len(data) > limit:
        data, cut = data[-limit:], True
    return (_from_character(data) if cut else data), cut


def _from_character(data: bytes) -> bytes:
    """Less the rest of a UTF-8 character that was cut in two: at most three bytes 10xxxxxx."""
    skip = 0
    while skip < min(3, len(data)) and data[skip] & 0xC0 == 0x80:
        skip += 1
    return data[skip:]


def _print_json(row: RunView, streams: dict[int, tuple[bytes, bool]], output: str) -> None:
    from jobctl.rows import encoded_text, print_json, run_row

    value: dict[str, Json] = run_row(row)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        value.update(encoded_text(name, streams[stream][0]))
    value["truncated"] = streams[1][1] or streams[2][1]
    print_json(value, output)


def _print_text(client: Client, row: RunView, streams: dict[int, tuple[bytes, bool]]) -> None:
    shown, stopped = names.shown_name(row["job"], row["owner"], client.uid), row.get("stop_uid")
    fields = [
        ("Run", f"{shown}#{row['number']} {names.full_id(row['run'])}"),
        ("State", row["state"]),
        ("Result", " ".join(word for word in (row.get("result") or "", exit_text(row, "({})")) if word)),
        ("Reason", escape(row.get("reason", ""))),
        ("Stopped by", "" if stopped is None else names.owner_name(stopped)),
        ("Command", show_command(row.get("argv", []), row.get("shell", False))),
        ("Directory", show_bytes(row.get("cwd", b""))),
        *((label, times.timestamp(at)) for label, field in TIMES if (at := _at(row, field)) is not None),
        ("Duration", duration(row)),
        ("CPU", _cpu(row)),
        ("Mem peak", size(row.get("max_rss_bytes"))),
        ("Tasks peak", str(row.get("tasks_peak") or "")),
        ("IO", _transfers(row)),
        ("Note", escape(row.get("note", ""))),
    ]
    terminal.say("".join(f"{label:>{LABEL_WIDTH}}: {value}\n" for label, value in fields if value))
    safe = terminal.is_terminal()
    for stream, name in ((1, "stdout"), (2, "stderr")):
        data, cut = streams[stream]
        if not data:
            continue
        terminal.say(f"\n{name}{' (its end)' if cut else ''}:\n")
        terminal.write(_safe(data) if safe else data)
        if not data.endswith(b"\n"):
            terminal.say("\n")


TIMES = (("Queued", "queued"), ("Started", "started"), ("Finished", "finished"))


def _at(row: RunView, what: str) -> int | None:
    return {"queued": row.get("queued_at"), "started": row.get("started_at"), "finished": row.get("finished_at")}[what]


def _safe(data: bytes) -> bytes:
    from jobctl.escape import escape_line

    return b"\n".join(escape_line(line).encode() for line in data.split(b"\n"))


def exit_text(row: RunView, shape: str = "{}") -> str:
    """`2`, `TERM`, `exec`: how a run ended, in a word; empty when that is not known."""
    if row.get("step"):
        return shape.format(row["step"])
    signal, code = row.get("signal"), row.get("exit_code")
    if signal is not None:
        return shape.format(signal_name(signal).removeprefix("SIG"))
    return "" if code is None else shape.format(code)


def duration(row: RunView) -> str:
    """From start to exit; empty while it runs."""
    started, ended = row.get("started_at"), row.get("exited_at")
    return "" if started is None or ended is None else times.coarse_span(max(0, ended - started) // 1000)


def _cpu(row: RunView) -> str:
    user, system = row.get("cpu_user_usec"), row.get("cpu_system_usec")
    return "" if user is None or system is None else times.span(user + system)


def _transfers(row: RunView) -> str:
    """As systemctl's `IO:` line."""
    read, written = row.get("io_read_bytes"), row.get("io_write_bytes")
    return "" if read is None or written is None else f"{size(read)} read, {size(written)} written"


def history(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    audit: Audit = False,
    lines: HistoryLines = DEFAULT_LINES,
    states: RunStates = (),
    since: Since = None,
    until: Until = None,
    full: FullLines = False,
    no_legend: NoLegend = False,
    output: JsonOutput = None,
) -> int:
    """Show past and present runs, the newest first.

    With --audit: what was asked for, when and by whom.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    request: dict[str, object] = {"type": "history", "jobs": list(jobs)}
    if audit and states:
        raise UsageError("cannot pick acts by the state of a run: give --audit or --state")
    if states:
        from jobctl import statewords

        if statewords.asks_for_help(states):
            terminal.say(statewords.run_help())
            return 0
        request["states"] = statewords.of_runs(states)
    if since is not None or until is not None:
        import time

        from jobctl.timespec import parse_time

        now = time.time_ns()
        request.update((key, parse_time(t, now)) for key, t in (("since", since), ("until", until)) if t is not None)
    count = names.check_count(lines, "-n")
    if audit:
        from jobctl import acts

        request["type"] = "events"
        return acts.show(client, request, count, output, full, legend=not no_legend)
    found = _pages(client, request, count)
    if as_json:
        from jobctl.rows import print_json, run_rows

        assert output is not None
        print_json(run_rows(run for page in found for run in page), output)
        return 0
    _print_table(client, found, full, legend=not no_legend)
    return 0


def _pages(client: Client, request: dict[str, object], count: int | None) -> Iterator[list[RunView]]:
    """Pages of runs, `count` in all."""
    before: int | None = None
    left = count
    while left is None or left > 0:
        asked: dict[str, object] = {**request, "limit": PAGE if left is None else min(left, PAGE)}
        if before is not None:
            asked["before"] = before
        body = client.call(asked)
        yield body["runs"]
        more = body.get("more")
        if more is None or not body["runs"]:
            return
        before = int(more)
        left = None if left is None else left - len(body["runs"])


def _print_table(client: Client, pages: Iterator[list[RunView]], full: bool, legend: bool) -> None:
    """A page at a time, as wide as the widest so far: a million runs are never held."""
    from jobctl.table import Table

    table = Table(COLUMNS, COLUMNS.index("JOB"), gap="  ", full=full)
    short = not full and 0 < terminal.columns() < WIDE
    for page in pages:
        rows = [_cells(client, run, short) for run in page]
        table.fit(rows)
        lines = [table.top()] if legend else []
        legend = False
        lines += [table.line(row, _colours(run)) for run, row in zip(page, rows, strict=True)]
        terminal.say("".join(f"{line}\n" for line in lines))


def _colours(run: RunView) -> tuple[str, ...]:
    """A run that went wrong is as red as a failed job in `list`."""
    bad = run.get("result") not in (None, *GOOD_RESULTS)
    return ("", terminal.RED, terminal.RED, terminal.RED) if bad else ()


def _cells(client: Client, run: RunView, short: bool) -> tuple[str, ...]:
    started = run.get("started_at") or run.get("queued_at")
    return (
        names.short_id(run["run"]),
        f"{names.shown_name(run['job'], run['owner'], client.uid)}#{run['number']}",
        run.get("result") or run["state"],
        exit_text(run) or "-",
        "-" if started is None else (times.short if short else times.timestamp)(started),
        duration(run) or "-",
        show_command(run.get("argv", []), run.get("shell", False)),
    )
