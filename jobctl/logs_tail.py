"""The last lines of a job's output, as status shows them."""

from __future__ import annotations

from jobctl import terminal
from jobctl.exits import Fault
from jobctl.logs_lines import Splitter, Writer, shown_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobctl.client import Client
    from jobctl.shapes import Body
    from jobctl.status_text import Screen

DENIED = "denied"  # of jobd.wire.errors


def show(client: Client, run: bytes, lines: int, output: str, screen: Screen, known: list[Body] | Fault | None) -> None:
    """Write the last lines of a run below an empty one. `known`: what a request by the job's name has found."""
    if isinstance(known, Fault) and known.code == DENIED:
        bodies: Iterable[Body] = ()  # to see a job is one thing, to read what it writes is another
    elif isinstance(known, list) and all(body["run"] == run for body in known if body["type"] == "log-run"):
        bodies = known
    else:
        bodies = _ask(client, run, lines)
    found = list(Splitter(shown_name(client), terminal.Progress()).lines(bodies))
    writer = Writer(output or "short", terminal.is_terminal(), False)
    for number, line in enumerate(found):
        text = fit(writer.text(line), screen)
        terminal.write(text if number else b"\n" + text)


def _ask(client: Client, run: bytes, lines: int) -> Iterator[Body]:
    """Of a run by its id: the job was meant by a glob, say, or has begun another run in between."""
    from jobctl.logs_source import NOT_FOUND, Query, Source

    query = Query("", run.hex())
    query.lines = lines
    query.split = True
    try:
        yield from Source(client, query).bodies()
    except Fault as fault:
        if fault.code not in (NOT_FOUND, DENIED):
            raise


def fit(text: bytes, screen: Screen) -> bytes:
    """A written line cut to the terminal's width, as status does without -l."""
    if not screen.width:
        return text
    lines = text.decode("utf-8", "replace").splitlines()  # of -o verbose there are several
    return "".join(f"{screen.fit(line)}\n" for line in lines).encode()
