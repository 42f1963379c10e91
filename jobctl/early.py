"""What is answered without typer though it is no verb: the main help, the version, and the names for a TAB."""

from __future__ import annotations

from jobctl import terminal
from jobctl.argv import before_verb
from jobctl.spellings import COMPLETE, HELP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.argv import Value

SPELLED = {"help": ("-h", "--help"), "version": ("--version",)}


def answer(args: list[str]) -> int | None:
    """Answer a line that the light parser did not take; the exit status, or None to leave it to typer.

    Raises:
        OutputError: stdout cannot be written to.
    """
    asked: dict[str, Value] = {}
    if all(word.startswith("-") for word in args) and not {*SPELLED["help"]}.isdisjoint(args):
        args = ["--help"]  # with whatever options: jobctl -a --help
    found = before_verb(args, SPELLED, asked)
    if found is None:
        return None
    target, words = found
    if "help" in asked or words == [HELP]:
        from jobctl import help as help_pages

        return help_pages.show(help_pages.main_help(), bool(target.get("no_pager")))
    if "version" in asked:
        from jobd import __version__

        terminal.say(f"jobctl {__version__}\n")
        return 0
    if words and words[0] == COMPLETE:
        from jobctl.complete import complete

        return complete(target, words[1:])
    return None
