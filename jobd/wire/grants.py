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
OURS = (b"JOBD_JOB=", b"JOBD_RUN=", b"INVOCATION_ID=")  # of the environment: set anew for every run


def digest(argv: Sequence[bytes], env: Sequence[bytes], cwd: bytes, user: str, umask: int, stdin: str) -> bytes:
    """The hash of a command as it will be executed.

    Args:
        argv: what is executed; of a shell job `/bin/sh`, `-c` and the script.
        env: `NAME=value` entries in their order; those that every run has of its own are left out.
        cwd: the directory.
        user: the word of the job's `user` key, "" without one.
        umask: with 0, who takes the daemon over could have root leave files that all may write to.
        stdin: null, pipe or pty: what root has not let be fed, nobody else is to feed.
    """
    kept = [entry for entry in env if not entry.startswith(OURS)]
    return blake2b(packb([list(argv), kept, cwd, user, umask, stdin]), digest_size=DIGEST_BYTES).digest()
