"""`jobd --check-config`, as typed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobd.__main__ import main
from jobd.config import Check, UsageError, parse
from jobd.core import paths

if TYPE_CHECKING:
    from pathlib import Path

RULE = '[[allow]]\nusers = ["root"]\nactions = ["@read"]\n'
STRANGER = 61_078


def check(capsys: pytest.CaptureFixture[str], directory: Path) -> tuple[int, str, str]:
    status = main(["--check-config", "--config-dir", str(directory)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_good_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text(RULE)
    assert check(capsys, tmp_path) == (0, f"{file}: ok\n", "")


def test_every_mistake_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text(RULE + 'job = ["x"]\n[limits]\nrunning = -1\n"\\u001b\\n" = 1\n')
    status, out, err = check(capsys, tmp_path)
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        f'{file}:4: unknown key "job"; did you mean "jobs"?',
        f'{file}:6: "running" must be between 0 and 1000000000, not -1',
        f'{file}:7: unknown key "\\x1b\\n"',
    ]


def test_warnings_are_no_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text('[[allow]]\ngroups = ["no-such-group"]\nactions = ["@read"]\n')
    warning = f'{file}:2: warning: there is no group "no-such-group"; daemon-reload looks again\n'
    assert check(capsys, tmp_path) == (0, f"{file}: ok\n", warning)


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert check(capsys, tmp_path) == (0, f"{tmp_path}/jobd.toml: not there; the defaults hold\n", "")
    missing = tmp_path / "none"
    assert check(capsys, missing) == (1, "", f"{missing}: no such directory\n")


def test_a_file_that_would_not_be_believed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text(RULE)
    file.chmod(0o666)
    assert check(capsys, tmp_path)[::2] == (1, f"{file}: everybody may write to it (mode 0666)\n")
    file.chmod(0o644)
    tmp_path.chmod(0o777)
    said = f"{file}: of its directory: everybody may write to it (mode 0777)\n"
    assert check(capsys, tmp_path)[::2] == (1, said)
    tmp_path.chmod(0o1777)
    assert check(capsys, tmp_path)[0] == 0


def test_where_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def where(*argv: str) -> tuple[str, str]:
        found = parse(["--check-config", *argv])
        assert isinstance(found, Check)
        return found.config_dir, found.mode

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert where() == where("--user") == ("/c/jobd", paths.USER)
    assert where("--system") == (paths.SYSTEM_CONFIG_DIR, paths.SYSTEM)
    assert where("--config-dir", "/x") == ("/x", paths.SOCKET)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert where() == (paths.SYSTEM_CONFIG_DIR, paths.SYSTEM)
    for wrong in (["--user", "--system"], ["--config-dir", "/x", "--user"], ["--daemonize"], ["--log-level", "info"]):
        with pytest.raises(UsageError, match="do not go together"):
            where(*wrong)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_file_of_somebody_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text(RULE)
    os.chown(file, STRANGER, -1)
    assert check(capsys, tmp_path)[::2] == (1, f"{file}: it belongs to uid {STRANGER}, not to root\n")


def test_the_program(tmp_path: Path) -> None:
    (tmp_path / "jobd.toml").write_text("[x")
    command = [sys.executable, "-I", "-m", "jobd", "--check-config", f"--config-dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = f"{tmp_path}/jobd.toml:1:3: expected ']' at the end of a table declaration\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
