"""Ways to become a keeper: from nothing, from a dead one's daemon, and from our own older code."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_SEQPACKET, socket

from jobd import config as configuration
from jobd.core import mounts
from jobd.keeper import activation, files, handover, inherited, sockets, state, statedir, unprivileged
from jobd.keeper.loop import Keeper
from jobd.keeper.notify import Notifier
from jobd.keeper.preparing import prepare, raise_limits, take_signals
from jobd.keeper.spawn import Base
from jobd.keeper.table import HELD as HELD_FDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.config import Config
    from jobd.keeper.link import Fds, Message

HELD = 3  # exit status when another jobd has the state: to try again would not help, which a unit can tell by it


def run(config: Config, log_file: str = "") -> int:
    """Start the keeper and serve until the end. Returns the exit status.

    Args:
        log_file: in the background: the name in the state directory to which stdout and stderr go.
    """
    _fill_stdio()
    try:
        keeper = start(config, log_file)
    except (sockets.StartError, handover.Held, OSError) as e:
        why = f"cannot start: {config.state_dir}: {e.strerror}" if isinstance(e, OSError) else str(e)
        if config.ready_fd >= 0:
            os.write(config.ready_fd, why.encode("utf-8", "backslashreplace"))
        else:
            configuration.fail(why)
        return HELD if isinstance(e, handover.Held) else 1
    return keeper.run()


def start(config: Config, log_file: str = "") -> Keeper:
    """The keeper of `config`, ready to run. Raises StartError, Held."""
    notifier = Notifier.from_environment()
    passed = activation.take(config.socket)
    said = unprivileged.find(config)
    sockets.make_directories(config.state_dir, shared=False)
    if why := mounts.refusal(config.state_dir):
        raise sockets.StartError(f"cannot start: {why}")
    lock = sockets.open_lock(config.state_dir)
    base = Base()
    raise_limits()
    base.guarded = config.daemon_uid != 0
    taken = None if sockets.try_lock(lock) else handover.take(config.state_dir, lock, config.daemon_uid)
    changed = config.shared and statedir.settle(config.state_dir, config.daemon_uid, config.daemon_gid)
    if log_file:
        _redirect(f"{config.state_dir}/{log_file}")
    take_signals()
    if taken is not None:
        os.close(lock)
        assert taken.listener is not None
        taken.listener.setblocking(False)
        keeper = Keeper(config, passed or taken.listener, taken.lock, base, taken.relay)
        count = sum(_adopt(keeper, fields, fds) for fields, fds in taken.entries)
        keeper.heir = True
        keeper.log(f"took over {count} runs from process {taken.giver}")
    else:
        keeper = Keeper(config, passed or sockets.bind_clients(config.socket, config.shared), lock, base)
    keeper.cgroups.find_leftovers({entry.cgroup for entry in keeper.table.values()})
    keeper.activated, keeper.notifier = passed is not None, notifier
    if said:
        keeper.log(said, "info" if config.daemon_uid else "warning")
    if changed:
        keeper.log(f"{config.state_dir} belongs to the daemon of uid {config.daemon_uid} now")
    keeper.shutdown.restore()
    prepare(keeper)
    if why := keeper.cgroups.settle():
        keeper.log(why, "warning")
    if config.inherited:
        keeper.log(f"jobd and all jobs stay under what it was started with: {', '.join(config.inherited)}", "warning")
    keeper.log(f"listening on {config.socket}, state in {config.state_dir}")
    return keeper


def _adopt(keeper: Keeper, fields: Message, fds: Fds) -> bool:
    """Look after a run that the daemon of a dead keeper has handed over. Returns whether it is what it says it is."""
    try:
        entry = inherited.entry_of(fields, fds, keeper.cgroups, keeper.base.guarded)
        if entry.run in keeper.table:
            raise inherited.NotBelieved(f"run {entry.run.hex()}: it came twice")
    except inherited.NotBelieved as e:
        keeper.log(f"not taken over: {e}", "error")
        for fd in fds.values():
            os.close(fd)
        return False
    for name in fds.keys() - {*HELD_FDS, "ctl"}:
        os.close(fds[name])  # nothing that we would know what to do with
    if "ctl" in fds:
        entry.ctl = socket(AF_UNIX, SOCK_SEQPACKET, 0, fds["ctl"])
        entry.ctl.setblocking(False)
    keeper.ends.adopt(entry)
    return True


def resume(fd: int) -> int:
    """Go on as the keeper that executed this code. Returns the exit status."""
    blob = state.load(state.read(fd))
    keeper = state.restore(blob, configuration.Config.load(blob["config"]))
    keeper.cgroups.find_leftovers({entry.cgroup for entry in keeper.table.values()})
    keeper.log("re-executed")
    return keeper.run()


def rehearse(fd: int) -> int:
    """Say by the exit status whether this code could go on from a copy of the state."""
    try:
        blob = state.load(state.read(fd))
        configuration.Config.load(blob["config"])
    except Exception as e:  # whatever it is, the old code goes on
        configuration.fail(f"cannot take over the keeper's state: {type(e).__name__}: {e}")
        return 1
    return 0


def _fill_stdio() -> None:
    """Take 0, 1 and 2, so that no descriptor of ours is ever one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _redirect(path: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    log = files.open_own(path, os.O_WRONLY | os.O_APPEND)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
