"""result: how a run ended and what it wrote, and the words for it that history has as well."""

from __future__ import annotations

from jobctl import names, terminal, times
from jobctl.escape import escape, show_bytes, show_command
from jobctl.exits import UsageError
from jobctl.logs_source import Query, Source
from jobctl.signals import signal_name
from jobctl.status_text import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import FullOutput, JsonOutput, OneRun, Selector
    from jobctl.shapes import Json, RunView

RESULT_BYTES = 1 << 20  # DESIGN.md, section 9: of each stream, unless --full
LABEL_WIDTH = 11


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
