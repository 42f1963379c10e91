"""Accepting connections and serving them: limits, the hello, and the crash boundary of each connection."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Final, TypeVar

import trio

import jobd
from jobd.host.peer import bare_peer_of, with_groups
from jobd.rpc import serving
from jobd.rpc.connection import HELLO_SEC, Connection, Gone
from jobd.rpc.context import Context
from jobd.rpc.crowd import FEW, Crowd
from jobd.rpc.door import Door
from jobd.rpc.noise import Noise
from jobd.rpc.shares import SEAT_SEC, Share, Shares
from jobd.wire import codec, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.host.peer import Peer
    from jobd.rpc.access import Access
    from jobd.rpc.world import World

log = logging.getLogger("jobd.rpc")

Failure = TypeVar("Failure", bound=Exception)
SOFTWARE: Final = f"jobd {jobd.__version__}"


class Server:
    """Owns the connections."""

    def __init__(self, world: World, access: Access) -> None:
        self._world = world
        self._access = access
        self.shares = Shares(lambda: access.policy.limits)
        self._noise = Noise()
        self._door = Door(self._admit, _turn_away, lambda text: self._noise.say(access.own_uid, text), self._resize)
        self._nursery: trio.Nursery | None = None
        self._open: set[Connection] = set()
        self.left_at: float | None = None  # when the last client left; None until one has

    def _resize(self, listener: socket.socket, length: int) -> None:
        """Whoever calls listen(2) is who clients see at the other end: where that has to be root, the keeper does."""
        if self._access.shared:
            self._world.keeper.send("backlog", length=length)  # without a keeper it stays as it is
        else:
            listener.listen(length)

    @property
    def connections(self) -> int:
        """How many there are."""
        return self.shares.connections

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold the nursery of the connections. Cancelling breaks them off."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.shares.turns.serve)
            task_status.started()
            await trio.sleep_forever()

    async def accept(self, listener: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        """Accept until cancelled."""
        await self._door.accept(listener, task_status)

    def replace_listener(self, listener: socket.socket) -> None:
        """Go on with another socket: the path of the old one had vanished."""
        self._door.replace(listener)

    def close_door(self, activated: bool = False) -> bool:
        """Let nobody in any more, if nobody is there.

        Args:
            activated: the listening socket is a service manager's. Whoever is in its backlog is for the next daemon.

        Returns:
            Whether the door is shut: no connection was lost, and none can be made. If not, somebody came this moment;
            he is served, and the listening socket has to be replaced, as it takes nobody else.
        """
        if self.connections:
            return False
        if activated:
            self._door.leave()
            return True
        self._door.shut()
        return not self.connections

    def say_goodbye(self) -> None:
        """Tell all clients that the daemon ends: they are not to wait for the next one, or start it."""
        gone = codec.ProtocolError(errors.UNAVAILABLE, "jobd has been shut down")
        for connection in self._open:
            _say_why(connection, gone)

    # --- letting in -----------------------------------------------------------------------------------------------
    def _admit(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            peer = bare_peer_of(sock)
            refusal = self._refusal(peer)
            if refusal is None:
                peer = with_groups(peer, sock)
        except OSError:
            sock.close()
            return
        if refusal is not None:
            self._noise.say(peer.uid, f"refused pid {peer.pid}: {refusal.message}")
            _say_and_close(sock, refusal)
            return
        share = self.shares.enter(peer.uid)
        if share.connections > FEW and share.crowd is None:
            self._gather(share)
        share.room.append((sock, peer))
        if not share.seating:
            if self.shares.turns.is_due(share):
                self._seat_next(share)
                return
            share.seating = True
            assert self._nursery is not None
            self._nursery.start_soon(self._seat, share)

    def _refusal(self, peer: Peer) -> m.Fault | None:
        """Why this peer is not served, if he is not."""
        if not self._access.may_connect(peer):
            text = f"cannot serve uid {peer.uid}: this jobd belongs to uid {self._access.own_uid}"
            return m.Fault(code=errors.DENIED, message=text)
        why = self.shares.refusal(peer.uid)
        return m.Fault(code=errors.LIMIT, message=f"cannot serve another connection: {why}") if why else None

    def _gather(self, share: Share) -> None:
        assert self._nursery is not None
        with contextlib.suppress(OSError):  # no descriptor: it goes without
            share.crowd = Crowd()
            self._nursery.start_soon(share.crowd.serve, share, self.shares.turns)

    async def _seat(self, share: Share) -> None:
        """Begin to serve those who wait in the room of one uid, in his turns."""
        try:
            while share.room:
                await self.shares.turns.take(share)
                self._seat_next(share)
        finally:
            share.seating = False
            while share.room:  # the daemon leaves
                self._leave(share.room.popleft()[0], share)

    def _seat_next(self, share: Share) -> None:
        began = time.perf_counter()
        sock, peer = share.room.popleft()
        if _has_left(sock):
            self._leave(sock, share)
            self.shares.turns.charge(share, began)
            return
        assert self._nursery is not None
        self._nursery.start_soon(self._connection, sock, peer, share)
        self.shares.turns.charge(share, began, SEAT_SEC)

    def _leave(self, sock: socket.socket, share: Share) -> None:
        sock.close()
        self.shares.leave(share)
        self.left_at = trio.current_time()

    # --- one connection -------------------------------------------------------------------------------------------
    async def _connection(self, sock: socket.socket, peer: Peer, share: Share) -> None:
        """The crash boundary of one connection."""
        connection = Connection(sock, share)
        self._open.add(connection)
        try:
            await self._talk(connection, peer)
        except* Gone as group:
            if why := str(_first(group)):
                self._noise.say(peer.uid, f"uid {peer.uid}, pid {peer.pid}: dropped: {why}")
        except* codec.ProtocolError as group:
            error = _first(group)
            self._noise.say(peer.uid, f"uid {peer.uid}, pid {peer.pid}: {error}")
            _say_why(connection, error)
        except* Exception:
            log.exception("connection of uid %d, pid %d failed", peer.uid, peer.pid)
        finally:
            self._open.discard(connection)
            connection.close()
            self._leave(sock, share)

    async def _talk(self, connection: Connection, peer: Peer) -> None:
        body = await connection.read_body(first_within=HELLO_SEC)
        if body is None:
            return
        if (other := codec.other_hello(body)) is not None:
            raise codec.ProtocolError(errors.VERSION, _other_protocol(other))
        if not isinstance(codec.decode_client(body), m.Hello):
            raise codec.ProtocolError(errors.MALFORMED, "the first message must be a hello")
        connection.greeted()
        ours = m.Hello(version=m.PROTOCOL_VERSION, software=SOFTWARE, uid=peer.uid, gid=peer.gid, pid=peer.pid)
        await connection.send(codec.encode(ours))
        context = Context(self._world, connection, peer, self._access)
        await serving.serve(context, self.shares)


def _other_protocol(hello: m.Hello) -> str:
    """What a client of another version is told; it may be of a time in which nobody knew this text."""
    speaks = f"it speaks version {hello.version} of the protocol, {SOFTWARE} version {m.PROTOCOL_VERSION}"
    todo = "use the client that was installed with jobd"
    if hello.version > m.PROTOCOL_VERSION:
        todo = f"if a newer jobd is installed, `kill -HUP {os.getppid()}` starts it, and jobs run on"
    return codec.clean(f"cannot talk to {hello.software}: {speaks}; {todo}")


def _first(group: BaseExceptionGroup[Failure]) -> Failure:
    error = group.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _say_why(connection: Connection, error: codec.ProtocolError) -> None:
    """Tell a client what was wrong. It need not be there any more: nothing may leave the handler this is called in."""
    with contextlib.suppress(Gone):
        connection.try_send(codec.encode(m.Fault(code=error.code, message=error.message)))


def _say_and_close(sock: socket.socket, fault: m.Fault) -> None:
    try:
        sock.send(codec.encode(fault))
    except OSError:
        pass  # it did not even wait for the refusal
    finally:
        sock.close()


def _turn_away(sock: socket.socket) -> None:
    _say_and_close(
        sock,
        m.Fault(code=errors.LIMIT, message="cannot serve another connection: jobd has no descriptors left; try again"),
    )


def _has_left(sock: socket.socket) -> bool:
    """Whether a client went away before it said anything."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
