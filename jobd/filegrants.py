"""What root's job files allow: reads them as root, and writes the hash of each command in them to stdout.

    python -I -m jobd.filegrants MODE CONFIG-DIR [INSTANCE]...

A child of the keeper's for a moment, where the daemon is not root: it finds, reads and parses the files by the same
code as that daemon, so that the two agree, and believes a file only if no way leads to it that others can write to.
A file that cannot be taken allows nothing, and the daemon says why. `jobd.keeper.rootfiles` has the rest.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from jobd.core import paths, service
from jobd.core.configfile import ConfigError
from jobd.core.jobfile import JobFileError, Owner, is_template, parse, template_of
from jobd.keeper import files
from jobd.runtime.jobfiles import JobFiles
from jobd.wire.grants import digest, unix_digest

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from jobd.core.jobfile import Definition
    from jobd.core.spec import JobSpec
    from jobd.runtime.jobfiles import Found

T = TypeVar("T")
NULL = "null"  # what is the stdin of a job from a file, and of the commands besides its program
MOST_JOBS = 20_000  # with the instances that files name: an instance may name another one, without end


class Listing(NamedTuple):
    """As jobd.runtime.keeperlink.Listing, which would load trio."""

    uid: int
    gid: int
    mode: int
    entries: list[tuple[str, bool]]


class Roots:
    """What the keeper does for the daemon, done at once: nothing here waits."""

    shared = True

    def __init__(self, mode: str, config_dir: str) -> None:
        self._roots = paths.job_roots(mode, config_dir)

    async def open_config(self, path: str, root: int = 0) -> int:
        """A descriptor of a file; raises PermissionError when others can put another one there."""
        check_way(self._roots[root])
        return files.open_below(self._roots[root], path)

    async def list_config(self, path: str, root: int = 0) -> Listing:
        """What is in a directory there; raises as `open_config`."""
        check_way(self._roots[root])
        info, names, directories = files.list_below(self._roots[root], path)
        entries = [*((name, False) for name in names), *((name, True) for name in directories)]
        return Listing(info.st_uid, info.st_gid, info.st_mode, sorted(entries))


def root() -> Owner:
    """Root as the owner of job files, as jobd.runtime.homes has him."""
    try:
        home = pwd.getpwuid(0).pw_dir or "/"
    except KeyError:
        home = "/"
    return Owner(uid=0, home=home, runtime_dir="/run", shared=True)


def check_way(directory: str) -> None:
    """Raises PermissionError when somebody else than root can have another directory there; OSError."""
    for place in (os.path.abspath(directory), os.path.realpath(directory)):  # a link on the way is a way, too
        while True:
            info = os.stat(place)
            others = stat.S_IMODE(info.st_mode) & (stat.S_IWGRP | stat.S_IWOTH) and not info.st_mode & stat.S_ISVTX
            if info.st_uid != 0 or others or os.lstat(place).st_uid != 0:
                raise PermissionError(1, f"others than root may write to {place}", directory)
            if place == "/":
                break
            place = os.path.dirname(place)


def commands(definition: Definition) -> list[bytes]:
    """The hashes of all that a job of root's may execute: its program, and the commands besides it."""
    spec = definition.spec
    said = (definition.env, spec.cwd, spec.user, spec.umask, NULL, spec.env_files)
    checks = (spec.ready, None if spec.health is None else spec.health.check)
    sockets = [check.target for check in checks if check is not None and check.kind == service.UNIX]
    found = [digest(argv, *said) for argv in (spec.program, *spec.commands)]
    return found + [unix_digest(os.fsencode(path), spec.user) for path in sockets]


def named(spec: JobSpec) -> Iterable[str]:
    """The instances of templates that a definition names."""
    for kind in (*service.DEPENDENCIES, *service.HOOKS):
        yield from (name for name in getattr(spec, kind) if template_of(name) is not None)


def granted(reader: JobFiles, found: Found, instances: Iterable[str], owner: Owner) -> set[bytes]:
    """The hashes of all jobs in the files, of these instances, and of those that any of them names."""
    todo = [*(name for name in found.jobs if not is_template(name)), *instances]
    seen: set[str] = set()
    hashes: set[bytes] = set()
    while todo and len(seen) < MOST_JOBS:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        read = at_once(reader.read(name, found))
        if read is None or read.problems:
            continue
        try:
            definition = parse(read.sources, name, owner)
        except JobFileError:
            continue
        hashes.update(commands(definition))
        todo += named(definition.spec)
    return hashes


def at_once(work: Coroutine[object, object, T]) -> T:
    """The result of what never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("it waits")


def main(words: list[str]) -> int:
    """Do it. Returns the exit status."""
    mode, config_dir, *instances = words
    reader = JobFiles(Roots(mode, config_dir), mode, config_dir)  # type: ignore[arg-type]  # all that it uses of a keeper
    try:
        found = at_once(reader.find())
    except (ConfigError, OSError) as error:
        print(f"jobd: cannot read what root's job files allow: {error}", file=sys.stderr)
        found = None
    hashes = set() if found is None else granted(reader, found, instances, root())
    with open(1, "wb") as out:
        out.write(b"".join(sorted(hashes)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
