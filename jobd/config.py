"""The command line of jobd, and what it comes to: paths, modes, and how to log. Standard library only.

`jobd --resume FD` and `jobd --rehearse FD` are for the keeper's own use, when it re-executes itself.
"""

from __future__ import annotations

import os
import sys

import jobd
from jobd.core import paths, units
from jobd.core.logline import LEVELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_EXIT_SEC = 900.0  # DESIGN.md section 3: a user's own daemon ends after 15 minutes without anything to do
# In the environment, for the daemon that jobctl starts: the same as --idle-exit and --log-level.
IDLE_EXIT, LOG_LEVEL = "JOBD_IDLE_EXIT", "JOBD_LOG_LEVEL"
USAGE = """usage: jobd [--user | --system | --socket PATH --state-dir DIR [--config-dir DIR]] [OPTION]...
       jobd --check-config [--user | --system | --config-dir DIR]"""
HELP = f"""{USAGE}

Supervise jobs. Clients (jobctl) connect to its socket.

  --user              one user's jobs (the default, unless root starts it)
  --system            the jobs of all users; for root
  --socket PATH       listen there; needs --state-dir
  --state-dir DIR     where the database and the logs are
  --config-dir DIR    where jobd.toml and jobs/ are (default: DIR/config below the state directory)
  --idle-exit TIME    end after TIME without jobs and clients; 0 for never (default: 15min with --user, else 0)
  --daemon-user USER  as whom the daemon runs, which clients talk to; root starts the jobs (default: jobd with --system
                      if there is such a user, else root)
  --daemonize         return when jobd is ready, and go on in the background; the log goes to STATE-DIR/jobd.log
  --log-level LEVEL   {", ".join(LEVELS)} (default: as jobd.toml says, else info)
  --check-config      only say what is wrong with jobd.toml, or that nothing is
  --version           show the version
  -h, --help          show this text

Signals: TERM and INT stop all runs and end jobd; HUP replaces the daemon by the code now on disk.
JOBD_TRACKING=process in the environment does without cgroups (for tests).
"""


class UsageError(Exception):
    """The command line is wrong; the text says what."""


