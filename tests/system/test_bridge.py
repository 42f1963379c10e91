"""jobd-stdio-bridge by itself, on pipes: what it is told, what it refuses, and how it ends."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl import channels
from jobd.wire import frames
from jobd.wire.plainpack import packb, unpackb
from tests.system.clients import read
from tests.system.program import BIN, DEADLINE_SEC
from tests.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.system.program import Program

COMMAND = [sys.executable, "-I", "-c", "from jobctl.bridge import main; main()"]
HELLO = frames.pack(packb({"type": "hello", "version": 1, "software": "test"}))


def bridge(*args: str, data: bytes = b"", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    given = {**os.environ, **(env or {})}
    return subprocess.run(
        [*COMMAND, *args], env=given, input=data, capture_output=True, timeout=DEADLINE_SEC, check=False
    )


class Far:
    """A bridge that is asked in frames."""

    def __init__(self, *args: str, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *args], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.send(channels.PREAMBLE)
        self.line = b""
        while not self.line.endswith(b"\n"):
            self.line += read(self.process.stdout, 1)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def frame(self, kind: str, number: int, words: bytes = b"") -> None:
        self.send(struct.pack(">BII", ord(kind), number, len(words)) + words)

    def next(self) -> tuple[str, int, bytes]:
        kind, number, length = struct.unpack(">BII", read(self.process.stdout, 9))
        return chr(kind), number, read(self.process.stdout, length)

    def ask(self, number: int, **question: object) -> dict[str, object]:
        self.frame("Q", number, packb(question))
        kind, answered, words = self.next()
        assert (kind, answered) == ("A", number)
        answer = unpackb(words)
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        self.process.kill()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert file is not None
            file.close()
        self.process.wait(DEADLINE_SEC)


@pytest.fixture
def far(shared: Program) -> Iterator[Far]:
    made = Far(env=shared.env)
    yield made
    made.close()


def test_channels_to_jobd_and_its_end(far: Far, shared: Program) -> None:
    assert far.line.startswith(b"JOBD1 ")
    for number in (1, 2):
        assert far.ask(number, op="open")["path"] == os.fsencode(shared.socket)
        far.frame("D", number, HELLO)
        kind, answered, words = far.next()
        assert (kind, answered) == ("D", number)
        assert b"hello" in words
    far.frame("C", 1)
    shared.replace_daemon()
    assert far.next() == ("C", 2, b"")
    assert "path" in far.ask(3, op="open")
    assert far.process.stdin is not None
    far.process.stdin.close()
    assert far.process.wait(DEADLINE_SEC) == 0


def test_what_the_client_may_ask(far: Far) -> None:
    session = far.ask(1, op="session")
    assert session["cwd"] == os.fsencode(os.getcwd())
    assert isinstance(session["env"], list)
    assert not [entry for entry in session["env"] if entry.startswith((b"JOBD_", b"SSH_"))]
    assert far.ask(2, op="names", uids=[0, 4_000_000_000], gids=[0]) == {
        "uids": ["root", "4000000000"],
        "gids": ["root"],
    }
    assert far.ask(3, op="paint")["code"] == "version"
    assert far.ask(4, op="open", socket=b"/nonexistent/s")["code"] == "unavailable"
    assert far.ask(5, op="grant")["code"] == "version"  # nothing is open that it could be for


def test_no_more_channels_than_anybody_needs(far: Far) -> None:
    answers = [far.ask(number, op="open") for number in range(66)]
    assert ["path" in answer for answer in answers] == [True] * 64 + [False] * 2
    assert answers[-1]["code"] == "limit"


def test_a_jobd_that_was_named_is_the_only_one(shared: Program) -> None:
    far = Far("--socket", str(shared.socket), env=shared.env)
    try:
        for question in ({"mode": "user"}, {"mode": "system"}, {"socket": b"/run/other.sock"}):
            assert far.ask(1, op="open", **question)["code"] == "denied"
        assert "path" in far.ask(2, op="open", socket=os.fsencode(shared.socket))
    finally:
        far.close()


def test_the_command_of_a_key_lets_nobody_choose_a_socket(shared: Program) -> None:
    far = Far(env={**shared.env, "SSH_ORIGINAL_COMMAND": "jobd-stdio-bridge"})
    try:
        assert far.ask(1, op="open", socket=b"/run/docker.sock")["code"] == "denied"
        assert "path" in far.ask(2, op="open")
    finally:
        far.close()


@pytest.mark.parametrize(
    "words",
    [
        ["--usr"],
        ["web"],
        ["--user", "--system"],
        ["--socket"],
        ["--socket", "s"],
        ["--socket=/s", "--user"],
        ["--socket="],
    ],
)
def test_a_command_line_that_means_nothing(words: list[str]) -> None:
    done = bridge(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"jobd-stdio-bridge: ")


def test_other_ways_to_end() -> None:
    assert bridge("--help").stdout.startswith(b"Usage: jobd-stdio-bridge")
    assert bridge().returncode == 0
    strange = bridge(data=b"GET / HTTP/1.1\r\n\r\n")
    assert (strange.returncode, strange.stderr.count(b"\n")) == (76, 1)
    nobody = bridge("--socket", "/nonexistent/s", data=HELLO)
    assert nobody.returncode == 69
    assert nobody.stderr == b"jobd-stdio-bridge: cannot connect to jobd at /nonexistent/s: No such file or directory\n"


def test_a_terminal_is_not_for_it() -> None:
    with Terminal() as terminal:
        assert terminal.start(COMMAND).wait(DEADLINE_SEC) == 2
        terminal.read(b"stdin is a terminal")


def test_a_plain_conversation_ends_with_its_reader(shared: Program) -> None:
    process = subprocess.Popen(COMMAND, env=shared.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin:
        process.stdin.write(HELLO)
        assert b"JOBD1" in read(process.stdout, 5)
        process.stdout.close()
        assert process.wait(DEADLINE_SEC) == 0


def test_it_is_installed() -> None:
    assert subprocess.run([BIN / "jobd-stdio-bridge", "--help"], capture_output=True, check=True).stdout
