"""Help: of jobctl, of a verb, whichever way it is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl import early, help  # noqa: A004  # the module
from jobctl.spellings import ALIASES, GLOBALS, OPTIONS, VERBS
from jobd import __version__
from tests.system.program import BIN

if TYPE_CHECKING:
    from pathlib import Path

HELP_LINES = (["--help"], ["-h"], ["help"], ["--user", "help"], ["--help", "list"], ["-a", "--help"], ["-h", "-a"])


def jobctl(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run jobctl where it has nothing to talk to."""
    command = [str(BIN / "jobctl"), *args]
    full = {**os.environ, "JOBD_SOCKET": "/nonexistent/s", "COLUMNS": "80", **env}
    return subprocess.run(command, env=full, capture_output=True, text=True, timeout=20, check=False)


def shown(*args: str, **env: str) -> str:
    done = jobctl(*args, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_main_help_is_the_same_however_it_is_asked_for() -> None:
    first, *others = [shown(*line) for line in HELP_LINES]
    assert others == [first] * len(others)


def test_the_main_help_names_every_verb_in_its_group_and_hides_the_aliases() -> None:
    text = help.main_help()
    grouped = [verb for _, verbs in help.grouped() for verb in verbs]
    assert sorted(grouped) == sorted([*VERBS, "help"])
    assert all(f"\n  {verb}" in text for verb in grouped)
    assert not any(alias in text for alias in ALIASES)


def test_every_verb_has_a_group_of_its_own() -> None:
    assert "More" not in dict(help.grouped()), "a verb is in none of help.GROUPS"
    words = [word for _, group in help.GROUPS for word in group]
    assert len(words) == len(set(words))


def test_the_main_help_names_every_global_option() -> None:
    text = help.main_help()
    every = (spelling for spellings in GLOBALS.values() for spelling in spellings)
    assert all(spelling in text for spelling in (*every, "--version", "-h, --help"))


@pytest.mark.parametrize("columns", [1, 20, 40, 63, 64, 80, 500])
def test_help_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(help, "manual", lambda: "man jobctl")
    lines = help.main_help().splitlines()
    width = max(help.MIN_COLUMNS, min(columns, help.MAX_COLUMNS))
    longest = max(len(line) for line in lines if not line.startswith("Usage"))
    assert longest <= width
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("odd", ["", "0", "-1", "x", "9" * 5000])
def test_odd_widths_do_no_harm(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setenv("COLUMNS", odd)
    assert help.MIN_COLUMNS <= help.columns() <= help.MAX_COLUMNS


def test_text_is_broken_at_spaces_alone() -> None:
    assert help.wrapped("one two  three\nfour", 9) == "one two\nthree\nfour"
    assert help.wrapped("a-word-that-does-not-fit in", 9) == "a-word-that-does-not-fit\nin"
    assert help.wrapped("", 9) == ""


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["logs", "run", "daemon-status", "completion", "help"])
def test_help_on_a_verb_is_the_same_however_it_is_asked_for(verb: str) -> None:
    assert shown("help", verb) == shown(verb, "--help") == shown(verb, "-h")


def test_help_on_a_verb_names_all_its_options_and_is_plain_text() -> None:
    text = shown("help", "logs")
    assert text.startswith("Usage: jobctl logs [OPTION...] [JOB...]\n\nShow what jobs wrote")
    assert all(spelling in text for name in ("units", "follow", "lines", "cursor_file") for spelling in OPTIONS[name])
    assert re.search(r"\nManual page: man \S*jobctl\S*\n$", text)
    assert not {"\x1b", "╭", "[bold]"} & {*text, *text.split()}


def test_help_on_an_alias_is_that_of_its_verb() -> None:
    assert shown("list-units", "--help") == shown("help", "list-units") == shown("help", "list")


def test_the_version_is_that_of_the_package() -> None:
    assert shown("--version") == f"jobctl {__version__}\n"


@pytest.mark.parametrize(
    "args", [["list", "--version"], ["--bogus", "--version"], ["helpme"], ["list"], ["run", "help"]]
)
def test_other_lines_are_left_to_the_parsers(args: list[str]) -> None:
    assert early.answer(args) is None


def test_the_main_help_loads_nothing_heavy() -> None:
    probe = "import sys, os; sys.argv = ['jobctl', '--help']; leave = os._exit\n"
    probe += "def end(status): print(*sorted(sys.modules), file=sys.stderr, flush=True); leave(status)\n"
    probe += "os._exit = end\nfrom jobctl.__main__ import main\nmain()"
    done = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True, timeout=20, check=True)
    loaded = set(done.stderr.split())
    assert "jobctl.help" in loaded
    assert not loaded & {"typer", "msgspec", "typing", "re", "enum", "socket", "trio", "inspect", "json"}


def test_help_says_where_the_manual_page_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for prefix in ("venv", "local"):
        (tmp_path / prefix / help.PAGE).parent.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", f"{tmp_path}/local/bin/:/nonexistent::")
    assert help.manual() == "man jobctl"  # nowhere: a package may have it in a place of its own
    (tmp_path / "venv" / help.PAGE).touch()
    assert help.manual() == f"man {tmp_path}/venv/{help.PAGE}"  # where man does not look
    (tmp_path / "local" / help.PAGE).touch()
    assert help.manual() == "man jobctl"
    monkeypatch.delenv("PATH")
    assert help.manual() == f"man {tmp_path}/venv/{help.PAGE}"
