"""events: what happened to jobs and runs, by a cursor that outlives every connection and every daemon."""

from __future__ import annotations

import os

from jobctl import names, terminal, times
from jobctl.escape import escape
from jobctl.exits import INTERRUPTED, ConnectionLostError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.client import Client
    from jobctl.options import (
        AfterCursor,
        ChangeLines,
        ChangeOutput,
        CursorFile,
        FollowChanges,
        OptionalJobs,
        Quiet,
        ShowCursor,
        Since,
        Units,
        Until,
    )
    from jobctl.shapes import Body

STAMPS: dict[str, Callable[[int], str]] = {"short": times.short, "short-iso": times.short_iso}
TEXTS = (*STAMPS, "cat")
FOLLOW_LINES = 10  # journalctl -f
MAX_CURSOR = 2**63 - 1  # messages.Events.after
MAX_DIGITS = 19  # … has


def events(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    units: Units = (),
    follow: FollowChanges = False,
    lines: ChangeLines = None,
    since: Since = None,
    until: Until = None,
    after_cursor: AfterCursor = None,
    cursor_file: CursorFile = None,
    show_cursor: ShowCursor = False,
    output: ChangeOutput = None,
    quiet: Quiet = False,
) -> int:
    """Show what happened to jobs and their runs, the oldest first."""
    as_json = False
    if output not in (None, *TEXTS):
        from jobctl.rows import is_json

        as_json = is_json(output, *TEXTS)
    if after_cursor is not None and cursor_file is not None:
        raise UsageError("cannot begin in two places: only one of --after-cursor and --cursor-file can be given")
    if follow and until is not None:
        raise UsageError("cannot follow until a time: use -f or -U")
    request: dict[str, object] = {"type": "events", "jobs": [*jobs, *units], "follow": follow}
    cursor = _read_cursor(cursor_file) if cursor_file is not None else None
    if after_cursor is not None:
        cursor = _cursor(after_cursor, "cursor")
    count = names.check_count(lines, "-n") if lines is not None else None
    if follow and lines is None and since is None and cursor is None:
        count = FOLLOW_LINES
    if count is not None:
        request["lines"] = count
    _set_times(request, since, until)
    stream = Stream(client, request, cursor)
    writer = JsonWriter(output or "") if as_json else TextWriter(client, output or "short")
    try:
        return _show(stream, writer, quiet or as_json)
    finally:
        _note_cursor(stream, writer, show_cursor, cursor_file)


def _show(stream: Stream, writer: TextWriter | JsonWriter, quiet: bool) -> int:
    stream.client.watch_stdout = bool(stream.request["follow"])
    shown = False
    try:
        for body in stream.bodies():
            if body["type"] == "reached":
                stream.passed = body["seq"]
                continue
            shown = True
            writer.write(body)
            if body["type"] == "change":
                stream.passed = body["seq"]
    except KeyboardInterrupt:
        return INTERRUPTED
    if not shown and not quiet and terminal.is_terminal():
        terminal.say("-- No changes --\n")
    return 0


def _set_times(request: dict[str, object], since: str | None, until: str | None) -> None:
    if since is None and until is None:
        return
    import time

    from jobctl.timespec import parse_time

    now = time.time_ns()
    request.update((key, parse_time(text, now)) for key, text in (("since", since), ("until", until)) if text)


class Stream:
    """The changes that are asked for, each once, over as many connections as it takes.

    `passed` is the caller's: up to where he has dealt with them.
    """

    def __init__(self, client: Client, request: dict[str, object], cursor: int | None) -> None:
        self.client = client
        self.request = request
        self.passed = cursor
        self._cursor = cursor
        self._moved = False
        self._gap: tuple[int, int] | None = None  # told last

    def bodies(self) -> Iterator[Body]:
        """Every Change, Missed and Reached.

        Raises:
            Fault: the daemon refused.
        """
        while True:
            try:
                for body in self.client.stream(self._asked()):
                    if self._is_new(body):
                        yield body
            except ConnectionLostError:
                self.client.reconnect(lasting=bool(self.request.get("follow")))
            else:
                return

    def _asked(self) -> dict[str, object]:
        if self._cursor is None:
            return self.request
        asked = {**self.request, "after": self._cursor}
        if self._moved:
            asked.pop("lines", None)  # of those something has come
        return asked

    def _is_new(self, body: Body) -> bool:
        """Note how far it leads. False for what came before a connection was lost."""
        if body["type"] == "missed":
            gap = body["after"], body["before"]
            if gap == self._gap:
                return False
            self._gap = gap
            if gap[1] < gap[0]:  # the cursor was of another database: all comes
                self._cursor = 0
            return True
        if body["type"] == "change" and self._cursor is not None and body["seq"] <= self._cursor:
            return False
        self._cursor = body["seq"]
        self._moved = True
        return True


