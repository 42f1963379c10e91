"""The environment of a program: what the daemon says, what a login sets, files of the user's, and the keeper's words.

Later ones win, and the keeper's are not to be changed by any. The files are read in the child when it has become the
user: whatever he may not read, root does not read for him, and a file that makes who reads it wait, or is endless, is
his own child's trouble.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISREG

from jobd.core import envfile
from jobd.keeper import become

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.keeper.link import Message

MAX_FILES = 64  # of a run
OURS = (b"NOTIFY_SOCKET=", b"WATCHDOG_USEC=", b"WATCHDOG_PID=", b"MAINPID=")  # a submitter's are of another supervisor
# What no file changes.
_FIXED = (*OURS, b"JOBD_RUN=", b"JOBD_JOB=", b"JOBD_QUEUE=", b"INVOCATION_ID=")
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)


class Environment:
    """What is known before the fork. `late` says that the child has to complete it."""

    def __init__(self, message: Message, fixed: Sequence[bytes], becomes: bool) -> None:
        """Raises TypeError, ValueError for a message that is not as agreed.

        Args:
            message: the request.
            fixed: what the keeper says besides.
            becomes: the child becomes a user, and gets what his login would set.
        """
        given = words(message["env"])
        self.given = [word for word in given if not word.startswith(OURS)]
        self.fixed = list(fixed)
        usec = message.get("watchdog_usec")
        self.watchdog = usec is not None
        if usec is not None:
            if type(usec) is not int or usec <= 0:
                raise TypeError("the interval of a watchdog is a number of microseconds")
            self.fixed.append(b"WATCHDOG_USEC=%d" % usec)
        self.files = files_of(message)
        self.missing = become.missing(given) if becomes else []  # what the child adds when it knows its user
        self.late = bool(self.missing or self.watchdog or self.files)

    def early(self) -> list[bytes]:
        """What there is without the child."""
        return self.given + self.fixed

    def complete(self, account: become.Account | None) -> list[bytes]:
        """In the child, as the user: all of it. Raises Refused: a file cannot be read."""
        env = self.given
        if self.missing and account is not None:
            env = env + become.login(self.missing, account)
        read: dict[bytes, bytes] = {}
        for i, (path, optional) in enumerate(self.files):
            for word in _read(i, path, optional):
                if not word.startswith(_FIXED):
                    name = word.partition(b"=")[0]
                    read.pop(name, None)
                    read[name] = word
        if read:
            env = [word for word in env if word.partition(b"=")[0] not in read] + [*read.values()]
        pid = [b"WATCHDOG_PID=%d" % os.getpid()] if self.watchdog else []
        return env + self.fixed + pid


def files_of(message: Message) -> list[tuple[bytes, bool]]:
    """The environment files of a request: their paths, and whether each may be missing. Raises TypeError."""
    listed = message.get("env_files") or []
    if not isinstance(listed, list) or len(listed) > MAX_FILES:
        raise TypeError("environment files are a list, and not a long one")
    found: list[tuple[bytes, bool]] = []
    for path, optional in listed:
        if type(path) is not bytes or type(optional) is not bool:
            raise TypeError("an environment file is a path, and whether it may be missing")
        found.append((path, optional))
    return found


def _read(index: int, path: bytes, optional: bool) -> list[bytes]:
    try:
        fd = os.open(path, _FLAGS)
        try:
            if not S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            data = b""
            while len(data) <= envfile.MAX_BYTES and (part := os.read(fd, envfile.MAX_BYTES + 1 - len(data))):
                data += part
        finally:
            os.close(fd)
        if len(data) > envfile.MAX_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    except (OSError, ValueError) as e:  # the latter: a NUL in the path
        number = e.errno if isinstance(e, OSError) else errno.ENOENT
        if optional and number in _MISSING:
            return []
        raise become.Refused(b"environment.%d" % index, number or errno.EIO) from e
    return envfile.parse(data)[0]


def words(values: object) -> list[bytes]:
    """A list of bytes, checked. Raises TypeError."""
    if not isinstance(values, list) or not all(isinstance(value, bytes) for value in values):
        raise TypeError("not a list of bytes")
    return values


def candidates(name: bytes, env: Sequence[bytes]) -> list[bytes]:
    """Where the program may be: itself if it names a directory, else along the job's own PATH."""
    if b"/" in name:
        return [name]
    path = next((item[5:] for item in env if item.startswith(b"PATH=")), become.USER_PATH)
    return [directory + b"/" + name if directory else name for directory in path.split(b":")] if name else []
