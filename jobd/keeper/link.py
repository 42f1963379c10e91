"""The link between keeper and daemon: batches of plain messages with descriptors over a SEQPACKET socket.

Owns the datagrams of one end. One datagram is a plainpack list of messages; their descriptors ride beside it in the
order in which the messages name them (`"fds": ["pidfd", "out"]`, and the same in each map of `"entries"`). Rules:
neither end ever waits for the other; whatever does not parse raises LinkError and leaks no descriptor.
"""

from __future__ import annotations

import errno
import os
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_RIGHTS, SO_SNDBUF, SOL_SOCKET
from array import array
from fcntl import F_DUPFD_CLOEXEC, fcntl
from struct import pack

from jobd.wire.plainpack import PlainpackError, packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias, TypeVar

    Datagram: TypeAlias = tuple[bytes, list[int]]
    Message: TypeAlias = dict[str, object]
    Fds: TypeAlias = dict[str, int]
    T = TypeVar("T")

MAX_FDS = 250  # of a datagram; the kernel's SCM_MAX_FD is 253
MAX_INLINE = 64 * 1024  # bytes; a larger body goes as a memfd, so that no send needs a socket buffer of its size
MAX_BODY = 16 << 20  # bytes of a memfd; the largest spawn is 768 KiB of argv and environment
SEND_BUFFER = 1 << 20  # bytes; some turns of a busy loop
ROUNDS = 16  # datagrams of one receive(); the kernel queues ten (net.unix.max_dgram_qlen)
# Of a daemon that may have been taken over. A spawn has no more than 768 KiB of arguments and environment; a list of
# ten thousand runs takes five MiB.
MAX_REQUEST, MAX_UNSENT = 2 << 20, 64 << 20
_MEMFD = packb({"op": "memfd"})
_F_GET_SEALS = 1034  # linux/fcntl.h
SHORTAGES = (errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # of memory or descriptors, just now
_LATER = (errno.EAGAIN, errno.ETOOMANYREFS, *SHORTAGES)  # the second: too many descriptors in flight


class LinkClosed(Exception):  # noqa: N818  # an event, not an error
    """The other end is gone, and all that it sent has been received."""


class LinkError(ValueError):
    """A datagram that is not one of ours."""


def fd_names(message: Mapping[str, object]) -> list[str]:
    """The names of a message's descriptors, in their order; those of entry I are `I.NAME`."""
    names, entries = message.get("fds", ()), message.get("entries", ())
    if not isinstance(names, (list, tuple)) or not isinstance(entries, (list, tuple)):
        raise LinkError("cannot read a message: fds and entries are lists")
    found = [str(name) for name in names]
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("fds", []), (list, tuple)):
            raise LinkError("cannot read a message: entries are maps")
        found += [f"{i}.{name}" for name in entry.get("fds", ())]
    return found


def chunks(items: Sequence[T], size: Callable[[T], int], most: int) -> list[list[T]]:
    """The items in their order, in lists whose sizes come to no more than `most`, nor to what one message carries."""
    most = min(most, MAX_FDS - 1)
    found: list[list[T]] = []
    room = 0
    for item in items:
        needed = size(item)
        if not found or needed > room:
            found.append([])
            room = most
        found[-1].append(item)
        room -= needed
    return found


