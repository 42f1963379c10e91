"""What another host may say: nobody there has to be believed, nor may he act on our terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from jobctl import remote

if TYPE_CHECKING:
    from pathlib import Path

# In place of ssh: says the magic line, and gives the same answer to every question.
FAR = """#!{python} -I
import sys
from jobctl.channels import ANSWER, DATA, HEADER, PREAMBLE
from jobd.wire.plainpack import packb
sys.stdout.buffer.write(b"JOBD1 0.1\\n")
sys.stdout.buffer.flush()
sys.stdin.buffer.read(len(PREAMBLE))
while head := sys.stdin.buffer.read(HEADER.size):
    kind, number, length = HEADER.unpack(head)
    sys.stdin.buffer.read(length)
    if kind == ord("Q"):
        body, data = packb({answer!r}), {data!r}
        frames = HEADER.pack(ANSWER, number, len(body)) + body
        frames += HEADER.pack(DATA, number, len(data)) + data if data else b""
        sys.stdout.buffer.write(frames)
        sys.stdout.buffer.flush()
"""


@pytest.mark.parametrize(
    ("answer", "data", "said"),
    [
        ({"code": "x"}, b"", "x (on far)"),
        ({"code": "x", "message": "\x1b]0;title\x07"}, b"", "\\x1b]0;title\\x07 (on far)"),
        ({"path": b"/x"}, b"\0\0\0\4\x84\xc1\xc1\xc1", "cannot understand far: PlainpackError: "),
        ({"path": 7, "grants": []}, b"\0\0\0\7\x81\xa5" + b"\x1b" * 5, "cannot understand far: "),
        ({"path": b"/x"}, b"\0\0\0\1\x80", "cannot understand far: KeyError: 'type'"),
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, answer: dict[str, object], data: bytes, said: str) -> None:
    script = tmp_path / "ssh"
    script.write_text(FAR.format(python=sys.executable, answer=answer, data=data))
    script.chmod(0o755)
    line = [sys.executable, "-I", "-m", "jobctl", "-H", "far", "list"]
    done = subprocess.run(line, env={**os.environ, "JOBCTL_SSH": str(script)}, capture_output=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"jobctl: {said}")
    assert done.stderr.count(b"\n") == 1
    assert b"\x1b" not in done.stderr


def test_an_answer_that_cannot_be_read_keeps_nobody_waiting(tmp_path: Path) -> None:
    script = tmp_path / "ssh"
    script.write_text(FAR.replace("packb({answer!r})", "b'\\xc1'").format(python=sys.executable, data=b""))
    script.chmod(0o755)
    line = [sys.executable, "-I", "-m", "jobctl", "-H", "far", "list"]
    began = time.monotonic()
    done = subprocess.run(line, env={**os.environ, "JOBCTL_SSH": str(script)}, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, b"jobctl: lost the connection to far\n")
    assert time.monotonic() - began < remote.END_SEC, "it was told to end, and not waited for"
