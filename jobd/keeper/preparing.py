"""What a process does on its way to becoming a keeper: signals, limits, and what the kernel has to know of it."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress

from jobd.keeper import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.loop import Keeper

OOM_SCORE = b"-900"  # of the keeper where it may: sshd's protection (-1000) would hide a leak of ours for ever
FORWARDED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGWINCH)  # as PID 1, to every main process
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Blocked too, so that none of them ends or interrupts the keeper; children unblock all.
_BLOCKED = {*HANDLED, *FORWARDED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGALRM}


def take_signals() -> None:
    """Give every signal its default action and block those that the loop reads, whatever our parent left us."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)
    for sig in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(sig) in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(sig, signal.SIG_DFL)


def raise_limits() -> None:
    """As many descriptors as are allowed: each run takes three. Ahead of a handover, and after `Base` was made."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare(keeper: Keeper) -> None:
    """What the kernel has to know of a keeper that starts; refusals are no reason not to start."""
    os.environ["JOBD_LOG_LEVEL"] = keeper.config.log_level  # for each daemon; "" leaves it to jobd.toml
    try:
        kernel.become_subreaper()
    except OSError as e:
        keeper.log(f"cannot become the reaper of orphans: {e}; trees that escape are not followed", "warning")
    if os.geteuid() == 0:
        with suppress(OSError), open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            before = file.read(16).strip()
            file.write(OOM_SCORE)  # not allowed in most containers
            keeper.base.oom_score = before
