"""The log of a real jobd: both of its processes write one line a record, whatever clients do."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.system.program import Program, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} jobd\[\d+\]: (debug|info|warning|error): .*")
FOR_JOURNAL = re.compile(r"<[3467]>.*")
EVIL = "evil\n<0>forged\x1b[2J\u202e"


def hurt(jobd: Program) -> None:
    """Say evil things to it in the ways that it logs, and have it replaced and reconfigured."""
    for text in (EVIL, EVIL * 6):
        with Raw(jobd.socket, hello=False) as raw:
            raw.send(m.Hello(version=99, software=text))
            raw.sock.recv(1 << 16)
    with Raw(jobd.socket, hello=False) as raw:
        raw.sock.sendall(b"\0\0\0\5" + EVIL.encode()[:5] + b"\xff" * 100)
        raw.sock.recv(1 << 16)
    (jobd.config_dir / "jobd.toml").write_text('"\\u001b[31m\\n<0>x" = 1\n')
    assert jobd.jobctl("daemon-reload").returncode == 6
    (jobd.config_dir / "jobd.toml").write_text('log_level = "debug"\n')
    jobd.jobctl("daemon-reload", check=True)
    old = jobd.daemon_pid()
    os.kill(jobd.keeper_pid, signal.SIGHUP)
    until(lambda: jobd.daemon_pid() != old, "the next daemon")


def test_to_a_file(tmp_path: Path) -> None:
    program = Program(tmp_path)
    try:
        program.start()
        hurt(program)
    finally:
        program.close()
    text = program.log.read_bytes().decode()
    lines = text.removesuffix("\n").split("\n")
    assert [line for line in lines if not (LINE.fullmatch(line) and line.isprintable())] == []
    assert r"\x1b[31m\n<0>x" in text
    assert "99" in text  # the version that nobody speaks
    pids = {match[1] for match in re.finditer(r"jobd\[(\d+)\]", text)}
    assert len(pids) == 3, "the keeper and two daemons"


def test_to_the_journal(tmp_path: Path) -> None:
    (tmp_path / "jobd.log").touch()
    info = (tmp_path / "jobd.log").stat()
    program = Program(tmp_path, env={"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"})
    try:
        program.start()
        hurt(program)
    finally:
        program.close()
    lines = program.log.read_bytes().decode().removesuffix("\n").split("\n")
    assert [line for line in lines if not (FOR_JOURNAL.fullmatch(line) and line.isprintable())] == []
    assert any(line.startswith("<6>listening on ") for line in lines)
    assert any(line.startswith("<6>ready: ") for line in lines)
    assert lines.count("<6>the daemon has ended (exit status 0)") == 2, "what was asked for is no warning"


def test_the_level_is_that_of_the_command_line_before_that_of_the_file(tmp_path: Path) -> None:
    program = Program(tmp_path, options=["--log-level", "error"])
    (program.config_dir / "jobd.toml").write_text('log_level = "debug"\n')
    try:
        program.start()
        assert program.log_text() == ""
    finally:
        program.close()
