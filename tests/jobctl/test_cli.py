"""Help, mistakes, and what jobctl says about them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl import cli
from jobctl.spellings import ALIASES, NEIGHBOURS, ONLY_SYSTEMCTLS, VERBS
from jobd import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def line(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line through typer."""

    def run(*args: str) -> tuple[int, str, str]:
        status = cli.main(list(args))
        out, err = capfd.readouterr()
        return status, out, err

    return run


def test_help_names_every_verb_and_hides_the_aliases(line: Run) -> None:
    status, out, _ = line("--help")
    assert status == 0
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert "list-units" not in out


@pytest.mark.parametrize("verb", VERBS)
def test_help_on_a_verb_is_the_same_both_ways(line: Run, verb: str) -> None:
    assert line("help", verb) == line(verb, "--help") == line(verb, "-h")


def test_every_option_has_help() -> None:
    import typer.main

    group = typer.main.get_command(cli.make_app())
    assert isinstance(group, cli.Verbs)
    for verb, command in group.commands.items():
        assert command.help, verb
        assert all(getattr(parameter, "help", None) for parameter in command.params if parameter.name != "verb"), verb


def test_version(line: Run) -> None:
    assert line("--version") == (0, f"jobctl {__version__}\n", "")


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "status"), ("lst", "list"), *NEIGHBOURS.items()])
def test_an_unknown_verb_gets_a_suggestion(line: Run, typed: str, meant: str) -> None:
    status, out, err = line(typed, "web")
    assert (status, out) == (2, "")
    assert f"Unknown verb {typed!r}. Did you mean {meant!r}?" in err


def test_a_verb_like_nothing_points_to_help(line: Run) -> None:
    status, _, err = line("xyzzy")
    assert status == 2
    assert "See jobctl --help" in err


def test_a_verb_that_only_systemctl_has_is_called_so(line: Run) -> None:
    assert "Unknown verb 'enable': systemctl has it, jobctl does not." in line("enable", "web")[2]
    assert not {*ONLY_SYSTEMCTLS} & {*VERBS, *ALIASES, *NEIGHBOURS}


def test_help_on_an_unknown_verb_gets_a_suggestion(line: Run) -> None:
    status, _, err = line("help", "ps")
    assert status == 2
    assert "'list'" in err


def test_an_unknown_option_gets_a_suggestion(line: Run) -> None:
    status, _, err = line("logs", "--folow", "web")
    assert status == 2
    assert "--follow" in err


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["start"], 2),
        (["logs", "-n"], 2),
        (["is-active", "--quiet=1", "web"], 2),
        (["run"], 2),
        (["run", "--bad", "true"], 2),
        (["run", "--wait"], 125),
        (["run", "-u", "x", "-f", "--bad", "true"], 125),
        (["--user", "run", "--wait", "--bad"], 125),
        (["run", "--bad", "--", "true", "--wait"], 2),
        (["wait", "--bad"], 125),
        (["--socket", "/s", "wait", "--timeout"], 125),
    ],
)
def test_usage_is_2_and_125_where_the_status_would_be_the_jobs(line: Run, args: list[str], status: int) -> None:
    found, out, err = line(*args)
    assert (found, out) == (status, "")
    assert err


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("--failed", "list --failed"),
        ("-aq", "list -aq"),
        ("--user --failed", "--user list --failed"),
        ("-q is-active web", "is-active -q web"),
        ("--socket /s -n 5 status web", "--socket /s status -n 5 web"),
        ("-n5 --output=json logs web", "logs -n5 --output=json web"),
        ("-o json list -a", "list -o json -a"),
        ("--wait run -- make -j4", "run --wait -- make -j4"),
        ("list -a", "list -a"),
        ("--user list", "--user list"),
        ("--bogus list", "--bogus list"),
        ("-Z -a list", "-Z -a list"),
        ("-a --help", "-a --help"),
        ("-a -- list", "-a -- list"),
        ("", ""),
    ],
)
def test_options_of_a_verb_may_stand_before_it(typed: str, means: str) -> None:
    assert cli.verb_first(typed.split()) == means.split()


def test_usage_is_written_as_in_a_man_page(line: Run) -> None:
    assert "Usage: jobctl stop [OPTIONS] JOB...\n" in line("stop")[2]


def test_help_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "jobctl", "--help"]
        result = subprocess.run(command, stdout=full, stderr=-1, timeout=20, check=False)
    assert result.returncode == 1
    assert result.stderr == b"jobctl: cannot write to standard output: No space left on device\n"


def test_help_is_plain_text(line: Run) -> None:
    _, out, _ = line("logs", "--help")
    assert "\x1b" not in out
    assert "╭" not in out
