"""Runs that are started together: which of a batch's messages wait for which, and that each of them is as if alone."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobd.keeper.link import LinkError
from jobd.keeper.requests import Requests
from tests.keeper.harness import DEADLINE_SEC, SPAWN, close_all, environment, until_gone

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message
    from tests.keeper.harness import Daemon, KeeperProcess

RUNS = [bytes([number]) * 16 for number in range(1, 6)]
NONE = SimpleNamespace(handlers={})


def ask(daemon: Daemon, *messages: Message) -> None:
    """Send all as one batch."""
    for message in messages:
        if message["op"] == "spawn":
            run = message["run"]
            assert isinstance(run, bytes)
            message = {**SPAWN, "env": environment(run, daemon.mark), **message}
        daemon.link.send(message)
    daemon.send("pong")  # with which they leave


def spawned(daemon: Daemon, run: bytes) -> object:
    message, fds = daemon.answer(run, "spawned", "spawn-failed")
    close_all(fds)
    return message.get("pid", message.get("step"))


@pytest.mark.slow
def test_runs_that_are_started_together_are_told_before_any_runs(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    spawns: list[Message] = [{"op": "spawn", "run": run, "argv": [b"true"]} for run in RUNS]
    goes: list[Message] = [{"op": "go", "run": run} for run in RUNS]
    ask(daemon, *(message for pair in zip(spawns, goes, strict=True) for message in pair))
    ops: list[object] = []
    deadline = time.monotonic() + DEADLINE_SEC
    while ops.count("exited") < len(RUNS):
        if not daemon.seen:
            daemon.receive(deadline)
            continue
        message, fds = daemon.seen.pop(0)
        close_all(fds)
        ops.append(message["op"])
    assert ops[: len(RUNS)] == ["spawned"] * len(RUNS)


@pytest.mark.slow
def test_a_run_that_is_twice_in_a_batch_is_started_once(plain_keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = plain_keeper.ready_daemon()
    spawn: Message = {
        "op": "spawn", "run": RUNS[0], "argv": [b"sh", b"-c", b'echo ran >> "$0"', os.fsencode(tmp_path / "ran")],
    }  # fmt: skip
    ask(daemon, spawn, {"op": "go", "run": RUNS[0]}, spawn)
    assert spawned(daemon, RUNS[0]) == spawned(daemon, RUNS[0])
    daemon.expect("exited", run=RUNS[0])
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert list(daemon.list()) == [RUNS[0]]


@pytest.mark.slow
def test_one_that_cannot_be_started_leaves_the_others_of_its_batch_alone(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    good: Message = {"op": "spawn", "run": RUNS[0], "argv": [b"true"]}
    bad: Message = {**good, "run": RUNS[1], "rlimits": {"no such": [1, 1]}}
    ask(daemon, good, bad, {**good, "run": RUNS[2]})
    assert isinstance(spawned(daemon, RUNS[0]), int)
    assert spawned(daemon, RUNS[1]) == "limits"
    assert isinstance(spawned(daemon, RUNS[2]), int)
    assert daemon.go(RUNS[2])["op"] == "execd"
    assert sorted(daemon.list()) == [RUNS[0], RUNS[2]]


@pytest.mark.slow
@pytest.mark.parametrize("nonsense", [{"argv": 7}, {"run": b"short"}, {"label": b"x" * 2000}])
def test_a_batch_that_is_not_as_agreed_starts_nothing(plain_keeper: KeeperProcess, nonsense: Message) -> None:
    daemon = plain_keeper.ready_daemon()
    good: Message = {"op": "spawn", "run": RUNS[0], "argv": [b"true"]}
    ask(daemon, good, {"op": "go", "run": RUNS[0]}, {**good, "run": RUNS[1], **nonsense})
    daemon.wait_closed()
    until_gone([daemon.pid])
    assert plain_keeper.ready_daemon().list() == {}


def order(*messages: tuple[str, bytes]) -> list[object]:
    """In which order a keeper that has no children does these."""
    done: list[object] = []
    keeper = SimpleNamespace(
        table={}, helpers=NONE, unix_checks=NONE, mains=NONE, strays=NONE, late=[],
        send=lambda message: done.append(("go", message["run"])), told=lambda: True,
    )  # fmt: skip
    requests = Requests(keeper)  # type: ignore[arg-type]  # a double
    requests.spawns = SimpleNamespace(  # type: ignore[assignment]  # a double
        spawn=lambda asked: done.append([message["run"] for message, _ in asked])
    )
    requests.handle_all([({"op": op, "run": run}, {}) for op, run in messages])
    return done


def test_a_go_waits_for_spawns_around_it_and_for_nothing_else() -> None:
    a, b, c, d, _ = RUNS
    assert order(("go", a)) == [("go", a)]
    assert order(("spawn", a), ("go", a), ("spawn", b), ("go", b)) == [[a, b], ("go", a), ("go", b)]
    assert order(("go", c), ("spawn", a), ("go", d), ("spawn", b)) == [("go", c), [a, b], ("go", d)]
    # What else is asked for comes in its place: a run that was forgotten may be asked for anew.
    assert order(("spawn", a), ("go", b), ("ack", c), ("spawn", c), ("go", a)) == [[a], ("go", b), [c], ("go", a)]


def test_descriptors_that_came_with_spawns_are_closed_whatever_becomes_of_them() -> None:
    held = [os.pipe(), os.pipe()]
    requests = Requests(SimpleNamespace(table={}, helpers=NONE, unix_checks=NONE, mains=NONE, strays=NONE))  # type: ignore[arg-type]
    with pytest.raises(LinkError, match="spawn"):
        requests.handle_all([({"op": "spawn", "run": 7}, {"input": reader}) for reader, _ in held])
    for reader, writer in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(reader)
        os.close(writer)
