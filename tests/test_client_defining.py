"""What both clients do with definitions, against a fake daemon on a real socket."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING

import pytest

import jobd.client
from jobd._client.blocking_defining import BlockingDefining
from jobd._client.defining import Defining
from jobd.client import Conflict, FileView, Graph, Invalid, Link, Plan, Planned, Reason, connect_blocking
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fakes_daemon import FakeDaemon, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from jobd.client import BlockingJobs, Jobs

pytestmark = pytest.mark.trio

PLAN = Plan(changes=[Planned(job="web", owner=0, change="added")])
GRAPH = Graph(links=[Link(job="web", kind="after", other="db")], jobs=[])
REASONS = [Reason(job="web", owner=0, kind="masked", text="web is masked")]
PAGES = [FileView(job="db", owner=0, state="masked"), FileView(job="web", owner=0, state="enabled")]


class Script:
    """Answers plainly, and keeps what it was asked, without ids of runs."""

    def __init__(self) -> None:
        self.asked: list[m.Request] = []

    def __call__(self, peer: Peer) -> None:
        while True:
            request = peer.receive()
            self.asked.append(request)
            match request:
                case m.Define(text="bad"):
                    peer.send(m.Fault(id=request.id, code=errors.BAD_SETTING, message="web.toml:1:1: no"))
                case m.Define() | m.Revert() | m.DaemonReload():
                    peer.send(m.Reply(id=request.id, body=PLAN))
                case m.ListFiles():
                    page = m.Files(files=PAGES[1:]) if request.after else m.Files(files=PAGES[:1], more="0/db")
                    peer.send(m.Reply(id=request.id, body=page))
                case m.ListDependencies():
                    peer.send(m.Reply(id=request.id, body=GRAPH))
                case m.Why():
                    peer.send(m.Reply(id=request.id, body=m.Reasons(reasons=REASONS)))
                case m.Enable() | m.Mask() | m.Reload() | m.Restart():
                    for name in request.names:
                        code = errors.NOT_APPLICABLE if name == "no" else ""
                        peer.send(m.Item(id=request.id, body=m.Done(job=name, code=code, text="cannot")))
                    peer.send(m.End(id=request.id))
                case _:
                    raise AssertionError(request)


async def both(
    path: Path, ask: Callable[[BlockingJobs], object], ask_async: Callable[[Jobs], Awaitable[object]]
) -> tuple[object, m.Request]:
    """The answer that both clients give, and the first that the blocking one asked; the other asks the same."""
    script = Script()
    with FakeDaemon(path / "s", script) as daemon:
        with connect_blocking(daemon.path) as blocking:
            found = ask(blocking)
        count = len(script.asked)
        async with jobd.client.connect(daemon.path) as jobs:
            assert await ask_async(jobs) == found
    first, other = script.asked[0], script.asked[count]
    for name in first.__struct_fields__:
        assert name == "runs" or getattr(first, name) == getattr(other, name)
    return found, first


async def test_add(tmp_path: Path) -> None:
    found, asked = await both(
        tmp_path,
        lambda jobs: jobs.add("web", "x = 1", base="/srv", dropin="o.toml", replace=True, dry=True),
        lambda jobs: jobs.add("web", "x = 1", base="/srv", dropin="o.toml", replace=True, dry=True),
    )
    assert found == PLAN
    assert asked == m.Define(id=1, name="web", text="x = 1", base=b"/srv", dropin="o.toml", replace=True, dry=True)


async def test_add_is_meant_from_here_and_errors_are_raised(tmp_path: Path) -> None:
    script = Script()
    with FakeDaemon(tmp_path / "s", script) as daemon, connect_blocking(daemon.path) as jobs:
        jobs.add("web", "good")
        with pytest.raises(Invalid, match=r"web\.toml:1:1: no"):
            jobs.add("web", "bad")
    assert script.asked[0] == m.Define(id=1, name="web", text="good", base=os.getcwdb())


async def test_plans(tmp_path: Path) -> None:
    assert await both(tmp_path, lambda j: j.revert("web"), lambda j: j.revert("web")) == (
        PLAN, m.Revert(id=1, names=["web"]),
    )  # fmt: skip
    (tmp_path / "s").unlink()
    answer = await both(
        tmp_path, lambda j: j.daemon_reload("web", dry=True), lambda j: j.daemon_reload("web", dry=True)
    )
    assert answer == (PLAN, m.DaemonReload(id=1, names=["web"], dry=True))


async def test_switches(tmp_path: Path) -> None:
    script = Script()
    with FakeDaemon(tmp_path / "s", script) as daemon:
        with connect_blocking(daemon.path) as jobs:
            jobs.enable("a", "b")
            jobs.disable("a")
            jobs.mask("a")
            assert [done.job for done in jobs.unmask("a")] == ["a"]
            with pytest.raises(Conflict):
                jobs.enable("no")
        async with jobd.client.connect(daemon.path) as trio_jobs:
            await trio_jobs.enable("a", "b")
            await trio_jobs.disable("a")
            await trio_jobs.mask("a")
            await trio_jobs.unmask("a")
    plain = [(type(r), getattr(r, "names"), getattr(r, "enabled", getattr(r, "masked", None))) for r in script.asked]  # noqa: B009
    switches: list[tuple[type[m.Message], list[str], bool]] = [
        (m.Enable, ["a", "b"], True), (m.Enable, ["a"], False), (m.Mask, ["a"], True), (m.Mask, ["a"], False),
    ]  # fmt: skip
    assert plain == [*switches, (m.Enable, ["no"], True), *switches]


async def test_reload_and_try_restart(tmp_path: Path) -> None:
    _, asked = await both(tmp_path, lambda j: j.reload("web"), lambda j: j.reload("web"))
    assert isinstance(asked, m.Reload)
    assert (asked.names, asked.or_restart, len(asked.runs)) == (["web"], False, 1)
    (tmp_path / "s").unlink()
    _, asked = await both(
        tmp_path,
        lambda j: j.reload("web", or_restart=True, running_only=True, no_block=True),
        lambda j: j.reload("web", or_restart=True, running_only=True, no_block=True),
    )
    assert isinstance(asked, m.Reload)
    assert (asked.or_restart, asked.running_only, asked.no_block, len(asked.runs)) == (True, True, True, 1)
    (tmp_path / "s").unlink()
    _, asked = await both(tmp_path, lambda j: j.try_restart("web"), lambda j: j.try_restart("web"))
    assert isinstance(asked, m.Restart)
    assert (asked.running_only, len(asked.runs)) == (True, 1)


async def test_job_files_are_all_pages(tmp_path: Path) -> None:
    found, asked = await both(
        tmp_path, lambda j: j.job_files("w*", states=["masked"]), lambda j: j.job_files("w*", states=["masked"])
    )
    assert (found, asked) == (PAGES, m.ListFiles(id=1, patterns=["w*"], states=["masked"]))


async def test_dependencies_and_reasons(tmp_path: Path) -> None:
    found, asked = await both(
        tmp_path, lambda j: j.dependencies("web", reverse=True), lambda j: j.dependencies("web", reverse=True)
    )
    assert (found, asked) == (GRAPH, m.ListDependencies(id=1, names=["web"], reverse=True))
    (tmp_path / "s").unlink()
    found, asked = await both(tmp_path, lambda j: j.why("web"), lambda j: j.why("web"))
    assert (found, asked) == (REASONS, m.Why(id=1, names=["web"]))


async def test_both_clients_have_the_same_methods() -> None:
    for name, method in inspect.getmembers(Defining, inspect.isfunction):
        assert inspect.signature(method) == inspect.signature(getattr(BlockingDefining, name)), name
