"""Mistakes in the command line, and what jobctl says about them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer.main

from jobctl import __main__ as entry
from jobctl import cli, habits, mistakes
from jobctl.mistakes import spellings_of
from jobctl.spellings import ALIASES, NEIGHBOURS, ONLY_SYSTEMCTLS, VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.argv import Call

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def app() -> Callable[..., object]:
    """What typer makes of all verbs, once: it takes longer than a line does."""
    return typer.main.get_command(cli.make_app())


@pytest.fixture
def line(app: Callable[..., object], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line through typer."""
    monkeypatch.setattr(cli, "make_app", lambda: app)

    def run(*args: str) -> tuple[int, str, str]:
        status = cli.main(list(args))
        out, err = capfd.readouterr()
        return status, out, err

    return run


def test_every_option_has_help() -> None:
    group = typer.main.get_command(cli.make_app())
    assert isinstance(group, cli.Verbs)
    for verb, command in group.commands.items():
        assert command.help, verb
        assert all(getattr(parameter, "help", None) for parameter in command.params if parameter.name != "verb"), verb


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "status"), ("lst", "list"), *NEIGHBOURS.items()])
def test_an_unknown_verb_gets_a_suggestion(line: Run, typed: str, meant: str) -> None:
    status, out, err = line(typed, "web")
    assert (status, out) == (2, "")
    assert err == f"jobctl: unknown verb {typed!r}; did you mean {meant!r}?\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_knows_a_wrong_option(line: Run, verb: str) -> None:
    status, told, _ = line(verb, "--help")
    assert (status, told.startswith(f"Usage: jobctl {verb} ")) == (0, True)
    status, out, wrong = line(verb, "--no-such-option")
    assert (status, out) == (125 if verb in ("attach", "wait") else 2, "")
    assert "--no-such-option" in wrong


def test_a_verb_like_nothing_points_to_help(line: Run) -> None:
    status, _, err = line("xyzzy")
    assert status == 2
    assert err == "jobctl: unknown verb 'xyzzy'; jobctl help lists them\n"


def test_a_verb_that_only_systemctl_has_is_called_so(line: Run) -> None:
    assert "unknown verb 'isolate': systemctl has it, jobctl does not;" in line("isolate", "web")[2]
    assert not {*ONLY_SYSTEMCTLS} & {*VERBS, *ALIASES, *NEIGHBOURS}


def test_help_on_an_unknown_verb_gets_a_suggestion(line: Run) -> None:
    status, _, err = line("help", "ps")
    assert status == 2
    assert "'list'" in err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("logs --folow web", "logs has no option --folow; did you mean --follow?"),
        ("logs --out web", "logs has no option --out; did you mean --output?"),
        ("list --socet /s", "list has no option --socet; did you mean --socket?"),
        ("status -Z", "status has no option -Z; jobctl help status says more"),
        ("--bogus", "unknown option --bogus; jobctl help says more"),
        ("logs -n", "option -n needs a value; jobctl help logs says more"),
        ("--socket", "option --socket needs a value; jobctl help says more"),
        ("is-active --quiet=1 web", "option --quiet takes no value; jobctl help is-active says more"),
        ("stop", "stop needs JOB...; jobctl help stop says more"),
        ("run --shell", "run needs COMMAND [ARG...]; jobctl help run says more"),
        ("daemon-status web", "daemon-status takes no operands; jobctl help daemon-status says more"),
        ("help --bogus", "help has no option --bogus; jobctl help help says more"),
        ("daemon-status -o jsn", "unknown output format 'jsn'; did you mean 'json'?"),
        ("daemon-status -o xml", "unknown output format 'xml'; it is one of json, json-pretty, json-seq"),
        ("list --state=PENDING", "unknown state 'PENDING'; did you mean 'queued'?"),
        ("list --state=RUNNING", "unknown state 'RUNNING'; did you mean 'running'?"),
        ("history --state=COMPLETED", "unknown state 'COMPLETED'; did you mean 'success'?"),
        ("list --state=COMPLETED", "unknown state 'COMPLETED'; see --state=help"),
        ("list --state=fialed", "unknown state 'fialed'; did you mean 'failed'?"),
        ("kill -s TREM web", "unknown signal 'TREM'; did you mean SIGTERM?"),
        ("kill -s 99 web", "cannot send signal '99': give a name such as TERM, or a signal number of this system"),
        ("kill -s 0 web", "cannot send signal '0': give a name such as TERM, or a signal number of this system"),
        ("kill --kill-whom mian web", "unknown part of a job 'mian'; did you mean 'main'?"),
        ("st web", "unknown verb 'st'; did you mean start, stop or status?"),
        ("detach web", "unknown verb 'detach': ^] three times leaves a job that is attached"),
        ("run -d true", "run has no option -d; leave it out, that is so without"),
        ("run --description=x true", "run has no option --description; did you mean -p description=TEXT?"),
        ("run --uid=1 true", "run has no option --uid; systemd-run has it, jobctl does not"),
        ("run -p WorkingDirectory=/ true", "unknown key 'WorkingDirectory'; did you mean -C?"),
        ("logs -q web", "logs has no option -q; leave it out, that is so without"),
        ("logs -b web", "logs has no option -b; journalctl has it, jobctl does not"),
        ("logs --tail 3 web", "logs has no option --tail; did you mean -n?"),
        ("logs", "logs needs a JOB; jobctl list -a lists all there are, and '*' means all of them"),
        ("list --json", "list has no option --json; did you mean -o json?"),
        ("rm -f web", "rm has no option -f; did you mean --now?"),
        ("status web ''", "status needs the name of a job, and '' is none"),
        ("stop ''", "stop needs the name of a job, and '' is none"),
        ("completion bsh", "cannot complete in 'bsh'; did you mean bash?"),
        ("completion tcsh", "cannot complete in 'tcsh'; there are bash, zsh, fish"),
        ("completion bash zsh", "cannot print more than one script at a time"),
    ],
)
def test_a_mistake_is_named_and_what_to_do_next(line: Run, typed: str, said: str) -> None:
    assert line(*shlex.split(typed)) == (2, "", f"jobctl: {said}\n")


