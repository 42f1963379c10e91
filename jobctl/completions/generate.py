"""Writes the words of the command line into the completion files: `python -m jobctl.completions.generate`.

Each file is written by hand but for the part between its two marks. That part is made of `spellings`, the verbs'
signatures, the help of `options` and `kinds`; tests/jobctl/test_completions.py compares it with what is checked in.
"""

from __future__ import annotations

import sys
from typing import NamedTuple, get_args

from jobctl import completions, help, options  # noqa: A004  # the module
from jobctl.argv import load
from jobctl.completions import kinds
from jobctl.completions.kinds import Words
from jobctl.spellings import GLOBAL_DEFAULTS, GLOBALS, HELP, OPERANDS_END_OPTIONS, OPTIONS

BEGIN, END = "# --- words: made by python -m jobctl.completions.generate ---\n", "# --- end of the words ---\n"


class Option(NamedTuple):
    """An option of a verb."""

    spellings: tuple[str, ...]
    kind: str | Words | None  # of its value; None for a switch
    value: str  # the name of its type; of jobs, which ones
    many: bool  # whether it may be given several times
    help: str


class Verb(NamedTuple):
    """A verb. `operands` is the kind of its operands, "" for none."""

    name: str
    help: str
    operands: str | Words
    value: str
    options: tuple[Option, ...]


def option(name: str, type_: str, default: object) -> Option:
    """What is to be known of the parameter `name` of a verb."""
    described = get_args(getattr(options, type_))[1]
    kind = None if default is False else kinds.VALUES.get(type_, kinds.TEXT)
    value = {kinds.JOBS: kinds.ANY, kinds.RUNS: kinds.RUNS}.get(str(kind), type_)
    return Option({**OPTIONS, **GLOBALS}[name], kind, value, default == (), described.help)


def global_options() -> list[Option]:
    """Those that stand before or after any verb."""
    types = {id(value): name for name, value in vars(options).items()}
    shown = (name for name in GLOBALS if not get_args(options.GLOBAL_TYPES[name])[1].hidden)
    return [option(name, types[id(options.GLOBAL_TYPES[name])], GLOBAL_DEFAULTS[name]) for name in shown]


def verbs() -> list[Verb]:
    """All verbs, in the order of the help."""
    found = []
    for name in (verb for _, group in help.grouped() for verb in group):
        if name == HELP:
            found.append(Verb(HELP, help.HELP_SUMMARY, kinds.VERB, "", ()))
            continue
        function = load(name)
        types: dict[str, str] = function.__annotations__
        own = [option(each, types[each], default) for each, default in (function.__kwdefaults__ or {}).items()]
        value = next((each for each in types.values() if each in kinds.OPERANDS), "")
        kind = kinds.OPERANDS.get(value, "")
        if kind in (kinds.JOBS, kinds.RUNS):
            value = kinds.JOB_FILTERS.get(name, kinds.ANY if kind == kinds.JOBS else kinds.RUNS)
        found.append(Verb(name, help.summary(name), kind, value, tuple(own)))
    return found


def sets() -> dict[str, Words]:
    """The closed sets of words, by the names of their types."""
    return {name: kind for table in (kinds.OPERANDS, kinds.VALUES) for name, kind in table.items()
            if isinstance(kind, Words)}  # fmt: skip


def mark(kind: str | Words, value: str) -> str:
    """A kind in one word, for bash: that of a closed set is the name of its type."""
    if isinstance(kind, Words):
        return value
    return f"jobs.{value}" if kind in (kinds.JOBS, kinds.RUNS) else kind


# --- bash ---------------------------------------------------------------------------------------------------------
def bash() -> str:
    """The words as three functions that set variables of their caller."""
    every = verbs()
    shared = " ".join(_bash_option(each) for each in global_options())
    lines = [f"__jobctl_verbs='{' '.join(verb.name for verb in every)}'", f"__jobctl_globals='{shared}'", ""]
    lines += ["# Sets options, each with the kind of its value behind a colon, and operands, their kind."]
    lines += ["__jobctl_verb() {", "    case $1 in"]
    for verb in every:
        lines += [f"    {verb.name})", f"        operands='{mark(verb.operands, verb.value)}'"]
        lines += [f"        options='{' '.join(_bash_option(each) for each in verb.options)}'", "        ;;"]
    lines += ["    *) operands='' options='' ;;", "    esac", "}", ""]
    lines += ["# Sets set, the words of a kind that is closed, and commas, which is 1 if several may be given."]
    lines += ["__jobctl_set() {", "    case $1 in"]
    for name, words in sets().items():
        lines += [f"    {name})", f"        set='{' '.join(words.words)}' commas={int(words.commas)}", "        ;;"]
    lines += ["    *) set='' commas=0 ;;", "    esac", "}"]
    return "\n".join(lines) + "\n"


