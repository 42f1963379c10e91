"""Job files that somebody names on the command line: which they are, with their drop-ins, and how they are read."""

from __future__ import annotations

import os

from jobctl.exits import UsageError
from jobd.core import names, paths
from jobd.core.jobfile import DROPIN_DIR, SUFFIX, JobFileError, Owner, Source, decode_text, job_of
from jobd.core.logline import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STDIN = "-"
STDIN_NAME = "<stdin>"
STDIN_JOB = "stdin"
MAX_FILE_BYTES = 256 << 10  # as of jobd.wire.definitions, and of what jobd reads
SYSTEM_RUNTIME_DIR = "/run"  # %t of root's


class JobFile:
    """One job file, and the job that it is of. `path` is as it was given; `-` is stdin."""

    __slots__ = ("job", "path")

    def __init__(self, path: str, job: str) -> None:
        self.path = path
        self.job = job

    @property
    def directory(self) -> str:
        """Where it is; absolute."""
        return os.getcwd() if self.path == STDIN else os.path.dirname(os.path.abspath(self.path))


def owner_of(shared: bool) -> Owner:
    """Whose job files they are: ours. `shared`: for a jobd of all users."""
    uid = os.geteuid()
    home = paths.home_dir(os.environ, uid) or "/"
    runtime_dir = SYSTEM_RUNTIME_DIR if uid == 0 else paths.runtime_dir(os.environ, uid) or f"/run/user/{uid}"
    return Owner(uid=uid, home=home, runtime_dir=runtime_dir, shared=shared or uid == 0)


def find(words: Iterable[str]) -> Iterator[JobFile]:
    """The job files that are meant: each by itself, by one of its drop-ins, or by the directory that they are in.

    Raises:
        UsageError: it is none.
    """
    found: dict[str, JobFile] = {}
    for word in words:
        for file in _files(word):
            found.setdefault(os.path.abspath(file.path), file)
    yield from found.values()


def _files(word: str) -> list[JobFile]:
    if word == STDIN:
        return [JobFile(STDIN, STDIN_JOB)]
    path = word.rstrip("/") or word
    if os.path.isdir(path) and not path.endswith(DROPIN_DIR):
        inside = [_file(os.path.join(path, name)) for name in _job_files(path)]
        if not inside:
            raise UsageError(f"cannot find a job file in {word}: they are called NAME{SUFFIX}")
        return inside
    directory = path if path.endswith(DROPIN_DIR) else os.path.dirname(path)
    if directory.endswith(DROPIN_DIR):  # a drop-in, or all of them: of the job file beside
        path = directory.removesuffix(".d")
    return [_file(path, word)]


def _job_files(directory: str) -> list[str]:
    """The names of those in a directory. Raises UsageError."""
    try:
        return sorted(name for name in os.listdir(directory) if _is_job_file(name))
    except OSError as error:
        raise UsageError(f"cannot read {directory}: {error.strerror}") from error


def _is_job_file(name: str) -> bool:
    """Whether a file in a directory is meant to be one."""
    return name.endswith(SUFFIX) and not name.startswith(".")


def _file(path: str, word: str = "") -> JobFile:
    word = word or path
    try:
        job = job_of(os.path.basename(path))
    except ValueError as error:
        raise UsageError(f"cannot take {word} as a job file: {error}") from error
    if job is None:
        raise UsageError(f"cannot take {word} as a job file: they are called NAME{SUFFIX}")
    return JobFile(path, job)


def beside(directory: str, name: str) -> JobFile | None:
    """The file of a job in this directory."""
    path = os.path.join(directory, name + SUFFIX)
    return JobFile(path, name) if names.valid_job_name(name) and os.path.isfile(path) else None


def read(file: JobFile) -> list[Source]:
    """A job file with the drop-ins beside it.

    Raises:
        JobFileError: one of them cannot be read.
    """
    if file.path == STDIN:
        return [Source(STDIN_NAME, decode_text(_read_stdin(), STDIN_NAME), os.fsencode(file.directory))]
    dropins = f"{file.path.removesuffix(SUFFIX)}{DROPIN_DIR}"
    try:
        names_there = sorted(name for name in os.listdir(dropins) if _is_job_file(name))
    except (FileNotFoundError, NotADirectoryError):
        names_there = []
    except OSError as error:
        raise JobFileError([f"{printable(dropins)}: {error.strerror}"]) from error
    there = (file.path, *(os.path.join(dropins, name) for name in names_there))
    return [_read_file(path, file.directory) for path in there]


def passed_over(file: JobFile) -> list[str]:
    """What lies among the drop-ins of a job file and is none, as nothing reads it: systemd's are called NAME.conf."""
    directory = f"{file.path.removesuffix(SUFFIX)}{DROPIN_DIR}"
    try:
        there = sorted(os.listdir(directory)) if file.path != STDIN else []
    except OSError:
        return []
    return [os.path.join(directory, name) for name in there if name.endswith(".conf") and not name.startswith(".")]


def _read_file(path: str, directory: str) -> Source:
    """One file, with relative paths meant from this directory."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise JobFileError([f"{printable(path)}: {error.strerror}"]) from error
    return Source(path, decode_text(_small(data, path), path), os.fsencode(directory))


def _read_stdin() -> bytes:
    with open(0, "rb", closefd=False) as stdin:
        return _small(stdin.read(MAX_FILE_BYTES + 1), STDIN_NAME)


def _small(data: bytes, name: str) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise JobFileError([f"{printable(name)}: larger than {MAX_FILE_BYTES >> 10} KiB"])
    return data