class LinkCodec:
    """Messages to datagrams and back; keeps no state. The daemon's end has a faster one (jobd.runtime.linkcodec)."""

    pack = staticmethod(packb)
    unpack = staticmethod(unpackb)

    def encode(self, items: Sequence[tuple[Mapping[str, object] | bytes, Sequence[int]]]) -> list[Datagram]:
        """Pack (message, descriptors) pairs, of which a message may be packed already, into as few datagrams as go.

        A datagram with a large body gets a memfd as its first descriptor, which the caller closes after sending.
        Raises OSError when there is none to be had; then all is as it was.
        """
        datagrams: list[Datagram] = []
        try:
            self._encode(items, datagrams)
        except (OSError, LinkError):
            _close([fds[0] for data, fds in datagrams if data is _MEMFD])
            raise
        return datagrams

    def _encode(
        self, items: Sequence[tuple[Mapping[str, object] | bytes, Sequence[int]]], datagrams: list[Datagram]
    ) -> None:
        bodies: list[bytes] = []
        fds: list[int] = []
        size = 0
        for message, own in items:
            body = message if isinstance(message, bytes) else self.pack(message)
            if len(own) >= MAX_FDS:
                raise LinkError(f"cannot send {len(own)} descriptors in one message")
            if bodies and (size + len(body) > MAX_INLINE or len(fds) + len(own) >= MAX_FDS):
                datagrams.append(_datagram(bodies, fds))
                bodies, fds, size = [], [], 0
            bodies.append(body)
            fds += own
            size += len(body)
        if bodies:
            datagrams.append(_datagram(bodies, fds))

    def decode(self, data: bytes, fds: Sequence[int], most: int = MAX_BODY) -> list[tuple[Message, Fds]]:
        """Unpack one datagram. The descriptors become the caller's; on LinkError all are closed.

        Args:
            data: its bytes.
            fds: its descriptors.
            most: bytes of a body in a memfd.
        """
        left = list(fds)
        try:
            if data == _MEMFD:
                data = _read_memfd(left, most)
            messages = self.unpack(data)
            if not isinstance(messages, list):
                raise LinkError("cannot read a datagram: not a list of messages")
            result: list[tuple[Message, Fds]] = []
            used = 0
            for message in messages:
                if not isinstance(message, dict) or not isinstance(message.get("op"), str):
                    raise LinkError("cannot read a datagram: a message is a map with an op")
                names = fd_names(message)
                result.append((message, dict(zip(names, left[used : used + len(names)], strict=False))))
                used += len(names)
                if len(result[-1][1]) != len(names):
                    raise LinkError(f"cannot read {message['op']!r}: descriptors missing or named twice")
            if used != len(left):
                raise LinkError(f"cannot read a datagram: {len(left) - used} descriptors too many")
        except (LinkError, PlainpackError, OSError) as e:
            for fd in left:
                os.close(fd)
            raise e if isinstance(e, LinkError) else LinkError(str(e)) from e
        return result


def _datagram(bodies: list[bytes], fds: list[int]) -> Datagram:
    count = len(bodies)
    data = (bytes((0x90 | count,)) if count < 16 else pack(">BI", 0xDD, count)) + b"".join(bodies)
    if len(data) <= MAX_INLINE:
        return data, fds
    memfd = os.memfd_create("jobd-link")
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(memfd, view) :]
    except OSError:
        os.close(memfd)
        raise
    return _MEMFD, [memfd, *fds]


def _read_memfd(fds: list[int], most: int) -> bytes:
    """The body that lies in the first descriptor, which is closed and taken from `fds`."""
    if not fds or os.fstat(fds[0]).st_size > most or not _is_memory(fds[0]):
        raise LinkError("cannot read a datagram: its memfd is missing or too large")
    data = b""
    while part := os.pread(fds[0], most - len(data), len(data)):
        data += part
    os.close(fds.pop(0))
    return data


def _is_memory(fd: int) -> bool:
    """Whether it is a file in memory: nobody can have us wait for what is in it, as a file system of his own could."""
    try:
        return fcntl(fd, _F_GET_SEALS) >= 0
    except OSError:
        return False


