"""cat: what was run comes back as TOML."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from jobd.client import NotFound, connect_blocking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow


def test_a_transient_job(shared: Program, name: str, tmp_path: Path) -> None:
    options = ("--env", "none", "-E", "A=two\nlines", "-E", "B=\x1b[31m\u202e", "-p", "stop.timeout=1min", "-C")
    shared.jobctl("run", "--wait", "--name", name, *options, str(tmp_path), "--", "printf", "%s", "a b", check=True)
    text = shared.jobctl("cat", name, check=True).stdout
    assert text.startswith(f"# transient: {name}\n")
    found = tomllib.loads(text)
    assert found["command"] == ["printf", "%%s", "a b"], "as a job file says it"
    assert found["working_directory"] == str(tmp_path)
    assert found["environment"]["A"] == "two\nlines"
    assert found["environment"]["B"] == "\x1b[31m\u202e"
    assert found["stop"] == {"timeout": "1min"}
    assert "\x1b" not in text


def test_bytes_that_are_not_utf8(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "printf", b"caf\xe9", check=True)
    text = shared.jobctl("cat", name, check=True).stdout
    assert '# not UTF-8 (\\xNN is a byte): command = ["printf", "caf\\xe9"]\n' in text
    tomllib.loads(text)


def test_an_environment_that_does_not_fit_an_answer_is_left_out(shared: Program, name: str) -> None:
    big = {f"V{n}": "\x01" * 100_000 for n in range(4)}
    shared.jobctl("run", "--wait", "--name", name, "--", "true", check=True, env=big)
    text = shared.jobctl("cat", name, check=True).stdout
    assert "# its environment is too large to be shown here\n" in text


def test_unknown_jobs_and_many(shared: Program, name: str) -> None:
    for n in (1, 2):
        shared.jobctl("run", "--wait", "--name", f"{name}-{n}", "--", "true", check=True)
    done = shared.jobctl("cat", f"{name}-*", f"{name}-3")
    assert done.returncode == 4
    assert f"cannot find job '{name}-3'; did you mean '{name}-1'?" in done.stderr
    first, second = done.stdout.split("\n\n#")
    assert first.startswith(f"# transient: {name}-1\n")
    assert second.startswith(f" transient: {name}-2\n")


def test_the_python_client(shared: Program, name: str) -> None:
    with connect_blocking(str(shared.socket)) as jobs:
        jobs.run(["true"], name=name, env={**os.environ, "JOBD_TEST_MARK": shared.mark}).wait()
        found = jobs.definition(name)
        assert tomllib.loads(found.text)["command"] == ["true"]
        with pytest.raises(NotFound, match="cannot find job"):
            jobs.definition(f"{name}-none")