def _bash_option(each: Option) -> str:
    suffix = "" if each.kind is None else f":{mark(each.kind, each.value)}"
    return " ".join(f"{spelling}{suffix}" for spelling in each.spellings)


# --- zsh ----------------------------------------------------------------------------------------------------------
def zsh() -> str:
    """The words as specifications for _arguments and _describe."""
    every = verbs()
    lines = ["_jobctl_verbs() {", "    local -a verbs=("]
    lines += [f"        {_quoted(_escaped(verb.name, ':') + ':' + verb.help)}" for verb in every]
    lines += ["    )", '    _describe -t verbs verb verbs "$@"', "}", "", "_jobctl_globals=("]
    lines += [f"    {spec}" for each in global_options() for spec in _zsh_option(each)]
    lines += [")", "", "# Sets specs, what a verb takes.", "_jobctl_specs() {", "    case $1 in"]
    for verb in every:
        lines += [f"    ({verb.name})", "        specs=("]
        lines += [f"            {spec}" for each in verb.options for spec in _zsh_option(each)]
        lines += [f"            {spec}" for spec in _zsh_operands(verb)]
        lines += ["        )", "        ;;"]
    return "\n".join([*lines, "    esac", "}"]) + "\n"


def _zsh_option(each: Option) -> list[str]:
    others = "*" if each.many else f"({' '.join(each.spellings)})" if len(each.spellings) > 1 else ""
    value = ""
    if each.kind is not None:
        word = each.spellings[-1].lstrip("-")
        value = f":{word}:{_zsh_action(each.kind, each.value, word)}"
    found = []
    for spelling in each.spellings:
        glue = "" if each.kind is None else "=" if spelling.startswith("--") else "+"
        found.append(_quoted(f"{others}{spelling}{glue}[{_escaped(each.help, ']')}]{value}"))
    return found


def _zsh_operands(verb: Verb) -> list[str]:
    if verb.name in OPERANDS_END_OPTIONS:
        return ["'(-):command: _command_names -e'", "'*::argument: _normal'"]
    if not verb.operands:
        return []
    if verb.value == "AuthVerb":
        words = " ".join(verb.operands.words) if isinstance(verb.operands, Words) else ""
        return [
            f"':{verb.value}:({words})'",
            "': : _jobctl_can_i _jobctl_verbs'",
            "': : _jobctl_can_i _jobctl_jobs any'",
        ]
    if verb.value == "QueueWords":
        words = " ".join(verb.operands.words) if isinstance(verb.operands, Words) else ""
        return [f"':{verb.value}:({words})'", "': : _jobctl_of_queues'", "'*: : _jobctl_of_queues more'"]
    if verb.value == "JobSettings":
        words = " ".join(verb.operands.words) if isinstance(verb.operands, Words) else ""
        return ["':job: _jobctl_jobs any'", f"'*:{verb.value}: _jobctl_keys {words}'"]
    several = "" if isinstance(verb.operands, Words) or verb.name == HELP else "*"
    return [_quoted(f"{several}:{verb.operands if isinstance(verb.operands, str) else verb.value}:"
                    f"{_zsh_action(verb.operands, verb.value, verb.name)}")]  # fmt: skip


def _zsh_action(kind: str | Words, value: str, word: str) -> str:
    if isinstance(kind, Words):
        words = " ".join(kind.words)
        if kind.commas:
            return f"_values -s , {word} {words}"
        return f" _jobctl_keys {words}" if any(each.endswith("=") for each in kind.words) else f"({words})"
    return {
        kinds.TEXT: " ",
        kinds.FILE: "_files",
        kinds.DIRECTORY: "_files -/",
        kinds.JOBS: f" _jobctl_jobs {value}",
        kinds.RUNS: f" _jobctl_jobs {value}",
        kinds.HOSTS: "_jobctl_hosts",
        kinds.USERS: "_users",
        kinds.NUMBER: "_jobctl_numbers",
        kinds.QUEUES: "_jobctl_queues",
        kinds.VARIABLE: "_jobctl_variable",
        kinds.VARIABLES: "_jobctl_variables",
        kinds.VERB: "_jobctl_verbs",
    }[kind]


