"""What is answered without typer though it is no verb: the main help, the version, and the names for a TAB."""

from __future__ import annotations

from jobctl import terminal
from jobctl.argv import before_verb
from jobctl.complete import COMPLETE
from jobctl.spellings import HELP

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
    found = before_verb(args, SPELLED, asked)
    if found is None:
        return None
    target, words = found
    if "help" in asked or words == [HELP]:
        from jobctl.help import main_help

        return show(main_help())
    if "version" in asked:
        from jobd import __version__

        return show(f"jobctl {__version__}\n")
    if words and words[0] == COMPLETE:
        from jobctl.complete import complete

        return complete(target, words[1:])
    return None


def show(text: str) -> int:
    """Write it; 0."""
    terminal.say(text)
    return 0
