"""The one table: request → rule → handler. A request that is not in it cannot be served, and a test sees to it that
every one is.

A *quick* handler answers at once from memory or one indexed read; a *long* one is a task that sends its own answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from jobd.rpc.access import ADMIN, CONTROL, READ
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers import (
    daemon,
    definition,
    events,
    foreground,
    freeze,
    lifecycle,
    logs,
    look,
    remove,
    rerun,
    run,
    wait,
    whoami,
)
from jobd.wire import messages as m

__all__ = ["TABLE", "Context", "Refused", "Row"]

# Any: each handler takes its own request type, which the table's key guarantees and the type system cannot say.
Quick = Callable[[Context, Any], m.AnyBody]
Long = Callable[[Context, Any], Awaitable[None]]
Silent = Callable[[Context, Any], None]


class Row(Struct, frozen=True):
    """How one request is served: `quick`, or else `long`. With both, `quick` serves what asks for no process tree.

    A `silent` one is part of a long one that is under way, and has no answer of its own.
    """

    rule: str
    quick: Quick | None = None
    long: Long | None = None
    silent: Silent | None = None

    def is_quick(self, request: m.Request) -> bool:
        """Whether this request is answered in place."""
        return self.quick is not None and (self.long is None or not (isinstance(request, m.Get) and request.tree))


TABLE: Final[dict[type, Row]] = {
    m.Run: Row(CONTROL, long=run.run),
    m.Rerun: Row(CONTROL, long=rerun.rerun),
    m.Start: Row(CONTROL, long=lifecycle.start),
    m.Stop: Row(CONTROL, long=lifecycle.stop),
    m.Restart: Row(CONTROL, long=lifecycle.restart),
    m.Kill: Row(CONTROL, long=lifecycle.kill),
    m.Freeze: Row(CONTROL, long=freeze.freeze),
    m.Thaw: Row(CONTROL, long=freeze.thaw),
    m.ResetFailed: Row(CONTROL, long=remove.reset_failed),
    m.Remove: Row(CONTROL, long=remove.remove),
    m.Get: Row(READ, quick=look.get_quick, long=look.get_tree),
    m.List: Row(READ, quick=look.list_jobs),
    m.History: Row(READ, quick=look.history),
    m.Resolve: Row(READ, quick=look.resolve),
    m.Logs: Row(READ, long=logs.logs),
    m.Wait: Row(READ, long=wait.wait),
    m.Events: Row(READ, long=events.events),
    m.AuthWhoami: Row(READ, quick=whoami.auth_whoami),
    m.Whoami: Row(READ, long=whoami.whoami),
    m.Cat: Row(READ, long=definition.cat),
    m.Attach: Row(CONTROL, long=foreground.attach),
    m.Input: Row(CONTROL, silent=foreground.feed),
    m.Resize: Row(CONTROL, silent=foreground.resize),
    m.CloseOutput: Row(CONTROL, quick=foreground.close_output),
    m.DaemonStatus: Row(READ, quick=daemon.status),
    m.DaemonReload: Row(ADMIN, long=daemon.reload),
    m.DaemonReexec: Row(ADMIN, quick=daemon.reexec),
    m.Shutdown: Row(ADMIN, quick=daemon.shutdown),
}
