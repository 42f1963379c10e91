"""What a job takes along from where it is submitted: environment, directory, umask and limits."""

from __future__ import annotations

import os

from jobctl import terminal
from jobctl.exits import Fault, UsageError
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.remote import Words

MAX_ARGV_ENV_BYTES = 768 << 10  # messages.MAX_ARGV_ENV_BYTES, and the next messages.MAX_ARG_BYTES; a test compares
MAX_ARG_BYTES = (128 << 10) - 1
# What login gives where nothing else says (Debian's login.defs, ENV_PATH and ENV_SUPATH).
DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
ROOT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INFINITY = -1


def environment(
    env: str | None, setenv: tuple[str, ...], at_terminal: bool, other: bool, far: Words | None = None
) -> list[bytes]:
    """The job's environment, from --env and -E; at a terminal it knows which kind that is.

    `other`: the job is another user's. Nothing of ours goes along then unless it is asked for, and HOME and its like
    are left to jobd, which looks them up. `far`: what a login on the other host has.
    """
    mine = dict(os.environb)
    if _coerced(mine.get(b"LC_CTYPE")):
        del mine[b"LC_CTYPE"]
    if env == "all" or (env is None and not other and far is None):
        made = dict(mine)
    else:
        usual = {} if other else least() if far is None else _pairs(far["env" if env is None else "least"])
        made = dict(usual)
        wanted = [] if env in ("none", None) else os.fsencode(env).split(b",")
        for key in [b"TERM", *wanted] if at_terminal else wanted:
            if key in mine:
                made[key] = mine[key]
    for word in setenv:
        key, equals, value = os.fsencode(word).partition(b"=")
        if not key:
            raise UsageError(f"cannot set {word!r}: write NAME=VALUE, or NAME to take it from this environment")
        if equals:
            made[key] = value
        elif key in mine:
            made[key] = mine[key]
        else:
            terminal.warn(f"{word} is not set here, and so not for the job")
    return entries(made)


def entries(environment: dict[bytes, bytes]) -> list[bytes]:
    """As execve(2) takes it."""
    return [key + b"=" + value for key, value in environment.items()]


def _pairs(words: object) -> dict[bytes, bytes]:
    assert isinstance(words, list)
    return dict(word.split(b"=", 1) for word in words)


def _coerced(lc_ctype: bytes | None) -> bool:
    """Whether Python set LC_CTYPE itself, as it does in the C locale (PEP 538); jobs shall not have it then."""
    if lc_ctype not in (b"C.UTF-8", b"C.utf8", b"UTF-8"):
        return False
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:  # as execve(2) was given it
            given = file.readall()
    except OSError:
        return False
    return b"\0LC_CTYPE=" not in b"\0" + given


def least() -> dict[bytes, bytes]:
    """What a job has with --env none."""
    from pwd import getpwuid

    made = {b"PATH": DEFAULT_PATH if os.geteuid() else ROOT_PATH}
    try:
        user = getpwuid(os.geteuid())
    except KeyError:
        made.update({b"HOME": b"/", b"SHELL": b"/bin/sh"})
    else:
        name = os.fsencode(user.pw_name)
        made.update({b"USER": name, b"LOGNAME": name})
        made.update({b"HOME": os.fsencode(user.pw_dir), b"SHELL": os.fsencode(user.pw_shell or "/bin/sh")})
    for key in (b"HOME", b"USER", b"LOGNAME", b"SHELL"):
        if key in os.environb:
            made[key] = os.environb[key]
    return made


def check_sizes(command: tuple[str, ...], request: dict[str, object]) -> None:
    """Refuse what execve(2) would, before it is sent: the frame might not hold it."""
    argv, env = request["argv"], request["env"]
    assert isinstance(argv, list)
    assert isinstance(env, list)
    parts: list[bytes] = [*argv, *env]
    total = sum(len(part) + 1 for part in parts)
    if total > MAX_ARGV_ENV_BYTES:
        text = f"arguments and environment take {total} bytes, and {MAX_ARGV_ENV_BYTES} are allowed"
        raise Fault(errors.TOO_LARGE, f"cannot run {command[0]}: {text}")
    for part in parts:
        if len(part) > MAX_ARG_BYTES:
            start = part[:20].decode("utf-8", "replace")
            text = f"{start}… takes {len(part)} bytes, and {MAX_ARG_BYTES} are allowed for one"
            raise Fault(errors.TOO_LARGE, f"cannot run {command[0]}: the argument or variable {text}")


def directory(wanted: str | None, far: Words | None) -> bytes:
    try:
        here = os.getcwdb() if far is None else far["cwd"]
        assert isinstance(here, bytes)
    except FileNotFoundError:
        here = os.environb.get(b"PWD", b"/")  # gone: let the job's start say so, by its name
    return here if wanted is None else os.path.join(here, os.fsencode(wanted))


def umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def rlimits() -> dict[str, object]:
    import resource

    found: dict[str, object] = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE":  # BSD's name of NOFILE
            limits = resource.getrlimit(getattr(resource, name))
            pair = [INFINITY if limit == resource.RLIM_INFINITY else limit for limit in limits]
            found[name.removeprefix("RLIMIT_").lower()] = pair
    return found
