"""logs of several jobs merged by time; -g, -r and --cursor-file, which need more than passing lines on.

Each job has a connection of its own, so each is read only as fast as its lines are wanted, and the merge holds one line
of each. To follow several, their logs so far are merged first, and then new lines are written as they come.
"""

from __future__ import annotations

import os
from collections import deque
from heapq import merge

from jobctl import terminal
from jobctl.client import Client
from jobctl.exits import ConnectionLostError, Fault, UsageError
from jobctl.logs_lines import Splitter, shown_name
from jobctl.logs_source import ALL, ERR, NEWEST, OUT, Place, Source
from jobctl.verb_logs import print_lines
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.logs_lines import Line
    from jobctl.logs_source import Query
    from jobctl.verb_logs import View

CURSOR_HEADER = "jobctl-cursor 1"  # the format's version, should it change


def show(client: Client, targets: list[Query], view: View, cursor_file: str | None) -> int:
    """Write the lines of all `targets` as `view` says; the status of the first that could not be read."""
    cursors = {} if cursor_file is None else _read_cursors(cursor_file)
    wanted = targets[0].lines
    matches = _matcher(view.grep)
    follow = targets[0].follow
    has_times = targets[0].since is not None or targets[0].until is not None
    parts = len(targets) > 1 or (wanted is not None and (view.grep is not None or has_times)) or cursor_file is not None
    readers = [_Reader(client if not i else _another(client), query, view) for i, query in enumerate(targets)]
    for reader in readers:
        reader.prepare(
            cursors.get(reader.query.job), follow and not parts, drop_lines=view.grep is not None or has_times
        )
    lines = merge(*(reader.lines() for reader in readers), key=lambda line: line.wall)
    if matches is not None:
        lines = (line for line in lines if matches(line))
    try:
        print_lines(_arrange(lines, wanted, view), view, prefixed=len(targets) > 1)
        if follow and parts:
            _follow(readers, view, matches, prefixed=len(targets) > 1)
    finally:
        if cursor_file is not None:
            _write_cursors(cursor_file, {**cursors, **{r.query.job: r.source.place for r in readers if r.source.place}})
    view.progress.clear()
    return next((reader.status for reader in readers if reader.status), 0)


def _another(client: Client) -> Client:
    other = Client(client.target, client.start)
    other.watch_stdout = client.watch_stdout
    return other


def _matcher(pattern: str | None) -> Callable[[Line], bool] | None:
    """A test for -g: a regular expression; all in lower case it matches capitals as well, as journalctl's."""
    if pattern is None:
        return None
    import re

    try:
        expression = re.compile(pattern, re.IGNORECASE if pattern == pattern.lower() else 0)
    except re.error as e:
        raise UsageError(f"cannot search for {pattern!r}: {e}") from None
    return lambda line: expression.search(line.data.decode("utf-8", "surrogateescape")) is not None


def _arrange(lines: Iterator[Line], wanted: int | None, view: View) -> Iterator[Line]:
    """The last `wanted` lines, and the last first for -r."""
    if wanted is not None:
        kept = deque(lines, maxlen=wanted)
        return reversed(kept) if view.reverse else iter(kept)
    if view.reverse:
        from jobctl.logs_reverse import reverse

        return reverse(lines)
    return lines


class _Reader:
    """One job of several."""

    def __init__(self, client: Client, query: Query, view: View) -> None:
        self.client = client
        self.query = query
        self.status = 0
        self.splitter = Splitter(shown_name(client), view.progress)
        self.source = Source(client, query)
        query.split = True

    def prepare(self, cursor: Place | None, follow: bool, drop_lines: bool) -> None:
        """Get ready to read what there is; with `follow`, and what will come.

        `drop_lines`: the last lines are counted after a search, so all are wanted.
        """
        self.query.follow = follow
        if drop_lines:
            self.query.lines = None
        if cursor is not None:
            self.query.run = ALL
        self.source = Source(self.client, self.query, cursor)

    def lines(self) -> Iterator[Line]:
        """What there is. A job that cannot be read is said so, and does not keep the others from being read."""
        try:
            yield from self.splitter.lines(self.source.bodies())
        except Fault as fault:
            terminal.warn(fault.message)
            self.status = errors.exit_status(fault.code, errors.LOOK)

    def begin_following(self) -> bool:
        """Ask for what comes after what `lines` gave."""
        if self.status:
            return False
        place = self.source.place
        query = self.query.copy(self.query.job, NEWEST)
        query.follow, query.lines, query.since = True, None, None
        if place is not None:
            place.seen = False
        self.source = Source(self.client, query, place)
        self._ask(self.source.resume())
        return True

    def more(self) -> tuple[list[Line], bool]:
        """The lines of the messages that are there, and whether the job is at rest and these are its last."""
        found: list[Line] = []
        try:
            while True:
                message = self.client.receive()
                if message.get("id") == self._asked:
                    if message["type"] == "end":
                        request = self.source.next_request()
                        if request is None:
                            return [*found, *self.splitter.flush()], True
                        self._ask(request)
                    else:
                        body = self.source.note(message["body"])
                        found += [] if body is None else self.splitter.feed(body)
                if not self.client.held():
                    return found, False
        except ConnectionLostError:
            self.client.reconnect(lasting=True)
            self._ask(self.source.resume())
            return found, False

    def _ask(self, request: object) -> None:
        assert isinstance(request, dict)
        self._asked = self.client.ask(request)


def _follow(readers: list[_Reader], view: View, matches: Callable[[Line], bool] | None, prefixed: bool) -> None:
    """Write lines as they come, until every job is at rest."""
    from select import POLLERR, POLLIN, poll

    live = {each.client.fileno(): each for each in readers if each.begin_following()}
    for each in readers:
        each.client.watch_stdout = False  # watched here, for all of them
    while live:
        poller = poll()
        poller.register(terminal.STDOUT, 0)
        for fd in live:
            poller.register(fd, POLLIN)
        for fd, events in poller.poll():
            reader = live.pop(fd, None)
            if reader is None:
                if events & POLLERR:
                    terminal.end_by_sigpipe()
                continue
            lines, last = reader.more()
            if not last:
                live[reader.client.fileno()] = reader
            print_lines((line for line in lines if matches is None or matches(line)), view, prefixed)


# --- cursors ------------------------------------------------------------------------------------------------------
def _read_cursors(path: str) -> dict[str, Place]:
    """Where each job was left. No file: from the start."""
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"cannot read cursor file {path}: {getattr(e, 'strerror', e)}") from None
    if not lines or lines[0] != CURSOR_HEADER:
        raise UsageError(f"cannot read cursor file {path}: it is none of jobctl's")
    found = {}
    try:
        for line in lines[1:]:
            job, run, number, out, err = line.split(" ")
            found[job] = Place(bytes.fromhex(run), int(number), int(out), int(err))
    except ValueError:
        raise UsageError(f"cannot read cursor file {path}: it is damaged") from None
    return found


def _write_cursors(path: str, places: dict[str, Place]) -> None:
    """Write them whole or not at all."""
    rows = [f"{job} {p.run.hex()} {p.number} {p.sizes[OUT]} {p.sizes[ERR]}\n" for job, p in places.items() if p.run]
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.write("".join((f"{CURSOR_HEADER}\n", *rows)))
        os.replace(temporary, path)
    except OSError as e:
        raise terminal.OutputError(f"cannot write cursor file {path}: {e.strerror}") from e
