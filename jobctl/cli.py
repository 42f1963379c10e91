"""The command line as typer knows it: help, mistakes, and whatever the light parser leaves to it.

Nothing is defined here: verbs come from `spellings`, their parameters from the verbs' signatures, options from
`options`. Each command makes the same Call that the light parser would, and hands it to the same `invoke`.
"""

from __future__ import annotations

import inspect
import sys
from typing import Annotated

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from jobctl import help as help_pages
from jobctl import options, terminal
from jobctl.argv import Call, before_verb, load
from jobctl.exits import NOT_THE_JOBS, USAGE, UsageError
from jobctl.habits import reworded
from jobctl.mistakes import explain, meant_line, unknown_verb
from jobctl.spellings import (
    ALIASES,
    DEFAULT_VERB,
    GLOBAL_DEFAULTS,
    GLOBALS,
    HELP,
    OPERANDS_END_OPTIONS,
    OPTIONS,
    STAYING,
    VERBS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.argv import Value

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class Verbs(TyperGroup):
    """The group of verbs; knows what the words of other programs mean here."""

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # types are private
        """Find the verb, or say what was probably meant."""
        word = args[0]
        if word not in self.commands and not word.startswith("-"):
            raise UsageError(unknown_verb(word))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx, _formatter):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Show the main help."""
        raise typer.Exit(help_pages.show(help_pages.main_help(), _no_pager(ctx)))


class Verb(TyperCommand):
    """A verb. Its help is shown here, and not by typer: that knows no pager, and does not see that stdout is closed."""

    def format_help(self, ctx, _formatter):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Show the help on it."""
        raise typer.Exit(help_pages.show(help_on(self), _no_pager(ctx.parent)))


def _no_pager(context: object) -> bool:
    """Whether --no-pager stands before the verb."""
    return bool((getattr(context, "obj", None) or {}).get("no_pager"))


def help_on(command: TyperCommand) -> str:
    """The help on a verb, from what typer knows of it."""
    rows: dict[str, list[tuple[str, str]]] = {"operands": [], "options": [], "target": []}
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        text = str(getattr(parameter, "help", ""))
        metavar = str(parameter.metavar or "")
        if isinstance(parameter, TyperArgument):
            rows["operands"].append((metavar, text))
        else:
            place = "target" if parameter.name in GLOBALS else "options"
            rows[place].append((help_pages.spelled(parameter.opts, metavar), text))
    verb = ALIASES.get(command.name or "", command.name or "")
    return help_pages.verb_help(verb, command.help or "", **rows)


def make_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="jobctl",
        cls=Verbs,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        result_callback=_exit,
        context_settings=HELP_OPTIONS,
    )
    app.callback(invoke_without_command=True)(_without_verb())
    for verb in VERBS:
        app.command(verb, cls=Verb, context_settings=_settings(verb))(_command(verb))
    for alias, verb in ALIASES.items():
        app.command(alias, cls=Verb, hidden=True, context_settings=_settings(verb))(_command(verb))
    app.command(HELP, cls=Verb, help=help_pages.HELP_SUMMARY, context_settings=HELP_OPTIONS)(_help)
    return app


def _exit(status: int | None, **_: object) -> None:
    """typer throws the value of a command away; here it is the exit status."""
    sys.exit(status)


def _settings(verb: str) -> dict[str, object]:
    return {**HELP_OPTIONS, "allow_interspersed_args": verb not in OPERANDS_END_OPTIONS}


def _without_verb() -> Callable[..., int | None]:
    def callback(ctx: typer.Context, version: bool = False, **chosen: Value) -> int | None:
        if version:
            from jobd import __version__

            terminal.say(f"jobctl {__version__}\n")
            raise typer.Exit
        ctx.obj = chosen
        if ctx.invoked_subcommand is None:
            return _invoke(Call(DEFAULT_VERB, _set_apart(chosen, GLOBAL_DEFAULTS), (), {}))
        return None

    version = typer.Option("--version", help="Show the version.", show_default=False)
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        _keyword("version", version, False, bool),
        *_global_parameters(),
    ]
    return _with_signature(callback, parameters)


def _keyword(name: str, option: object, default: object, type_: object) -> inspect.Parameter:
    from typing import Annotated

    annotation = Annotated[type_, option]  # type: ignore[valid-type]  # made at run time
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _global_parameters() -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=GLOBAL_DEFAULTS[name], annotation=options.GLOBAL_TYPES[name])
        for name in GLOBALS
    ]


def _with_signature(
    function: Callable[..., int | None], parameters: list[inspect.Parameter]
) -> Callable[..., int | None]:
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function


def _command(verb: str) -> Callable[..., int | None]:
    """The function that typer calls for a verb: makes the Call."""
    function = load(verb)
    own = list(inspect.signature(function).parameters.values())[1:]  # without the client
    defaults: dict[str, object] = function.__kwdefaults__ or {}
    operands = next((each.name for each in own if each.kind is not inspect.Parameter.KEYWORD_ONLY), None)

    def command(ctx: typer.Context, **given: Value) -> int | None:
        target = {**(ctx.obj or {})}
        target.update(_set_apart({name: given.pop(name) for name in GLOBALS}, GLOBAL_DEFAULTS))
        words = None if operands is None else tuple(given.pop(operands) or ())  # type: ignore[arg-type]
        return _invoke(Call(verb, _set_apart(target, GLOBAL_DEFAULTS), words, _set_apart(given, defaults)))

    command.__doc__ = function.__doc__
    parameters = [each.replace(annotation=_typer_type(str(each.annotation))) for each in own]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    return _with_signature(command, [context, *parameters, *_global_parameters()])


