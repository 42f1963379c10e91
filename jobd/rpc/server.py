"""Accepting connections and serving them: limits, the hello, and the crash boundary of each connection."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Final

import trio

import jobd
from jobd.host.peer import Peer, peer_of
from jobd.rpc.connection import HELLO_SEC, MAX_UNDER_WAY, TURN, Connection, Gone
from jobd.rpc.dispatch import TABLE, Context, Refused, Row
from jobd.wire import codec, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.rpc.access import Access
    from jobd.rpc.world import World

log = logging.getLogger("jobd.rpc")

MAX_CONNECTIONS: Final = 2048  # security.md A.6; 7 KiB each
MAX_PER_UID: Final = 512  # a shell loop of many waiting clients fits, a job in the foreground has three
LOG_EVERY_SEC: Final = 1.0  # lines about broken clients: one a second, and how many were left out
# Descriptors or memory are short: who accepts waits, or the loop would spin; who asks may ask again.
_SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SOFTWARE: Final = f"jobd {jobd.__version__}"


class RateLimit:
    """Lets one log line a second pass."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._left_out = 0

    def say(self, text: str) -> None:
        """Log `text`, or count it as left out."""
        now = time.monotonic()
        if now - self._last < LOG_EVERY_SEC:
            self._left_out += 1
            return
        more = f" (and {self._left_out} more such lines)" if self._left_out else ""
        self._last, self._left_out = now, 0
        log.warning("%s%s", text, more)


