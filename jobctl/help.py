"""Help as text: of jobctl as a whole, and of a verb. Laid out as systemctl's, in the width of the terminal.

The main help is made of `spellings` and the verbs' docstrings alone, without typer: it is asked for often, and typer
takes eight times as long to import as all verbs together. What a verb's options mean only `options` says: `cli`
gives those.
"""

from __future__ import annotations

import os
import sys

from jobctl import terminal
from jobctl.argv import load
from jobctl.spellings import GLOBALS, HELP, OPERANDS, OPERANDS_END_OPTIONS, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_COLUMNS = 120  # longer lines are hard to read
MIN_COLUMNS = 40  # on a narrower terminal lines wrap, and nothing better can be done
TERM_COLUMNS = 28  # of the left column; longer terms stand on a line of their own
ROOMY_COLUMNS = 64  # on a narrower terminal what a term means stands below it
INDENT = "  "

ABOUT = "Run, watch, read and stop jobs supervised by jobd. Without a verb: list."
HELP_SUMMARY = "Show help on a verb, or this."
END = "More on a verb: jobctl help VERB\n"
MANUAL = "Manual page: {}\n"
PAGE = "share/man/man1/jobctl.1"  # below the prefix of an installation

# The verbs as the main help shows them: DESIGN.md, section 9. Words that are no verb yet are passed over.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Run", ("run", "rerun", "attach")),
    (
        "Lifecycle",
        (
            "start", "stop", "restart", "try-restart", "reload", "reload-or-restart", "kill", "freeze", "thaw",
            "reset-failed",
        ),
    ),
    (
        "Look",
        (
            "list", "status", "show", "cat", "logs", "result", "history", "why", "events", "is-active", "is-failed",
            "is-enabled", "list-job-files", "list-dependencies", "whoami",
        ),
    ),
    ("Wait", ("wait",)),
    (
        "Definitions",
        (
            "add", "rm", "enable", "disable", "mask", "unmask", "edit", "revert", "verify", "daemon-reload",
            "set-property",
        ),
    ),
    ("Queues and time", ("queue", "cancel", "hold", "release", "list-timers")),
    ("Daemon", ("daemon-status", "daemon-reexec", "is-system-running", "shutdown", "auth")),
    ("Help", (HELP, "completion")),
)  # fmt: skip
GLOBAL_HELP = (
    ("user", "", "Speak to your own jobd; it is started if it does not run."),
    ("system", "", "Speak to the system's jobd."),
    ("socket", "PATH", "Speak to the jobd at this socket."),
    ("host", "HOST", "Speak to the jobd of another host, by ssh: [USER@]HOST[:PORT]. Several with commas."),
)
OTHER_HELP = (
    ("--no-pager", "Write to the terminal straight away."),
    ("-h, --help", "Show this."),
    ("--version", "Show the version."),
)


def show(text: str, no_pager: bool = False) -> int:
    """Write a help, to a terminal through the pager; 0.

    Raises:
        OutputError: stdout cannot be written to.
    """
    if terminal.is_terminal() and not no_pager:
        from jobctl import pager

        terminal.SCREEN.pager = pager.wanted(os.environ)
    try:
        terminal.say(text)
    except terminal.ReaderGoneError:
        pass
    finally:
        terminal.end_paging()
    return 0


def manual() -> str:
    """How the manual page is to be had: man looks beside the directories of PATH, and not into a venv of pip or uv."""
    places = [os.path.dirname(directory.rstrip("/")) for directory in os.environ.get("PATH", "").split(":")]
    known = any(os.path.exists(f"{place}/{PAGE}") for place in places)
    here = f"{sys.prefix}/{PAGE}"
    return "man jobctl" if known or not os.path.exists(here) else f"man {here}"


def columns() -> int:
    """How wide help is written."""
    asked = os.environ.get("COLUMNS", "")
    here = (
        int(asked)
        if asked.isdecimal() and len(asked) <= len(str(MAX_COLUMNS))
        else terminal.columns() or terminal.DEFAULT_COLUMNS
    )
    return max(MIN_COLUMNS, min(here, MAX_COLUMNS))


