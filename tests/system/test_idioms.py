"""jobctl.1's section on shell scripts: each of its examples is executed as it is printed there, by sh."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.program import BIN, DEADLINE_SEC, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "man" / "jobctl.1"
MARKUP = {r"\(aq": "'", r"\e": "\\", r"\&": ""}
CRON = re.compile(r"^(?:\S+ ){5}", re.MULTILINE)  # five fields, and the command
# What the examples run, in place of what they are about.
PROGRAMS = {
    "make": 'echo "make $*"; exit ${MAKE:-0}',
    "flac": 'echo "flac $1"; [ "$1" != b.wav ]',
    "step": "exit $1",
    "index": "exec sleep 300",
    "fetch": "exit ${FETCH:-0}",
    "import": "echo import; exit ${IMPORT:-0}",
    "complain": "echo sorry",
}


def examples() -> list[str]:
    section = PAGE.read_text().partition(".Sh SHELL SCRIPTS\n")[2].partition("\n.Sh ")[0]
    found = re.findall(r"^\.Bd -literal.*\n((?:(?!\.Ed).*\n)*)\.Ed", section, re.MULTILINE)
    for mark, text in MARKUP.items():
        found = [example.replace(mark, text) for example in found]
    return found


def example(word: str) -> str:
    """The one example with this in it."""
    (found,) = [text for text in examples() if word in text]
    return found


class Scripts:
    """A shell on a jobd of its own, in a directory with what the examples mention."""

    def __init__(self, jobd: Program, place: Path) -> None:
        self.jobd, self.place = jobd, place
        for name, text in PROGRAMS.items():
            program = place / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        for name in "abc":
            (place / f"{name}.wav").touch()
        self.env = {**jobd.env, "HOME": str(place), "PATH": os.pathsep.join((str(place), str(BIN), os.environ["PATH"]))}

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script],
            cwd=self.place, env={**self.env, **env}, capture_output=True, text=True, timeout=DEADLINE_SEC, check=False,
        )  # fmt: skip

    def said(self, script: str, **env: str) -> str:
        """What it writes to stdout; that is all, and it ends well."""
        done = self.run(script, **env)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripts]:
    with Program(tmp_path_factory.mktemp("idioms")) as jobd:
        yield Scripts(jobd, tmp_path_factory.mktemp("scripts"))


def test_every_example_is_executed_here() -> None:
    tried = Path(__file__).read_text()
    words = re.findall(r"\bexample\(\"([^\\\"]+)\"\)", tried)
    assert {example(word) for word in words} == set(examples())


def test_start_and_see_how_it_went(scripts: Scripts) -> None:
    script = example("make -j4")
    assert scripts.said(script) == "make-1: done\n"
    assert scripts.said(script, MAKE="3") == "make-2: failed\nmake -j4\n"


def test_in_place_of_a_command(scripts: Scripts) -> None:
    script = example("make check")
    assert scripts.said(script) == "make check\n"
    failed = scripts.run(script, MAKE="1")
    assert (failed.returncode, failed.stdout, failed.stderr) == (0, "make check\n", "the checks have failed\n")


def test_many_and_then_all_of_them(scripts: Scripts) -> None:
    script = example("*.wav")
    done = scripts.run(script)
    assert (done.stdout, done.stderr) == ("some have failed, the first with 1\nflac b.wav\n", "")
    assert scripts.said(example("wait --queue")) == ""


def test_a_number_for_each(scripts: Scripts) -> None:
    shown = scripts.run(example("--array").replace("0-9", "0-2"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split()[1] for line in shown.stdout.splitlines()] == ["step-1@1", "step-1@2"]
    scripts.said("jobctl reset-failed")


def test_as_they_end(scripts: Scripts) -> None:
    assert sorted(scripts.said(example("--any")).splitlines()) == ["step-2: 3", "step-3: 1", "step-4: 2"]
    assert scripts.run(example("--any"), JOBD_SOCKET="/nowhere").returncode == 0  # nothing was started


def test_no_longer_than_so_long(scripts: Scripts) -> None:
    script = example("--timeout").replace("1h", "50ms")
    done = scripts.run(script)
    assert (done.returncode, done.stdout) == (0, "")
    assert scripts.said("jobctl show -P Result,ActiveState index-1") == "success\ninactive\n"


def test_after_one_another(scripts: Scripts) -> None:
    """stderr is no matter: by then the first may have ended, and so it is told what never begins."""
    script = example("--after")
    assert scripts.run(script).stdout == ""
    scripts.said("jobctl wait import-1")
    assert scripts.run("jobctl wait complain-1").returncode == 125  # nothing to complain about
    assert scripts.run(script, FETCH="1").stdout == ""
    assert scripts.said("jobctl wait complain-2; jobctl logs complain-2") == "sorry\n"
    assert scripts.run("jobctl wait import-2").returncode == 125


def test_one_at_a_time(scripts: Scripts) -> None:
    script = example("--singleton")
    assert scripts.said(script + script) == ""
    assert scripts.said("jobctl history index -o json --state running | grep -c run") == "1\n"
    scripts.said("jobctl stop index")


def test_a_crontab(scripts: Scripts) -> None:
    logs, nightly = CRON.sub("", example("--cursor-file")).splitlines()
    scripts.said("jobctl run -q --wait -u web -- printf 'fine\nerror 1\n'")
    assert scripts.said(logs) == "error 1\n"
    assert scripts.said(logs) == ""
    scripts.said("jobctl run -q --wait -u web -- echo error 2")
    assert scripts.said(logs) == "error 2\n"
    assert scripts.said(nightly) == ""
    assert scripts.said(nightly, IMPORT="7") == "import\n"


def test_one_thing_and_all_of_it(scripts: Scripts) -> None:
    script = "j=$(jobctl run --wait -- make);" + example("-P Result") + 'echo "$result"'
    assert scripts.said(script) == "success\n"
    assert json.loads((scripts.place / "result.json").read_text())["stdout"] == "make \n"
