"""Serving the requests of one connection: each in its uid's turn, quick ones in place, long ones as tasks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

from jobd.rpc.connection import MAX_UNDER_WAY, Gone
from jobd.rpc.dispatch import TABLE, Context, Refused, Row
from jobd.rpc.door import SHORT
from jobd.rpc.shares import LONG_SEC, MAX_SUBMISSIONS
from jobd.runtime.slots import LimitReached
from jobd.wire import codec, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.rpc.shares import Shares
    from jobd.wire.frames import Body

log = logging.getLogger("jobd.rpc")


async def serve(context: Context, shares: Shares) -> None:
    """Serve a connection's requests, until it has no more and those under way are answered, or it is gone."""
    connection = context.connection
    share, turns = connection.share, shares.turns
    async with trio.open_nursery() as nursery:
        while (body := await connection.read_body()) is not None:
            if not turns.is_due(share):
                await turns.take(share)
            began = time.perf_counter()
            answer = _request(context, shares, body, nursery)
            turns.charge(share, began, LONG_SEC if answer is None else 0.0)
            if share.submissions > MAX_SUBMISSIONS:
                await share.relieved()
            if answer and (rest := connection.try_send(answer)):
                await connection.send(rest, held_back=True)
        if connection.tasks:
            nursery.start_soon(_until_hung_up, context, nursery)
            await connection.idle()
        nursery.cancel_scope.cancel()


async def _until_hung_up(context: Context, nursery: trio.Nursery) -> None:
    await context.connection.hung_up()
    nursery.cancel_scope.cancel()


def _request(context: Context, shares: Shares, body: Body, nursery: trio.Nursery) -> bytes | None:
    """Serve one request. Returns its answer, b"" if it has none, or None: a task sees to it."""
    try:
        request = codec.decode_client(body)
    except codec.ProtocolError as error:
        if error.id is None:
            raise
        return codec.encode(m.Fault(code=error.code, message=error.message, id=error.id))
    if _is_silent(context, request):
        return b""
    assert not isinstance(request, m.Hello)
    row = TABLE[type(request)]
    if row.is_quick(context, request) and not context.unknown(request):
        return _answer(context, row, request)
    refusal = _refusal(context, shares, request)
    if refusal:
        return codec.encode(m.Fault(code=errors.LIMIT, message=refusal, id=request.id))
    context.connection.tasks[request.id] = trio.CancelScope()
    context.connection.share.requests += 1
    nursery.start_soon(_serve, context, row, request)
    return None


def _refusal(context: Context, shares: Shares, request: m.Request) -> str:
    """Why one more request cannot be under way, if it cannot. Raises ProtocolError when its id is in use."""
    tasks = context.connection.tasks
    if request.id in tasks:
        raise codec.ProtocolError(errors.MALFORMED, f"request id {request.id} is under way already")
    if len(tasks) >= MAX_UNDER_WAY:
        return f"cannot serve more than {MAX_UNDER_WAY} requests under way on one connection; wait for answers"
    return shares.request_refusal(context.connection.share)


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
        code, text = failure(request, error)
        return codec.encode(m.Fault(code=code, message=text, id=request.id))


def failure(request: m.Request, error: Exception) -> tuple[str, str]:
    """Code and words for a request that failed: a bug of ours, unless the machine is short of something."""
    cause: BaseException = error
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, LimitReached):
        return cause.code, str(cause)
    if isinstance(cause, OSError) and cause.errno in SHORT:
        return errors.LIMIT, f"cannot do this now: jobd is short of resources ({cause.strerror}); try again"
    log.error("request %s failed", type(request).__name__, exc_info=error)
    return errors.INTERNAL, f"internal error: {error!r:.200}"


async def _serve(context: Context, row: Row, request: m.Request) -> None:
    """Serve one long request to its end; the crash boundary of the request."""
    connection = context.connection
    scope = connection.tasks[request.id]
    try:
        with scope:
            try:
                await context.learn(request)
                context.check(row.action)
                if row.is_quick(context, request):
                    assert row.quick is not None
                    await connection.reply(request.id, row.quick(context, request))
                else:
                    assert row.long is not None
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
                await connection.fault(*failure(request, error), request.id)
        if scope.cancelled_caught:
            await connection.fault(errors.CANCELED, "canceled", request.id)
    finally:
        connection.settle(request.id)