def test_an_option_of_other_verbs_is_called_so(line: Run) -> None:
    assert "status has no option --cursor-file: it is one of logs, events;" in line("status", "--cursor-file", "f")[2]


def test_a_file_where_a_job_is_meant_leads_to_add() -> None:
    text = mistakes.next_step("not-found", "cannot find job 'web.toml'")
    assert text == "cannot find job 'web.toml'; jobctl add makes a job of a file"
    assert "leave it out" in mistakes.unknown_option("start", "-q")


def test_habits_are_of_options_that_the_verb_does_not_have() -> None:
    tables = {**habits.HABITS, **{verb: dict.fromkeys(words, "") for verb, (_, words) in habits.ONLY_THEIRS.items()}}
    for verb, table in tables.items():
        assert not {*table, *habits.EVERYWHERE} & {*spellings_of(verb)}
    for verb, (_, words) in habits.ONLY_THEIRS.items():
        assert not {*words} & {*habits.HABITS[verb]}


def test_an_option_that_a_habit_is_told_to_use_exists() -> None:
    for verb, table in habits.HABITS.items():
        for text in table.values():
            meant = text.removesuffix("?").removeprefix("did you mean ").split()[0].partition("=")[0]
            assert not meant.startswith("-") or meant in spellings_of(verb), (verb, text)


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("kill -9 web", "kill -s 9 web"),
        ("kill web -HUP", "kill web -s HUP"),
        ("--user kill -SIGINT web", "--user kill -s SIGINT web"),
        ("kill -RTMIN+3 web", "kill -s RTMIN+3 web"),
        ("logs -20 web", "logs -n 20 web"),
        ("logs -f web -5", "logs -f web -n 5"),
        ("history -3", "history -n 3"),
    ],
)
def test_kills_signal_and_tails_count_are_taken(typed: str, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def remember(call: Call) -> int:
        calls.append(call.key())
        return 0

    monkeypatch.setattr(entry, "invoke", remember)
    assert cli.main(typed.split()) == cli.main(means.split()) == 0
    assert len(calls) == 2
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    ("typed", "option"),
    [
        ("kill -FOO web", "-F"),
        ("kill -99 web", "-9"),
        ("list -3", "-3"),
        ("logs -3x web", "-3"),
        ("kill -Z -9 w", "-Z"),
    ],
)
def test_what_is_neither_is_a_mistake(line: Run, typed: str, option: str) -> None:
    status, _, err = line(*typed.split())
    assert status == 2
    assert f"has no option {option};" in err


def test_what_a_mistake_quotes_is_escaped(line: Run) -> None:
    for words in (["\x1b[31mverb"], ["list", "--\x1b[31moption"], ["daemon-status", "-o", "\x1b]0;format\x07"]):
        status, _, err = line(*words)
        assert status == 2
        assert "\x1b" not in err


@pytest.mark.parametrize(
    ("args", "status"),
    [
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


def test_help_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "jobctl", "--help"]
        result = subprocess.run(command, stdout=full, stderr=-1, timeout=20, check=False)
    assert result.returncode == 1
    assert result.stderr == b"jobctl: cannot write to standard output: No space left on device\n"
