"""The light parser and typer read one command line alike."""

from __future__ import annotations

import random

import pytest
import typer.main
from typer.core import TyperOption

from jobctl import __main__ as entry
from jobctl import cli
from jobctl.argv import Call, load, parse
from jobctl.spellings import (
    ALIASES,
    GLOBAL_DEFAULTS,
    GLOBALS,
    NEIGHBOURS,
    OPTIONS,
    VERBS,
)

ROUNDS = 1500
SEED = 20261122
WORDS = ("web", "db", "-", "", "*", "7", "alice/web", "a b", "-1h", "--", "json", "all", "\udcff", "5", "K=V", "list")
GROUP = typer.main.get_command(cli.make_app())
assert isinstance(GROUP, cli.Verbs)
COMMANDS = GROUP.commands


def typer_options(verb: str) -> dict[str, object]:
    """What typer knows of a verb: the parameter and its kind, by spelling."""
    found: dict[str, object] = {}
    for parameter in COMMANDS[verb].params:
        if isinstance(parameter, TyperOption) and parameter.name != "help":
            kind = "switch" if parameter.is_flag else "many" if parameter.multiple else "value"
            assert not parameter.secondary_opts
            found.update(dict.fromkeys(parameter.opts, (parameter.name, kind)))
    return found


def light_options(verb: str) -> dict[str, object]:
    """What the light parser knows of it."""
    defaults = {**GLOBAL_DEFAULTS, **(load(verb).__kwdefaults__ or {})}
    spelled = {**OPTIONS, **GLOBALS}
    return {
        spelling: (name, "switch" if default is False else "many" if default == () else "value")
        for name, default in defaults.items()
        for spelling in spelled[name]
    }


@pytest.mark.parametrize("verb", VERBS)
def test_typer_and_the_light_parser_know_the_same_options(verb: str) -> None:
    assert typer_options(verb) == light_options(verb)


def test_both_know_the_same_verbs() -> None:
    assert set(COMMANDS) == {*VERBS, *ALIASES, "help"}


def test_every_spelling_is_used() -> None:
    used = {name for verb in VERBS for name in load(verb).__kwdefaults__ or {}}
    assert used == set(OPTIONS)


def test_neighbours_words_lead_to_verbs() -> None:
    assert {meant.split()[0] for meant in NEIGHBOURS.values()} <= set(VERBS)
    assert not set(NEIGHBOURS) & {*VERBS, *ALIASES}


def typers_call(args: list[str], monkeypatch: pytest.MonkeyPatch) -> Call | None:
    """What typer would call, or None when it refuses."""
    made: list[Call] = []

    def remember(call: Call) -> int:
        made.append(call)
        return 7

    monkeypatch.setattr(entry, "invoke", remember)
    status = cli.main(args)
    assert status == (7 if made else status)
    return made[0] if made else None


def random_line(rng: random.Random) -> list[str]:
    verb = rng.choice([*VERBS, *VERBS, *ALIASES, "nope"])
    known = list(typer_options(verb)) if verb in VERBS else []
    args: list[str] = []

    def some(count: int) -> None:
        for _ in range(rng.randrange(count)):
            kind = rng.random()
            if known and kind < 0.6:
                option = rng.choice(known)
                if rng.random() < 0.2:
                    option += rng.choice(("", "=")) + rng.choice(WORDS)
                elif rng.random() < 0.2 and len(option) == 2:
                    option += rng.choice(known)[-1] + rng.choice(("", "5", "x y"))
                args.append(option)
            else:
                args.append(rng.choice(WORDS))

    for _ in range(rng.randrange(2)):
        args.extend(rng.choice((["--user"], ["--socket", "/s"], ["--socket=/s"], ["--system"], ["--socket"])))
    args.append(verb)
    some(6)
    return args


@pytest.mark.slow
def test_whatever_the_light_parser_takes_typer_takes_alike(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "make_app", lambda: GROUP)  # made once: it takes longer than a line does
    rng = random.Random(SEED)
    taken = 0
    for _ in range(ROUNDS):
        args = random_line(rng)
        call = parse(list(args))
        if call is None:
            continue
        taken += 1
        theirs = typers_call(args, monkeypatch)
        assert theirs is not None, args
        ours = {name: value for name, value in call.options.items() if value != defaults_of(call)[name]}
        assert (call.verb, call.operands, ours) == (theirs.verb, theirs.operands, theirs.options), args
        assert call.target == theirs.target, args
        capfd.readouterr()
    assert taken > ROUNDS // 5


def defaults_of(call: Call) -> dict[str, object]:
    defaults: dict[str, object] = load(call.verb).__kwdefaults__ or {}
    return defaults


def test_the_comparison_notices_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONS, "quiet", ("-q", "--silent"))
    assert typer_options("is-active") != light_options("is-active")


@pytest.mark.parametrize(
    ("line", "verb", "operands", "options"),
    [
        ("", "list", (), {}),
        ("is-active -q web", "is-active", ("web",), {"quiet": True}),
        ("logs -fn20 web", "logs", ("web",), {"follow": True, "lines": "20"}),
        ("logs web -n 20 -f", "logs", ("web",), {"follow": True, "lines": "20"}),
        ("show -p A -p B,C web", "show", ("web",), {"properties": ("A", "B,C")}),
        ("run -E A=1 -E B -u n -- ls -l", "run", ("ls", "-l"), {"setenv": ("A=1", "B"), "name": "n"}),
        ("run ls -l --wait", "run", ("ls", "-l", "--wait"), {}),
        ("run --array 0-9%2 --array=1 ls", "run", ("ls",), {"array": "1"}),
        ("run --after a --after=b:any --singleton ls", "run", ("ls",), {"after": ("a", "b:any"), "singleton": True}),
        ("list-units -a", "list", (), {"every": True}),
        ("stop -- -x", "stop", ("-x",), {}),
        ("status", "status", (), {}),
    ],
)
def test_lines_people_type(line: str, verb: str, operands: tuple[str, ...], options: dict[str, object]) -> None:
    call = parse(line.split())
    assert call is not None
    assert (call.verb, call.operands, call.options) == (verb, operands, options)


@pytest.mark.parametrize(
    "line", ["nope", "--help", "list --help", "start", "logs -n", "status --quiet=1", "-x list", "help run", "list -Z"]
)
def test_everything_else_is_left_to_typer(line: str) -> None:
    assert parse(line.split()) is None


def test_options_for_the_daemon_go_before_or_after_the_verb() -> None:
    before, after = parse(["--socket", "/s", "list"]), parse(["list", "--socket=/s"])
    assert before is not None
    assert after is not None
    assert before.target == after.target == {"socket": "/s"}
