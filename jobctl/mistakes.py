"""What to say about a command line that means nothing: what is wrong, what was probably meant, what to do next."""

from __future__ import annotations

from jobctl.argv import before_verb, load
from jobctl.connect import FAR
from jobctl.exits import UsageError
from jobctl.habits import hint, reworded
from jobctl.spellings import ALIASES, GLOBALS, HELP, NEIGHBOURS, ONLY_SYSTEMCTLS, OPTIONS, VERBS
from jobd.core.names import closest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def unknown_verb(word: str) -> str:
    """About a verb that is none."""
    if word in ONLY_SYSTEMCTLS:
        return f"unknown verb {word!r}: systemctl has it, jobctl does not; jobctl help lists those it has"
    if word == "detach":
        return "unknown verb 'detach': ^] three times leaves a job that is attached"
    begun = [verb for verb in (*VERBS, HELP) if word and verb.startswith(word)]
    if len(begun) > 1 and word not in NEIGHBOURS:
        return f"unknown verb {word!r}; did you mean {', '.join(begun[:-1])} or {begun[-1]}?"
    meant = NEIGHBOURS.get(word) or closest(word, (*VERBS, HELP))
    return f"unknown verb {word!r}; " + (f"did you mean {meant!r}?" if meant else "jobctl help lists them")


def unknown_word(what: str, word: str, known: Sequence[str], meant: str = "") -> UsageError:
    """About a value that is none of a closed set: `unknown output format 'jsn'; did you mean 'json'?`.

    Args:
        meant: what it is, if that is known and not to be found by its spelling.
    """
    likely = meant or closest(word, known)
    return UsageError(f"unknown {what} {word!r}; " + (f"did you mean {likely!r}?" if likely else _one_of(known)))


def _one_of(known: Sequence[str]) -> str:
    return f"it is one of {', '.join(known)}"


def next_step(code: str, message: str, software: str = "") -> str:
    """What jobd refused, or that there is none, with what to do about it where the message does not say.

    Args:
        software: the daemon's name and version, if it is known.
    """
    if code == "malformed":
        from jobctl.versions import other_software

        return f"{message}{other_software(software)}"
    if code == "not-found" and message.startswith("cannot find job ") and "did you mean" not in message:
        if message.endswith(".toml'"):
            return f"{message}; jobctl add makes a job of a file"
        return f"{message}; jobctl list -a lists all there are"
    if code == "unavailable" and message.startswith("cannot connect to jobd at ") and FAR.remote is None:
        return f"{message}; does it run? jobctl --user starts your own"
    return message


def spellings_of(verb: str) -> list[str]:
    """All the options of a verb as they can be typed."""
    own = (OPTIONS[name] for name in load(verb).__kwdefaults__ or {}) if verb in VERBS else ()
    return [spelling for spellings in (*own, *GLOBALS.values()) for spelling in spellings]


def unknown_option(verb: str, option: str) -> str:
    """About an option that the verb ("" for none) does not have."""
    known = spellings_of(verb)
    whose = f"{verb} has no option {option}" if verb else f"unknown option {option}"
    if habit := hint(verb, option):
        return f"{whose}; {habit}"
    meant = closest(option, known) if len(option) > 2 else ""  # no letter is like another
    if meant:
        return f"{whose}; did you mean {meant}?"
    others = [other for other in VERBS if other != verb and option in spellings_of(other)]
    if others:
        return f"{whose}: it is one of {', '.join(others)}; {say_more(verb)}"
    return f"{whose}; {say_more(verb)}"


def say_more(verb: str) -> str:
    """Where to read on."""
    return f"jobctl help{verb and ' '}{verb} says more"


def meant_line(error: Exception, args: list[str]) -> list[str] | None:
    """The line that was meant where there is no doubt, as by `kill -9`; None where it is a mistake."""
    if type(error).__name__ != "NoSuchOption":
        return None
    _, words = before_verb(args) or ({}, [])
    return reworded(words[0], getattr(error, "option_name", ""), args) if words else None


def explain(error: Exception, args: list[str]) -> str | None:
    """About what typer refuses; None for an exception that is no mistake in the command line.

    typer's own exceptions are private to it and have moved between its versions, so they are known by their names.
    """
    if not hasattr(error, "format_message"):
        return None
    _, words = before_verb(args) or ({}, [])
    verb = ALIASES.get(words[0], words[0]) if words else ""
    option: str = getattr(error, "option_name", "")
    parameter = getattr(error, "param", None)
    text: str = error.format_message()
    match type(error).__name__:
        case "NoSuchOption":
            return unknown_option(verb, option)
        case "BadOptionUsage":
            needs = "takes no value" if "does not take" in text else "needs a value"
            return f"option {option} {needs}; {say_more(verb)}"
        case "UsageError" if "unexpected extra" in text:
            return f"{verb} takes no operands; {say_more(verb)}"
        case "MissingParameter" if parameter is not None:
            return f"{verb} needs {parameter.metavar}; {say_more(verb)}"
    return f"{text[:1].lower()}{text[1:].rstrip('.')}; {say_more(verb)}"
