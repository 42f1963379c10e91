"""What a jobd in the background puts off of whoever started it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# Runs in a process of its own, prepared by the first argument; says what it finds after detaching.
SCRIPT = """
import json, os, resource, sys
from jobd.keeper import detach
exec(sys.argv[1])
detach.leave_caller()
left = detach.undo_limits()
fds = []
for fd in range(3, 64):
    try:
        os.fstat(fd)
    except OSError:
        continue
    fds.append(fd)
mask = os.umask(0)
print(json.dumps({
    "left": left, "fds": fds, "cwd": os.getcwd(), "umask": mask, "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "cpu": resource.getrlimit(resource.RLIMIT_CPU), "fsize": resource.getrlimit(resource.RLIMIT_FSIZE),
    "cpus": len(os.sched_getaffinity(0)), "policy": os.sched_getscheduler(0),
}))
"""
UNPRIVILEGED = "; os.setresgid(61001, 61001, 61001); os.setresuid(61001, 61001, 61001)" if os.geteuid() == 0 else ""
CPUS = len(os.sched_getaffinity(0))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def after(prepare: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, prepare], capture_output=True, text=True, timeout=30, check=True
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_descriptors_directory_and_umask() -> None:
    found = after("os.chdir('/tmp'); os.umask(0o077); os.dup2(1, 17)")
    assert (found["fds"], found["cwd"], found["umask"]) == ([], "/", 0o022)
    assert found["left"] == []


def test_soft_limits_are_raised_and_hard_ones_are_told() -> None:
    found = after("resource.setrlimit(resource.RLIMIT_CPU, (10, 20))" + UNPRIVILEGED)
    assert (found["cpu"], found["left"]) == ([20, 20], ["RLIMIT_CPU 20"])
    found = after(
        "resource.setrlimit(resource.RLIMIT_CPU, (10, -1))" + UNPRIVILEGED.replace("; ", "; import jobd; ", 1)
    )
    assert (found["cpu"], found["left"]) == ([-1, -1], [])


def may_raise_limits() -> bool:
    """Whether this root has CAP_SYS_RESOURCE, which many containers' have not."""
    with open("/proc/self/status") as file:
        effective = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) & 1 << 24)


@needs_root
def test_root_raises_hard_limits_too() -> None:
    found = after("resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30)); os.nice(5)")
    assert found["nice"] == 0
    if may_raise_limits():
        assert (found["fsize"], found["left"]) == ([-1, -1], [])
    else:
        assert found["left"] == [f"RLIMIT_FSIZE {1 << 30}"]


def test_niceness_that_cannot_be_undone_is_told() -> None:
    found = after("os.nice(7)" + UNPRIVILEGED)
    assert found["left"] in ([], ["nice 7"])  # undone where RLIMIT_NICE allows it
    assert found["nice"] == (7 if found["left"] else 0)


def test_processors_and_scheduling() -> None:
    found = after(
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))" + UNPRIVILEGED
    )
    assert (found["cpus"], found["policy"]) == (CPUS, os.SCHED_OTHER)