class Link:
    """One end of the link. `send` queues, `flush` sends what goes without waiting, `receive` takes what is there.

    Of an end that is not trusted no body is larger than `most`, and no more than `most_unsent` bytes wait for it to
    read: what comes on top is dropped, `overrun` says so, and such an end is to be left. So is one that the kernel
    sends nothing to for another reason than its death (`broken`): it would wait for ever for what was dropped.
    """

    def __init__(
        self,
        sock: socket,
        most: int = MAX_BODY,
        most_unsent: float = float("inf"),
        codec: type[LinkCodec] = LinkCodec,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)
        self.sock = sock
        self.crowded = False  # the last flush met a shortage that POLLOUT says nothing about: try again a little later
        self.overrun = self.broken = False
        self._most, self._most_unsent = most, most_unsent
        self._codec = codec()
        self._queue: list[tuple[bytes, list[int]]] = []
        self._queued = 0  # bytes
        self._outbox: list[Datagram] = []
        self._waiting = 0  # bytes of the datagrams

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self.sock.fileno()

    def send(self, message: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        """Queue a message; the descriptors are duplicated now, so the caller may close his at any time."""
        body = self._codec.pack(message)
        if self._queued + self._waiting + len(body) > self._most_unsent:
            self.overrun = True
            return
        own: list[int] = []
        try:
            for fd in fds:
                own.append(fcntl(fd, F_DUPFD_CLOEXEC, 3))  # noqa: PERF401  # those made so far must be closed
        except OSError:
            _close(own)
            raise
        self._queue.append((body, own))
        self._queued += len(body)

    @property
    def unsent(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._queue or self._outbox)

    def flush(self) -> bool:
        """Send what goes now. Returns whether nothing is left; what a dead end cannot take is dropped.

        Raises LinkError once something could not be sent for good.
        """
        self.crowded = False
        if self.broken:
            raise LinkError("cannot send to the other end")
        if self._queue:
            try:
                fresh = self._codec.encode(self._queue)
            except OSError:  # a shortage; what goes nevertheless frees memory and descriptors
                self.crowded = True
            else:
                self._queue, self._queued = [], 0
                self._outbox += fresh
                self._waiting += sum(map(_size, fresh))
        while self._outbox:
            data, fds = self._outbox[0]
            try:
                self.sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, array("i", fds))] if fds else [])
            except OSError as e:
                if e.errno in _LATER:
                    self.crowded = e.errno != errno.EAGAIN
                    return False
                self._drop()
                self.broken = e.errno not in (errno.EPIPE, errno.ECONNRESET)  # of these receive() tells
                return not self.broken
            self._waiting -= _size(self._outbox.pop(0))
            _close(fds)
        return not self._queue

    def receive(self) -> list[tuple[Message, Fds]]:
        """What has come, possibly nothing. Raises LinkClosed after the last message, LinkError for what is not ours."""
        messages: list[tuple[Message, Fds]] = []
        try:
            if self.broken:
                raise LinkError("cannot send to the other end")
            for _ in range(ROUNDS):
                datagram = self._receive()
                if datagram is None:
                    break
                if datagram == (b"", []):
                    if messages:
                        break
                    raise LinkClosed
                messages += self._codec.decode(*datagram, self._most)
                if datagram[0] == _MEMFD:
                    break  # a large one; what else came is for the next round
        except LinkError:
            for _, fds in messages:
                _close(list(fds.values()))
            raise
        return messages

    def _receive(self) -> Datagram | None:
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(MAX_INLINE, CMSG_SPACE(4 * MAX_FDS), MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return self._receive()  # said once by the kernel, ahead of what still lies in the queue
        except OSError as e:
            if e.errno in SHORTAGES:  # it lies there still, and whoever polls is told so again
                return None
            raise LinkError(f"cannot receive: {e.strerror}") from e
        fds = array("i")
        for level, kind, part in ancillary:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                fds.frombytes(part[: len(part) - len(part) % 4])
        if flags & (MSG_TRUNC | MSG_CTRUNC):
            _close(fds)
            raise LinkError("cannot read a datagram: too long, or too few descriptors are free here")
        return data, fds.tolist()

    def close(self) -> None:
        """Close this end; what waits to be sent is dropped."""
        self._drop()
        self.sock.close()

    def _drop(self) -> None:
        for _, fds in (*self._queue, *self._outbox):
            _close(fds)
        self._queue, self._outbox, self._queued, self._waiting = [], [], 0, 0


def _size(datagram: Datagram) -> int:
    """The bytes of its body."""
    data, fds = datagram
    return os.fstat(fds[0]).st_size if data is _MEMFD else len(data)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
