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
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits, service, targets
from jobd.runtime import helpers
from jobd.runtime.spawning import identity

if TYPE_CHECKING:
    from jobd.core.service import Check
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

MAX_HEAD: Final = 4096  # bytes of an HTTP answer up to the end of its first line; that is all that is read
LOCAL: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: close at once, and leave no port behind in TIME_WAIT


async def ask(check: Check, run: Run, world: Registry) -> str:
    """Ask once. Returns why the answer was not good, in words; "" when it was."""
    match check.kind:
        case service.TCP:
            return await _tcp(check.target)
        case service.HTTP:
            return await _http(check.target)
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
async def _tcp(target: str) -> str:
    try:
        stream = await _connect(*targets.tcp(target))
    except (OSError, ValueError) as error:
        return _words(error)
    await trio.aclose_forcefully(stream)
    return ""


async def _connect(host: str, port: int) -> trio.SocketStream:
    """A connection; to this machine over whichever protocol answers. Raises OSError."""
    if host not in ("", "localhost"):  # which needs no name service, and no thread to ask it
        stream = await trio.open_tcp_stream(host, port)
        _refuse_myself(stream.socket)
        return stream
    failed: OSError | None = None
    for family, address in LOCAL:
        try:
            sock = trio.socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # no IPv6 here
            failed = failed or error
            continue
        try:
            await sock.connect((address, port))
            _refuse_myself(sock)
        except OSError as error:
            sock.close()
            failed = failed or error
        except BaseException:
            sock.close()
            raise
        else:
            return trio.SocketStream(sock)
    assert failed is not None
    raise failed


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
async def _http(target: str) -> str:
    """GET; 2xx and 3xx are good. Redirects are not followed, and nothing is read behind the first line."""
    try:
        web = targets.http(target)
        stream = await _connect(web.host, web.port)
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
    except (trio.BrokenResourceError, OSError) as error:
        return f"the connection broke: {_words(error.__cause__ or error)}"
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
    return os.strerror(number) if number else ""


async def _command(argv: tuple[bytes, ...], run: Run, world: Registry) -> str:
    """Each has a name of its own, also under the next daemon: an earlier one's answer is not for us."""
    done = await helpers.execute(run, world, f"{helpers.CHECK}{time.monotonic_ns()}", argv)
    if done.step:
        return f"it cannot be started: {done.step}: {os.strerror(done.errno)}"
    end = exits.Exit(done.status)
    if end.signal is not None:
        return f"it was ended by {exits.signal_name(end.signal)}"
    return "" if end.code == 0 else "nobody could see how it ended" if end.unknown else f"it exited with {end.code}"


def _words(error: BaseException) -> str:
    """An error of the network in the kernel's words; of several attempts, the first."""
    while isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        error = error.__cause__  # trio's open_tcp_stream: "all attempts failed"
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return str(error)
