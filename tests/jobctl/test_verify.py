"""verify: job files are checked where no jobd is."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobctl import checking, sources, verb_verify
from jobctl.client import Client
from jobctl.connect import Target
from jobctl.exits import UsageError
from jobd.core import enforce
from tests.system.program import BIN

if TYPE_CHECKING:
    from pathlib import Path

GOOD = 'command = "sleep 1"\nworking_directory = "/"\n'
EVERYTHING = enforce.Machine(controllers=frozenset((enforce.MEMORY, enforce.CPU, enforce.PIDS)))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, on a machine that has every controller."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(enforce, "guess", lambda *_: EVERYTHING)
    return tmp_path


def write(place: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = place / f"{name.replace('__', '.toml.d/')}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def verify(capfd: pytest.CaptureFixture[str], *files: str, quiet: bool = False, output: str | None = None) -> object:
    """The status with what is on stderr, or on stdout."""
    status = verb_verify.verify(Client(Target()), files, quiet=quiet, output=output)
    shown = capfd.readouterr()
    return (status, json.loads(shown.out)) if output else (status, shown.err.splitlines())


def test_a_good_file_is_worth_no_word(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(place, web=GOOD)
    assert verify(capfd, "web.toml") == (0, [])


def test_all_mistakes_of_all_files_and_dropins(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(place, web='comand = "x"\n[stop]\n  timeout = "x y"\n', web__a="MemoryMax = 1\n", web__b="=", db="x")
    (place / "web.toml.d" / "c.toml~").write_text("=")
    expected = [
        "web.toml.d/b.toml:1:1: this is neither a [table] nor a key = value",
        'db.toml:1:2: a key needs a "=" and a value',
    ]
    assert verify(capfd, "web.toml", "db.toml", "web.toml") == (6, expected)
    (place / "web.toml.d" / "b.toml").write_text("")
    found = [
        'web.toml:1:1: unknown key "comand"; did you mean "command"?',
        'web.toml:3:3: "timeout" must be a duration, such as "1min 30s", not "x y": a number is missing at \'x y\'',
        'web.toml.d/a.toml:1:1: unknown key "MemoryMax"; here it is "limits.memory"',
    ]
    assert verify(capfd, "web.toml") == (6, found)
    assert verify(capfd, "web.toml.d/a.toml") == (6, found), "a drop-in means its job file"
    assert verify(capfd, "web.toml.d/") == (6, found)
    assert verify(capfd, ".") == (6, [f"./{line}" for line in (expected[1], *found)])


def test_a_drop_in_with_systemds_name_is_told(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(place, web=GOOD)
    (place / "web.toml.d").mkdir()
    (place / "web.toml.d" / "more.conf").write_text("[Service]\n")
    why = "web.toml.d/more.conf: warning: not read: a drop-in is called NAME.toml"
    assert verify(capfd, "web.toml") == (0, [why])


def test_a_program_that_may_not_be_executed_is_there(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "run.sh").write_text("#!/bin/sh\n")
    write(place, web='command = "./run.sh"\nworking_directory = "."\n')
    assert verify(capfd, "web.toml") == (0, ["web.toml:1:1: warning: ./run.sh: not executable; chmod +x makes it so"])
    (place / "run.sh").chmod(0o755)
    assert verify(capfd, "web.toml") == (0, [])


def test_warnings_do_not_fail(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforce, "guess", lambda *_: enforce.Machine(groups=False))
    text = """command = "no-such-program x"
