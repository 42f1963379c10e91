"""cat: the definitions of jobs as the text of job files, exact into a pipe."""

from __future__ import annotations

from jobctl import names, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import JsonOutput, Patterns
    from jobctl.shapes import Definition

NO_SUCH_JOB = 4


def cat(client: Client, jobs: Patterns, *, output: JsonOutput = None) -> int:
    """Show the definitions of jobs, as job files.

    Characters that are not to be seen are written as escapes of TOML.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    status = 0
    found: list[Definition] = []
    for word in names.expand(client, jobs):
        definition = client.call({"type": "cat", "names": [word]})["definitions"][0]
        if definition.get("load", "loaded") == "not-found":
            meant = names.meant(client, word)
            terminal.warn(f"cannot find job {word!r}" + (f"; did you mean {meant!r}?" if meant else ""))
            status = NO_SUCH_JOB
            continue
        if not as_json:
            terminal.say(("\n" if found else "") + _shown(_text(client, definition)))
        found.append(definition)
    if as_json:
        from jobctl.rows import definition_row, print_json

        assert output is not None
        print_json([definition_row(definition) for definition in found], output)
    return status


def _text(client: Client, definition: Definition) -> str:
    """A transient job's as one text; of others each file with its path above it."""
    files = definition.get("files", [])
    if not files:
        return definition.get("text", "")
    name = names.shown_name(definition["job"], definition["owner"], client.uid)
    return "\n".join(f"{_header(name, file['path'])}\n{_with_end(file['text'])}" for file in files)


def _header(name: str, path: str) -> str:
    """The line above a file: its path, or for one in jobd's database the job's name."""
    if path.startswith("/"):
        from jobctl.escape import escape

        return f"# {escape(path)}"
    _, _, dropin = path.partition("/")
    return f"# stored: {name}" + (f", {dropin}" if dropin else "")


def _with_end(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


def _shown(text: str) -> str:
    if not terminal.is_terminal():
        return text
    from jobctl.escape import escape

    return "".join(f"{escape(line, chr(9))}\n" for line in text.removesuffix(chr(10)).split(chr(10)))
