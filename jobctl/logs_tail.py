"""The last lines of a job's output, as status shows them."""

from __future__ import annotations

from jobctl import terminal
from jobctl.exits import Fault
from jobctl.logs_lines import Splitter, Writer, shown_name
from jobctl.logs_source import NOT_FOUND, Query, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.logs_lines import Line


def tail(client: Client, run: bytes, lines: int, output: str, full: bool) -> None:
    """The last lines of a job's newest run, as status shows them below the rest."""
    query = Query("", run.hex())
    query.lines = lines
    query.split = True
    width = 0 if full else terminal.columns()
    writer = Writer(output or "short", terminal.is_terminal(), False)
    found: list[Line] = []
    try:
        found.extend(Splitter(shown_name(client), terminal.Progress()).lines(Source(client, query).bodies()))
    except Fault as fault:
        if fault.code != NOT_FOUND:
            raise
    for number, line in enumerate(found):
        text = cut(writer.text(line), width)
        terminal.write(text if number else b"\n" + text)


def cut(text: bytes, width: int) -> bytes:
    """A written line cut to the terminal's width, as status does without -l."""
    if not width:
        return text
    lines = text.decode("utf-8", "replace").splitlines()  # of -o verbose there are several
    return "".join(f"{terminal.cut(line, width)}\n" for line in lines).encode()
