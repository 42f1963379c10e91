"""Where a daemon's socket, state and configuration are, for each mode. One place, for the keeper and all clients.

Plain strings and no pathlib: jobctl's hot path imports this module. It looks at the file system only to know whether
a runtime directory is there and ours, and to read the machine id; both sides must come to the same answer.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM, USER, SOCKET = "system", "user", "socket"  # the modes

SYSTEM_SOCKET = "/run/jobd/jobd.sock"
SYSTEM_STATE_DIR = "/var/lib/jobd"
SYSTEM_CONFIG_DIR = "/etc/jobd"

CONFIG_FILE = "jobd.toml"  # in the configuration directory
JOBS_DIR = "jobs"  # there, and in these as well; DESIGN.md, section 8
SYSTEM_JOB_DIRS = ("/run/jobd", "/usr/lib/jobd")  # of `jobd --system`, behind /etc/jobd

MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
MACHINE_ID_LENGTH = 32  # machine-id(5): hexadecimal digits, lower case; not all zero

MAX_SOCKET_PATH_BYTES = 107  # struct sockaddr_un has 108, and one is the NUL


class Paths:
    """The three places of one daemon. Absolute; none of them need exist yet."""

    __slots__ = ("config_dir", "mode", "socket", "state_dir")

    def __init__(self, mode: str, socket: str, state_dir: str, config_dir: str) -> None:
        self.mode = mode
        self.socket = socket
        self.state_dir = state_dir
        self.config_dir = config_dir


def system_paths() -> Paths:
    """Of `jobd --system`."""
    return Paths(SYSTEM, SYSTEM_SOCKET, SYSTEM_STATE_DIR, SYSTEM_CONFIG_DIR)


def user_paths(environ: Mapping[str, str] | None = None, uid: int | None = None) -> Paths:
    """Of `jobd --user`, for the user `uid` (default: the effective one).

    The socket is in the runtime directory; without one it is in `run` below the state directory, to be made 0700.
    """
    environ = os.environ if environ is None else environ
    uid = os.geteuid() if uid is None else uid
    home = home_dir(environ, uid)
    state_dir = f"{_xdg(environ, 'XDG_STATE_HOME', home + '/.local/state', uid)}/jobd/{machine_id()}"
    config_dir = _xdg(environ, "XDG_CONFIG_HOME", home + "/.config", uid) + "/jobd"
    runtime = runtime_dir(environ, uid)
    socket = f"{runtime}/jobd/jobd.sock" if runtime else state_dir + "/run/jobd.sock"
    return Paths(USER, socket, state_dir, config_dir)


def socket_paths(socket: str, state_dir: str, config_dir: str) -> Paths:
    """Of `jobd --socket P --state-dir D --config-dir C`, made absolute."""
    return Paths(SOCKET, os.path.abspath(socket), os.path.abspath(state_dir), os.path.abspath(config_dir))


def job_roots(mode: str, config_dir: str) -> tuple[str, ...]:
    """The directories whose `jobs` may have job files; of two of one name, that in the first counts."""
    return (config_dir, *SYSTEM_JOB_DIRS) if mode == SYSTEM else (config_dir,)


def home_dir(environ: Mapping[str, str], uid: int) -> str:
    """$HOME if it is absolute, else the passwd entry's, else /. Root's is not another user's, as sudo may leave it."""
    home = environ.get("HOME", "")
    if not home.startswith("/") or _is_anothers(home, uid):
        import pwd  # not needed by most callers

        try:
            home = pwd.getpwuid(uid).pw_dir
        except KeyError:
            home = ""
    return home.rstrip("/")


def runtime_dir(environ: Mapping[str, str], uid: int) -> str:
    """The user's runtime directory, or "" when there is none.

    $XDG_RUNTIME_DIR is believed only when the directory is the user's: su and sudo -E leave another user's there.
    Where it is not set (cron, ssh without a session) the directory that logind makes is looked for, so that one user
    has one daemon however he came in.
    """
    for path in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if not path.startswith("/"):
            continue
        try:
            info = os.stat(path)
        except OSError:
            continue
        if info.st_uid == uid and info.st_mode & 0o170000 == 0o040000:
            return path.rstrip("/")
    return ""


def machine_id() -> str:
    """This machine's id, which keeps the states of two machines that share a home apart; else its host name."""
    for path in MACHINE_ID_FILES:
        try:
            with open(path, "rb", buffering=0) as file:
                text = file.read(64).decode("ascii", "replace").strip()
        except OSError:
            continue
        # Before the first boot of an image it is empty, or says "uninitialized".
        if len(text) == MACHINE_ID_LENGTH and not text.strip("0123456789abcdef") and text.strip("0"):
            return text
    return os.uname().nodename.replace("/", "-").lstrip(".") or "local"


def _xdg(environ: Mapping[str, str], name: str, default: str, uid: int) -> str:
    """A directory of the XDG base directory specification, which says to ignore relative ones."""
    value = environ.get(name, "")
    return value.rstrip("/") if value.startswith("/") and not _is_anothers(value, uid) else default


def _is_anothers(path: str, uid: int) -> bool:
    """Whether root was left another user's directory, by sudo or su, in which he must not make files.

    Who is not root fails there with the reason, or was given it on purpose.
    """
    if uid != 0:
        return False
    while True:
        try:
            return os.stat(path).st_uid != 0
        except OSError:  # not there yet: whoever owns the place where it would be
            parent = os.path.dirname(path.rstrip("/"))
            if parent in (path, ""):
                return False
            path = parent
