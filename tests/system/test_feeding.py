"""What the daemon does for jobs in the foreground: exact stdin through kills, terminals, take-over, broken pipes."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from contextlib import closing
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.fault.killing import daemon_of
from tests.system.feeding import Feeder
from tests.system.program import Gate, is_alive, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow
PYTHON = os.fsencode(sys.executable)


@pytest.fixture
def feeder(shared: Program) -> Iterator[Feeder]:
    made = Feeder(shared.socket)
    try:
        yield made
    finally:
        made.raw.sock.close()


def end_of(program: Program, run: bytes) -> m.RunView:
    with Raw(program.socket) as raw:
        return raw.wait(run)[run]


def test_stdin_arrives_exactly_and_ends(shared: Program, feeder: Feeder, name: str) -> None:
    data = random.Random(1).randbytes(10_000_000)
    run = feeder.start([b"cat"], name)
    assert feeder.begin(run).stdin == "pipe"
    feeder.feed(data)
    assert end_of(shared, run).exit_code == 0
    assert shared.output(name) == data


READ_SLOWLY = b"""
import hashlib, os, time
found = hashlib.sha256()
while data := os.read(0, 1 << 20):
    found.update(data)
    time.sleep(0.01)
print(found.hexdigest())
"""


def test_stdin_arrives_exactly_while_the_daemon_is_killed(jobd: Program, name: str) -> None:
    data = random.Random(2).randbytes(32 << 20)
    feeder = Feeder(jobd.socket)
    run = feeder.start([PYTHON, b"-c", READ_SLOWLY], name)
    feeder.begin(run)
    kills = 0
    stop = threading.Event()

    def kill() -> None:
        nonlocal kills
        while not stop.wait(0.2):
            jobd.replace_daemon()
            kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        feeder.feed(data, block=50_000)
    finally:
        stop.set()
        killer.join()
        feeder.raw.sock.close()
    assert end_of(jobd, run).exit_code == 0
    assert jobd.output(name).split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert kills


def test_nothing_is_left_of_what_was_fed(shared: Program, feeder: Feeder, name: str) -> None:
    run = feeder.start([b"cat"], name)
    feeder.begin(run)
    feeder.feed(b"x" * 100)
    end_of(shared, run)
    directory = next(shared.state_dir.glob(f"logs/*/*/{run.hex()}"))
    until(lambda: not (directory / "in").exists() and not (directory / "in.end").exists(), "its files are gone")


def test_a_reader_that_stops_holds_back_who_feeds(shared: Program, feeder: Feeder, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    run = feeder.start([b"sh", b"-c", f"{gate.wait}; exec wc -c".encode()], name)
    attached = feeder.begin(run)
    sent = 0
    data = bytes(m.MAX_INPUT_BYTES)
    while sent < attached.limit:
        feeder.send(data, sent)
        sent += len(data)
    while feeder.received < sent:
        feeder.take()
    assert feeder.limit < sent + attached.limit  # a pipe's worth was had, and no more
    gate.open()
    while feeder.limit < sent + attached.limit:
        feeder.take()
    feeder.send(b"", sent, eof=True)
    assert end_of(shared, run).exit_code == 0
    assert int(shared.output(name)) == sent


def test_sending_beyond_the_limit_or_with_a_gap_ends_the_attach(shared: Program, feeder: Feeder, name: str) -> None:
    run = feeder.start([b"cat"], name)
    limit = feeder.begin(run).limit
    feeder.send(b"x", 1)
    answer = feeder.raw.receive()
    assert isinstance(answer, m.Fault)
    assert answer.code == errors.INVALID
    assert "byte 0 comes next" in answer.message
    feeder.begin(run)
    for at in range(0, limit, m.MAX_INPUT_BYTES):
        feeder.send(bytes(m.MAX_INPUT_BYTES), at)
    feeder.send(bytes(m.MAX_INPUT_BYTES), limit + (32 << 20))
    while not isinstance(answer := feeder.raw.receive(), m.Fault):
        assert isinstance(answer, m.Item)
    assert answer.code == errors.INVALID
    shared.jobctl("stop", name, check=True)


def test_another_client_goes_on_at_the_exact_byte(shared: Program, feeder: Feeder, name: str) -> None:
    run = feeder.start([b"cat"], name)
    feeder.begin(run)
    feeder.send(b"one ", 0)
    while feeder.received < 4:
        feeder.take()
    other = Feeder(shared.socket)
    assert other.begin(run).received == 4
    while not feeder.taken:
        feeder.take()
    assert not feeder.open
    feeder.send(b"lost", 4)  # not the one who feeds it any more
    other.send(b"two", 4, eof=True)
    assert end_of(shared, run).exit_code == 0
    assert shared.output(name) == b"one two"
    other.raw.sock.close()


def test_a_run_that_closes_its_stdin_says_so(shared: Program, feeder: Feeder, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    run = feeder.start([b"sh", b"-c", f"exec <&-; {gate.wait}".encode()], name)
    feeder.begin(run)
    while feeder.open:
        feeder.take()
    gate.open()
    assert end_of(shared, run).exit_code == 0


# It sees the error of the write instead, as in a shell's pipeline.
IGNORES_SIGPIPE = b"import time\nfor i in range(6000): print('ready', flush=True); time.sleep(0.01)"


def test_broken_stdout_gives_epipe_and_sigpipe(shared: Program, feeder: Feeder, name: str) -> None:
    for argv, signal in (
        ([b"sh", b"-c", b"for i in $(seq 6000); do echo ready; sleep 0.01; done"], 13),
        ([b"sh", b"-c", b"echo ready; exec sleep 60"], 13),
        ([PYTHON, b"-c", IGNORES_SIGPIPE], None),
    ):
        run = feeder.start(argv, name)
        shown(shared, name, b"ready")
        assert isinstance(feeder.raw.ask(m.CloseOutput(id=feeder.raw.next_id(), run=run)), m.Reply)
        ended = end_of(shared, run)
        assert ended.signal == signal
        assert ended.result == ("stopped" if signal else "exit-code")
        assert signal or b"BrokenPipeError" in shared.output(name, "stderr")


def test_broken_stdout_stays_broken_under_the_next_daemon(jobd: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    feeder = Feeder(jobd.socket)
    script = f"trap '' PIPE; echo deaf >&2; {gate.wait}; echo x || echo $? >&2"
    run = feeder.start([b"sh", b"-c", script.encode()], name)
    until(lambda: jobd.output(name, "stderr"), "the signal is ignored: it is sent as well")
    assert isinstance(feeder.raw.ask(m.CloseOutput(id=feeder.raw.next_id(), run=run)), m.Reply)
    feeder.raw.sock.close()
    jobd.replace_daemon()
    gate.open()
    end_of(jobd, run)
    assert jobd.output(name) == b""
    assert jobd.output(name, "stderr").splitlines()[-1] == b"1"


TALK = b"""
import os, sys, termios
assert os.isatty(0) and os.isatty(1) and os.isatty(2) and os.open("/dev/tty", os.O_RDWR)
print(*os.get_terminal_size(0), os.fstat(0).st_uid == os.getuid(), flush=True)
for line in sys.stdin:
    print("said", line.strip(), *os.get_terminal_size(0), flush=True)
