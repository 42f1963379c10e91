"""The first message of a link: who the keeper is, and what it can be asked for."""

from __future__ import annotations

import os

import jobd
from jobd.host import procs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.link import Message
    from jobd.keeper.loop import Keeper

LINK_VERSION = 2  # 2: helpers, notify sockets, checks; a daemon does not ask an older keeper for them


def welcome(keeper: Keeper) -> Message:
    """What a daemon is told first, of a keeper whose daemon it is."""
    config = keeper.config
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    return {
        "op": "welcome", "version": LINK_VERSION, "keeper": keeper.id, "keeper_pid": os.getpid(),
        "keeper_version": jobd.__version__, "boot_id": boot_id, "incarnation": keeper.daemon.incarnation,
        "mode": config.mode, "socket": config.socket, "state_dir": config.state_dir,
        "config_dir": config.config_dir, "tracking": "cgroup" if keeper.cgroups.usable else "process",
        "started_at": keeper.started_at, "idle_exit_sec": config.idle_exit_sec, "rss": procs.resident(),
        "activated": keeper.activated, "supervised": keeper.notifier.present, "shared": config.shared,
        "daemon_uid": config.daemon_uid if config.shared else os.geteuid(), "rlimits": keeper.base.rlimits(),
        "heir": keeper.heir, "controllers": keeper.cgroups.controllers,
        "fds": ["listener", "lock", "relay_read", "relay_write", "handover"],
    }  # fmt: skip
