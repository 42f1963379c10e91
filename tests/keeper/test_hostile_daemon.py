"""Whatever a daemon says, the keeper lives, its runs with it, and the next daemon is forked."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobd.keeper.cgroup import Cgroups
from jobd.keeper.link import LinkError
from jobd.keeper.requests import Requests
from jobd.keeper.spawn import Base
from jobd.keeper.table import Entry
from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, close_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.keeper.link import Message

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16
START: Message = {"run": OTHER, "argv": [b"true"], "env": [], "cwd": b"/"}
LIES: list[Message] = [
    {"op": "no-such-op"},
    {"op": "spawn"},
    {"op": "spawn", **START, "run": b""},
    {"op": "spawn", **START, "run": b"../../../etc/pass"},
    {"op": "spawn", **START, "run": "x" * 16},
    {"op": "spawn", **START, "argv": "true"},
    {"op": "spawn", **START, "cwd": [b"/"]},
    {"op": "spawn", **START, "user": 1.5},
    {"op": "spawn", **START, "user": {}},
    {"op": "spawn", **START, "stdin": "pty", "window": [70000, -1]},
    {"op": "spawn", **START, "stdin": "pty", "window": [1, 2, 3]},
    {"op": "signal", "run": RUN, "o": "x", "sig": 1 << 40, "whom": "main"},
    {"op": "signal", "run": RUN, "o": "x", "sig": 4711, "whom": "main"},
    {"op": "signal", "run": RUN, "o": "x", "sig": "9", "whom": "main"},
    {"op": "go", "run": [RUN]},
    {"op": "tree", "run": RUN},
    {"op": "close", "run": RUN, "what": "everything"},
    {"op": "run-of", "tag": 1, "pids": list(range(1000))},
    {"op": "run-of", "tag": 1, "pids": ["self"]},
    {"op": "open", "tag": 1},
    {"op": "backlog", "length": "long"},
    {"op": "freeze", "run": {}, "tag": 1, "frozen": True},
    {"op": "log-level"},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: str(lie)[:60])
def test_a_lie_is_an_error_of_the_link(tmp_path: Path, lie: Message) -> None:
    entry = Entry(RUN)
    entry.pid, entry.pidfd = os.getpid(), os.pidfd_open(os.getpid())
    said: list[Message] = []
    double = SimpleNamespace(
        table={RUN: entry}, send=said.append, base=Base(), cgroups=Cgroups(str(tmp_path), parent=""), grants=None,
        ends=SimpleNamespace(strangers=set), config=SimpleNamespace(config_dir=str(tmp_path)), daemon=SimpleNamespace(),
    )  # fmt: skip
    before = set(os.listdir("/proc/self/fd"))
    try:
        with pytest.raises(LinkError):
            Requests(double).handle(lie, {})  # type: ignore[arg-type]  # a double
        assert set(os.listdir("/proc/self/fd")) == before
        assert not said
    finally:
        entry.close()
        os.close(double.base.null)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperProcess]:
    with KeeperProcess(tmp_path_factory.mktemp("hostile")) as made:
        daemon = made.ready_daemon()
        _, fds = daemon.start(RUN, b"sleep", b"300")
        close_all(fds)
        yield made


def test_a_lie_ends_the_link_and_nothing_else(keeper: KeeperProcess) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{keeper.processes[0].pid}/fd"))

    before = descriptors()
    for lie in ({"op": "no-such-op"}, {"op": "spawn", **START, "stdin": "pty", "window": [70000, -1]}):
        fields = dict(lie)
        keeper.daemons[-1].send(str(fields.pop("op")), **fields)
        keeper.daemons[-1].wait_closed()
        daemon = keeper.ready_daemon()
        found = daemon.list()
        assert set(found) == {RUN}
        assert found[RUN][0]["exit"] is None
        for _, fds in found.values():
            close_all(fds)
    deadline = time.monotonic() + DEADLINE_SEC
    while descriptors() > before:  # those of the last list are closed behind it
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_not_a_lie_only_has_no_effect(keeper: KeeperProcess) -> None:
    daemon = keeper.daemons[-1]
    daemon.send("kill-tree", run=OTHER, o="kill-1")
    daemon.send("signal", run=OTHER, o="x", sig=9, whom="all")
    assert daemon.expect("signaled")[0]["count"] == 0
    daemon.send("open", tag=1, path="../../etc/shadow")
    assert daemon.expect("opened")[0]["errno"]
    daemon.send("run-of", tag=2, pids=[1, os.getpid(), 2**22 + 5, -1])
    assert daemon.expect("run-of")[0]["runs"] == [None] * 4