"""


def shown(program: Program, name: str, text: bytes) -> bytes:
    return until(lambda: found if text in (found := program.output(name)) else b"", f"{text!r} is shown")


@pytest.mark.parametrize("hard", ["", "daemon", "keeper"])
def test_a_terminal_survives(jobd: Program, name: str, hard: str) -> None:
    feeder = Feeder(jobd.socket)
    run = feeder.start([PYTHON, b"-c", TALK], name, "pty", (50, 132))
    assert feeder.begin(run).stdin == "pty"
    shown(jobd, name, b"132 50 True\r\n")
    feeder.send(b"hello\n", 0)
    shown(jobd, name, b"hello\r\nsaid hello 132 50\r\n")
    if hard:
        feeder.raw.sock.close()
        jobd.replace_daemon() if hard == "daemon" else jobd.kill_keeper()
        feeder.again()
        assert feeder.received == 6
    feeder.raw.send(m.Resize(id=99, request=feeder.attach, window=(10, 20)))
    feeder.send(b"again\n", 6)
    assert b"said again 20 10" in shown(jobd, name, b"said again")
    feeder.send(b"\x04", 12)
    while not feeder.ended:
        feeder.take()
    assert end_of(jobd, run).exit_code == 0
    feeder.raw.sock.close()


def test_a_terminal_that_floods_loses_nothing(jobd: Program, name: str) -> None:
    feeder = Feeder(jobd.socket)
    run = feeder.start([b"sh", b"-c", b"stty -opost; seq 300000"], name, "pty")
    feeder.raw.sock.close()
    jobd.replace_daemon()
    assert end_of(jobd, run).exit_code == 0
    assert jobd.output(name) == b"".join(b"%d\n" % i for i in range(1, 300001))


def test_ctrl_c_is_a_key(shared: Program, feeder: Feeder, name: str) -> None:
    run = feeder.start([b"sh", b"-c", b"echo ready; exec sleep 1000"], name, "pty")
    feeder.begin(run)
    shown(shared, name, b"ready")
    feeder.send(b"\x03", 0)
    ended = end_of(shared, run)
    assert ended.signal == 2


def test_attaching_to_what_has_ended_says_so(shared: Program, feeder: Feeder, name: str) -> None:
    run = feeder.start([b"true"], name)
    end_of(shared, run)
    attached = feeder.begin(run)
    assert not attached.open
    feeder.take()
    assert feeder.ended


@pytest.mark.parametrize("stdin", ["pipe", "pty"])
def test_stdin_outlives_the_keeper(jobd: Program, name: str, stdin: str) -> None:
    feeder = Feeder(jobd.socket)
    run = feeder.start([b"head", b"-n2"], name, stdin)
    feeder.begin(run)
    feeder.send(b"one\n", 0)
    while feeder.received < 4:
        feeder.take()
    feeder.raw.sock.close()
    jobd.kill_keeper()
    feeder.again()
    assert feeder.received == 4
    feeder.send(b"two\n", 4)
    assert end_of(jobd, run).exit_code == 0
    assert set(jobd.output(name).split()) == {b"one", b"two"}  # a terminal shows what is typed, too
    feeder.raw.sock.close()


def test_a_run_is_fed_on_when_the_database_was_set_aside(jobd: Program) -> None:
    feeder = Feeder(jobd.socket)
    data = random.Random(2).randbytes(3_000_000)
    run = feeder.start([b"cat"], "fed")
    feeder.begin(run)
    feeder.send(data[:1000], 0)
    until(lambda: jobd.output("fed") == data[:1000], "some of it has come")
    feeder.raw.sock.close()
    os.kill(jobd.keeper.pid, SIGSTOP)  # else it would begin the next daemon at once
    try:
        old = daemon_of(jobd)
        os.kill(old, SIGKILL)
        until(lambda: not is_alive(old), "the daemon is dead")
        for path in jobd.state_dir.glob("state.db*"):
            path.write_bytes(b"this is no database " * 1000)
    finally:
        os.kill(jobd.keeper.pid, SIGCONT)
    jobd.daemon_status()
    again = Feeder(jobd.socket)
    with closing(again.raw.sock):
        again.begin(run)
        again.feed(data)
    assert end_of(jobd, run).exit_code == 0
    assert jobd.output("fed") == data