# --- writing --------------------------------------------------------------------------------------------------------
class JsonWriter:
    """An object a line, or a record."""

    def __init__(self, output: str) -> None:
        self._output = output

    def write(self, body: Body) -> None:
        """A Change or a Missed."""
        from jobctl.rows import print_json
        from jobctl.rows_changes import change_row

        print_json(change_row(body), self._output)

    def cursor(self, cursor: int) -> None:
        """Where it ended."""
        from jobctl.rows import print_json

        print_json({"cursor": cursor}, self._output)


class TextWriter:
    """A line for each."""

    def __init__(self, client: Client, output: str) -> None:
        self._client = client
        self._stamp = STAMPS.get(output)
        self._safe = terminal.is_terminal()
        self._colour = terminal.use_colour()

    def write(self, body: Body) -> None:
        """A Change or a Missed."""
        line = _gap_text(body) if body["type"] == "missed" else self._line(body)
        line = escape(line) if self._safe else line.replace("\n", " ")
        if self._colour and (body["type"] == "missed" or body.get("active") == "failed"):
            line = f"{terminal.RED}{line}{terminal.PLAIN}"
        terminal.say(f"{line}\n")

    def cursor(self, cursor: int) -> None:
        """Where it ended."""
        terminal.say(f"-- cursor: {cursor}\n")

    def _line(self, change: Body) -> str:
        name = names.change_name(change, self._client.uid)
        number = change.get("number")
        head = name if number is None else f"{name}#{number}"
        text = f"{head}: {self._text(change)}"
        return text if self._stamp is None else f"{self._stamp(change['at'])} {text}"

    def _text(self, change: Body) -> str:
        by, told = change.get("by_uid"), outcome(change)
        who = "" if by is None else f" by {names.owner_name(by)}"
        return change["kind"] + who + (f": {told}" if told else "")


def outcome(change: Body) -> str:
    """What a change brought about, in words; not yet escaped."""
    from jobctl.status_text import exit_words

    pid = change.get("pid")
    parts = [
        _state(change) if change["job"] else _queue_state(change),
        *_place(change),
        exit_words(change),  # type: ignore[arg-type]  # it has the fields of a view that are looked at
        f"pid {pid}" if pid else "",
        change.get("reason", ""),
    ]
    return ", ".join(part for part in parts if part)


def _queue_state(change: Body) -> str:
    """How a queue is set since."""
    slots, state = change.get("slots"), change.get("state", "")
    if slots is None or change["kind"] == "queue-removed":
        return ""
    count = "any number of slots" if slots < 0 else f"{slots} slot{'' if slots == 1 else 's'}"
    usual = state == "open" and change["kind"] == "queue-added"  # after a pause it is what has changed
    return count if not state or usual else f"{count}, {state}"


def _place(change: Body) -> list[str]:
    """In which queue a run is since, and how."""
    if not change["job"]:
        return []
    queue, priority, due = change.get("queue"), change.get("priority"), change.get("due")
    words = [f"queue {queue}"] if queue else []
    words += [] if priority is None else [f"priority {priority}"]
    words += ["held"] if change.get("held") and change["kind"] != "held" else []
    return words if due is None else [*words, f"due {times.timestamp(due)}"]


def _state(change: Body) -> str:
    """What the job came to, in the words of `status`: `active (running)`, `failed (Result: exit-code)`."""
    active, sub, result = change.get("active", ""), change.get("sub", ""), change.get("result", "")
    if result not in ("", "success"):
        return f"{active} (Result: {result})" if active else f"Result: {result}"
    return f"{active} ({sub})" if active and sub and active != sub else active or sub


def _gap_text(body: Body) -> str:
    if body["before"] < body["after"]:
        return f"-- changes missed: cursor {body['after']} is not of this database --"
    return f"-- changes missed: some between cursors {body['after']} and {body['before']} are gone --"


# --- the cursor -----------------------------------------------------------------------------------------------------
def _note_cursor(stream: Stream, writer: TextWriter | JsonWriter, show: bool, path: str | None) -> None:
    """At the end, however it came: say and keep how far it went."""
    if stream.passed is None:
        return
    if path is not None:
        temporary = f"{path}.{os.getpid()}"
        try:
            with open(temporary, "w", encoding="ascii") as file:
                file.write(f"{stream.passed}\n")
            os.replace(temporary, path)
        except OSError as e:
            raise terminal.OutputError(f"cannot write cursor file {path}: {e.strerror}") from e
    if show:
        writer.cursor(stream.passed)


def _read_cursor(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(64)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise UsageError(f"cannot read cursor file {path}: {e.strerror}") from None
    return _cursor(text.strip(), f"cursor file {path}:") if text.strip() else None


def _cursor(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > MAX_DIGITS or int(text) > MAX_CURSOR:
        raise UsageError(f"cannot read {what} {text[:40]!r}: a cursor of events is a number, as --show-cursor gives it")
    return int(text)
