"""How root says what is to run as root: the hash of a submission, given to the keeper over its own socket.

A daemon that is not root itself cannot have the keeper start anything as root that root has not asked for: the keeper
starts only what was granted here (DESIGN.md, section 7). The socket lies beside that of the clients, and only where
there is such a daemon. Imported by uid 0 alone, and by the client's hot path then: no `socket`, no msgspec.
"""

from __future__ import annotations

import os
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socket
from contextlib import suppress
from errno import ECONNREFUSED, ENOENT
from struct import unpack

from jobd.core.names import template_of
from jobd.wire.endpoint import reach
from jobd.wire.grants import digest, unix_digest
from jobd.wire.plainpack import packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SOCKET = "root.sock"
FIELDS = ("argv", "shell", "env", "cwd", "settings", "umask", "stdin", "array")  # of a Run: what it comes to
SHELL = (b"/bin/sh", b"-c")  # what executes a script
NULL = "null"
DEFAULT_UMASK = 0o022  # of a Run that does not say
UMASK_KEY = "limits.umask"
_BESIDES = (
    "environment_file", "stop.command", "reload.command", "ready.command", "ready.unix", "health.command",
    "health.unix",
)  # fmt: skip
ANSWER_SEC = 5.0
PATIENCE_SEC = 10.0  # for a keeper that is being replaced
RETRY_SEC = 0.05
ANSWER_BYTES = 4096


class GrantError(Exception):
    """The keeper could not be asked, or refused."""


def is_needed(client_socket: str) -> bool:
    """Whether what root submits to the daemon at this socket has to be granted."""
    return os.path.exists(_beside(client_socket))


def grant(client_socket: str, run: Mapping[str, object]) -> None:
    """Allow a submission, before it is sent. Granted twice is granted once.

    Args:
        client_socket: where it will be sent.
        run: the fields of a Run, of which FIELDS count.

    Raises:
        GrantError: it was not granted.
    """
    _have(client_socket, [{"op": "grant", "hash": one} for one in hashes(run)])


def grant_instances(client_socket: str, names: Iterable[str]) -> None:
    """Allow instances of root's templates (`web@8080`), before the daemon is to start or enable them.

    Raises:
        GrantError: they were not allowed.
    """
    wanted: list[object] = [{"op": "grant-instance", "name": name} for name in names if template_of(name) is not None]
    if wanted and is_needed(client_socket):
        _have(client_socket, wanted)


def _have(client_socket: str, wanted: Sequence[object]) -> None:
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


def hashes(run: Mapping[str, object]) -> list[bytes]:
    """What is granted with a submission: it, and the same without anything on its stdin, as it may run again."""
    argv, env, cwd, settings = run["argv"], run["env"], run["cwd"], run["settings"]
    umask, stdin, array = run.get("umask", DEFAULT_UMASK), run.get("stdin", NULL), run.get("array", "")
    assert isinstance(argv, list)
    assert isinstance(env, list)
    assert isinstance(cwd, bytes)
    assert isinstance(settings, dict)
    assert isinstance(umask, int)
    assert isinstance(stdin, str)
    assert isinstance(array, str)
    if UMASK_KEY in settings:
        with suppress(ValueError):  # the daemon will say so
            umask = int(settings[UMASK_KEY].removeprefix("0o"), 8)
    program = [*SHELL, *argv] if run["shell"] else argv
    user = settings.get("user", "")
    files, commands, sockets = _besides(settings, cwd)
    found = [digest(program, env, cwd, user, umask, word, files, array) for word in dict.fromkeys((stdin, NULL))]
    found += [digest(command, env, cwd, user, umask, NULL, files) for command in commands]
    return found + [unix_digest(path, user) for path in sockets]


def _besides(
    settings: Mapping[str, str], cwd: bytes
) -> tuple[Sequence[tuple[bytes, bool]], list[Sequence[bytes]], list[bytes]]:
    """What a job is given besides its program: environment files, commands, and sockets that are connected to."""
    if settings.keys().isdisjoint(_BESIDES):
        return (), [], []
    from jobd.core.service import COMMAND, UNIX, Check, Health
    from jobd.core.settings import parse_settings
    from jobd.core.spec import SpecError

    try:
        fields = parse_settings({key: text for key, text in settings.items() if key in _BESIDES}, cwd)
    except SpecError:
        return (), [], []  # the daemon will say so
    files, health = fields.get("env_files", ()), fields.get("health")
    checks = [fields.get("ready"), health.check if isinstance(health, Health) else None]
    known = [check for check in checks if isinstance(check, Check)]
    commands = [fields.get("stop_command"), fields.get("reload_command")]
    commands += [check.argv for check in known if check.kind == COMMAND]
    sockets = [os.fsencode(check.target) for check in known if check.kind == UNIX]
    return files, [command for command in commands if command], sockets  # type: ignore[return-value, misc]  # as parsed


def _beside(client_socket: str) -> str:
    return os.path.join(os.path.dirname(client_socket), SOCKET)


def _ask(path: str, wanted: Sequence[object]) -> None:
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        sock.settimeout(ANSWER_SEC)
        reach(sock, path)
        if unpack("iII", sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))[1] != 0:
            return  # somebody's own jobd: what he has put there is nothing to wait for
        for one in wanted:
            sock.send(packb(one))
            _check(unpackb(sock.recv(ANSWER_BYTES) or packb({})))
    finally:
        sock.close()


def _check(answer: object) -> None:
    if not isinstance(answer, dict) or answer.get("op") != "granted":
        why = answer.get("why") if isinstance(answer, dict) else None
        raise GrantError(f"cannot let root run this: the keeper refuses{f': {why}' if why else ''}")
