"""How root says what is to run as root: the hash of a submission, given to the keeper over its own socket.

A daemon that is not root itself cannot have the keeper start anything as root that root has not asked for: the keeper
starts only what was granted here (DESIGN.md, section 7). The socket lies beside that of the clients, and only where
there is such a daemon. Imported by uid 0 alone, and by the client's hot path then: no `socket`, no msgspec.
"""

from __future__ import annotations

import os
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socket
from errno import ECONNREFUSED, ENOENT
from struct import unpack

from jobd.wire.endpoint import reach
from jobd.wire.grants import digest
from jobd.wire.plainpack import packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKET = "root.sock"
SHELL = (b"/bin/sh", b"-c")  # what executes a script
ANSWER_SEC = 5.0
PATIENCE_SEC = 10.0  # for a keeper that is being replaced
RETRY_SEC = 0.05
ANSWER_BYTES = 4096


class GrantError(Exception):
    """The keeper could not be asked, or refused."""


def is_needed(client_socket: str) -> bool:
    """Whether what root submits to the daemon at this socket has to be granted."""
    return os.path.exists(_beside(client_socket))


def grant(client_socket: str, argv: Sequence[bytes], shell: bool, env: Sequence[bytes], cwd: bytes, user: str) -> None:
    """Allow a submission, before it is sent. Granted twice is granted once.

    Args:
        client_socket: where it will be sent.
        argv, shell, env, cwd: as in a Run.
        user: its setting of that name, or "".

    Raises:
        GrantError: it was not granted.
    """
    wanted = digest([*SHELL, *argv] if shell else argv, env, cwd, user)
    path = _beside(client_socket)
    deadline = time.monotonic() + PATIENCE_SEC
    while True:
        try:
            return _ask(path, wanted)
        except PermissionError:
            return None  # root in a user namespace alone: to jobd he is somebody else, who needs none
        except OSError as e:
            if e.errno not in (ECONNREFUSED, ENOENT) or time.monotonic() > deadline:
                raise GrantError(f"cannot ask the keeper at {path} to let root run this: {e.strerror or e}") from e
        time.sleep(RETRY_SEC)


def _beside(client_socket: str) -> str:
    return os.path.join(os.path.dirname(client_socket), SOCKET)


def _ask(path: str, wanted: bytes) -> None:
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        sock.settimeout(ANSWER_SEC)
        reach(sock, path)
        if unpack("iII", sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))[1] != 0:
            return  # somebody's own jobd: what he has put there is nothing to wait for
        sock.send(packb({"op": "grant", "hash": wanted}))
        answer = unpackb(sock.recv(ANSWER_BYTES) or packb({}))
    finally:
        sock.close()
    if not isinstance(answer, dict) or answer.get("op") != "granted":
        why = answer.get("why") if isinstance(answer, dict) else None
        raise GrantError(f"cannot let root run this: the keeper refuses{f': {why}' if why else ''}")