working_directory = "/no/such"
environment_file = ["a.env", "-b.env"]
after = ["db", "nobody", "t@1"]
[stop]
command = ["./nothing"]
[limits]
memory = "1G"
"""
    write(place, web=text, db=GOOD, **{"t@": GOOD})
    path = checking.USER_PATH if os.geteuid() else checking.ROOT_PATH
    lines = [
        f"web.toml:1:1: warning: no-such-program: no such program in {path}",
        "web.toml:2:1: warning: /no/such: no such directory",
        f"web.toml:3:21: warning: {place}/a.env: no such file",
        'web.toml:4:16: warning: there is no job "nobody" among these files, nor beside this one',
        "web.toml:6:1: warning: ./nothing: no such program in /no/such",
        'web.toml:8:1: warning: "limits.memory" has no effect here: there is no control group of our own here',
    ]
    assert verify(capfd, "web.toml") == (0, lines)
    assert verify(capfd, "web.toml", quiet=True) == (0, [])
    row = {"file": "web.toml", "job": "web", "problems": [], "warnings": lines}
    assert verify(capfd, "web.toml", output="json") == (0, [row])


def test_what_is_required_is_mostly_to_come_first(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(
        place,
        db=GOOD,
        web=f'{GOOD}requires = ["db"]\nbinds_to = ["db"]\n',
        ok=f'{GOOD}requires = ["db"]\nafter = ["db"]',
    )
    why = '"db" is not in "after": both start at the same time'
    assert verify(capfd, "web.toml", "ok.toml") == (
        0, [f"web.toml:3:13: warning: {why}", f"web.toml:4:13: warning: {why}"],
    )  # fmt: skip


def test_users_are_looked_for(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    write(place, a=f'{GOOD}user = "no-such-user"', b=f'{GOOD}user = "4242"', c=f'{GOOD}user = "root"')
    assert verify(capfd, "a.toml", "b.toml", "c.toml") == (
        0, ['a.toml:3:1: warning: there is no user "no-such-user" on this machine'],
    )  # fmt: skip


def test_a_cycle_is_told_once_also_by_way_of_other_files(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(place, a=f'{GOOD}after = ["b"]', b=f'{GOOD}after = ["c"]', c=f'{GOOD}before = ["b"]\nafter = ["a"]')
    problem = "a.toml: comes after itself: a after b after c after a"
    assert verify(capfd, "a.toml", "b.toml") == (6, [problem])
    assert verify(capfd, "c.toml") == (6, [problem.replace("a.toml", "c.toml")])
    assert verify(capfd, "a.toml", output="json") == (
        6, [{"file": "a.toml", "job": "a", "problems": [problem], "warnings": []}],
    )  # fmt: skip


def test_templates_and_their_instances(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(place, **{"web@": f'{GOOD}ready.tcp = "%i"\nafter = ["db@%i"]', "db@80": f'{GOOD}description = "%i"\n'})
    assert verify(capfd, ".") == (0, [])
    write(place, web=f'{GOOD}after = ["web@80"]')
    assert verify(capfd, "web.toml") == (0, [])


def test_what_is_no_job_file(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert verify(capfd, "none.toml") == (6, ["none.toml: No such file or directory"])
    (place / "big.toml").write_text("#" * (256 << 10) + "\n")
    (place / "bytes.toml").write_bytes(b"a = 1\n#\xff")
    assert verify(capfd, "big.toml", "bytes.toml") == (
        6, ["big.toml: larger than 256 KiB", "bytes.toml:2:2: not UTF-8: byte 0xff"],
    )  # fmt: skip
    for word, why in (
        ("web", "cannot take web as a job file: they are called NAME.toml"),
        ("a b.toml", "cannot take a b.toml as a job file: job name 'a b' has ' '"),
        ("empty", "cannot find a job file in empty"),
    ):
        (place / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=why):
            verify(capfd, word)


def test_who_owns_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 61001)
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert (sources.owner_of(False).home, sources.owner_of(False).runtime_dir) == ("/home/alice", "/run/user/61001")
    assert [sources.owner_of(shared).shared for shared in (False, True)] == [False, True]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert sources.owner_of(False).shared
    assert sources.owner_of(False).runtime_dir == "/run"


def test_the_program(place: Path) -> None:
    """With no jobd anywhere, and a file on stdin."""
    env = {"PATH": os.environ["PATH"], "HOME": str(place)}

    def call(*args: str, text: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [BIN / "jobctl", "--socket", "/no/socket", "verify", *args],
            input=text, capture_output=True, text=True, env=env, timeout=30, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    assert call("-q", "-", text=GOOD) == (0, "", "")
    assert call("-", text="x = 1 \x1b\n") == (6, "", "<stdin>:1:7: something follows the value on this line\n")
    assert call() == (2, "", "jobctl: verify needs FILE..., or --calendar EXPR; jobctl help verify says more\n")
