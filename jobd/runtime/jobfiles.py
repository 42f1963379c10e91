"""The job files on disk: which there are, in which directory, and what they say. Nothing is parsed here.

The keeper lists and opens them, as the daemon of a whole machine may not be allowed to. Only files that root, or in
user mode the user, owns and nobody else can write are believed; the same is asked of their directories.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobd.core import paths
from jobd.core.configfile import ConfigError
from jobd.core.jobfile import DROPIN_DIR, SUFFIX, Source, job_of, template_of
from jobd.host import ownfile

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobd.runtime.keeperlink import KeeperLink, Listing

MAX_BYTES: Final = 256 << 10  # of a file: jobd.wire.definitions.MAX_FILE_BYTES, so that every one can be shown
MAX_FILES: Final = 10_000  # in one directory: more than any machine has services, and reading them takes seconds
Place = tuple[int, str]  # which root, and the path below it


class Unreachable(ConfigError):  # noqa: N818  # what is the case
    """There is no keeper to look at the files."""

    def __init__(self) -> None:
        super().__init__(["cannot look at job files: the keeper does not answer"])


class Files(Struct):
    """The files of one job, by where they are: the job file and then its drop-ins, in their order."""

    job: Place | None = None  # None: there are drop-ins alone
    dropins: dict[str, Place] = {}  # by file name


class Read(Struct, frozen=True):
    """What the files of one job say, or why they cannot be read."""

    sources: tuple[Source, ...]
    problems: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The path of the job file."""
        return self.sources[0].path if self.sources else self.problems[0].partition(": ")[0]


class Found(Struct):
    """All job files, by the job; and what is in the directories and cannot be one."""

    jobs: dict[str, Files]
    warnings: list[str]


class JobFiles:
    """The directories."""

    def __init__(self, keeper: KeeperLink, mode: str, config_dir: str) -> None:
        self._keeper = keeper
        self._roots = paths.job_roots(mode, config_dir)
        self._trust = ownfile.Trust.of(system=keeper.shared)

    @property
    def directory(self) -> str:
        """Where a person puts one."""
        return os.path.join(self._roots[0], paths.JOBS_DIR)

    def path(self, place: Place) -> str:
        """As people know it."""
        return os.path.join(self._roots[place[0]], place[1])

    async def find(self, only: Collection[str] | None = None) -> Found:
        """Which files there are.

        Args:
            only: these jobs', and those of the templates they are instances of.

        Raises:
            ConfigError: a directory cannot be looked at, or is not to be believed. What is missing is no error.
        """
        wanted = None if only is None else {*only, *(template for name in only if (template := template_of(name)))}
        found = Found({}, [])
        for root in range(len(self._roots)):
            for name, is_dir in await self._listed(root, paths.JOBS_DIR):
                stem = self._job(root, name, is_dir, found.warnings)
                if stem is None or (wanted is not None and stem not in wanted):
                    continue
                place = root, f"{paths.JOBS_DIR}/{name}"
                files = found.jobs.setdefault(stem, Files())
                if not is_dir:
                    files.job = files.job or place
                    continue
                for inner, inner_is_dir in await self._listed(*place):
                    if inner.endswith(SUFFIX) and not inner.startswith(".") and not inner_is_dir:
                        files.dropins.setdefault(inner, (root, f"{place[1]}/{inner}"))
        return found

    def _job(self, root: int, name: str, is_dir: bool, warnings: list[str]) -> str | None:
        """The job that a file is of, or a directory has drop-ins for."""
        file_name = name.removesuffix(DROPIN_DIR) + SUFFIX if is_dir and name.endswith(DROPIN_DIR) else name
        if is_dir and file_name == name:
            return None
        try:
            return job_of(file_name)
        except ValueError as error:
            warnings.append(f"{self.path((root, f'{paths.JOBS_DIR}/{name}'))}: warning: ignored: {error}")
            return None

    async def _listed(self, root: int, path: str) -> list[tuple[str, bool]]:
        shown = self.path((root, path))
        try:
            with ownfile.explained(shown):
                try:
                    listing = await self._keeper.list_config(path, root)
                except ConnectionResetError:
                    raise Unreachable from None
                ownfile.check_owner(_stat_of(listing), self._trust)
        except FileNotFoundError:
            return []
        if len(listing.entries) > MAX_FILES:
            raise ConfigError([f"{shown}: it has more than {MAX_FILES} files"])
        return listing.entries

    # --- reading --------------------------------------------------------------------------------------------------
    def layers(self, name: str, found: Found) -> list[Place]:
        """The files of a job in their order; of an instance, its template's first. Empty: it has none."""
        files = found.jobs.get(name)
        base = None if files is None else files.job
        dropins = {} if files is None else files.dropins
        template = template_of(name)
        if template is not None and (common := found.jobs.get(template)) is not None:
            base = base or common.job
            dropins = {**common.dropins, **dropins}
        return [] if base is None else [base, *(dropins[key] for key in sorted(dropins))]

    async def read(self, name: str, found: Found) -> Read | None:
        """What the files of a job say; None: it has none (any more).

        Raises:
            Unreachable: there is no keeper to open them.
        """
        sources: list[Source] = []
        problems: list[str] = []
        for place in self.layers(name, found):
            shown = self.path(place)
            try:
                sources.append(Source(shown, await self._text(place, shown)))
            except FileNotFoundError:
                if not sources and not problems:
                    return None
            except Unreachable:
                raise
            except ConfigError as error:
                problems += error.problems
        return Read(tuple(sources), tuple(problems)) if sources or problems else None

    async def _text(self, place: Place, shown: str) -> str:
        with ownfile.explained(shown):
            try:
                fd = await self._keeper.open_config(place[1], place[0])
            except ConnectionResetError:
                raise Unreachable from None
            text = ownfile.read(fd, shown, self._trust)
            if len(text.encode()) > MAX_BYTES:
                raise ownfile.Untrusted(f"it is larger than {MAX_BYTES >> 10} KiB")
        return text


def _stat_of(listing: Listing) -> os.stat_result:
    return os.stat_result((listing.mode, 0, 0, 0, listing.uid, listing.gid, 0, 0, 0, 0))