def main_help() -> str:
    """What `jobctl --help` shows."""
    width = columns()
    usage = "Usage: jobctl [-H HOST] [--user | --system | --socket PATH] [VERB] [ARG...]\n"
    parts = [usage, f"{wrapped(ABOUT, width)}\n"]
    for title, words in grouped():
        parts.append(section(title, [(form(verb), summary(verb)) for verb in words], width))
    parts.append(section("Which jobd", [(spelled(GLOBALS[name], metavar), text) for name, metavar, text in GLOBAL_HELP],
                         width))  # fmt: skip
    parts.append(section("Other", OTHER_HELP, width))
    parts.append(END + MANUAL.format(manual()))
    return "\n".join(parts)


def grouped() -> list[tuple[str, list[str]]]:
    """The verbs there are, by the groups of the main help; what belongs to none comes last."""
    left = [*VERBS, HELP]
    found = []
    for title, words in (*GROUPS, ("More", tuple(left))):
        here = [verb for verb in words if verb in left]
        left = [verb for verb in left if verb not in here]
        if here:
            found.append((title, here))
    return found


def form(verb: str) -> str:
    """A verb and its operands: `stop JOB...`."""
    if verb == HELP:
        return f"{HELP} [VERB]"
    names = [name for name in load(verb).__annotations__.values() if name in OPERANDS]
    option = "[OPTION...] " if verb in OPERANDS_END_OPTIONS else ""
    return f"{verb} {option}{' '.join(OPERANDS[name] for name in names)}".rstrip()


def summary(verb: str) -> str:
    """The first line of a verb's docstring."""
    return HELP_SUMMARY if verb == HELP else (load(verb).__doc__ or "").strip().partition("\n")[0]


def usage(verb: str, options: bool) -> str:
    """How a verb is called."""
    words = form(verb)
    if options and verb not in OPERANDS_END_OPTIONS:
        words = f"{verb} [OPTION...]{words[len(verb) :]}"
    return f"Usage: jobctl {words}"


def verb_help(
    verb: str, text: str, operands: Iterable[tuple[str, str]], options: Sequence[tuple[str, str]],
    target: Iterable[tuple[str, str]],
) -> str:  # fmt: skip
    """What `jobctl help VERB` shows.

    Args:
        verb: one of the verbs.
        text: its docstring.
        operands: what it takes, and what that is.
        options: its options as they are written, and what they mean.
        target: the same for those that every verb has.
    """
    width = columns()
    paragraphs = [part if part.startswith(INDENT) else wrapped(part, width) for part in text.strip().split("\n\n")]
    parts = [f"{usage(verb, bool(options))}\n", *(f"{part}\n" for part in paragraphs)]
    for title, rows in (("Operands", operands), ("Options", options), ("Which jobd", target)):
        if rows := list(rows):
            parts.append(section(title, rows, width))
    parts.append(MANUAL.format(manual()))
    return "\n".join(parts)


def spelled(spellings: Sequence[str], metavar: str = "") -> str:
    """An option as help shows it: `-n, --lines N`."""
    return f"{', '.join(spellings)} {metavar}".rstrip()


def section(title: str, rows: Iterable[tuple[str, str]], width: int) -> str:
    """A title, and below it two columns."""
    lines = [f"{title}:"]
    left = TERM_COLUMNS if width >= ROOMY_COLUMNS else len(INDENT) * 3
    gap = " " * left
    for term, text in rows:
        first, *rest = wrapped(text, width - left).split("\n")
        word = f"{INDENT}{term}"
        lines += [f"{word:<{left}}{first}"] if len(word) + len(INDENT) <= left else [word, f"{gap}{first}"]
        lines += [f"{gap}{line}" for line in rest]
    return "".join(f"{line}\n" for line in lines)


def wrapped(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns, broken at spaces. textwrap would do, and costs an import of re."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return "\n".join(lines)
