"""What both clients ask besides the state of jobs, against a fake daemon on a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import jobd.client
from jobd.client import Definition, Identity, Invalid, Member, NotFound, connect_blocking
from jobd.wire import messages as m
from tests.fakes_daemon import FakeDaemon, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from jobd.client import BlockingJobs, Jobs

pytestmark = pytest.mark.trio

IDENTITY = Identity(uid=1, gid=2, groups=[3], pid=4, owner=1, rules=["read"])
FOUND = Definition(job="web", owner=0, text='command = ["true"]\n')


def script(peer: Peer) -> None:
    while True:
        request = peer.receive()
        body: m.AnyBody
        match request:
            case m.Cat(names=["web"]):
                body = m.Definitions(definitions=[FOUND])
            case m.Cat(names=[name]):
                missing = [] if "*" in name else [Definition(job=name, owner=0, load="not-found")]
                body = m.Definitions(definitions=missing)
            case m.Whoami(pids=pids):
                body = m.Members(members=[Member(pid=pid, job="web") for pid in pids or [77]])
            case m.AuthWhoami():
                body = IDENTITY
            case m.AuthCanI(action=action, job=job, user=user):
                body = m.Decision(action=action, uid=7, allowed=user == "bob", visible=True, rule="owner", job=job)
            case m.AuthRules():
                body = m.Rules(rules=[m.RuleView(line=3, users=["bob"])], file="/f")
            case _:
                raise AssertionError(request)
        peer.send(m.Reply(id=request.id, body=body))


async def both(
    path: Path, ask: Callable[[BlockingJobs], object], ask_async: Callable[[Jobs], Awaitable[object]]
) -> object:
    """The answer that both clients give."""
    with FakeDaemon(path / "s", script) as daemon:
        with connect_blocking(daemon.path) as blocking:
            found = ask(blocking)
        async with jobd.client.connect(daemon.path) as jobs:
            assert await ask_async(jobs) == found
    return found


async def test_a_definition(tmp_path: Path) -> None:
    assert await both(tmp_path, lambda jobs: jobs.definition("web"), lambda jobs: jobs.definition("web")) == FOUND


@pytest.mark.parametrize("name", ["no", "w*"])
async def test_a_definition_that_is_not_there(tmp_path: Path, name: str) -> None:
    with FakeDaemon(tmp_path / "s", script) as daemon:
        with connect_blocking(daemon.path) as blocking, pytest.raises(NotFound, match="cannot find job"):
            blocking.definition(name)
        async with jobd.client.connect(daemon.path) as jobs:
            with pytest.raises(NotFound, match="cannot find job"):
                await jobs.definition(name)


async def test_whose_processes_these_are(tmp_path: Path) -> None:
    wanted = [Member(pid=5, job="web"), Member(pid=6, job="web")]
    assert await both(tmp_path, lambda jobs: jobs.whoami(5, 6), lambda jobs: jobs.whoami(5, 6)) == wanted
    (tmp_path / "s").unlink()
    own = await both(tmp_path, lambda jobs: jobs.whoami(), lambda jobs: jobs.whoami())
    assert own == [Member(pid=77, job="web")]


async def test_what_is_no_pid_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with (
        FakeDaemon(tmp_path / "s", script) as daemon,
        connect_blocking(daemon.path) as blocking,
        pytest.raises(Invalid),
    ):
        blocking.whoami(0)


async def test_who_we_are(tmp_path: Path) -> None:
    assert await both(tmp_path, lambda jobs: jobs.identity(), lambda jobs: jobs.identity()) == IDENTITY


async def test_what_one_may_do(tmp_path: Path) -> None:
    found = await both(
        tmp_path, lambda jobs: jobs.can_i("stop", "web", "bob"), lambda jobs: jobs.can_i("stop", "web", "bob")
    )
    assert found == m.Decision(action="stop", uid=7, allowed=True, visible=True, rule="owner", job="web")


async def test_rules(tmp_path: Path) -> None:
    found = await both(tmp_path, lambda jobs: jobs.rules(), lambda jobs: jobs.rules())
    assert found == m.Rules(rules=[m.RuleView(line=3, users=["bob"])], file="/f")
