"""jobctl where little is as usual: a poisoned directory or PYTHONPATH, no HOME, no locale, descriptors closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import table, view
from tests.system.program import BIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import FakeDaemon, Script

ROOT = Path(__file__).resolve().parents[2]
POISON = ("typing", "typer", "msgspec", "jobd", "json", "re", "socket", "enum", "resource", "inspect", "textwrap")
JOBCTL = str(BIN / "jobctl")
LISTED = table(list=lambda _: m.Jobs(jobs=[view()]), get=lambda _: m.Jobs(jobs=[view()]))
# Hot, JSON, the main help, and typer.
LINES = (["list", "--no-legend"], ["list", "-o", "json"], ["--help"], ["list", "--help"], ["--version"], ["stauts"])


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    directory = tmp_path / "poisoned"
    directory.mkdir()
    for name in POISON:
        (directory / f"{name}.py").write_text(f"raise SystemExit('{name} came from the wrong place')\n")
    return directory


def good(command: list[str], line: list[str], **options: object) -> None:
    """Run it; it must do as it always does."""
    usual: dict[str, object] = {"capture_output": True, "text": True, "timeout": 30, "check": False}
    done = subprocess.run([*command, *line], **{**usual, **options})  # type: ignore[call-overload]
    assert done.returncode == (2 if line == ["stauts"] else 0), done
    assert done.stdout or "did you mean 'status'?" in done.stderr
    assert "wrong place" not in done.stderr


def environment(fake: FakeDaemon, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "JOBD_SOCKET": fake.path, **more}


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_directory_full_of_modules(line: list[str], daemon: Callable[[Script], FakeDaemon], poisoned: Path) -> None:
    good([JOBCTL], line, cwd=poisoned, env=environment(daemon(LISTED)))


@pytest.mark.parametrize("line", LINES, ids=" ".join)
@pytest.mark.parametrize("path", ["{}", "", ".", ":{}:", "/nonexistent:{}"])
def test_a_poisoned_pythonpath(
    line: list[str], path: str, daemon: Callable[[Script], FakeDaemon], poisoned: Path
) -> None:
    env = environment(daemon(LISTED), PYTHONPATH=path.format(poisoned))
    good([JOBCTL], line, cwd=poisoned, env=env)


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_modules_beside_the_script(line: list[str], daemon: Callable[[Script], FakeDaemon], poisoned: Path) -> None:
    """As in ~/.local/bin, where people keep theirs."""
    script = poisoned / "jobctl"
    shutil.copy(JOBCTL, script)
    good([sys.executable, str(script)], line, cwd="/", env=environment(daemon(LISTED)))


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_python_m(line: list[str], daemon: Callable[[Script], FakeDaemon], poisoned: Path) -> None:
    good([sys.executable, "-m", "jobctl"], line, cwd=poisoned, env=environment(daemon(LISTED)))


# What only Python's isolated mode keeps out: these are imported before the first line of ours.
BEFORE_US = ("sitecustomize", "usercustomize", "jobctl", "_socket", "os", "site", "encodings")


@pytest.mark.parametrize("program", ["jobctl", "jobd"])
@pytest.mark.parametrize("path", ["{}", ""])
def test_what_comes_before_us_comes_from_nowhere_else(
    program: str, path: str, daemon: Callable[[Script], FakeDaemon], poisoned: Path, tmp_path: Path
) -> None:
    """Root in a directory of somebody else's, with whatever environment he has."""
    script = BIN / program
    if not script.read_bytes().partition(b"\n")[0].endswith(b" -I"):
        pytest.skip(f"{script} was not installed by make: scripts/isolate has not seen it")
    for name in BEFORE_US:
        (poisoned / f"{name}.py").write_text(f"raise SystemExit('{name} came from the wrong place')\n")
    user = tmp_path / f"home/lib/python3.{sys.version_info[1]}/site-packages"
    user.mkdir(parents=True)
    (user / "usercustomize.py").write_text("raise SystemExit('usercustomize came from the wrong place')\n")
    env = environment(daemon(LISTED), PYTHONPATH=path.format(poisoned), PYTHONUSERBASE=str(tmp_path / "home"))
    env["PYTHONSTARTUP"] = env["PYTHONINSPECT"] = str(poisoned / "os.py")
    for line in LINES if program == "jobctl" else (["--version"], ["--help"]):
        good([str(script)], line, cwd=poisoned, env=env)


def test_a_jobctl_that_comes_from_pythonpath_finds_the_rest_there(daemon: Callable[[Script], FakeDaemon]) -> None:
    env = environment(daemon(LISTED), PYTHONPATH=str(ROOT))
    good([sys.executable, "-S", "-m", "jobctl"], ["list", "--no-legend"], cwd="/", env=env)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "xx_YY.nonsense"},
        {"TERM": ""},
        {"TERM": "nonsense"},
        {"HOME": ""},
        {"HOME": "/nonexistent"},
        {"HOME": "relative"},
        {"COLUMNS": "nonsense"},
        {"TZ": "nonsense"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONDONTWRITEBYTECODE": "1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONSAFEPATH": "1"},
    ],
    ids=str,
)
def test_an_odd_environment(env: dict[str, str], daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(LISTED)
    for line in (["list", "--no-legend"], ["list", "--help"], ["stauts"]):
        good([JOBCTL], line, env={"PATH": "/usr/bin:/bin", "JOBD_SOCKET": fake.path, **env}, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("line", ["list", "list --help", "--help"])
def test_descriptors_that_are_closed(line: str, daemon: Callable[[Script], FakeDaemon]) -> None:
    env = environment(daemon(LISTED))
    for closed in ("<&-", "2>&-", "<&- 2>&-"):
        done = subprocess.run(["sh", "-c", f"{JOBCTL} {line} {closed}"], env=env, capture_output=True, check=True)
        assert done.stdout
    done = subprocess.run(["sh", "-c", f"{JOBCTL} {line} >&-"], env=env, stderr=-1, check=False)
    assert done.returncode == 1
    assert b"cannot write to standard output" in done.stderr


@pytest.mark.parametrize("name", ["''", "-", "/", "$'\\e[31m'"])
def test_an_odd_name_of_the_program(name: str, daemon: Callable[[Script], FakeDaemon]) -> None:
    env = environment(daemon(LISTED))
    for line in ("list", "stauts"):
        script = f"(exec -a {name} {JOBCTL} {line})"
        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == (2 if line == "stauts" else 0), done
        assert "\x1b" not in done.stdout + done.stderr


def test_a_current_directory_that_is_gone(daemon: Callable[[Script], FakeDaemon], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    for command in (JOBCTL, f"{sys.executable} -m jobctl"):
        script = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone && {command} list --no-legend"
        done = subprocess.run(
            ["sh", "-c", script], env=environment(daemon(LISTED)), capture_output=True, text=True, check=False
        )
        (tmp_path / "gone").mkdir()
        assert (done.returncode, done.stderr) == (0, "")
