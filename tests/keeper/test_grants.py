"""What root allows a daemon that is not root: the hashes, their file, and the socket that takes root alone."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jobd.keeper import grants as module
from jobd.keeper.grants import MOST, Grants, RootSocket
from jobd.keeper.helpers import Helpers
from jobd.keeper.link import LinkError
from jobd.keeper.spawn import Base
from jobd.keeper.table import Entry
from jobd.keeper.unixchecks import UnixChecks
from jobd.wire.grants import digest, unix_digest
from jobd.wire.plainpack import packb

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message

ARGV, ENV, CWD = [b"/bin/id"], [b"A=1"], b"/"
COMMAND: Message = {
    "user": 0,
    "argv": ARGV,
    "env": [*ENV, b"JOBD_RUN=1"],
    "cwd": CWD,
    "executable": None,
    "umask": 0o22,
    "stdin": "null",
}


def made(directory: Path) -> Grants:
    return Grants(str(directory), lambda text, _: pytest.fail(text))


def test_a_command_is_allowed_as_it_is_and_no_other(tmp_path: Path) -> None:
    grants = made(tmp_path)
    assert not grants.has(COMMAND)
    grants.add(digest(ARGV, ENV, CWD, "", 0o22, "null"))
    assert grants.has(COMMAND)
    assert grants.has({**COMMAND, "user": None})
    others: list[Message] = [
        {"argv": [b"/bin/id", b"-u"]}, {"env": []}, {"cwd": b"/tmp"}, {"user": "root"}, {"executable": b"/bin/sh"},
        {"umask": 0}, {"umask": None}, {"umask": True}, {"stdin": "pty"}, {"stdin": "pipe"},
        {"env": [*ENV, b"JOBD_SOCKET=/tmp/x"]},
    ]  # fmt: skip
    for other in others:
        assert not grants.has({**COMMAND, **other})
    assert not grants.has({**COMMAND, "user": 61001}), "nobody asks for a grant of a user's"
    with pytest.raises(LinkError):
        grants.has({**COMMAND, "cwd": "/"})


def test_an_element_of_an_array_is_allowed_with_its_own_number_alone(tmp_path: Path) -> None:
    submitted = [b"/bin/work", b"%i"]
    grants = made(tmp_path)
    grants.add(digest(submitted, ENV, CWD, "", 0o22, "null", (), "0-9%2"))
    element: Message = {
        **COMMAND, "argv": [b"/bin/work", b"3"], "env": [*ENV, b"JOBD_ARRAY_INDEX=3"], "array": ["0-9%2", 3, submitted],
    }  # fmt: skip
    assert grants.has(element)
    assert not grants.has({**element, "array": ["0-99", 3, submitted]})
    assert not grants.has({**element, "array": None})
    assert not grants.has({**element, "argv": submitted, "array": None})
    lies: list[Message] = [
        {"argv": [b"/bin/work", b"4"]}, {"env": ENV}, {"env": [*ENV, b"JOBD_ARRAY_INDEX=4"]}, {"array": []},
        {"array": ["0-9%2", 12, submitted]}, {"array": ["0-9%2", "3", submitted]}, {"array": ["x", 3, submitted]},
        {"array": ["0-9%2", 3, ["/bin/work", "%i"]]}, {"array": [b"0-9%2", 3, submitted]}, {"array": {}},
        {"array": ["0-9%2", 3, [None]]},
    ]  # fmt: skip
    for lie in lies:
        with pytest.raises(LinkError):
            grants.has({**element, **lie})


def test_grants_outlive_the_keeper_and_half_a_write(tmp_path: Path) -> None:
    hashes = [os.urandom(32) for _ in range(3)]
    for one in (*hashes, hashes[0]):
        made(tmp_path).add(one)
    file = tmp_path / module.FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == b"".join(hashes)
    file.write_bytes(file.read_bytes() + b"half")
    assert list(made(tmp_path)._hashes) == hashes
    assert file.read_bytes() == b"".join(hashes)


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    monkeypatch.setattr(module, "_LONGEST", 8)
    hashes = [bytes([n]) * 32 for n in range(20)]
    grants = made(tmp_path)
    for one in hashes:
        grants.add(one)
    assert list(grants._hashes) == hashes[-4:]
    assert (tmp_path / module.FILE).stat().st_size <= 8 * 32
    assert list(made(tmp_path)._hashes) == hashes[-4:]
    assert MOST == 4096


def test_a_full_disk_loses_a_grant_only_with_the_keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    grants = Grants(str(tmp_path), lambda text, _: said.append(text))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        grants.add(digest(ARGV, ENV, CWD, "", 0o22, "null"))
    assert grants.has(COMMAND)
    assert "No space left" in said[0]
    grants.add(b"x" * 32)  # there is room again: all are written
    assert len(made(tmp_path)._hashes) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_a_file_that_the_daemon_made_grants_nothing(tmp_path: Path) -> None:
    file = tmp_path / module.FILE
    file.write_bytes(digest(ARGV, ENV, CWD, "", 0o22, "null"))
    os.chown(file, 61999, 61999)
    grants = made(tmp_path)
    assert not grants.has(COMMAND)
    grants.add(b"x" * 32)
    assert file.stat().st_uid == 0
    assert file.read_bytes() == b"x" * 32


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"x" * 129, packb([]), packb({"op": "grant"}), packb({"op": "grant", "hash": b"x" * 31}),
        packb({"op": "grant", "hash": "x" * 32}), packb({"op": "revoke", "hash": b"x" * 32}), packb(None),
        packb({"op": "grant-instance"}), packb({"op": "grant-instance", "name": "web"}),
        packb({"op": "grant-instance", "name": "web@../x"}), packb({"op": "grant-instance", "name": "web@"}),
    ],
)  # fmt: skip
def test_what_is_no_grant_is_refused_with_a_reason(tmp_path: Path, data: bytes) -> None:
    grants = made(tmp_path)
    keeper = SimpleNamespace(config=SimpleNamespace(socket=str(tmp_path / "jobd.sock")), log=lambda *_: None)
    root_socket = RootSocket(keeper, grants)  # type: ignore[arg-type]  # a double
    peer: Any = SimpleNamespace()
    answer = root_socket._answer(data, peer)
    assert answer is not None
    assert answer["op"] == "refused"
    assert not grants._hashes
    assert root_socket._answer(packb({"op": "grant", "hash": b"x" * 32}), peer) == {"op": "granted"}


def ask_guarded(tmp_path: Path, message: Message, allow: tuple[bytes, ...] = ()) -> Message:
    """What comes of a request to the keeper of a daemon that is not root."""
    entry = Entry(b"\1" * 16)
    entry.pid, entry.went = os.getpid(), True
    said: list[Message] = []
    grants = made(tmp_path)
    for one in allow:
        grants.add(one)
    keeper: Any = SimpleNamespace(
        table={entry.run: entry}, send=said.append, base=Base(), grants=grants, notify_sockets=None,
        ends=SimpleNamespace(reopened=lambda _: None),
    )  # fmt: skip
    keeper.base.guarded = True
    owner: Helpers | UnixChecks = Helpers(keeper) if message["op"] == "helper" else UnixChecks(keeper)
    try:
        owner.handlers[str(message["op"])](message, {})
        (pid,) = owner.pids()
        assert owner.reaped(pid, os.waitpid(pid, 0)[1])
        return said[-1]
    finally:
        entry.close()
        os.close(keeper.base.null)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can do what is asked for here")
@pytest.mark.parametrize("user", [0, None, "root"])
def test_a_helper_of_roots_and_a_connection_of_roots_want_a_grant(tmp_path: Path, user: object) -> None:
    word = user if isinstance(user, str) else ""
    helper: Message = {
        **COMMAND, "op": "helper", "run": b"\1" * 16, "o": "check-1", "argv": [b"/bin/true"], "user": user,
        "env": [*ENV, b"JOBD_RUN=1", b"MAINPID=1"], "env_files": [[b"/missing", True]],
    }  # fmt: skip
    end = ask_guarded(tmp_path, helper)
    assert (end["step"], end["errno"]) == ("grant", errno.EPERM)
    files = [(b"/missing", True)]
    end = ask_guarded(tmp_path, helper, (digest([b"/bin/true"], ENV, CWD, word, 0o22, "null", files),))
    assert (end["step"], end["status"]) == ("", 0)
    end = ask_guarded(tmp_path, {**helper, "env_files": [[b"/other", True]]})
    assert end["step"] == "grant"
    check: Message = {"op": "check-unix", "tag": 1, "path": b"/no/such/socket", "user": user}
    (tmp_path / module.FILE).unlink()
    assert ask_guarded(tmp_path, check)["errno"] == errno.EPERM
    assert ask_guarded(tmp_path, check, (unix_digest(b"/no/such/socket", word),))["errno"] == errno.ENOENT
