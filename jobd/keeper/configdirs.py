"""The files of the configuration, for a daemon that may not look at them by itself: jobd.toml, and job files.

It gets descriptors for reading and names of what is there, of nothing else than regular files in these directories; no
symbolic link is followed. Whether they are to be believed the daemon says, who is told whose they are.
"""

from __future__ import annotations

import errno
import os

from jobd.core import paths
from jobd.keeper import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper

MAX_NAMES = 256  # of a directory, in one answer: 64 KiB at most, with names of 255 bytes


class ConfigDirs:
    """The handlers of what the daemon asks about them."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def _place(self, message: Message) -> tuple[str, str, str]:
        """Which file or directory is meant: in which directory, what in it, and where the daemon itself may write."""
        config = self._keeper.config
        roots = paths.job_roots(config.mode, config.config_dir)
        number, path = message.get("root", 0), str(message["path"])
        assert isinstance(number, int)
        assert 0 <= number < len(roots)
        assert number == 0 or f"{path}/".startswith(f"{paths.JOBS_DIR}/")
        return roots[number], path, config.state_dir if self._keeper.base.guarded else ""

    def open(self, message: Message, _: Fds) -> None:
        """Open a file."""
        tag = message["tag"]
        assert isinstance(tag, int)
        answer: Message = {"op": "opened", "tag": tag, "errno": 0, "uid": 0, "mode": 0, "fds": []}
        try:
            fd = files.open_below(*self._place(message))
        except OSError as e:
            self._keeper.send({**answer, "errno": e.errno or errno.EIO})
            return
        info = os.fstat(fd)
        try:
            self._keeper.send({**answer, "uid": info.st_uid, "mode": info.st_mode, "fds": ["file"]}, [fd])
        finally:
            os.close(fd)

    def list(self, message: Message, _: Fds) -> None:
        """Say what is in a directory, a part at a time: names that follow `after`."""
        tag = message["tag"]
        assert isinstance(tag, int)
        answer: Message = {"op": "listed", "tag": tag, "errno": 0, "uid": 0, "gid": 0, "mode": 0}
        found: list[list[object]] = []
        try:
            info, its_files, directories = files.list_below(*self._place(message))
            answer.update(uid=info.st_uid, gid=info.st_gid, mode=info.st_mode)
            after = str(message["after"])
            found += [[name, False] for name in its_files if name > after]
            found += [[name, True] for name in directories if name > after]
        except OSError as e:
            answer["errno"] = e.errno or errno.EIO
        found.sort(key=lambda entry: str(entry[0]))
        self._keeper.send({**answer, "names": found[:MAX_NAMES], "more": len(found) > MAX_NAMES})
