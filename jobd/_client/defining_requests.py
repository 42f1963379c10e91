"""Requests about what jobs are: definitions, dependencies, reloads, reasons."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobd._client.exchanges import Action, One, Pages
from jobd.core.ids import new_run_id
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd._client.requests import Progress, Word


def define(name: str, text: str, *, base: Word | None, dropin: str, replace: bool, dry: bool) -> One[m.Plan]:
    where = os.getcwdb() if base is None else os.path.abspath(os.fsencode(base))
    request = m.Define(id=0, name=name, text=text, base=where, dropin=dropin, replace=replace, dry=dry)
    return One(request, m.Plan)


def revert(names: Sequence[str]) -> One[m.Plan]:
    return One(m.Revert(id=0, names=list(names)), m.Plan)


def enable(names: Sequence[str], *, enabled: bool) -> Action:
    return Action(m.Enable(id=0, names=list(names), enabled=enabled), None)


def mask(names: Sequence[str], *, masked: bool) -> Action:
    return Action(m.Mask(id=0, names=list(names), masked=masked), None)


def reload(names: Sequence[str], *, or_restart: bool, running_only: bool, no_block: bool, progress: Progress) -> Action:
    runs = [new_run_id() for _ in names]  # asked again under them, nothing is reloaded twice
    request = m.Reload(
        id=0, names=list(names), runs=runs, or_restart=or_restart, running_only=running_only, no_block=no_block
    )
    return Action(request, progress)


def try_restart(names: Sequence[str], *, no_block: bool, progress: Progress) -> Action:
    runs = [new_run_id() for _ in names]
    return Action(m.Restart(id=0, names=list(names), runs=runs, running_only=True, no_block=no_block), progress)


def daemon_reload(names: Sequence[str], *, dry: bool) -> One[m.Plan]:
    return One(m.DaemonReload(id=0, names=list(names), dry=dry), m.Plan)


def job_files(patterns: Sequence[str], *, states: Sequence[str]) -> Pages[m.Files, m.FileView]:
    request = m.ListFiles(id=0, patterns=list(patterns), states=list(states))
    return Pages(request, m.Files, lambda page: (page.files, page.more))


def dependencies(names: Sequence[str], *, reverse: bool, order: bool) -> One[m.Graph]:
    return One(m.ListDependencies(id=0, names=list(names), reverse=reverse, order=order), m.Graph)


def why(names: Sequence[str]) -> One[m.Reasons]:
    return One(m.Why(id=0, names=list(names)), m.Reasons)
