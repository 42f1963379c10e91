"""One question to a service, asked once: is somebody there, and what does he say.

`tcp` and `http` are asked by the daemon itself, from where it stands; `unix` and `command` by the keeper's child, as
the job's user. Nothing here has a timeout: the caller sets one, and cancelling leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits, service, targets
from jobd.runtime import helpers
from jobd.runtime.asking import CONNECT_SEC, PROCESS_SEC
from jobd.runtime.spawning import identity

if TYPE_CHECKING:
    from jobd.core.service import Check
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

MAX_HEAD: Final = 4096  # bytes of an HTTP answer up to the end of its first line; that is all that is read
NEXT_SEC: Final = 3.0  # until the next address of a name is tried: TCP's first two attempts
LOCAL: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: close at once, and leave no port behind in TIME_WAIT


class NotAsked(Exception):  # noqa: N818  # what is the case
    """The keeper has too many under way to ask another, or is dead: nobody knows how the service is."""

    def __init__(self) -> None:
        super().__init__("too many checks are under way")


async def ask(check: Check, run: Run, world: Registry) -> str:
    """Ask once. Returns why the answer was not good, in words; "" when it was. Raises NotAsked."""
    match check.kind:
        case service.TCP:
            return await _tcp(check.target, run, world)
        case service.HTTP:
            return await _http(check.target, run, world)
        case service.UNIX:
            return await _unix(check.target, run, world)
        case service.COMMAND:
            return await _command(check.argv, run, world)
    raise AssertionError(f"no check is called {check.kind!r}")


def describe(check: Check) -> str:
    """`tcp 8000`, as status and reasons name it."""
    if check.kind == service.COMMAND:
        return f"command {check.argv[0].decode(errors='backslashreplace')}"
    if check.kind == service.DELAY:
        return "its delay"
    return f"{check.kind} {check.target.removeprefix('localhost:')}"


# --- tcp ----------------------------------------------------------------------------------------------------------
async def _tcp(target: str, run: Run, world: Registry) -> str:
    try:
        stream = await _connect(*targets.tcp(target), world.asking.lookups(run.row.owner))
    except (OSError, ValueError) as error:
        return _words(error)
    await trio.aclose_forcefully(stream)
    return ""


async def _connect(host: str, port: int, lookups: trio.CapacityLimiter) -> trio.SocketStream:
    """A connection to the first address that takes one; of this machine without a name service. Raises OSError."""
    failed: OSError | None = None
    addresses = LOCAL if host in ("", "localhost") else await _addresses(host, lookups)
    for family, address in addresses:
        try:
            return await _connect_to(family, (address, port), last=(family, address) == addresses[-1])
        except OSError as error:
            failed = failed or error
    assert failed is not None
    raise failed


async def _addresses(host: str, lookups: trio.CapacityLimiter) -> tuple[tuple[int, str], ...]:
    """Those of a name, in the order of the name service. Raises OSError."""
    kind = socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, None, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        ask = partial(socket.getaddrinfo, host, None, type=kind)
        found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=lookups)
    return tuple((family, str(address[0])) for family, _, _, _, address in found)


async def _connect_to(family: int, address: tuple[str, int], last: bool) -> trio.SocketStream:
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        with trio.move_on_after(float("inf") if last else NEXT_SEC) as scope:
            await sock.connect(address)
            _refuse_myself(sock)
        if scope.cancelled_caught:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def _refuse_myself(sock: trio.socket.SocketType) -> None:
    """Raise OSError if nobody is there but us.

    The kernel may give a connection to a port of this machine that very port as its own, and then connects it to
    itself: TCP allows it, and it would make every service ready that listens in the ephemeral range.
    """
    if sock.getsockname() == sock.getpeername():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


# --- http ---------------------------------------------------------------------------------------------------------
async def _http(target: str, run: Run, world: Registry) -> str:
    """GET; 2xx and 3xx are good. Redirects are not followed, and nothing is read behind the first line."""
    try:
        web = targets.http(target)
        stream = await _connect(web.host, web.port, world.asking.lookups(run.row.owner))
    except (OSError, ValueError) as error:
        return _words(error)
    try:
        name = f"[{web.host}]" if ":" in web.host else web.host
        where = name if web.port == targets.HTTP_PORT else f"{name}:{web.port}"
        head = (
            f"GET {web.path} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: jobd\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        await stream.send_all(head.encode())
        return _status(await _first_line(stream))
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        return f"the connection broke: {_words(cause if isinstance(cause, OSError) else error)}"
    finally:
        await trio.aclose_forcefully(stream)


async def _first_line(stream: trio.SocketStream) -> bytes:
    got = b""
    while b"\n" not in got and len(got) < MAX_HEAD:
        more = await stream.receive_some(MAX_HEAD - len(got))
        if not more:
            break
        got += more
    return got.partition(b"\n")[0].rstrip(b"\r")


def _status(line: bytes) -> str:
    """What a status line says: "" for a good one."""
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) < 3 or not code.isdigit() or rest[3:4] not in (b"", b" "):
        return f"its answer is not HTTP: {line[:40].decode('latin-1')!a}" if line else "it said nothing"
    return "" if 200 <= int(code) < 400 else f"it answered {code.decode()}"


# --- by the keeper's child ----------------------------------------------------------------------------------------
async def _unix(path: str, run: Run, world: Registry) -> str:
    who = identity(run.spec, run.row.owner, world.keeper, world.policy)
    number = await world.keeper.check_unix(os.fsencode(path), who)
    # Of a socket whose queue is full the keeper says that somebody is there. Without a keeper nobody has asked.
    if number in (errno.EAGAIN, errno.ECONNRESET):
        raise NotAsked
    return os.strerror(number) if number else ""


async def _command(argv: tuple[bytes, ...], run: Run, world: Registry) -> str:
    """Each has a name of its own, also under the next daemon: an earlier one's answer is not for us."""
    done = await helpers.execute(run, world, f"{helpers.CHECK}{time.monotonic_ns()}", argv)
    if (done.step, done.errno) == ("spawn", errno.EAGAIN):
        raise NotAsked
    if done.step:
        return f"it cannot be started: {done.step}: {os.strerror(done.errno)}"
    end = exits.Exit(done.status)
    if end.signal is not None:
        return f"it was ended by {exits.signal_name(end.signal)}"
    return "" if end.code == 0 else "nobody could see how it ended" if end.unknown else f"it exited with {end.code}"


def cost_sec(check: Check) -> float:
    """What asking costs us, about."""
    return PROCESS_SEC if check.kind in (service.UNIX, service.COMMAND) else CONNECT_SEC


def _words(error: Exception) -> str:
    """An error of the network in the kernel's words."""
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return str(error.args[-1]) if error.args else type(error).__name__