def _typer_type(name: str) -> object:
    """The annotation for typer, which wants list[str] where a verb is given a tuple."""
    from typing import Annotated, get_args

    annotation = getattr(options, name)
    type_, *rest = get_args(annotation)
    return Annotated[(list[str], *rest)] if type_ == tuple[str, ...] else annotation


def _set_apart(given: dict[str, Value], defaults: dict[str, object]) -> dict[str, Value]:
    """What differs from the defaults, lists as tuples: as the light parser gives it."""
    found: dict[str, Value] = {}
    for name, value in given.items():
        plain = tuple(value) if isinstance(value, (list, tuple)) else value
        if plain != defaults[name] and not (plain is None and defaults[name] == ()):
            found[name] = plain
    return found


def _invoke(call: Call) -> int:
    from jobctl.__main__ import invoke

    return invoke(call)


def _help(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[VERB]", help="What to show help on.", show_default=False)
    ] = None,
) -> int:
    group = ctx.parent.command if ctx.parent is not None else ctx.command
    assert isinstance(group, TyperGroup)
    if not words:
        return help_pages.show(help_pages.main_help(), _no_pager(ctx.parent))
    verb = ALIASES.get(words[0], words[0])  # what follows are its own verbs, as in `help auth whoami`
    if verb not in group.commands:
        raise UsageError(unknown_verb(verb))
    command = group.commands[verb]
    assert isinstance(command, TyperCommand)
    return help_pages.show(help_on(command), _no_pager(ctx.parent))


def main(args: list[str]) -> int:
    """Let typer do what the command line says; the exit status."""
    args = hang_up(verb_first(args))
    try:
        status = make_app()(args, prog_name="jobctl", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except terminal.OutputError as e:  # a verb's own are caught in `invoke`: this was the help
        terminal.warn(str(e))
        return 1
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    except Exception as e:
        again = meant_line(e, args)
        if again is not None:
            return main(again)
        text = str(e) if isinstance(e, UsageError) else explain(e, args)
        if text is None:
            raise
        terminal.warn(text)
        return NOT_THE_JOBS if means_the_jobs(args) else USAGE


def hang_up(args: list[str]) -> list[str]:
    """The line with `kill -HUP` as `-s HUP`: it would also be -H with a host UP."""
    _, words = before_verb(args) or ({}, [])
    again = reworded("kill", "-H", args) if words[:1] == ["kill"] and "-HUP" in words else None
    return args if again is None else hang_up(again)


def verb_first(args: list[str]) -> list[str]:
    """The line with a verb's options that stand before it moved behind it, as systemctl takes them.

    Without a verb they are those of the one that it is then: `jobctl --failed`. A line in which anything else stands
    before the verb is left as it is: typer says what is wrong with it.
    """
    spelled = {s: name for table in (OPTIONS, GLOBALS) for name, spellings in table.items() for s in spellings}
    valued = _valued()
    kept: list[str] = []
    moved: list[str] = []
    at = 0
    while at < len(args) and args[at].startswith("-") and args[at] != "--":
        option, _, value = args[at].partition("=")
        if not option.startswith("--"):
            letters = [f"-{letter}" for letter in args[at][1:]]
            last = next((i for i, letter in enumerate(letters) if spelled.get(letter) in valued), len(letters) - 1)
            if not letters or not all(letter in spelled for letter in letters[: last + 1]):
                return args
            option, value = letters[last], args[at][last + 2 :]
        if option not in spelled:
            return args
        count = 2 if spelled[option] in valued and not value else 1
        (kept if spelled[option] in GLOBALS else moved).extend(args[at : at + count])
        at += count
    if not moved or args[at : at + 1] == ["--"]:
        return args
    verb, rest = (args[at], args[at + 1 :]) if at < len(args) else (DEFAULT_VERB, [])
    return [*kept, verb, *moved, *rest]


def _valued() -> set[str]:
    """The parameters whose options take a value."""
    found = {name for name, default in GLOBAL_DEFAULTS.items() if default is not False}
    for verb in VERBS:
        found |= {name for name, default in (load(verb).__kwdefaults__ or {}).items() if default is not False}
    return found


def means_the_jobs(args: list[str]) -> bool:
    """Whether the exit status of a line that typer refused would have been a job's."""
    words = list(args)
    while words and words[0].startswith("-"):
        takes = words.pop(0) in (*GLOBALS["socket"], *GLOBALS["host"])
        words = words[1:] if takes else words
    if not words or words[0] not in ("run", "rerun"):
        return bool(words) and words[0] in ("wait", "attach")
    valued = {s for name in ("name", "setenv", "env", "working_directory", "settings", "output") for s in OPTIONS[name]}
    rest = iter(words[1:])
    for word in rest:
        if word == "--" or (words[0] in OPERANDS_END_OPTIONS and not word.startswith("-")):
            return False
        if any(word in OPTIONS[name] for name in STAYING):
            return True
        if word in valued:
            next(rest, None)
    return False
