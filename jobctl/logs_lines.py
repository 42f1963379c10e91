"""Pieces of output made into lines, and lines written in journalctl's formats.

A line's time is that of the piece in which it begins. Lines come out in the order in which they end.
"""

from __future__ import annotations

from jobctl import names, terminal, times
from jobctl.escape import escape_line
from jobctl.names import full_id, owner_name, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jobctl.client import Client
    from jobctl.shapes import Body, Json

MAX_LINE_BYTES = 1 << 20  # a longer line is written in parts: nobody reads one, and memory is bounded
STAMPS: dict[str, Callable[[int, int], str]] = {
    "short": lambda wall, _: times.short(wall),
    "short-iso": lambda wall, _: times.short_iso(wall),
    "short-iso-precise": lambda wall, _: times.short_iso_precise(wall),
    "short-full": lambda wall, _: times.timestamp(wall),
    "short-unix": lambda wall, _: times.unix(wall),
    "short-precise": lambda wall, _: times.short_precise(wall),
    "short-monotonic": lambda _, mono: times.monotonic(mono),
}
FORMATS = (*STAMPS, "cat", "verbose", "json", "json-pretty", "json-seq")
STREAMS = ("", "stdout", "stderr")
STDERR_COLOUR = "\x1b[33m"  # yellow, and not bold: half of a log may be on stderr
DROPPED, NEXT_RUN = 0, -1  # markers of our own between the lines


def check_format(output: str) -> None:
    """Refuse what is no format of lines, with a UsageError."""
    if output not in FORMATS:
        from jobctl.mistakes import unknown_word

        raise unknown_word("output format", output, FORMATS)


class Line:
    """One line, without its newline; `whole` says that it had one. `stream`: 1, 2, or one of the markers below."""

    __slots__ = ("data", "mono", "offset", "run", "stream", "wall", "whole")

    def __init__(self, run: Run, stream: int, offset: int, wall: int, mono: int) -> None:
        self.run = run
        self.stream = stream
        self.offset = offset
        self.wall = wall
        self.mono = mono
        self.data = b""
        self.whole = True


class Run:
    """The run that lines belong to, as its LogRun said; `name` is the job's as it is shown."""

    __slots__ = ("id", "job", "name", "number", "owner", "pid")

    def __init__(self, body: Body, name: str) -> None:
        self.job = body["job"]
        self.owner = body["owner"]
        self.id = body["run"]
        self.number = body["number"]
        self.pid = body.get("pid")
        self.name = name


class Splitter:
    """Makes lines of the bodies of one Source."""

    def __init__(self, name: Callable[[Body], str], progress: terminal.Progress) -> None:
        self._name = name
        self._progress = progress
        self._run: Run | None = None
        self._open: dict[int, Line] = {}  # by stream: the line whose end has not come
        self._parts: dict[int, list[bytes]] = {1: [], 2: []}
        self._sizes = {1: 0, 2: 0}
        self._last = (0, 0)

    def lines(self, bodies: Iterable[Body]) -> Iterator[Line]:
        """All lines of `bodies`; the last may lack its newline."""
        for body in bodies:
            yield from self.feed(body)
        yield from self.flush()

    def feed(self, body: Body) -> Iterator[Line]:
        """The lines that end in this body."""
        kind = body["type"]
        if kind == "output":
            yield from self._feed_output(body)
        elif kind == "log-run":
            yield from self._new_run(body)
        elif kind == "dropped":
            yield from self.flush()
            from jobctl.logs_source import dropped_text

            yield self._marker(DROPPED, dropped_text(body))
        elif kind == "progress":
            self._progress.show(body["text"])

    def flush(self) -> Iterator[Line]:
        """What has not ended with a newline and now never will."""
        for stream in sorted(self._open):
            yield self._close(stream, b"", whole=False)

    def _new_run(self, body: Body) -> Iterator[Line]:
        yield from self.flush()
        earlier = self._run
        self._run = Run(body, self._name(body))
        if earlier is not None and earlier.id != self._run.id:
            yield self._marker(NEXT_RUN, f"{self._run.name}: run {self._run.number} ({short_id(self._run.id)})")

    def _marker(self, kind: int, text: str) -> Line:
        assert self._run is not None
        line = Line(self._run, kind, 0, *self._last)
        line.data = text.encode()
        return line

    def _feed_output(self, body: Body) -> Iterator[Line]:
        stream, data = body["stream"], body["data"]
        assert self._run is not None
        self._last = (body["wall"], body["mono"])
        offset = body["offset"]
        start = 0
        while start < len(data):
            if stream not in self._open:
                self._open[stream] = Line(self._run, stream, offset + start, body["wall"], body["mono"])
            end = data.find(b"\n", start)
            if end >= 0:
                yield self._close(stream, data[start:end], whole=True)
                start = end + 1
                continue
            self._parts[stream].append(data[start:])
            self._sizes[stream] += len(data) - start
            if self._sizes[stream] >= MAX_LINE_BYTES:
                yield self._close(stream, b"", whole=False)
            return

    def _close(self, stream: int, rest: bytes, whole: bool) -> Line:
        line = self._open.pop(stream)
        parts = self._parts[stream]
        line.data = b"".join((*parts, rest)) if parts else rest
        line.whole = whole
        parts.clear()
        self._sizes[stream] = 0
        return line


