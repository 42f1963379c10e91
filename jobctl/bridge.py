"""jobd-stdio-bridge: the far end of `jobctl -H`, started there by ssh. Standard library only, and ready in 12 ms.

It says who it is, connects to jobd as jobctl would on this host, and relays: many connections in frames for jobctl
(jobctl.channels), or a single plain one for a client of another kind. Which of them the first byte says. The rules: it
does nothing that its user could not do with jobctl here, so that a key may be limited to it; what it is asked for
comes inside the stream, never on a command line; and when its client has gone, so has it.
"""

from __future__ import annotations

import os
import sys
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from jobctl import channels, connect
from jobctl.exits import Fault
from jobd import __version__
from jobd.wire import endpoint
from jobd.wire.plainpack import PlainpackError, packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    Answer = dict[str, object]

STDIN, STDOUT, STDERR = 0, 1, 2
USAGE, UNAVAILABLE, PROTOCOL = 2, 69, 76  # sysexits(3): EX_UNAVAILABLE, EX_PROTOCOL
MAX_CHANNELS = 64  # a jobctl needs three, and logs of many jobs one for each
MAX_NAMES = 1000
RELAY_BYTES = 256 << 10
HELP = """\
Usage: jobd-stdio-bridge [--user | --system | --socket PATH]

Relays stdin and stdout to jobd. Started by ssh for jobctl -H; see jobctl(1).
"""
# Of this connection and of no use to a job; a job's own are set by jobd.
NOT_THE_JOBS = (b"SSH_", b"JOBD_", b"XDG_SESSION_")
SHELLS_OWN = (b"_", b"OLDPWD", b"PWD", b"SHLVL")


class UsageError(Exception):
    """The command line cannot be understood."""


class Wanted:
    """Which daemon: "" for the usual order. What was said on our command line, nobody can change from afar."""

    def __init__(self, mode: str = "", path: str = "") -> None:
        self.mode = mode
        self.path = path

    def narrowed(self, mode: str, path: str) -> Wanted:
        """What a client asked for, within what is fixed. Raises EndpointError."""
        if self.mode or self.path:
            if (mode and mode != self.mode) or (path and path != self.path):
                raise endpoint.EndpointError(endpoint.DENIED, "cannot choose a jobd: this bridge is for one alone")
            return self
        if path and "SSH_ORIGINAL_COMMAND" in os.environ:  # a key that is for this command only, and no other socket
            raise endpoint.EndpointError(endpoint.DENIED, "cannot choose a socket: this key is for jobd alone")
        return Wanted(mode, path)


def main() -> None:
    """Run the bridge with sys.argv, and exit."""
    try:
        wanted = parse(sys.argv[1:])
    except UsageError as e:
        _warn(str(e))
        sys.exit(USAGE)
    if wanted is None:
        os.write(STDOUT, HELP.encode())
        sys.exit(0)
    if os.isatty(STDIN):
        _warn("this is for ssh to start, by jobctl -H; stdin is a terminal")
        sys.exit(USAGE)
    try:
        status = serve(wanted)
    except (KeyboardInterrupt, BrokenPipeError):
        status = 0
    os._exit(status)


def parse(words: list[str]) -> Wanted | None:
    """The command line; None when help was asked for. Raises UsageError."""
    wanted = Wanted()
    while words:
        word, *words = words
        option, equals, path = word.partition("=")
        if word in ("-h", "--help"):
            return None
        if wanted.mode or wanted.path:
            raise UsageError("only one of --user, --system and --socket can be given")
        if word in ("--user", "--system"):
            wanted.mode = word[2:]
        elif option == "--socket" and (equals or words):
            wanted.path = path if equals else words.pop(0)
            if not wanted.path.startswith("/"):
                raise UsageError("--socket needs an absolute path")
        else:
            raise UsageError(f"cannot understand {word!r}: jobd-stdio-bridge --help says more")
    return wanted


