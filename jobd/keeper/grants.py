"""What root allows a daemon that is not root to start as root: hashes of commands, given on a socket of the keeper's.

`root.sock` lies beside the clients' socket and takes root alone; his jobctl gives a grant ahead of a run without being
asked. Grants are kept in a file of root's, so that a run can be repeated after a restart of the machine. The newest
few thousand count.
"""

from __future__ import annotations

import errno
import os

from jobd.core.arrays import INDEX_VARIABLE, ArrayError, parse, with_index
from jobd.core.names import template_of, valid_job_name
from jobd.keeper import files, sockets
from jobd.keeper.environment import files_of
from jobd.keeper.link import LinkError
from jobd.wire.grants import DIGEST_BYTES, digest
from jobd.wire.plainpack import PlainpackError, packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from jobd.keeper.link import Message
    from jobd.keeper.loop import Keeper

SOCKET = "root.sock"
FILE = "grants"
MOST = 4096  # grants that are kept
MAX_BYTES = 128  # of a datagram: a grant takes 52, a job's name at most 64 besides
_LONGEST = 2 * MOST  # hashes in the file before it is written anew


class Grants:
    """The hashes, oldest first, and their file."""

    def __init__(self, state_dir: str, log: Callable[[str, str], None]) -> None:
        self._path = f"{state_dir}/{FILE}"
        self._log = log
        self._hashes: dict[bytes, None] = {}
        self._written = 0  # hashes in the file
        self.of_files: frozenset[bytes] = frozenset()  # of root's job files, as they were read last
        self._load()

    def _load(self) -> None:
        try:
            data = files.read_own(self._path, 1 << 24)
        except FileNotFoundError:
            return
        except OSError as e:
            self._log(f"cannot read {self._path}: {e.strerror}", "error")
            return
        found = [data[at : at + DIGEST_BYTES] for at in range(0, len(data) - DIGEST_BYTES + 1, DIGEST_BYTES)]
        for one in found:
            self._remember(one)
        self._written = len(found)
        if len(found) > MOST or len(data) % DIGEST_BYTES:
            self._rewrite()

    def _remember(self, one: bytes) -> None:
        self._hashes.pop(one, None)
        self._hashes[one] = None
        if len(self._hashes) > MOST:
            del self._hashes[next(iter(self._hashes))]

    def add(self, one: bytes) -> None:
        """Allow a command. Where the disk is full it is allowed until the keeper's end."""
        known = one in self._hashes
        self._remember(one)
        if known:
            return
        try:
            if self._written >= _LONGEST:
                self._rewrite()
                return
            fd = files.open_own(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(fd, one) != DIGEST_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(fd)
            self._written += 1
        except OSError as e:
            self._log(f"cannot write {self._path}: {e.strerror}; a grant is lost with the keeper", "error")
            self._written = _LONGEST  # what is there may be half a hash: the next one writes all anew

    def _rewrite(self) -> None:
        try:
            files.replace_own(self._path, b"".join(self._hashes))
            self._written = len(self._hashes)
        except OSError as e:
            self._log(f"cannot write {self._path}: {e.strerror}", "error")

    def has(self, message: Message) -> bool:
        """Whether the command of a spawn message may run as root. Raises LinkError for one that is not as agreed."""
        user = message.get("user")
        if (type(user) is int and user != 0) or message.get("executable") is not None:
            return False  # not root, or not what was hashed
        argv, env, cwd = message["argv"], message["env"], message["cwd"]
        if not isinstance(argv, list) or not isinstance(env, list) or not isinstance(cwd, bytes):
            raise LinkError("argv and env are lists of bytes, cwd is bytes")
        umask, stdin = message.get("umask"), message.get("stdin")
        if type(umask) is not int:
            return False  # it would be the keeper's own
        try:
            env_files = files_of(message)
        except (TypeError, ValueError) as e:
            raise LinkError(str(e)) from e
        array, argv = _of_array(message, argv, env)
        one = digest(argv, env, cwd, user if isinstance(user, str) else "", umask, str(stdin), env_files, array)
        return self.knows(one)

    def knows(self, one: bytes) -> bool:
        """Whether root has allowed what has this hash."""
        return one in self._hashes or one in self.of_files

    def set_of_files(self, data: bytes) -> None:
        """What root's job files allow now, a hash after the other; what they allowed before does not hold any more."""
        whole = range(0, len(data) - DIGEST_BYTES + 1, DIGEST_BYTES)
        self.of_files = frozenset(data[at : at + DIGEST_BYTES] for at in whole)


def _of_array(message: Message, argv: list[bytes], env: list[bytes]) -> tuple[str, list[bytes]]:
    """The array that a command is an element of, and the command as root has submitted it.

    Raises:
        LinkError: it is none of that array's.
    """
    given = message.get("array")
    if given is None:
        return "", argv
    text, index, submitted = given if isinstance(given, list) and len(given) == 3 else ("", 0, [])
    if not (type(text) is str and type(index) is int and type(submitted) is list):
        raise LinkError("an array is a text, a number and a command")
    try:
        told = [word for word in env if isinstance(word, bytes) and word.startswith(INDEX_VARIABLE)]
        fits = told == [INDEX_VARIABLE + str(index).encode()]
        fits = fits and index in parse(text).indices and with_index(submitted, index) == argv
    except (ArrayError, TypeError, AttributeError) as e:
        raise LinkError(f"not as an array: {e}") from e
    if not fits:
        raise LinkError("the command is that of no element of its array")
    return text, submitted


class RootSocket:
    """The socket on which root gives grants. It never waits: a peer has as long as he likes."""

    def __init__(self, keeper: Keeper, grants: Grants) -> None:
        self._keeper = keeper
        self._grants = grants
        self._directory = os.path.dirname(keeper.config.socket)
        self._peers: dict[int, socket] = {}
        self.listener: socket | None = None
        self._identity: tuple[int, int] | None = None

    def take(self, listener: socket) -> None:
        """Go on with the socket of the code that we were before a re-exec."""
        listener.setblocking(False)
        self.listener, self._identity = listener, sockets.identity(f"{self._directory}/{SOCKET}")

    def fileno(self) -> int | None:
        """The descriptor of the socket, None where it could not be made."""
        return None if self.listener is None else self.listener.fileno()

    def serve(self) -> None:
        """Listen, if nobody has before, and take who comes."""
        if self.listener is None:
            self._bind()
        else:
            self._keeper.watch(self.listener.fileno(), self._on_peer)

    def check(self) -> None:
        """Bind it anew if its path leads elsewhere by now."""
        if self._identity is None or sockets.identity(f"{self._directory}/{SOCKET}") != self._identity:
            self._bind()

    def close(self) -> None:
        """At the keeper's end."""
        if self._identity is not None and sockets.identity(f"{self._directory}/{SOCKET}") == self._identity:
            os.unlink(f"{self._directory}/{SOCKET}")

    def _bind(self) -> None:
        try:
            fresh = sockets.bind_packets(self._directory, SOCKET)
        except OSError as e:
            self._keeper.log(f"cannot listen on {self._directory}/{SOCKET}: {e.strerror}", "warning")
            return
        if self.listener is not None:
            self._keeper.unwatch(self.listener.fileno())
            self.listener.close()
        self.listener, self._identity = fresh, sockets.identity(f"{self._directory}/{SOCKET}")
        self._keeper.watch(fresh.fileno(), self._on_peer)

    def _on_peer(self) -> None:
        assert self.listener is not None
        peer = sockets.accept_packets(self.listener, (0,))
        if peer is not None:
            peer.setblocking(False)
            self._peers[peer.fileno()] = peer
            self._keeper.watch(peer.fileno(), lambda: self._on_word(peer))

    def _on_word(self, peer: socket) -> None:
        try:
            data = peer.recv(MAX_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        answer = self._answer(data, peer) if data else None
        if not data or (answer is not None and not _say(peer, answer)):
            self._keeper.unwatch(peer.fileno())
            del self._peers[peer.fileno()]
            peer.close()

    def _answer(self, data: bytes, peer: socket) -> Message | None:
        """The answer to a word; None: it comes later."""
        try:
            message = unpackb(data) if len(data) <= MAX_BYTES else None
        except PlainpackError:
            message = None
        if isinstance(message, dict) and message.get("op") == "grant-instance":
            return self._instance(message.get("name"), peer)
        one = message.get("hash") if isinstance(message, dict) and message.get("op") == "grant" else None
        if not isinstance(one, bytes) or len(one) != DIGEST_BYTES:
            return {"op": "refused", "why": "this is not a grant"}
        self._grants.add(one)
        self._keeper.log(f"root has granted {one.hex()[:16]}", "debug")
        return {"op": "granted"}

    def _instance(self, name: object, peer: socket) -> Message | None:
        """An instance of a template of his that root wants to have."""
        if not isinstance(name, str) or not valid_job_name(name) or template_of(name) is None:
            return {"op": "refused", "why": "this is not an instance of a template"}
        self._keeper.log(f"root has granted {name}", "debug")
        self._keeper.file_grants.add_instance(name, lambda: self._granted(peer))
        return None

    def _granted(self, peer: socket) -> None:
        if peer in self._peers.values():
            _say(peer, {"op": "granted"})


def _say(peer: socket, answer: Message) -> bool:
    """Answer; False: he does not read, or is gone."""
    try:
        peer.send(packb(answer))
    except OSError:
        return False
    return True