class Writer:
    """Writes lines in one format."""

    def __init__(self, output: str, safe: bool, prefixed: bool) -> None:
        """`safe`: escape what a terminal would act on. `prefixed`: several jobs, begin lines with `NAME | `."""
        self.escaped = False  # something a terminal would have acted on
        self._safe = safe
        self._prefixed = prefixed and output not in ("verbose", "json", "json-pretty", "json-seq")
        self._colour = safe and terminal.use_colour()
        self._stamp = STAMPS.get(output)
        self._output = output

    def text(self, line: Line) -> bytes:
        """The line as it is written, its newline included."""
        if line.stream <= DROPPED:
            return self._marker(line)
        if self._output.startswith("json"):
            return self._json(line)
        if self._output == "verbose":
            return self._verbose(line)
        prefix = f"{line.run.name} | ".encode() if self._prefixed else b""
        if self._stamp is None:
            whole = line.whole or self._safe or self._prefixed
            return prefix + self._message(line) + (b"\n" if whole else b"")
        pid = "" if line.run.pid is None else f"[{line.run.pid}]"
        head = f"{self._stamp(line.wall, line.mono)} {line.run.name}{pid}: "
        return prefix + head.encode() + self._message(line) + b"\n"

    def _marker(self, line: Line) -> bytes:
        """Markers stand between lines, but never between exact bytes: those hear of drops on stderr."""
        if self._stamp is not None or (self._safe and line.stream == DROPPED):
            prefix = f"{line.run.name} | " if self._prefixed else ""
            return f"{prefix}-- {line.data.decode()} --\n".encode()
        if line.stream == DROPPED:
            terminal.warn(line.data.decode())
        return b""

    def _message(self, line: Line) -> bytes:
        if not self._safe:
            return line.data
        text = escape_line(line.data)
        self.escaped = self.escaped or b"\x1b" in line.data
        if self._colour and line.stream == 2:
            text = f"{STDERR_COLOUR}{text}{terminal.PLAIN}"
        return text.encode()

    def _verbose(self, line: Line) -> bytes:
        run = line.run
        fields = (
            ("JOB", run.name), ("RUN", full_id(run.id)), ("NUMBER", str(run.number)), ("PID", str(run.pid or "-")),
            ("STREAM", STREAMS[line.stream]), ("OFFSET", str(line.offset)),
            ("MONOTONIC", times.monotonic(line.mono)),
        )  # fmt: skip
        head = f"{times.timestamp(line.wall)} [{line.wall // times.USEC % 1_000_000:06d}us]\n"
        text = head + "".join(f"    {name}={value}\n" for name, value in fields)
        return text.encode() + b"    MESSAGE=" + self._message(line) + b"\n"

    def _json(self, line: Line) -> bytes:
        from jobctl.rows import RECORD_SEPARATOR, dumps

        row = self._row(line)
        text = dumps(row, pretty=self._output == "json-pretty") + "\n"
        return (RECORD_SEPARATOR + text if self._output == "json-seq" else text).encode()

    def _row(self, line: Line) -> dict[str, Json]:
        from jobctl.rows import encoded_text

        run = line.run
        row: dict[str, Json] = {
            "time": times.rfc3339(line.wall),
            "monotonic_usec": line.mono // times.USEC,
            "job": run.job,
            "owner": owner_name(run.owner),
            "run": full_id(run.id),
            "number": run.number,
            "pid": run.pid,
            "stream": STREAMS[line.stream],
            "offset": line.offset,
        }
        row.update(encoded_text("message", line.data))
        if not line.whole:
            row["newline"] = False
        return row


def shown_name(client: Client) -> Callable[[Body], str]:
    """Names the job of a LogRun as the caller writes it."""
    return lambda body: names.shown_name(body["job"], body["owner"], client.uid)
