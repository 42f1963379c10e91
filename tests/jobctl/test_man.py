"""man/jobctl.1 and the command line tell the same story."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jobctl.argv import load
from jobctl.exits import INTERRUPTED, NOT_THE_JOBS, TIMED_OUT, USAGE
from jobctl.spellings import GLOBALS, OPTIONS, VERBS
from jobd.wire import errors

PAGE = Path(__file__).parents[2] / "man" / "jobctl.1"


def documented() -> dict[str, set[str]]:
    """The options of each verb, as the page has them; those before the first verb under ""."""
    found: dict[str, set[str]] = {"": set()}
    verb = ""
    for line in PAGE.read_text().splitlines():
        if match := re.match(r"\.It Cm ([a-z-]+)", line):
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


def test_every_exit_status_is_documented() -> None:
    table = PAGE.read_text().partition(".Sh EXIT STATUS")[2].partition(".Sh EXAMPLES")[0]
    statuses = {status for row in errors.EXIT.values() for status in row} | {
        USAGE,
        TIMED_OUT,
        NOT_THE_JOBS,
        INTERRUPTED,
    }
    told = set(map(int, re.findall(r"\b(\d+)\b", table)))
    assert statuses <= told


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_mandoc_has_nothing_to_say() -> None:
    result = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, timeout=20, check=False
    )
    assert (result.returncode, result.stdout) == (0, b"")
