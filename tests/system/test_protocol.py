"""What only a program that speaks the protocol itself can send: the bounds of a command, retries, hostile bytes."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import codec, errors, frames
from jobd.wire import messages as m
from jobd.wire.plainpack import packb
from tests.system.raw import Raw, fault, started

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow
PYTHON = os.fsencode(sys.executable)
# Prints how long argv[1:] and the environment's values are, and whether they are all `x`.
MEASURE = b"""
import os, sys
words = [*sys.argv[1:], os.environ.get("V", "")]
print(sum(map(len, words)), set("".join(words)))
"""


def test_longest_argument_arrives(shared: Program, name: str) -> None:
    argument = b"x" * m.MAX_ARG_BYTES
    with Raw(shared.socket) as raw:
        run = started(raw.run([PYTHON, b"-I", b"-c", MEASURE, argument], name=name)).run
        assert raw.wait(run)[run].exit_code == 0
    assert shared.output(name).decode() == f"{m.MAX_ARG_BYTES} {{'x'}}\n"


def test_argument_one_byte_longer_is_refused(shared: Program) -> None:
    with Raw(shared.socket) as raw:
        answer = fault(raw.run([b"true", b"x" * (m.MAX_ARG_BYTES + 1)]))
        assert answer.code in (errors.MALFORMED, errors.TOO_LARGE, errors.INVALID)


def test_command_and_environment_of_768_kib_arrive_and_one_byte_more_does_not(shared: Program, name: str) -> None:
    argv = [PYTHON, b"-I", b"-c", MEASURE]
    env = {b"JOBD_TEST_MARK": shared.mark.encode()}
    used = sum(len(word) + 1 for word in argv) + sum(len(key) + len(value) + 2 for key, value in env.items())
    room = m.MAX_ARGV_ENV_BYTES - used
    half = 100_000
    while room > half + 10:
        argv.append(b"x" * half)
        room -= half + 1
    with Raw(shared.socket) as raw:
        full = env | {b"V": b"x" * (room - 3)}
        run = started(raw.run(argv, name=name, env=full)).run
        assert raw.wait(run)[run].exit_code == 0
        more = env | {b"V": b"x" * (room - 2)}
        answer = fault(raw.run(argv, env=more))
        assert answer.code == errors.TOO_LARGE
        assert str(m.MAX_ARGV_ENV_BYTES) in answer.message
    size = (len(argv) - 4) * half + room - 3
    assert shared.output(name).decode() == f"{size} {{'x'}}\n"


@pytest.mark.parametrize(
    ("argv", "env"),
    [([], {}), ([b""], {}), ([b"true", b"a\0b"], {}), ([b"true"], {b"A": b"a\0b"}), ([b"true"], {b"": b"x"})],
    ids=["empty argv", "empty command", "NUL in argv", "NUL in env", "empty name"],
)
def test_commands_that_execve_would_not_take_are_refused(
    shared: Program, argv: list[bytes], env: dict[bytes, bytes]
) -> None:
    with Raw(shared.socket) as raw:
        assert fault(raw.run(argv, env=env)).code in (errors.INVALID, errors.MALFORMED)
    assert shared.jobctl("daemon-status").returncode == 0


def test_retry_of_a_submission_answers_as_the_first_and_runs_nothing(shared: Program, name: str) -> None:
    run = new_run_id()
    with Raw(shared.socket) as raw:
        first = started(raw.run([b"/bin/sh", b"-c", b"echo once"], name=name, run=run))
        again = started(raw.run([b"/bin/sh", b"-c", b"echo once"], name=name, run=run))
        assert (again.job, again.run, again.number) == (first.job, run, first.number)
        raw.wait(run)
    with Raw(shared.socket) as raw:
        started(raw.run([b"/bin/sh", b"-c", b"echo once"], name=name, run=run))
    assert len(shared.history(name)) == 1
    assert shared.output(name) == b"once\n"


def test_many_requests_share_a_connection(shared: Program) -> None:
    with Raw(shared.socket) as raw:
        ids = [raw.next_id() for _ in range(200)]
        raw.send(*(m.DaemonStatus(id=number) for number in ids))
        answers = [raw.receive() for _ in ids]
    assert sorted(answer.id for answer in answers if isinstance(answer, m.Reply)) == ids


def test_cancel_ends_a_wait(shared: Program, name: str) -> None:
    with Raw(shared.socket) as raw:
        run = started(raw.run([b"sleep", b"600"], name=name)).run
        waiting = raw.next_id()
        raw.send(m.Wait(id=waiting, runs=[run]), m.Cancel(id=raw.next_id(), request=waiting))
        answer = raw.receive()
        assert isinstance(answer, m.Fault)
        assert (answer.id, answer.code) == (waiting, errors.CANCELED)
    shared.jobctl("stop", name, check=True)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x10\x00\x01",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x05\xdf\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x03\xe8" + b"\x91" * 1000,
        b"\x00\x00\x00\x09\x81\xa4type\xa3abc"[:13],
    ],
    ids=["http", "4 GiB", "1 MiB and 1", "empty", "map of 4 Gi", "no msgpack", "nested", "unknown type"],
)
def test_hostile_bytes_end_their_connection_alone(shared: Program, data: bytes) -> None:
    with Raw(shared.socket) as other, Raw(shared.socket, hello=False) as raw:
        raw.sock.sendall(data)
        raw.sock.shutdown(socket.SHUT_WR)
        assert all(isinstance(answer, m.Hello | m.Fault) for answer in raw.drain())
        assert isinstance(other.ask(m.DaemonStatus(id=other.next_id())), m.Reply)


@pytest.mark.parametrize("hello", [False, True], ids=["before the hello", "after the hello"])
def test_hostile_bytes_of_a_client_that_leaves_at_once_hurt_nobody(shared: Program, hello: bool) -> None:
    with Raw(shared.socket) as other:
        for _ in range(20):  # the fault finds nobody to read it
            with Raw(shared.socket, hello=hello) as raw:
                raw.sock.sendall(b"\xff\xff\xff\xff")
        assert isinstance(other.ask(m.DaemonStatus(id=other.next_id())), m.Reply)


def test_another_protocol_version_is_told_so(shared: Program) -> None:
    with Raw(shared.socket, hello=False) as raw:
        raw.send(m.Hello(version=99, software="future 9"))
        answers = raw.drain()
    (fault,) = [answer for answer in answers if isinstance(answer, m.Fault)]
    assert fault.code == errors.VERSION
    keeper = shared.keeper_pid
    assert fault.message.startswith("cannot talk to future 9: it speaks version 99 of the protocol, jobd ")
    assert fault.message.endswith(f"if a newer jobd is installed, `kill -HUP {keeper}` starts it, and jobs run on")


def test_older_client_is_told_to_use_the_installed_one(shared: Program) -> None:
    with Raw(shared.socket, hello=False) as raw:
        raw.send(m.Hello(version=0, software="past\x1b[31m 0"))
        (fault,) = [answer for answer in raw.drain() if isinstance(answer, m.Fault)]
    assert fault.message.startswith("cannot talk to past\\x1b[31m 0: it speaks version 0")
    assert fault.message.endswith("use the client that was installed with jobd")


def test_descriptors_sent_to_the_socket_are_not_kept(shared: Program) -> None:
    read, write = os.pipe()
    with Raw(shared.socket) as raw:
        try:
            socket.send_fds(raw.sock, [codec.encode(m.DaemonStatus(id=raw.next_id()))], [write])
        except PermissionError:  # the daemon's socket takes none at all (SO_PASSRIGHTS, Linux 6.16)
            os.close(write)
        else:
            os.close(write)
            raw.receive()
        # End of file: nobody else has it open for writing.
        assert os.read(read, 1) == b""
        os.close(read)
        assert isinstance(raw.ask(m.DaemonStatus(id=raw.next_id())), m.Reply)


@pytest.mark.parametrize(
    ("body", "words"),
    [  # as other versions may send them: with fields that nobody knows here, or without those that we have
        (
            {"type": "hello", "version": 2, "software": "jobctl 9.9", "features": ["zstd"]},
            "jobctl 9.9: it speaks version 2",
        ),
        ({"type": "hello", "version": 2**63, "software": "x" * 9000}, f"it speaks version {2**63}"),
        ({"type": "hello", "version": -1}, "a program: it speaks version -1"),
        ({"version": 0, "type": "hello", "name": "past"}, "a program: it speaks version 0"),
    ],
)
def test_the_hello_of_another_version_is_understood_so_far(
    shared: Program, body: dict[str, object], words: str
) -> None:
    with Raw(shared.socket, hello=False) as raw:
        raw.sock.sendall(frames.pack(packb(body)))
        (fault,) = [answer for answer in raw.drain() if isinstance(answer, m.Fault)]
    assert fault.code == errors.VERSION
    assert words in fault.message or len(fault.message) == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"type": "hello", "version": m.PROTOCOL_VERSION, "software": "x", "features": []}, "unknown field `features`"),
        ({"type": "hello", "version": "1", "software": "x"}, "Expected `int`"),
        ({"type": "greet", "version": 2}, "Invalid value 'greet'"),
    ],
)
def test_what_is_no_hello_is_malformed(shared: Program, body: dict[str, object], words: str) -> None:
    with Raw(shared.socket, hello=False) as raw:
        raw.sock.sendall(frames.pack(packb(body)))
        (fault,) = [answer for answer in raw.drain() if isinstance(answer, m.Fault)]
    assert (fault.code, words in fault.message) == (errors.MALFORMED, True)


def test_a_request_of_a_later_jobctl_is_refused_by_its_name_and_the_daemon_goes_on(shared: Program) -> None:
    for body, words in (
        ({"type": "frobnicate", "id": 7}, "'frobnicate'"),
        ({"type": "get", "id": 7, "names": ["x"], "colour": 1}, "`colour`"),
    ):
        with Raw(shared.socket) as raw:
            raw.sock.sendall(frames.pack(packb(body)))
            (fault,) = raw.drain()
        assert isinstance(fault, m.Fault)
        assert (fault.code, words in fault.message) == (errors.MALFORMED, True)
    assert shared.jobctl("daemon-status").returncode == 0
