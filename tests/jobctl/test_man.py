"""man/jobctl.1 and the command line tell the same story."""

from __future__ import annotations

import ast
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from jobctl import help  # noqa: A004  # the module
from jobctl.argv import load
from jobctl.exits import CANNOT_EXECUTE, INTERRUPTED, NOT_FOUND, NOT_THE_JOBS, TIMED_OUT, USAGE
from jobctl.spellings import GLOBALS, OPTIONS, VERBS
from jobd.wire import errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "man" / "jobctl.1"
HUNG_UP = 128 + signal.SIGHUP  # the signal ends jobctl
VERB = r"^\.It Cm ([a-z-]+)"


def documented() -> dict[str, set[str]]:
    """The options of each verb, as the page has them; those before the first verb under ""."""
    found: dict[str, set[str]] = {"": set()}
    verb = ""
    for line in PAGE.read_text().splitlines():
        if match := re.match(VERB, line):
            verb = match[1]
            found[verb] = set()
        elif line.startswith(".Sh") and verb:
            break
        elif line.startswith(".It Fl "):
            found[verb] |= {
                f"-{word}" if word.startswith("-") or len(word) == 1 else word
                for word in re.findall(r"Fl (-?[A-Za-z-]+)", line)
            }
    return found


def existing() -> dict[str, set[str]]:
    found = {
        verb: {spelling for name in load(verb).__kwdefaults__ or {} for spelling in OPTIONS[name]} for verb in VERBS
    }
    every = {spelling for spellings in GLOBALS.values() for spelling in spellings}
    return {**found, "help": set(), "": every | {"--version", "--help", "-h"}}


def test_every_verb_and_option_is_documented_and_exists() -> None:
    assert documented() == existing()


def section(title: str) -> str:
    """The source of one section."""
    return PAGE.read_text().partition(f".Sh {title}\n")[2].partition("\n.Sh ")[0]


def test_verbs_stand_in_the_order_and_the_groups_of_the_help() -> None:
    parts = re.split(r"^\.Ss (.*)\n", section("VERBS"), flags=re.MULTILINE)
    groups = [
        (title, re.findall(VERB, text, re.MULTILINE)) for title, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    assert groups == help.grouped()


def exit_table() -> dict[str, list[str]]:
    """The cells of each status: act, look, as the job."""
    rows = re.findall(r"^\.It (\d[\d+N]*) Ta (.*)$", section("EXIT STATUS"), re.MULTILINE)
    return {status: ["" if cell == '""' else cell for cell in cells.split(" Ta ")] for status, cells in rows}


def test_every_exit_status_is_documented_for_its_kind_of_verb() -> None:
    table = exit_table()
    assert all(len(cells) == 3 for cells in table.values())
    for code, row in errors.EXIT.items():
        for kind, status in enumerate(row):
            assert table[str(status)][kind], (code, kind)
    for status in (INTERRUPTED, HUNG_UP):
        assert all(table[str(status)])
    assert table[str(USAGE)][:2] == ["usage", "usage"]
    assert all(table[str(status)][2] for status in (TIMED_OUT, NOT_THE_JOBS, CANNOT_EXECUTE, NOT_FOUND))
    assert "128+N" in table


def test_no_other_exit_status_is_documented() -> None:
    used = {0, *range(1, 7), TIMED_OUT, NOT_THE_JOBS, CANNOT_EXECUTE, NOT_FOUND, HUNG_UP, INTERRUPTED}
    assert {int(status) for status in exit_table() if status.isdecimal()} == used


def environment_used() -> set[str]:
    """The variables that the code looks at by name, but for those that run hands on to a job."""
    sources = [*(ROOT / "jobctl").glob("*.py"), ROOT / "jobd/wire/endpoint.py", ROOT / "jobd/core/paths.py"]
    found = set()
    for source in sources:
        if source.name in ("surroundings.py", "bridge.py"):  # the second has a page of its own
            continue
        text = source.read_text()
        for node in ast.walk(ast.parse(text)) if "environ" in text else ():
            if isinstance(node, ast.Call | ast.Subscript | ast.Compare) and "environ" in ast.unparse(node):
                constants = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
                words = [each for each in constants if isinstance(each, str)]
                found |= {each for each in words if re.fullmatch(r"[A-Z][A-Z_]{2,}", each)}
    return found - {"PATH", "PYTHONPATH"}  # every program's


def test_every_variable_of_the_environment_is_documented_and_used() -> None:
    listed = {
        name.strip(" ,") for line in re.findall(r"^\.It Ev (.*)$", section("ENVIRONMENT"), re.MULTILINE)
        for name in line.split(" , ")
    }  # fmt: skip
    mentioned = set(re.findall(r"Ev ([A-Z_]+)", PAGE.read_text())) | listed
    assert environment_used() - mentioned == set()
    assert listed - environment_used() == set()


def test_help_points_to_the_page() -> None:
    assert f"Manual page: {help.manual()}\n" in help.main_help()


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_mandoc_has_nothing_to_say() -> None:
    result = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, timeout=20, check=False
    )
    assert (result.returncode, result.stdout) == (0, b"")
