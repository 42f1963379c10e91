"""Where definitions are kept, and writing and removing job files there.

Root on this host, and whoever speaks to his own jobd, have them as files: below `jobs` in the directory of jobd's
configuration, where an editor and a package manager find them. Everybody else's are in jobd's database, and are sent
to it. A file is written whole or not at all, and durable, before jobd is told to read it.
"""

from __future__ import annotations

import os
from contextlib import suppress

from jobctl.exits import Fault
from jobd.core import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client

SUFFIX, DROPIN_DIR = ".toml", ".toml.d"  # jobd.core.joblayers
LOWER = tuple(f"{root}/jobs" for root in paths.SYSTEM_JOB_DIRS)  # what the system's jobd reads besides
FILE_MODE = 0o644
MAX_BYTES = 256 << 10  # messages.MAX_FILE_BYTES; a test compares
FAILED = "failed"  # of jobd.wire.errors


class Place:
    """Where the caller's definitions are: files in `directory`, or without one in jobd's database."""

    def __init__(self, directory: str, mode: str) -> None:
        self.directory = directory
        self.mode = mode

    def file(self, name: str) -> str:
        """The path of a job's file."""
        return f"{self.directory}/{name}{SUFFIX}"

    def dropin(self, name: str, file: str) -> str:
        """The path of one drop-in of a job."""
        return f"{self.directory}/{name}{DROPIN_DIR}/{file}"

    def dropins(self, name: str) -> list[str]:
        """The paths of the drop-ins of a job that are here."""
        directory = f"{self.directory}/{name}{DROPIN_DIR}"
        try:
            found = sorted(os.listdir(directory))
        except OSError:
            return []
        return [f"{directory}/{each}" for each in found if each.endswith(SUFFIX) and not each.startswith(".")]

    def lower(self, name: str) -> str:
        """The job's file of a package, if there is one."""
        found = (f"{directory}/{name}{SUFFIX}" for directory in LOWER)
        return next((path for path in found if self.mode == paths.SYSTEM and os.path.exists(path)), "")

    def beneath(self, name: str) -> str:
        """What is in force when the job has no file here: a package's, or of an instance its template's."""
        stem, _, instance = name.partition("@")
        template = f"{stem}@"
        found = self.lower(name)
        if not found and instance:
            found = self.file(template) if os.path.exists(self.file(template)) else self.lower(template)
        return found


def find(client: Client, what: str) -> Place:
    """Where the caller's definitions are kept. Asks the daemon.

    Raises:
        Fault: root's are files, and another host's are not written from here; `what` is what he wanted to do.
    """
    body = client.call({"type": "daemon-status"})
    mode, directory = body["mode"], body.get("config_dir", "")
    if client.path == paths.SYSTEM_SOCKET:
        # Root writes there, and the daemon may have been taken over: where that is it does not say.
        mode, directory = paths.SYSTEM, paths.SYSTEM_CONFIG_DIR
    if client.target.host and not client.uid:
        text = f"cannot {what} on {client.target.host} as root: root's job files are files; change them there"
        raise Fault(FAILED, f"{text}, in {directory or '/etc/jobd'}/jobs, and then jobctl daemon-reload")
    ours = directory.startswith("/") and not client.target.host and _is_ours(directory, mode, body.get("uid"))
    return Place(f"{directory}/jobs" if ours else "", mode)


def _is_ours(directory: str, mode: str, daemon: int | None) -> bool:
    """Whether it is for us to write there: root writes nowhere but where root alone does."""
    uid = os.geteuid()
    if uid and mode != paths.SYSTEM and daemon == uid:
        return True
    while not os.path.isdir(directory) and directory != "/":
        directory = os.path.dirname(directory)
    return os.stat(directory).st_uid == uid


def read(path: str) -> bytes | None:
    """The bytes of a file, of one that is too long for a job file one too many; None where there is none.

    Raises Fault.
    """
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise Fault(FAILED, f"cannot read {path}: {e.strerror}") from e


def write(path: str, text: str) -> None:
    """Put a file in its place, whole and durable. Raises Fault."""
    directory, name = os.path.split(path)
    temporary = f"{directory}/.{name}.{os.getpid()}"
    try:
        os.makedirs(directory, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            with open(fd, "wb") as file:
                os.fchmod(fd, FILE_MODE)
                file.write(text.encode())
                file.flush()
                os.fsync(fd)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        _sync(directory)
    except OSError as e:
        raise Fault(FAILED, f"cannot write {path}: {e.strerror}") from e


def remove(files: list[str]) -> None:
    """Take files away, and the directories of drop-ins that are empty then. Raises Fault."""
    for path in files:
        directory = os.path.dirname(path)
        try:
            with suppress(FileNotFoundError):
                os.unlink(path)
            _sync(directory)
            if directory.endswith(DROPIN_DIR):
                with suppress(OSError):  # something else is in it
                    os.rmdir(directory)
        except OSError as e:
            raise Fault(FAILED, f"cannot remove {path}: {e.strerror}") from e


def _sync(directory: str) -> None:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
