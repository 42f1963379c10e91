"""The words for jobs and queues in requests: an owner in one of them is a name that has to be looked up."""

from __future__ import annotations

from typing import Final

from jobd.wire import messages as m

# What has no such word, and needs no rule that names an owner either.
_WITHOUT: Final = frozenset(
    {m.AuthWhoami, m.AuthRules, m.Input, m.Resize, m.Cancel, m.DaemonReload, m.DaemonReexec, m.Shutdown}
)
SHARED: Final = "shared/"
_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    **dict.fromkeys((m.Rerun, m.Resolve, m.AuthCanI), ("job",)),
    **dict.fromkeys((m.List, m.ListFiles, m.QueueList), ("patterns",)),
    **dict.fromkeys((m.Events, m.Logs), ("jobs",)),
    **dict.fromkeys((m.History, m.HistoryStats, m.Wait), ("jobs", "queue")),
    **dict.fromkeys((m.SetProperty, m.Define, m.QueueShow, m.QueueAdd, m.QueueSet, m.QueueRemove), ("name",)),
    **dict.fromkeys(
        (
            m.Start, m.Stop, m.Restart, m.Kill, m.Freeze, m.Thaw, m.ResetFailed, m.Remove, m.Get, m.Cat, m.Reload,
            m.ListDependencies, m.Why, m.Revert, m.Enable, m.Mask, m.CancelQueued, m.Hold, m.Release,
        ), ("names",),
    ),
    m.QueueSwitch: ("first", "second"),
}  # fmt: skip


def words_of(request: m.Request) -> list[str] | None:
    """The words of a request; None: it needs nothing to be looked up."""
    if isinstance(request, m.Run):
        return [*(word.partition(":")[0] for word in request.after), *_queue_of(request)] or None
    if type(request) in _WITHOUT:
        return None
    found: list[str] = []
    for field in _FIELDS.get(type(request), ()):
        value: str | list[str] = getattr(request, field)
        found += value if isinstance(value, list) else [value] if value else []
    return found + _queue_of(request) if isinstance(request, m.SetProperty) else found


def _queue_of(request: m.Run | m.SetProperty) -> list[str]:
    """A queue that is named with its owner."""
    word = request.settings.get("queue", "")
    return [word] if "/" in word and not word.startswith(SHARED) else []
