"""What cannot be enforced, for every machine and every limit; and the guess of a client without a daemon."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from jobd.core.enforce import LIMITS, Machine, guess, unenforced
from jobd.core.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = JobSpec(argv=(b"true",), cwd=b"/", memory_max=1, cpu_percent=50, tasks_max=3, nice=-1, oom_score_adjust=-1)
NONE = JobSpec(argv=(b"true",), cwd=b"/", oom_score_adjust=5, nice=5)
CONTROLLERS = ("memory", "cpu", "pids")


@pytest.mark.parametrize("count", range(4))
def test_each_limit_needs_its_controller(count: int) -> None:
    for some in combinations(CONTROLLERS, count):
        machine = Machine(controllers=frozenset((*some, "io")))
        assert unenforced(NONE, machine) == []
        assert unenforced(ALL, machine) == [
            f"{key}: this machine's control group has no {controller} controller"
            for key, (_, controller) in LIMITS.items()
            if controller not in some
        ]


def test_without_a_control_group_there_is_none() -> None:
    found = unenforced(ALL, Machine(groups=False))
    assert found == [f"{key}: there is no control group of our own here" for key in LIMITS]
    assert unenforced(NONE, Machine(groups=False, root=False)) == []


def test_what_only_root_may_do() -> None:
    machine = Machine(controllers=frozenset(CONTROLLERS), root=False)
    assert [line.partition(":")[0] for line in unenforced(ALL, machine)] == [
        "limits.nice", "limits.oom_score_adjust",
    ]  # fmt: skip


def reader(files: dict[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    return read


UNIFIED = "32 31 0:29 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
HYBRID = """40 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_the_guess_of_root_is_the_machines_and_a_users_his_own() -> None:
    files = {
        "/proc/self/cgroup": "0::/user.slice/user-1.slice\n",
        "/proc/self/mountinfo": UNIFIED,
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
        "/sys/fs/cgroup/user.slice/user-1.slice/cgroup.controllers": "memory pids\n",
    }
    assert guess(reader(files), root=True).controllers == {"cpuset", "cpu", "io", "memory", "pids"}
    assert guess(reader(files), root=False) == Machine(controllers=frozenset(("memory", "pids")), root=False)


def test_the_guess_where_there_is_less() -> None:
    hybrid = {
        "/proc/self/cgroup": "8:pids:/\n0::/\n", "/proc/self/mountinfo": HYBRID,
        "/sys/fs/cgroup/unified/cgroup.controllers": "",
    }  # fmt: skip
    assert guess(reader(hybrid), root=True) == Machine()
    assert guess(reader(hybrid), root=False) == Machine(root=False)
    for files in ({}, {"/proc/self/cgroup": "8:pids:/\n", "/proc/self/mountinfo": ""}, {"/proc/self/cgroup": "0::/\n"}):
        assert guess(reader(files), root=True) == Machine(groups=False)
