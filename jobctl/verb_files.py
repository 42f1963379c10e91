"""list-job-files, daemon-reload, revert: the definitions that there are, and what reading them again changes."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import DryRun, FileStates, FullLines, JsonOutput, ListOutput, NoLegend, OptionalPatterns, Quiet
    from jobctl.shapes import Body, FileView, Planned

COLUMNS = ("JOB", "FILE", "STATE")
COLOURS = {  # systemctl's
    "enabled": terminal.GREEN, "disabled": terminal.YELLOW, "masked": terminal.RED, "bad": terminal.RED,
    "not-found": terminal.RED,
}  # fmt: skip
BROKEN = "broken"
BAD_DEFINITION = 6  # exit status: DESIGN.md, section 9
INDENT = "  "


# --- list-job-files -------------------------------------------------------------------------------------------------
def list_job_files(
    client: Client,
    patterns: OptionalPatterns = (),
    *,
    states: FileStates = (),
    full: FullLines = False,
    no_legend: NoLegend = False,
    quiet: Quiet = False,
    output: ListOutput = None,
) -> int:
    """List the jobs that have a definition, where it is, and whether it is enabled."""
    as_json = False
    if output is not None:
        from jobctl import rows

        as_json = rows.is_json(output, "name")
    if states:
        from jobctl import statewords

        if statewords.asks_for_help(states):
            terminal.say(statewords.file_help())
            return 0
        states = tuple(statewords.of_files(states))
    files = fetch(client, patterns, list(states))
    if as_json:
        assert output is not None
        rows.print_json([rows.file_row(file) for file in files], output)
    elif output is not None:
        terminal.say("".join(f"{_name(client, file)}\n" for file in files))
    else:
        _print_table(client, files, full, legend=not (no_legend or quiet))
    return 0


def fetch(client: Client, patterns: tuple[str, ...], states: list[str]) -> list[FileView]:
    """All the pages of the list."""
    files: list[FileView] = []
    after = ""
    while True:
        body = client.call({"type": "list-job-files", "patterns": list(patterns), "states": states, "after": after})
        files += body["files"]
        after = body.get("more", "")
        if not after:
            return files


def _name(client: Client, about: FileView | Planned) -> str:
    return names.shown_name(about["job"], about["owner"], client.uid)


def _print_table(client: Client, files: list[FileView], full: bool, legend: bool) -> None:
    from jobctl.table import Table

    found = [(_name(client, file), escape(file.get("file", "")) or "-", escape(file["state"])) for file in files]
    table = Table(COLUMNS, COLUMNS.index("FILE"), full=full)
    table.fit(found)
    lines = [table.top()] if legend else []
    lines += [table.line(row, ("", "", COLOURS.get(row[-1], ""))) for row in found]
    if legend:
        lines += ["", f"{len(files)} job file{'' if len(files) == 1 else 's'} listed."]
    terminal.say("".join(f"{line}\n" for line in lines))


# --- daemon-reload, revert ------------------------------------------------------------------------------------------
def daemon_reload(client: Client, *, dry_run: DryRun = False, output: JsonOutput = None) -> int:
    """Read jobd.toml and the job files again, and say what has changed.

    Nothing is restarted by that. Rules and limits hold at once, also for who is connected. A jobd.toml that cannot be
    taken changes nothing, and says why; so does a job file, for its job. Exits with 6 then.
    """
    if output is not None:
        from jobctl.rows import is_json

        is_json(output)
    client.start = False
    body = client.call({"type": "daemon-reload", **({"dry": True} if dry_run else {})})
    return show_plan(client, body, output)


def show_plan(client: Client, body: Body, output: str | None = None) -> int:
    """Print what has changed, nothing if nothing has; 0, or 6 when a definition is broken."""
    for line in (*body.get("text", "").splitlines(), *body.get("warnings", [])):
        terminal.warn(line)
    changes = [change for change in body.get("changes", []) if change["change"] != "unchanged"]
    if output is not None:
        from jobctl.rows import plan_row, print_json

        print_json([plan_row(change) for change in changes], output)
    else:
        terminal.say("".join(f"{line}\n" for change in changes for line in _lines(client, change)))
    return BAD_DEFINITION if any(change["change"] == BROKEN for change in changes) else 0


def _lines(client: Client, change: Planned) -> list[str]:
    """`added web`, `changed web: command (needs restart)`, `broken web:` and the errors below."""
    keys = ", ".join(change.get("keys", []))
    line = f"{change['change']} {_name(client, change)}"
    if keys:
        line += f": {keys}"
    if change.get("restart"):
        line += " (needs restart)"
    if change["change"] == BROKEN:
        line += ":"
    return [escape(line), *(f"{INDENT}{escape(text)}" for text in change.get("text", "").splitlines())]
