"""What a definition asks for and this machine cannot do, in words. Pure: what there is comes in.

Memory, processor time and tasks of all of a job are limited by the controllers of its control group alone. Where the
daemon's keeper has none to give, the job runs without the limit, and `status` says so rather than the start failing:
the same job file is to work in a container and on a laptop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.spec import JobSpec

MEMORY, CPU, PIDS = "memory", "cpu", "pids"
# Key of a job file → (field of JobSpec, controller).
LIMITS: Final = {
    "limits.memory": ("memory_max", MEMORY),
    "limits.cpu": ("cpu_percent", CPU),
    "limits.tasks": ("tasks_max", PIDS),
}
_V2: Final = "cgroup2"  # the file system's type, in mountinfo


class Machine(Struct, frozen=True, kw_only=True):
    """What a keeper has to limit its jobs with."""

    groups: bool = True  # each run has a control group
    controllers: frozenset[str] = frozenset()  # that those have
    root: bool = True  # the keeper is root


def is_limited(spec: JobSpec) -> bool:
    """Whether a definition asks for anything that some machine cannot do."""
    limits = (spec.memory_max, spec.cpu_percent, spec.tasks_max, spec.oom_score_adjust)
    return spec.nice < 0 or limits != (None, None, None, None)


def unenforced(spec: JobSpec, machine: Machine) -> list[str]:
    """One line for each key whose value cannot take effect: `limits.memory: why`."""
    found: list[str] = []
    for key, (field, controller) in LIMITS.items():
        if getattr(spec, field) is None or controller in machine.controllers:
            continue
        if machine.groups:
            found.append(f"{key}: this machine's control group has no {controller} controller")
        else:
            found.append(f"{key}: there is no control group of our own here")
    if not machine.root:
        if spec.nice < 0:
            found.append("limits.nice: this jobd is not root's, and may not go below 0")
        if spec.oom_score_adjust is not None and spec.oom_score_adjust < 0:
            found.append("limits.oom_score_adjust: this jobd is not root's, and may not go below its own")
    return found


def guess(read: Callable[[str], str], root: bool) -> Machine:
    """What a jobd of this user would probably have here, for who checks a file without one.

    A service manager that delegates gives what it has itself: root's jobd that of the whole machine, a user's what
    our own control group has.

    Args:
        read: gives the text of a file, and raises OSError.
        root: it is root's.
    """
    try:
        own = next((line[3:] for line in read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "")
        mounts = [line.split() for line in read("/proc/self/mountinfo").splitlines()]
        points = [words[4] for words in mounts if words[words.index("-") + 1] == _V2]
    except OSError:
        points = []
    for point in points:
        try:
            path = point if root else (point + own).rstrip("/")
            return Machine(controllers=frozenset(read(path + "/cgroup.controllers").split()), root=root)
        except OSError:
            continue
    return Machine(groups=False, root=root)
