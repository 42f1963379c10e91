"""What the keeper is asked to execute for a run: its program, and commands besides it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from jobd.core import arrays
from jobd.runtime.service import notifies
from jobd.wire.grants import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobd.core.policy import Policy
    from jobd.core.spec import JobSpec
    from jobd.runtime.keeperlink import KeeperLink
    from jobd.runtime.run import Run

LOGIN: Final = (b"HOME", b"USER", b"LOGNAME", b"SHELL", b"PATH")  # login(1)
DEFAULT_PATH: Final = b"/usr/local/bin:/usr/bin:/bin"  # as of `run --env none`


def spawn(run: Run, keeper: KeeperLink, env: list[bytes], fds: dict[str, int], policy: Policy) -> None:
    """Ask the keeper for the process; it waits for `go` before it executes the program.

    Args:
        run: which is to begin.
        keeper: the link to it.
        env: the submitted environment.
        policy: what it says of privileges holds as it is now.
        fds: the file that feeds its stdin, as "input"; it stays the caller's.
    """
    spec, row = run.spec, run.row
    if not keeper.serves and (notifies(spec) or spec.env_files):
        run.on_keeper("spawn-failed", {"step": "spawn", "errno": errno.ENOSYS}, {})
        return
    asked: dict[str, object] = {
        "run": row.run,
        "stdin": spec.stdin,
        "window": list(run.window) if run.window else None,
        "merge": spec.one_stream,
        "notify": notifies(spec),
        "watchdog_usec": spec.watchdog_usec,
        "keep_output": spec.remain_after_exit and bool(spec.stop_command),
        "label": {"owner": row.owner, "job": row.job, "number": row.number},
        **command(run, spec.program, keeper, env, policy),
    }
    if row.array_index is not None:
        asked["argv"] = arrays.with_index(spec.program, row.array_index)
        if row.owner == 0:  # whose grant is for the command as it was submitted
            asked["array"] = [spec.array, row.array_index, list(spec.program)]
    keeper.send("spawn", fds, **{name: value for name, value in asked.items() if value is not None})


def command(
    run: Run, argv: tuple[bytes, ...], keeper: KeeperLink, env: list[bytes], policy: Policy
) -> dict[str, object]:
    """What the keeper has to know to execute something as this job: its program, or a command besides it."""
    spec, row = run.spec, run.row
    words = [b"JOBD_JOB=" + row.job.encode(), b"JOBD_RUN=" + row.run.hex().encode()]
    words.append(b"INVOCATION_ID=" + row.run.hex().encode())
    if row.queue:
        words.append(b"JOBD_QUEUE=" + row.queue.removeprefix("/").encode())
    if row.array_index is not None:
        words.append(arrays.INDEX_VARIABLE + str(row.array_index).encode())
    if not keeper.shared and not run.job.row.transient:
        env = with_login(env, os.environb)
    return {
        "argv": list(argv),
        "env": [word for word in env if not word.startswith(OURS)] + words,
        "cwd": spec.cwd,
        "umask": spec.umask,
        "rlimits": {name: list(limits) for name, limits in spec.rlimits.items()},
        "nice": spec.nice,
        "memory_max": spec.memory_max,
        "cpu_percent": spec.cpu_percent,
        "tasks_max": spec.tasks_max,
        "oom_score_adjust": spec.oom_score_adjust,
        "privileged": row.owner == 0,
        "env_files": [[path, optional] for path, optional in spec.env_files],
        "executable": None,
        **identity(spec, row.owner, keeper, policy),
    }


def with_login(env: Sequence[bytes], ours: Mapping[bytes, bytes]) -> list[bytes]:
    """The environment of a job from a file of who has a jobd of his own, with what a login sets and nobody has set.

    A transient job has the environment of who submitted it. Where jobs become their users, the keeper's child does this
    for all of them.
    """
    there = {word.partition(b"=")[0] for word in env}
    usual = {b"PATH": DEFAULT_PATH, **{name: ours[name] for name in LOGIN if name in ours}}
    return [*env, *(name + b"=" + value for name, value in usual.items() if name not in there)]


def identity(spec: JobSpec, owner: int, keeper: KeeperLink, policy: Policy) -> dict[str, object]:
    """As whom the keeper is to start it: where all users are served, as the owner or as whom root has named."""
    if not keeper.shared:
        return {"no_new_privileges": policy.no_new_privileges}
    return {"user": spec.user or owner, "gid": spec.gid, "no_new_privileges": policy.no_new_privileges}
