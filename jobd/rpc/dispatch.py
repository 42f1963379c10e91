"""The one table: request → action → handler. A request that is not in it cannot be served, and a test sees to it that
every one is.

The action is a verb of jobd.core.rules. Whether it is allowed for a job the handler learns as it asks the context for
that job: there is no other way to one. Acts on the daemon are decided before the handler is called.

A *quick* handler answers at once from memory or one indexed read; a *long* one is a task that sends its own answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers import (
    auth,
    daemon,
    define,
    definition,
    dependencies,
    enable,
    events,
    foreground,
    freeze,
    history,
    hold,
    jobfiles,
    lifecycle,
    logs,
    look,
    queues,
    reloads,
    remove,
    rerun,
    run,
    set_property,
    timers,
    wait,
    whoami,
    why,
)
from jobd.wire import messages as m

__all__ = ["TABLE", "Context", "Refused", "Row"]

# Any: each handler takes its own request type, which the table's key guarantees and the type system cannot say.
Quick = Callable[[Context, Any], m.AnyBody]
Long = Callable[[Context, Any], Awaitable[None]]
Silent = Callable[[Context, Any], None]


class Row(Struct, frozen=True):
    """How one request is served: `quick`, or else `long`. With both, `quick` serves what asks for little.

    A `silent` one is part of a long one that is under way, and has no answer of its own.
    """

    action: str
    quick: Quick | None = None
    long: Long | None = None
    silent: Silent | None = None

    def is_quick(self, context: Context, request: m.Request) -> bool:
        """Whether this request is answered in place."""
        if self.quick is None or self.long is None:
            return self.quick is not None
        assert isinstance(request, m.Get | m.List)
        return look.is_small(request) and not (isinstance(request, m.List) and context.filters())


TABLE: Final[dict[type, Row]] = {
    m.Run: Row("run", long=run.run),
    m.Rerun: Row("rerun", long=rerun.rerun),
    m.Start: Row("start", long=lifecycle.start),
    m.Stop: Row("stop", long=lifecycle.stop),
    m.Restart: Row("restart", long=lifecycle.restart),
    m.Kill: Row("kill", long=lifecycle.kill),
    m.Freeze: Row("freeze", long=freeze.freeze),
    m.Thaw: Row("thaw", long=freeze.thaw),
    m.ResetFailed: Row("reset-failed", long=remove.reset_failed),
    m.Remove: Row("rm", long=remove.remove),
    m.Get: Row("status", quick=look.get_quick, long=look.get_long),
    m.List: Row("list", quick=look.list_jobs, long=look.list_in_turns),
    m.History: Row("history", long=history.history),
    m.Resolve: Row("history", quick=history.resolve),
    m.Logs: Row("logs", long=logs.logs),
    m.Wait: Row("wait", long=wait.wait),
    m.Events: Row("events", long=events.events),
    m.Cat: Row("cat", long=definition.cat),
    m.Whoami: Row("whoami", long=whoami.whoami),
    m.AuthWhoami: Row("auth", quick=auth.whoami),
    m.AuthCanI: Row("auth", long=auth.can_i),
    m.AuthRules: Row("auth", quick=auth.rules_in_force),
    m.Attach: Row("attach", long=foreground.attach),
    m.Input: Row("attach", silent=foreground.feed),
    m.Resize: Row("attach", silent=foreground.resize),
    m.CloseOutput: Row("attach", quick=foreground.close_output),
    m.Define: Row("add", long=define.define),
    m.Revert: Row("revert", long=define.revert),
    m.Enable: Row("enable", long=enable.enable),
    m.Mask: Row("mask", long=enable.mask),
    m.Reload: Row("reload", long=reloads.reload),
    m.SetProperty: Row("set-property", long=set_property.set_property),
    m.ListFiles: Row("list-job-files", long=jobfiles.list_files),
    m.ListDependencies: Row("list-dependencies", long=dependencies.list_dependencies),
    m.Why: Row("why", long=why.why),
    m.QueueList: Row("queue", quick=queues.list_queues),
    m.QueueShow: Row("queue", long=queues.show),
    m.QueueAdd: Row("queue", long=queues.add),
    m.QueueSet: Row("queue", long=queues.change),
    m.QueueRemove: Row("queue", long=queues.remove),
    m.QueueSwitch: Row("queue", long=queues.switch),
    m.CancelQueued: Row("cancel", long=hold.cancel),
    m.Hold: Row("hold", long=hold.hold),
    m.Release: Row("release", long=hold.release),
    m.ListTimers: Row("list-timers", long=timers.list_timers),
    m.HistoryStats: Row("history", long=history.stats),
    m.DaemonStatus: Row("daemon-status", quick=daemon.status),
    m.DaemonReload: Row("daemon-reload", long=daemon.reload),
    m.DaemonReexec: Row("daemon-reexec", long=daemon.reexec),
    m.Shutdown: Row("shutdown", long=daemon.shutdown),
}