def _warn(text: str) -> None:
    try:
        os.write(STDERR, f"jobd-stdio-bridge: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def serve(wanted: Wanted) -> int:
    """Say the magic line, and do what the first byte asks for; the exit status."""
    os.write(STDOUT, channels.MAGIC + f"{__version__}\n".encode())
    first = b""
    while len(first) < len(channels.PREAMBLE):
        piece = os.read(STDIN, channels.RECEIVE_BYTES)
        first += piece
        if not piece or first[0] == 0:
            break
    if not first:
        return 0
    if first[0] == 0:
        return _serve_plain(wanted, first)
    if not first.startswith(channels.PREAMBLE):
        _warn("what came is neither jobctl's nor jobd's protocol; is jobctl there much newer?")
        return PROTOCOL
    return Bridge(wanted).run(first[len(channels.PREAMBLE) :])


# --- one connection, as it is ---------------------------------------------------------------------------------------
def _serve_plain(wanted: Wanted, first: bytes) -> int:
    try:
        _, sock = endpoint.connect(wanted.path, wanted.mode)
    except endpoint.EndpointError as e:
        _warn(e.message)
        return UNAVAILABLE
    Relay(sock, first).run()
    return 0


class Relay:
    """stdin and stdout, and one connection; of either direction no more is held than one read gives."""

    def __init__(self, sock: socket, first: bytes) -> None:
        self._sock = sock
        self._up = memoryview(first)
        self._down = memoryview(b"")
        self._hears = True  # stdin has not ended

    def run(self) -> None:
        """Relay until the daemon has said its last, or nobody hears it; an end of stdin is an end of sending."""
        for fd in (STDIN, STDOUT):
            os.set_blocking(fd, False)
        self._sock.setblocking(False)
        while self._turn(_poll(self._wants())):
            pass

    def _wants(self) -> dict[int, int]:
        wanted = {STDOUT: POLLOUT if self._down else 0}
        if self._hears and not self._up:
            wanted[STDIN] = POLLIN
        events = (POLLOUT if self._up else 0) | (0 if self._down else POLLIN)
        if events:  # one that hung up would keep poll(2) busy
            wanted[self._sock.fileno()] = events
        return wanted

    def _turn(self, ready: dict[int, int]) -> bool:
        if ready.get(STDOUT, 0) & (POLLERR | POLLHUP):
            return False
        if STDIN in ready:
            self._hear()
        if self._up:
            self._up = self._up[_sent(self._sock.send, self._up) :]
        if self._down:
            self._down = self._down[_sent(lambda data: os.write(STDOUT, data), self._down) :]
        elif self._sock.fileno() in ready:
            piece = _some(lambda: self._sock.recv(RELAY_BYTES))
            self._down = memoryview(piece or b"")
            return piece != b""
        return True

    def _hear(self) -> None:
        from _socket import SHUT_WR

        piece = _some(lambda: os.read(STDIN, RELAY_BYTES))
        self._up = memoryview(piece or b"")
        if piece == b"":
            self._hears = False
            channels.shut_down(self._sock, SHUT_WR)


def _some(read: Callable[[], bytes]) -> bytes | None:
    """What is there; None if nothing is, b"" at the end."""
    try:
        return read()
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _sent(write: Callable[[memoryview], int], data: memoryview) -> int:
    """How much went; all of it where nobody takes any more: what is still said to us is heard first."""
    try:
        return write(data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)


def _poll(wanted: dict[int, int]) -> dict[int, int]:
    poller = poll()
    for fd, events in wanted.items():
        poller.register(fd, events)
    return dict(poller.poll())


# --- many connections, in frames ------------------------------------------------------------------------------------
class Bridge:
    """jobctl's other half: opens connections, and answers what jobctl would have looked up here."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: endpoint.Endpoint | None = None  # once found, no other is connected to
        self._channels = channels.Channels(
            lambda count: os.read(STDIN, count), lambda data: os.writev(STDOUT, data), self._asked
        )

    def run(self, first: bytes) -> int:
        """Serve until the client has gone; the exit status."""
        os.set_blocking(STDIN, False)
        os.set_blocking(STDOUT, False)
        try:
            self._channels.feed(first)
            while True:
                self._turn()
        except channels.WireEndedError:
            return 0
        finally:
            self._channels.close()

    def _turn(self) -> None:
        wanted = {STDIN: POLLIN, STDOUT: POLLOUT if self._channels.wants_to_send else 0}
        self._channels.wants(wanted)
        ready = _poll(wanted)
        if ready.get(STDOUT, 0) & (POLLERR | POLLHUP):
            raise channels.WireEndedError("nobody reads our stdout any more")
        if STDIN in ready:
            self._channels.receive()
        self._channels.polled(ready)
        self._channels.flush()

    def _asked(self, kind: int, number: int, words: bytes) -> None:
        """Answer a question."""
        if kind != channels.QUESTION:
            return
        try:
            question = unpackb(words)
        except PlainpackError as e:
            raise channels.WireEndedError(str(e)) from e
        if not isinstance(question, dict):
            raise channels.WireEndedError("a question is a map")
        operation = str(question.get("op", ""))
        answer = OPERATIONS.get(operation)
        if operation == "open":
            found = self._connect(number, question)
        elif operation == "grant" and self._found is not None:
            found = self._grant(question)
        elif answer is not None:
            found = answer(question)
        else:
            found = _refusal("version", f"{operation!r} is not known to jobd-stdio-bridge {__version__}")
        self._channels.queue(channels.ANSWER, number, packb(found))

    def _connect(self, number: int, question: Answer) -> Answer:
        if len(self._channels) >= MAX_CHANNELS:
            return _refusal("limit", f"cannot open more than {MAX_CHANNELS} connections at a time")
        try:
            path = question.get("socket", b"")
            assert isinstance(path, bytes)
            wanted = self._wanted.narrowed(str(question.get("mode", "")), os.fsdecode(path))
            start = bool(question.get("start"))
            if self._found is not None:
                sock = self._found.connect(start=start)
            else:
                found, sock = endpoint.connect(wanted.path, wanted.mode, start=start)
                self._found = found
        except endpoint.EndpointError as e:
            return _refusal(e.code, e.message)
        self._channels.add(number, sock)
        assert self._found is not None
        path = self._found.path
        return {"path": os.fsencode(path), "grants": connect.needs_grant(path)}

    def _grant(self, question: Answer) -> Answer:
        """Let root run something, as root's jobctl here would."""
        assert self._found is not None
        try:
            connect.grant(self._found.path, question)
        except Fault as e:
            return _refusal(e.code, e.message)
        return {}


def _refusal(code: str, message: str) -> Answer:
    return {"code": code, "message": message.encode("utf-8", "backslashreplace").decode()}


def _session(_: Answer) -> Answer:
    """What a command that ssh starts here would have: a job has the same."""
    from jobctl import surroundings

    env = {key: value for key, value in os.environb.items() if not key.startswith(NOT_THE_JOBS)}
    for key in SHELLS_OWN:
        env.pop(key, None)
    return {
        "cwd": os.getcwdb(),
        "env": surroundings.entries(env),
        "least": surroundings.entries(surroundings.least()),
        "umask": surroundings.umask(),
        "rlimits": surroundings.rlimits(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
    }


def _names(question: Answer) -> Answer:
    """The names of users and groups here."""
    from jobctl import names

    def of(key: str, name: Callable[[int], str]) -> list[str]:
        ids = question.get(key, [])
        assert isinstance(ids, list)
        return [name(each).encode("utf-8", "replace").decode() for each in ids[:MAX_NAMES]]

    return {"uids": of("uids", names.owner_name), "gids": of("gids", names.group_name)}


def _usage(question: Answer) -> Answer:
    """What the processes of a job use, as jobctl here would read it; of nothing but control groups and processes."""
    from jobctl import usage

    cgroup, pids = question.get("cgroup", ""), question.get("pids", [])
    assert isinstance(cgroup, str)
    assert isinstance(pids, list)
    plain = cgroup.startswith("/sys/fs/cgroup/") and "/../" not in cgroup
    found = usage.look(cgroup if plain else "", [int(pid) for pid in pids[: usage.MAX_PROCESSES]])
    return {name: getattr(found, name) for name in found.__slots__}


OPERATIONS: dict[str, Callable[[Answer], Answer]] = {"session": _session, "names": _names, "usage": _usage}