class Config:
    """What jobd was told. Frozen after the start, but for `ready_fd`."""

    __slots__ = (
        "config_dir", "daemon_argv", "daemon_gid", "daemon_uid", "daemon_user", "daemonize", "idle_exit_sec",
        "inherited", "log_level", "mode", "ready_fd", "shared", "socket", "state_dir",
    )  # fmt: skip

    def __init__(self, where: paths.Paths, *, daemonize: bool = False, log_level: str = "") -> None:
        self.mode = where.mode
        self.socket = where.socket
        self.state_dir = where.state_dir
        self.config_dir = where.config_dir
        self.shared = os.geteuid() == 0 and where.mode != paths.USER  # all users may connect
        self.daemon_user = ""  # as it was asked for
        self.daemon_uid = self.daemon_gid = 0  # the daemon's where it is not the keeper's, found at the start
        self.daemonize = daemonize
        self.idle_exit_sec = IDLE_EXIT_SEC if where.mode == paths.USER else 0.0  # 0: never
        self.log_level = log_level  # "" leaves it to jobd.toml
        self.inherited: list[str] = []  # limits of whoever started it, which could not be undone
        self.daemon_argv: list[str] = []  # the daemon's command if not the usual one; its link is descriptor 3
        self.ready_fd = -1  # a pipe on which somebody waits for "ready", or why not

    def plain(self) -> dict[str, object]:
        """All of it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def load(cls, fields: dict[str, object]) -> Config:
        """From `plain`, of this or an older version."""
        where = paths.Paths(*(str(fields[name]) for name in ("mode", "socket", "state_dir", "config_dir")))
        config = cls(where)
        for name in cls.__slots__:
            if name in fields:
                setattr(config, name, fields[name])
        return config


class Check:
    """`--check-config`: look at the file in this directory, and do no more."""

    __slots__ = ("config_dir", "mode")

    def __init__(self, config_dir: str, mode: str) -> None:
        self.config_dir = config_dir
        self.mode = mode


def parse(argv: Sequence[str]) -> Config | Check | str:
    """Read the command line. Returns the text to print for --help and --version. Raises UsageError."""
    values = _options(argv)
    if isinstance(values, str):
        return values
    if "--check-config" in values:
        return _check(values)
    level = values.get("--log-level", os.environ.get(LOG_LEVEL, "").lower())
    if level not in LEVELS and (level or "--log-level" in values):
        what = "--log-level" if "--log-level" in values else LOG_LEVEL
        raise UsageError(f"cannot start: {what} is one of {', '.join(LEVELS)}")
    config = Config(_where(values), daemonize="--daemonize" in values, log_level=level)
    if "--daemon-user" in values:
        if not config.shared:
            raise UsageError("cannot start: --daemon-user is for a jobd of root's that serves all users")
        config.daemon_user = values["--daemon-user"]
    if config.mode == paths.USER and os.environ.get(IDLE_EXIT):
        config.idle_exit_sec = _idle_exit(os.environ[IDLE_EXIT], IDLE_EXIT)
    if "--idle-exit" in values:
        if config.mode == paths.SYSTEM:
            raise UsageError("cannot start: --idle-exit is not for --system, which nobody would start again")
        config.idle_exit_sec = _idle_exit(values["--idle-exit"], "--idle-exit")
    return config


def _options(argv: Sequence[str]) -> dict[str, str] | str:
    """The options and their values, or the text that is asked for."""
    values: dict[str, str] = {}
    words = list(argv)
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word in ("-h", "--help"):
            return HELP
        if word == "--version":
            return f"jobd {jobd.__version__}\n"
        if word in ("--user", "--system", "--daemonize", "--check-config") and not equals:
            values[word] = "yes"
        elif word in ("--socket", "--state-dir", "--config-dir", "--log-level", "--idle-exit", "--daemon-user"):
            if not equals:
                if not words:
                    raise UsageError(f"cannot start: {word} needs a value")
                value = words.pop(0)
            values[word] = value
        else:
            raise UsageError(f"cannot start: no such option: {word}")
    return values


def _check(values: dict[str, str]) -> Check:
    others = [name for name in values if name != "--check-config"]
    if others not in ([], ["--user"], ["--system"], ["--config-dir"]):
        raise UsageError(f"cannot check: --check-config and {' and '.join(others)} do not go together")
    if "--config-dir" in values:
        return Check(os.path.abspath(values["--config-dir"]), paths.SOCKET)
    system = "--system" in values or (not others and os.geteuid() == 0)
    where = paths.system_paths() if system else paths.user_paths()
    return Check(where.config_dir, where.mode)


def _idle_exit(text: str, what: str) -> float:
    """Seconds; 0 for never, which "infinity" is as well."""
    try:
        usec = units.parse_duration(text)
    except ValueError as e:
        raise UsageError(f"cannot start: {what}: {e}") from e
    return 0.0 if usec is None else usec / units.USEC_PER_SEC


def _where(values: dict[str, str]) -> paths.Paths:
    own = [name for name in ("--socket", "--state-dir", "--config-dir") if name in values]
    modes = [name for name in ("--user", "--system") if name in values]
    if len(modes) + bool(own) > 1:
        raise UsageError(f"cannot start: {' and '.join([*modes, *own])} do not go together")
    if own:
        if not values.get("--socket") or not values.get("--state-dir"):
            raise UsageError("cannot start: --socket and --state-dir go together")
        config_dir = values.get("--config-dir") or values["--state-dir"] + "/config"
        return paths.socket_paths(values["--socket"], values["--state-dir"], config_dir)
    if "--system" in values or (not modes and os.geteuid() == 0):
        if os.geteuid() != 0:
            raise UsageError("cannot start: --system is for root")
        return paths.system_paths()
    return paths.user_paths()


def fail(text: str) -> None:
    """Say on stderr why jobd does not start."""
    sys.stderr.write(f"jobd: {text.encode('unicode_escape').decode('ascii')}\n")
