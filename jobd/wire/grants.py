"""What a grant names: one hash over all that decides what a process of root's will do.

Root's jobctl gives it to the keeper, and the keeper computes it again from what the daemon asks for. Standard library
only, as it is for both of them; `_blake2`, since hashlib takes longer to load than all else that the keeper needs.
"""

from __future__ import annotations

from _blake2 import blake2b

from jobd.wire.plainpack import packb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DIGEST_BYTES = 32
# Of the environment: set anew for every run, by the daemon and the keeper.
OURS = (
    b"JOBD_JOB=", b"JOBD_RUN=", b"JOBD_ARRAY_INDEX=", b"JOBD_QUEUE=", b"INVOCATION_ID=", b"NOTIFY_SOCKET=",
    b"WATCHDOG_USEC=", b"WATCHDOG_PID=",
)  # fmt: skip
_MONITOR = (b"SERVICE_RESULT=", b"EXIT_CODE=", b"EXIT_STATUS=", b"INVOCATION_ID=", b"UNIT=")  # what hooks are told
_TOLD = (*OURS, b"MAINPID=", *(b"MONITOR_" + name for name in _MONITOR))
# Values that these may have: words, names of jobs and signals, numbers. A script of root's may do anything with others.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-"
_PATH = b"NOTIFY_SOCKET="  # of which the keeper makes its own


def digest(
    argv: Sequence[bytes],
    env: Sequence[bytes],
    cwd: bytes,
    user: str,
    umask: int,
    stdin: str,
    env_files: Sequence[Sequence[object]] = (),
    array: str = "",
) -> bytes:
    """The hash of a command as it will be executed.

    Args:
        argv: what is executed; of a shell job `/bin/sh`, `-c` and the script.
        env: `NAME=value` entries in their order; those that every run has of its own are left out.
        cwd: the directory.
        user: the word of the job's `user` key, "" without one.
        umask: with 0, who takes the daemon over could have root leave files that all may write to.
        stdin: null, pipe or pty: what root has not let be fed, nobody else is to feed.
        env_files: pairs of a path and whether it may be missing. What is in them is the business of who owns them.
        array: as it was written ("0-99%4"): `argv` is as it was submitted then, without the number of an element.
    """
    kept = [entry for entry in env if not _is_told(entry)]
    words: list[object] = [list(argv), kept, cwd, user, umask, stdin]
    if env_files:
        words.append([list(pair) for pair in env_files])
    if array:
        words.append(array)
    return blake2b(packb(words), digest_size=DIGEST_BYTES).digest()


def _is_told(entry: bytes) -> bool:
    if not entry.startswith(_TOLD):
        return False
    return entry.startswith(_PATH) or not entry.partition(b"=")[2].translate(None, _PLAIN)


def unix_digest(path: bytes, user: str) -> bytes:
    """The hash of: root connects to this socket, to see whether somebody listens.

    As a command it would be a relative path below the root directory, where nobody but root makes one.
    """
    return digest([b"unix:" + path], [], b"/", user, 0, "null")