class Server:
    """Owns the connections: how many there are, and of whom."""

    def __init__(self, world: World, access: Access) -> None:
        self._world = world
        self._access = access
        self._per_uid: dict[int, int] = {}
        self.connections = 0
        self._limit = RateLimit()
        self._listener: socket.socket | None = None
        self._spent = False  # the listener takes nobody any more
        self._accepting: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None
        self._open: set[Connection] = set()
        self.left_at: float | None = None  # when the last client left; None until one has

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold the nursery of the connections. Cancelling breaks them off."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def accept(self, listener: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        """Accept until cancelled."""
        listener.setblocking(False)
        self._listener = listener
        task_status.started()
        while True:
            with trio.CancelScope() as self._accepting:
                await self._accept_all()

    def replace_listener(self, listener: socket.socket) -> None:
        """Go on with another socket: the path of the old one had vanished."""
        listener.setblocking(False)
        old, self._listener, self._spent = self._listener, listener, False
        if self._accepting is not None:
            self._accepting.cancel()
        if old is not None:
            old.close()

    def close_door(self, activated: bool = False) -> bool:
        """Let nobody in any more, if nobody is there.

        Args:
            activated: the listening socket is a service manager's. Whoever is in its backlog is for the next daemon.

        Returns:
            Whether the door is shut: no connection was lost, and none can be made. If not, somebody came this moment;
            he is served, and the listening socket has to be replaced, as it takes nobody else.
        """
        assert self._listener is not None
        if self.connections:
            return False
        if activated:
            self._spent = True
            if self._accepting is not None:
                self._accepting.cancel()
            return True
        with contextlib.suppress(OSError):
            # From here on connect(2) is refused; what was in the backlog before is there, and can be accepted.
            self._listener.shutdown(socket.SHUT_RD)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                break
            self._admit(sock)
        self._spent = True  # accepting goes on with the next listener: this one is ready for ever, and gives nothing
        if self._accepting is not None:
            self._accepting.cancel()
        return not self.connections

    def say_goodbye(self) -> None:
        """Tell all clients that the daemon ends: they are not to wait for the next one, or start it."""
        gone = codec.ProtocolError(errors.UNAVAILABLE, "jobd has been shut down")
        for connection in self._open:
            _say_why(connection, gone)

    async def _accept_all(self) -> None:
        if self._spent:
            await trio.sleep_forever()
        assert self._listener is not None
        turn = 0
        while True:
            turn += 1
            if turn >= TURN:  # who connects faster than we accept must not starve those who are connected
                turn = 0
                await trio.lowlevel.checkpoint()
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._listener)
                continue
            except OSError as error:
                if error.errno in _SHORT:
                    self._limit.say(f"cannot accept a connection: {error.strerror}")
                    await trio.sleep(0.1)
                continue  # the client went away between connect and accept
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            peer = peer_of(sock)
        except OSError:
            sock.close()
            return
        mine = self._per_uid.get(peer.uid, 0)
        refusal = self._refusal(peer, mine)
        if refusal is not None:
            self._limit.say(f"refused pid {peer.pid}: {refusal.message}")
            _say_and_close(sock, refusal)
            return
        self.connections += 1
        self._per_uid[peer.uid] = mine + 1
        assert self._nursery is not None
        self._nursery.start_soon(self._connection, sock, peer)

    def _refusal(self, peer: Peer, mine: int) -> m.Fault | None:
        """Why this peer is not served, if he is not; `mine` are his connections so far."""
        if not self._access.may_connect(peer):
            text = f"cannot serve uid {peer.uid}: this jobd belongs to uid {self._access.own_uid}"
            return m.Fault(code=errors.DENIED, message=text)
        if self.connections >= MAX_CONNECTIONS or (mine >= MAX_PER_UID and peer.uid != 0):
            text = f"cannot serve more connections: {mine} of uid {peer.uid}, {self.connections} in all"
            return m.Fault(code=errors.LIMIT, message=text)
        return None

    async def _connection(self, sock: socket.socket, peer: Peer) -> None:
        """The crash boundary of one connection."""
        connection = Connection(sock)
        self._open.add(connection)
        try:
            await self._talk(connection, peer)
        except* Gone:
            pass
        except* codec.ProtocolError as group:
            error = _first(group)
            self._limit.say(f"uid {peer.uid}, pid {peer.pid}: {error.message}")
            _say_why(connection, error)
        except* Exception:
            log.exception("connection of uid %d, pid %d failed", peer.uid, peer.pid)
        finally:
            sock.close()
            self._open.discard(connection)
            self.connections -= 1
            self.left_at = trio.current_time()
            self._per_uid[peer.uid] -= 1
            if not self._per_uid[peer.uid]:
                del self._per_uid[peer.uid]

    async def _talk(self, connection: Connection, peer: Peer) -> None:
        body = await connection.read_body(first_within=HELLO_SEC)
        if body is None:
            return
        hello = codec.decode_client(body)
        if not isinstance(hello, m.Hello):
            raise codec.ProtocolError(errors.MALFORMED, "the first message must be a hello")
        if hello.version != m.PROTOCOL_VERSION:
            raise codec.ProtocolError(errors.VERSION, _other_protocol(hello))
        ours = m.Hello(version=m.PROTOCOL_VERSION, software=SOFTWARE, uid=peer.uid, gid=peer.gid, pid=peer.pid)
        await connection.send(codec.encode(ours))
        context = Context(self._world, connection, peer, self._access)
        async with trio.open_nursery() as nursery:
            await self._requests(context, nursery)
            nursery.cancel_scope.cancel()

    async def _requests(self, context: Context, nursery: trio.Nursery) -> None:
        connection = context.connection
        turn = 0
        while (body := await connection.read_body()) is not None:
            turn += 1
            if turn >= TURN:  # also those that have no answer
                turn = 0
                await trio.lowlevel.checkpoint()
            try:
                request = codec.decode_client(body)
            except codec.ProtocolError as error:
                if error.id is None:
                    raise
                await connection.fault(error.code, error.message, error.id)
                continue
            if _is_silent(context, request):
                continue
            assert not isinstance(request, m.Hello)
            row = TABLE[type(request)]
            if row.is_quick(request):
                rest = connection.try_send(_answer(context, row, request))
                if rest:
                    await connection.send(rest)
            else:
                _start(context, row, request, nursery)


def _is_silent(context: Context, request: m.FromClient) -> bool:
    """Serve a request that has no answer of its own. False: it has one."""
    if isinstance(request, m.Hello):
        raise codec.ProtocolError(errors.MALFORMED, "a second hello")
    if isinstance(request, m.Cancel):
        scope = context.connection.tasks.get(request.request)
        if scope is not None:
            scope.cancel()
        return True
    silent = TABLE[type(request)].silent
    if silent is None:
        return False
    silent(context, request)
    return True


def _answer(context: Context, row: Row, request: m.Request) -> bytes:
    """Serve a quick request: nothing of it waits."""
    assert row.quick is not None
    try:
        context.check(row.action)
        return codec.encode(m.Reply(id=request.id, body=row.quick(context, request)))
    except Refused as refused:
        return codec.encode(m.Fault(code=refused.code, message=str(refused), id=request.id, details=refused.details))
    except codec.ProtocolError as error:
        return codec.encode(m.Fault(code=error.code, message=error.message, id=request.id))
    except Exception as error:
        code, text = _failure(request, error)
        return codec.encode(m.Fault(code=code, message=text, id=request.id))


def _failure(request: m.Request, error: Exception) -> tuple[str, str]:
    """Code and words for a request that failed: a bug of ours, unless the machine is short of something."""
    cause: BaseException = error
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and cause.errno in _SHORT:
        return errors.LIMIT, f"cannot do this now: jobd is short of resources ({cause.strerror}); try again"
    log.error("request %s failed", type(request).__name__, exc_info=error)
    return errors.INTERNAL, f"internal error: {error!r:.200}"


def _start(context: Context, row: Row, request: m.Request, nursery: trio.Nursery) -> None:
    tasks = context.connection.tasks
    if request.id in tasks:
        raise codec.ProtocolError(errors.MALFORMED, f"request id {request.id} is under way already")
    if len(tasks) >= MAX_UNDER_WAY:
        raise codec.ProtocolError(errors.LIMIT, f"more than {MAX_UNDER_WAY} requests under way on one connection")
    tasks[request.id] = trio.CancelScope()
    nursery.start_soon(_serve, context, row, request)


async def _serve(context: Context, row: Row, request: m.Request) -> None:
    """Serve one long request to its end; the crash boundary of the request."""
    connection = context.connection
    scope = connection.tasks[request.id]
    assert row.long is not None
    try:
        with scope:
            try:
                context.check(row.action)
                await row.long(context, request)
            except Refused as refused:
                await connection.fault(refused.code, str(refused), request.id, refused.details)
            except codec.ProtocolError as error:
                await connection.fault(error.code, error.message, request.id)
            except Gone:
                raise
            except Exception as error:
                if isinstance(error, ExceptionGroup) and error.split(Gone)[1] is None:
                    raise Gone from error  # found out by a task of the request
                await connection.fault(*_failure(request, error), request.id)
        if scope.cancelled_caught:
            await connection.fault(errors.CANCELED, "canceled", request.id)
    finally:
        del connection.tasks[request.id]


def _other_protocol(hello: m.Hello) -> str:
    """What a client of another version is told; it may be of a time in which nobody knew this text."""
    speaks = f"it speaks version {hello.version} of the protocol, {SOFTWARE} version {m.PROTOCOL_VERSION}"
    todo = "use the client that was installed with jobd"
    if hello.version > m.PROTOCOL_VERSION:
        todo = f"if a newer jobd is installed, `kill -HUP {os.getppid()}` starts it, and jobs run on"
    return codec.clean(f"cannot talk to {hello.software}: {speaks}; {todo}")


def _first(group: BaseExceptionGroup[codec.ProtocolError]) -> codec.ProtocolError:
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
