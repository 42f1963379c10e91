"""What is written for a run's limits; its control group is a directory: no test may ask the kernel for controllers."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from jobd.keeper import kernel, limits
from jobd.keeper.cgroup import Cgroups
from jobd.keeper.spawn import Base, Plan, SpawnFailed, spawn
from tests.keeper.harness import close_all, read_all

if TYPE_CHECKING:
    from tests.keeper.harness import KeeperProcess

FILES = ("memory.max", "cpu.max", "pids.max", "memory.oom.group")


def written(path: Path) -> dict[str, str]:
    return {name: (path / name).read_text() for name in FILES if (path / name).exists()}


def test_each_limit_has_its_file(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_text("")
    asked: dict[str, object] = {"memory_max": 512 << 20, "cpu_percent": 150, "tasks_max": 7}
    Cgroups(str(tmp_path / "state"), "").limit(str(tmp_path), [*limits.files(asked), limits.OOM_GROUP])
    assert written(tmp_path) == {
        "memory.max": "536870912", "cpu.max": "150000 100000", "pids.max": "7", "memory.oom.group": "1",
    }  # fmt: skip


def test_what_the_group_has_no_controller_for_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "pids.max").write_text("")
    files = limits.files({"memory_max": 1, "cpu_percent": 1, "tasks_max": 1})
    Cgroups(str(tmp_path / "state"), "").limit(str(tmp_path), files)
    assert written(tmp_path) == {"pids.max": "1"}


@pytest.mark.parametrize("controllers", [["cpu", "memory"], ["cpu"]])
def test_all_of_a_run_is_killed_together_where_memory_is_controlled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: list[str]
) -> None:
    written: list[tuple[str, str]] = []
    cgroups = SimpleNamespace(
        known=controllers, make=lambda _: (str(tmp_path), os.open(tmp_path, os.O_RDONLY)),
        limit=lambda _, files: written.extend(files), leave=lambda _: None,
    )  # fmt: skip
    monkeypatch.setattr(kernel, "clone", Mock(side_effect=OSError(errno.EAGAIN, "no more processes")))
    message: dict[str, object] = {"run": b"r" * 16, "argv": [b"true"], "env": [], "cwd": b"/", "cpu_percent": 50}
    base = Base()
    with pytest.raises(SpawnFailed, match="fork"):
        spawn(message, {}, Plan(message, base), base, cgroups)  # type: ignore[arg-type]  # as far as it is asked
    os.close(base.null)
    assert written == [("cpu.max", "50000 100000"), *([limits.OOM_GROUP] if "memory" in controllers else [])]


def test_without_a_limit_nothing_is_written_and_a_change_takes_it_away() -> None:
    nothing: dict[str, object] = {"memory_max": None, "tasks_max": None}
    assert limits.files(nothing) == limits.files({}) == []
    assert limits.files(nothing, changed=True) == [("memory.max", "max"), ("pids.max", "max")]


@pytest.mark.parametrize("name", ["memory_max", "cpu_percent", "tasks_max"])
@pytest.mark.parametrize("value", [0, -1, True, "1", b"max", 1.5, 1 << 63, [1]])
def test_a_number_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        limits.files({name: value})


def test_an_oom_score_below_the_keepers_is_for_who_is_trusted() -> None:
    own = int(Path(limits.OOM_SCORE).read_bytes())
    assert limits.oom_score(None, b"", False) == b""
    assert limits.oom_score(None, b"7", True) == b"7"
    assert limits.oom_score(-999, b"7", True) == b"-999"
    assert limits.oom_score(-999, b"7", False) == b"7"
    assert limits.oom_score(-999, b"", False) == b"%d" % own
    assert limits.oom_score(1000, b"7", False) == b"1000"
    for value in (1001, -1001, "0", True):
        with pytest.raises(OSError, match="Invalid"):
            limits.oom_score(value, b"", True)


@pytest.mark.slow
def test_a_run_has_its_oom_score_and_its_usage_is_told(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    run = os.urandom(16)
    script = b"cat /proc/self/oom_score_adj; (i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done)"
    _, fds = daemon.start(run, b"sh", b"-c", script, oom_score_adjust=321, memory_max=1 << 30, tasks_max=100)
    assert read_all(fds["out"]) == b"321\n"
    close_all(fds)
    used = daemon.expect("exited", run=run)[0]["usage"]
    if keeper.tracking == "cgroup":
        assert isinstance(used, dict)
        assert used["cpu_user"] > 0
        entry, held = daemon.list()[run]
        close_all(held)
        assert entry["usage"] == used
    else:
        assert used is None
    daemon.send("ack", run=run)


@pytest.mark.slow
def test_limits_of_a_run_that_is_there_are_changed(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    run = os.urandom(16)
    _, fds = daemon.start(run, b"sh", b"-c", b"read x; ulimit -n; cat /proc/self/oom_score_adj", stdin="pipe")
    wanted = {"rlimits": {"nofile": [100, 200]}, "oom_score_adjust": 456, "memory_max": 1 << 30, "tasks_max": 0}
    daemon.send("set-limits", run=run, tag=7, **wanted)
    answer = daemon.expect("limits-set")[0]
    missing = errno.ENOENT  # no controller, or no control group
    assert answer["tag"] == 7
    assert answer["failed"] in (
        {"memory_max": missing, "tasks_max": errno.EINVAL}, {"memory_max": missing, "tasks_max": missing},
    )  # fmt: skip
    os.write(fds["stdin"], b"\n")
    assert read_all(fds["out"]) == b"100\n456\n"
    close_all(fds)
    daemon.expect("exited", run=run)
    daemon.send("set-limits", run=run, tag=8, memory_max=None)
    assert daemon.expect("limits-set")[0]["failed"] == {"memory_max": errno.ESRCH}
    daemon.send("ack", run=run)


@pytest.mark.slow
def test_a_limit_that_makes_no_sense_ends_the_start_and_nothing_else(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    run = os.urandom(16)
    daemon.send(
        "spawn", run=run, argv=[b"true"], env=[], cwd=b"/", umask=0o22, rlimits={}, nice=0, stdin="null", merge=False,
        memory_max=0,
    )  # fmt: skip
    failed = daemon.expect("spawn-failed", run=run)[0]
    assert (failed["step"], failed["errno"]) == ("limits", errno.EINVAL)
    assert daemon.list() == {}
