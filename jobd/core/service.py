"""What a service asks of its supervisor besides its program: the words of its job file, their values and defaults.

Each default is systemd's unless its line says otherwise.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from jobd.core import units

# type
EXEC, NOTIFY, ONESHOT = "exec", "notify", "oneshot"
TYPES: Final = (EXEC, NOTIFY, ONESHOT)
# restart
NO, ON_SUCCESS, ON_FAILURE, ON_ABNORMAL = "no", "on-success", "on-failure", "on-abnormal"
ON_ABORT, ON_WATCHDOG, ALWAYS = "on-abort", "on-watchdog", "always"
RESTARTS: Final = (NO, ON_SUCCESS, ON_FAILURE, ON_ABNORMAL, ON_ABORT, ON_WATCHDOG, ALWAYS)
# checks
TCP, HTTP, UNIX, LOG, COMMAND, DELAY = "tcp", "http", "unix", "log", "command", "delay"
READY_CHECKS: Final = (TCP, HTTP, UNIX, LOG, COMMAND, DELAY)
HEALTH_CHECKS: Final = (TCP, HTTP, UNIX, COMMAND)
# health.action
RESTART, STOP, NONE = "restart", "stop", "none"
ACTIONS: Final = (RESTART, STOP, NONE)
# kinds of dependencies, as keys of a job file and fields of JobSpec
DEPENDENCIES: Final = ("after", "before", "requires", "wants", "binds_to", "part_of", "conflicts")
HOOKS: Final = ("on_failure", "on_success")

START_LIMIT: Final = (5, 10 * units.USEC_PER_SEC)
READY_TIMEOUT_USEC: Final = 90 * units.USEC_PER_SEC
HEALTH_INTERVAL_USEC: Final = 30 * units.USEC_PER_SEC  # this and the next two: Docker's HEALTHCHECK, shorter to answer
HEALTH_TIMEOUT_USEC: Final = 10 * units.USEC_PER_SEC
HEALTH_FAILURES: Final = 3


class Check(Struct, frozen=True, omit_defaults=True):
    """One question to a service.

    `target`: HOST:PORT of tcp, the URL of http, the path of unix, the regular expression of log. `argv` is a command's,
    `delay_usec` a delay's.
    """

    kind: str
    target: str = ""
    argv: tuple[bytes, ...] = ()
    delay_usec: int = 0


class Health(Struct, frozen=True, omit_defaults=True):
    """A question that is asked again and again once the service is ready."""

    check: Check
    interval_usec: int = HEALTH_INTERVAL_USEC
    timeout_usec: int = HEALTH_TIMEOUT_USEC
    failures: int = HEALTH_FAILURES  # in a row, until `action` is taken
    action: str = RESTART
