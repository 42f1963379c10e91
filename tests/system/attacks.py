"""What a hostile user does to the socket, each without end; his process is killed when it is enough.

All of it is bounded in memory and connections on his side, and none of it starts more than its few processes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import codec
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

HELLO = codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="attack 0"))
MIB = 1 << 20
PAUSE_SEC = 0.02


def frame(body: bytes, length: int | None = None) -> bytes:
    return (len(body) if length is None else length).to_bytes(4, "big") + body


BOMBS: dict[str, bytes] = {
    "array32 of 4 Gi": frame(b"\xdd\xff\xff\xff\xff"),
    "map32 of 4 Gi": frame(b"\xdf\xff\xff\xff\xff"),
    "str32 of 4 GiB": frame(b"\xdb\xff\xff\xff\xff"),
    "bin32 of 4 GiB": frame(b"\xc6\xff\xff\xff\xff"),
    "ext32 of 4 GiB": frame(b"\xc9\xff\xff\xff\xff\x01"),
    "a frame of 4 GiB": b"\xff\xff\xff\xff",
    "a million lists deep": frame(b"\x91" * 1_000_000),
    "a million maps deep": frame(b"\x81\xa1a" * 340_000),
    "1 MiB of empty maps": frame(b"\xdd\x00\x0f\xff\xf0" + b"\x80" * 0xFFFF0),
    "1 MiB of empty maps as argv": frame(
        b"\x83\xa4type\xa3run\xa2id\x01\xa4argv\xdd\x00\x0f\xff\x00" + b"\x80" * 0xFFF00
    ),
    "half a frame": frame(b"\x80" * 500_000, MIB),
}


def connect(path: str, *, block: bool = True) -> socket.socket | None:
    """A connection, if there is one to be had."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(block)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        return None
    sock.setblocking(False)
    return sock


def push(sock: socket.socket, data: bytes) -> bool:
    """Send what goes; False when the other side has closed."""
    try:
        while data:
            data = data[sock.send(data) :]
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def close_all(socks: Iterable[socket.socket]) -> None:
    for sock in socks:
        sock.close()


# --- attacks ------------------------------------------------------------------------------------------------------
def connections(path: str) -> None:
    """Connect and leave, as fast as it goes, and hold as many as one may."""
    held: list[socket.socket] = []
    while True:
        for at in itertools.count():
            sock = connect(path)
            if sock is None:
                continue
            if at % 4 == 0 and len(held) < 600:
                held.append(sock)
            else:
                sock.close()
            if at > 5000:
                close_all(held)
                held.clear()
                break


def slow_clients(path: str) -> None:
    """Five hundred that bring a hello, and then a frame, a byte at a time."""
    data = HELLO + frame(b"\x81" * 60_000)
    socks: dict[socket.socket, int] = {}
    while True:
        while len(socks) < 500 and (sock := connect(path)) is not None:
            socks[sock] = 0
        for sock, at in list(socks.items()):
            if push(sock, data[at : at + 1]):
                socks[sock] = at + 1
            else:
                sock.close()
                del socks[sock]
        time.sleep(PAUSE_SEC)


def stalled_readers(path: str, job: str = "chatty", count: int = 50) -> None:
    """`logs -f` and events from the first on, and nobody reads; with more questions behind."""
    ask = codec.encode(m.Logs(id=1, jobs=[job], follow=True)) + codec.encode(m.Events(id=2, after=0, follow=True))
    more = b"".join(codec.encode(m.List(id=at, all=True)) for at in range(3, 50))
    socks = []
    for _ in range(count):
        sock = connect(path)
        if sock is not None:
            push(sock, HELLO + ask + more)
            socks.append(sock)
    while True:
        time.sleep(1)


def bombs(path: str) -> None:
    """Every frame that was made to hurt, over and over."""
    for bomb in itertools.cycle(BOMBS.values()):
        sock = connect(path)
        if sock is None:
            continue
        sock.setblocking(True)
        sock.settimeout(1)
        with contextlib.suppress(OSError):
            sock.sendall(HELLO + bomb)
            if len(bomb) < 400_000:
                sock.recv(1 << 16)
        sock.close()


def requests(path: str, count: int = 64) -> None:
    """Questions on many connections without a pause, the answers thrown away."""
    ask = b"".join(
        codec.encode(message)
        for at in range(8)
        for message in (m.Get(id=2 * at + 1, names=["chatty", "x*"]), m.List(id=2 * at + 2, all=True))
    )
    poll = select.poll()
    socks: dict[int, socket.socket] = {}
    rests: dict[int, bytes] = {}
    for _ in range(count):
        sock = connect(path)
        if sock is not None:
            push(sock, HELLO)
            socks[sock.fileno()] = sock
            rests[sock.fileno()] = ask
            poll.register(sock, select.POLLIN | select.POLLOUT)
    while True:
        for fd, events in poll.poll():
            try:
                if events & select.POLLIN:
                    socks[fd].recv(1 << 18)
                if events & select.POLLOUT:
                    sent = socks[fd].send(rests[fd])
                    rests[fd] = rests[fd][sent:] or ask
            except BlockingIOError:
                continue


def submissions(path: str) -> None:
    """Jobs, as many as go, each of which ends at once."""
    poll = select.poll()
    sock = connect(path)
    assert sock is not None
    push(sock, HELLO)
    poll.register(sock, select.POLLIN | select.POLLOUT)
    rest = b""
    for at in itertools.count(1):
        if not rest:
            request = m.Run(
                id=at, run=new_run_id(), argv=[b"true"], env=[b"JOBD_TEST_MARK=" + os.environb[b"JOBD_TEST_MARK"]],
                cwd=b"/", exec_wait=False,
            )  # fmt: skip
            rest = codec.encode(request)
        for _, events in poll.poll():
            try:
                if events & select.POLLIN:
                    sock.recv(1 << 18)
                if events & select.POLLOUT:
                    rest = rest[sock.send(rest) :]
            except BlockingIOError:
                continue


ATTACKS = {
    "connection flood": connections,
    "slow clients": slow_clients,
    "stalled readers": stalled_readers,
    "frame bombs": bombs,
    "request flood": requests,
    "submission burst": submissions,
}
