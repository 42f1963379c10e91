"""What jobctl says of a daemon of another version, and of what is no jobd at all."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

import jobd
from jobd.wire import codec, frames
from jobd.wire import messages as m
from jobd.wire.plainpack import packb
from tests.jobctl.fakes import DEADLINE_SEC, FakeDaemon, jobctl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.slow
LATER = {"type": "jobs", "units": []}  # as a version may say it that has other names for things


def answers_otherwise(request: m.Request) -> Iterable[bytes]:
    yield frames.pack(packb({"type": "reply", "id": request.id, "body": LATER}))


def status(path: str) -> tuple[int, str]:
    """What comes of `jobctl status web`: exit status and stderr."""
    done = jobctl(path, "status", "web")
    said = done.stderr.decode()
    assert "Traceback" not in said
    return done.returncode, said


def status_of(directory: Path, said: bytes) -> tuple[int, str]:
    """The same, of something that says this to whoever comes first."""
    path = str(directory / "jobd.sock")

    def answer() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(1 << 16)
            sock.sendall(said)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        found = status(path)
        thread.join()
    return found


def test_a_daemon_of_another_version_whose_answers_make_no_sense_is_named(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, answers_otherwise)
    daemon.hello = m.Hello(version=m.PROTOCOL_VERSION, software="jobd 9.9")
    code, said = status(daemon.path)
    daemon.close()
    assert said.startswith("jobctl: cannot understand jobd 9.9: KeyError: 'jobs'")
    assert "jobd 9.9 is not of this jobctl's version" in said
    assert code == 1


def test_a_daemon_of_another_protocol_is_named_whatever_else_it_says(tmp_path: Path) -> None:
    hello = {"type": "hello", "version": 7, "software": "jobd 9.9", "features": ["zstd"]}
    code, said = status_of(tmp_path, frames.pack(packb(hello)))
    assert "cannot talk to jobd 9.9: it speaks version 7 of the protocol, this jobctl version 1" in said
    assert "use the jobctl that was installed with it" in said
    assert code == 1


@pytest.mark.parametrize("said", [b"\0\0\0\2hi", b"\0\0\0\1\xc0", b"\0\0\0\1\x91", b"\0\0\0\5\x81\xa4type"])
def test_what_is_no_jobd_is_said_to_be_none(tmp_path: Path, said: bytes) -> None:
    code, told = status_of(tmp_path, said)
    assert told.startswith(f"jobctl: cannot understand what answers at {tmp_path}/jobd.sock: ")
    assert code == 1


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\5hello", b"\0\0\0\1\x80"])
@pytest.mark.parametrize("line", ["logs -f web", "events -f"])
def test_what_has_come_into_a_daemons_place_is_no_daemon(tmp_path: Path, line: str, said: bytes) -> None:
    """A log that was followed went on waiting for a gigabyte, or ended with a trace of jobctl's own."""
    path = str(tmp_path / "jobd.sock")
    hello = codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software=f"jobd {jobd.__version__}"))
    ended = threading.Event()

    def answer() -> None:
        with listener.accept()[0] as sock:
            sock.recv(1 << 16)
            sock.sendall(hello)
        with listener.accept()[0] as sock:
            sock.sendall(said)
            ended.wait(DEADLINE_SEC)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        done = jobctl(path, *line.split())
        ended.set()
        thread.join()
    assert done.returncode == 1
    assert done.stderr.startswith(
        (b"jobctl: cannot understand what answers at", b"jobctl: cannot read from jobd: a frame")
    )
    assert b"Traceback" not in done.stderr
