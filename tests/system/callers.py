"""Connections as other users: each is made by a child that has become that user, and handed back.

The kernel notes who connects, so the connection stays his in our hands; which is a test of that as well.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from jobd.wire import codec, frames
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT_SEC = 60.0
LIVE_SEC = 60
SAME_ID = 7  # of every request: answers can be compared byte for byte


def connect_as(
    path: Path | str, uid: int, gid: int | None = None, groups: Sequence[int] = (), bind: bytes = b""
) -> socket.socket:
    """A connected socket of this user's; `bind`: to which path (or abstract name) it is bound first."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(LIVE_SEC)
            os.setgroups(list(groups))
            gid = uid if gid is None else gid
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as sock:
                if bind:
                    sock.bind(bind)
                sock.connect(str(path))
                socket.send_fds(theirs, [b"x"], [sock.fileno()])
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    with ours:
        ours.settimeout(TIMEOUT_SEC)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"uid {uid} could not connect: {status}"
    sock = socket.socket(fileno=fds[0])
    sock.settimeout(TIMEOUT_SEC)
    return sock


class CallerAs:
    """One user's connection: requests out, whole answers in, as bytes and as messages."""

    def __init__(
        self, path: Path | str, uid: int, *, gid: int | None = None, groups: Sequence[int] = (), bind: bytes = b""
    ) -> None:
        self.uid = uid
        self.sock = connect_as(path, uid, gid, groups, bind)
        self._buffer = frames.FrameBuffer()
        self.sock.sendall(codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="test 0")))
        hello = codec.decode_daemon(self.receive())
        assert isinstance(hello, m.Hello), hello
        self.hello = hello

    def receive(self) -> bytes:
        """The body of the next frame."""
        while (body := self._buffer.next()) is None:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError("the daemon has closed the connection")
            self._buffer.feed(data)
        return bytes(body)

    def frames(self, request: m.Request) -> list[bytes]:
        """All frames of the answer to a request."""
        self.sock.sendall(codec.encode(request))
        found = []
        while True:
            found.append(self.receive())
            if isinstance(codec.decode_daemon(found[-1]), m.Reply | m.Fault | m.End):
                return found

    def ask(self, request: m.Request) -> list[m.FromDaemon]:
        """The same as messages."""
        return [codec.decode_daemon(body) for body in self.frames(request)]

    def body(self, request: m.Request) -> m.AnyBody:
        """The body of the one reply."""
        (answer,) = self.ask(request)
        assert isinstance(answer, m.Reply), answer
        return answer.body

    def fault(self, request: m.Request) -> m.Fault:
        """The fault that is the answer."""
        (answer,) = self.ask(request)
        assert isinstance(answer, m.Fault), answer
        return answer

    def close(self) -> None:
        self.sock.close()