# --- fish ---------------------------------------------------------------------------------------------------------
def fish() -> str:
    """The words as calls of complete."""
    every = verbs()
    lines = [
        "# The options of a verb that take a value.",
        "function __jobctl_valued --argument-names verb",
        "    switch $verb",
    ]
    for verb in every:
        valued = [spelling for each in verb.options if each.kind is not None for spelling in each.spellings]
        if valued:
            lines += [f"        case {verb.name}", f"            echo -- {' '.join(valued)}"]
    lines += ["    end", "end", "", "function __jobctl_verbs"]
    lines += [f"    printf '%s\\n' {' '.join(verb.name for verb in every)}", "end", ""]
    for verb in every:
        lines.append(f"complete -c jobctl -n __jobctl_no_verb -a {verb.name} -d {_fish_quoted(verb.help)}")
    for each in global_options():
        lines.append(f"complete -c jobctl -n __jobctl_no_command{_fish_option(each)}")
    for verb in every:
        here = f"complete -c jobctl -n '__jobctl_verb {verb.name}'"
        lines += ["", *(f"{here}{_fish_option(each)}" for each in verb.options)]
        if verb.value == "JobSettings":
            lines.append(f"complete -c jobctl -n '__jobctl_first {verb.name}' -a '(__jobctl_jobs any)'")
            here = f"complete -c jobctl -n '__jobctl_behind {verb.name}'"
        elif isinstance(verb.operands, Words):  # of which there is one
            here = f"complete -c jobctl -n '__jobctl_first {verb.name}'"
        if verb.operands and verb.name not in OPERANDS_END_OPTIONS:
            lines.append(f"{here}{_fish_value(verb.operands, verb.value)}")
    return "\n".join(lines) + "\n"


def _fish_option(each: Option) -> str:
    names = "".join(f" -l {word[2:]}" if word.startswith("--") else f" -s {word[1:]}" for word in each.spellings)
    value = ""
    if each.kind == kinds.FILE:
        value = " -r -F"
    elif each.kind is not None:
        value = " -x" + _fish_value(each.kind, each.value)
    return f"{names}{value} -d {_fish_quoted(each.help)}"


def _fish_value(kind: str | Words, value: str) -> str:
    if isinstance(kind, Words):
        words = " ".join(kind.words)
        return f" -a '(__jobctl_list {words})'" if kind.commas else f" -a '{words}'"
    if kind == kinds.VERB:
        return f" -a '{' '.join(verb.name for verb in verbs())}'"
    if kind == kinds.FILE:
        return " -F"
    words = {
        kinds.TEXT: "",
        kinds.DIRECTORY: "__fish_complete_directories (__jobctl_typed)",
        kinds.JOBS: f"__jobctl_jobs {value}",
        kinds.RUNS: f"__jobctl_jobs {value}",
        kinds.HOSTS: "__jobctl_hosts",
        kinds.USERS: "__fish_complete_users",
        kinds.NUMBER: "__jobctl_numbers",
        kinds.QUEUES: "__jobctl_queues",
        kinds.VARIABLE: "set -xn | string replace -r \\$ =",
        kinds.VARIABLES: "__jobctl_list all none (set -xn)",
    }[kind]
    return f" -a '({words})'" if words else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _escaped(text: str, special: str) -> str:
    for char in ("\\", *special):
        text = text.replace(char, "\\" + char)
    return text


# --- the files ----------------------------------------------------------------------------------------------------
MAKERS = {"bash": bash, "zsh": zsh, "fish": fish}


def fresh(shell: str) -> str:
    """The file of a shell as it should be."""
    with open(completions.path(shell), encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{completions.path(shell)} lacks its marks"
    return f"{before}{BEGIN}{MAKERS[shell]()}{END}{after}"


def main() -> int:
    """Bring all files up to date."""
    for shell in completions.FILES:
        text = fresh(shell)
        with open(completions.path(shell), "w", encoding="utf-8") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
