"""What is wrong with job files, found without a daemon; and what this machine has not got for them."""

from __future__ import annotations

import os

from jobctl import terminal
from jobctl.escape import escape
from jobctl.sources import JobFile, beside, find, owner_of, passed_over, read
from jobd.core import enforce, graph, service
from jobd.core.jobfile import JobFileError, is_template, parse, template_of
from jobd.core.logline import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.shapes import Json
    from jobd.core.spec import JobSpec
    from jobd.core.tomlplace import Path

BAD_DEFINITION = 6  # exit status: DESIGN.md, section 9
USER_PATH = "/usr/local/bin:/usr/bin:/bin"  # of a job that says nothing of PATH
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(words: list[str], shared: bool, quiet: bool, output: str | None) -> int:
    """Say what is wrong with these files; the exit status.

    `shared`: they are meant for a jobd of all users.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    given = list(find(words))
    check = _Check({file.job for file in given}, shared)
    found = [(file, *check.file(file)) for file in given]
    for job, problem in check.cycles().items():
        problems = next(problems for file, problems, _ in found if file.job == job)
        problems.append(problem)
    if as_json:
        from jobctl.rows import print_json

        assert output is not None
        print_json([_row(*each) for each in found], output)
    else:
        for _, problems, warnings in found:
            for line in (*problems, *(() if quiet else warnings)):
                terminal.note(line)
    return BAD_DEFINITION if any(problems for _, problems, _ in found) else 0


def _row(file: JobFile, problems: list[str], warnings: list[str]) -> dict[str, Json]:
    """An element of the JSON."""
    return {"file": file.path, "job": file.job, "problems": [*problems], "warnings": [*warnings]}


class _Check:
    """One look at some files."""

    def __init__(self, given: set[str], shared: bool) -> None:
        self._given = given
        self._owner = owner_of(shared)
        self._machine = enforce.guess(_text, os.geteuid() == 0)
        self._specs: dict[str, JobSpec] = {}  # of the files given and of those that they name
        self._directories: dict[str, str] = {}  # where they are
        self._paths_of: dict[str, str] = {}

    def file(self, file: JobFile) -> tuple[list[str], list[str]]:
        """Problems and warnings of one."""
        self._directories[file.job] = file.directory
        self._paths_of[file.job] = file.path
        try:
            definition = parse(read(file), file.job, self._owner, lambda spec: self._look(spec, file.job))
        except JobFileError as error:
            return list(error.problems), []
        self._specs[file.job] = definition.spec
        ignored = [f"{escape(path)}: warning: not read: a drop-in is called NAME.toml" for path in passed_over(file)]
        return [], [*definition.warnings, *ignored]

    def cycles(self) -> dict[str, str]:
        """What comes after itself, each cycle with one of its jobs that were given.

        What those name is read for that as well.
        """
        todo = list(self._specs)
        while todo:
            name = todo.pop()
            for key in service.DEPENDENCIES:
                todo += [other for other in getattr(self._specs[name], key) if self._add(other, name)]
        cycles = graph.cycles(graph.Graph.of(self._specs), self._given & self._specs.keys())
        found: dict[str, str] = {}
        for name in sorted(cycles.keys() & self._given):
            why = f"comes after itself: {graph.describe_cycle(cycles[name])}"
            if why not in found.values():
                found[name] = why
        return {name: f"{printable(self._paths_of[name])}: {why}" for name, why in found.items()}

    def _add(self, other: str, name: str) -> bool:
        """Read the file of a job that another names; whether there was one, and it was not read before."""
        file = self._beside(other, name)
        if other in self._specs or file is None:
            return False
        try:
            self._specs[other] = parse(read(file), other, self._owner).spec
        except JobFileError:
            return False  # nobody has asked about this one
        self._directories[other] = file.directory
        return True

    def _beside(self, other: str, name: str) -> JobFile | None:
        directory = self._directories[name]
        return beside(directory, other) or beside(directory, template_of(other) or "")

    def _look(self, spec: JobSpec, name: str) -> Iterator[tuple[Path, str]]:
        """What a job that can be taken lacks."""
        yield from self._names(spec, name)
        yield from self._paths(spec)
        for line in enforce.unenforced(spec, self._machine):
            key, _, why = line.partition(": ")
            yield tuple(key.split(".")), f'"{key}" has no effect here: {why}'

    def _names(self, spec: JobSpec, name: str) -> Iterator[tuple[Path, str]]:
        for key in service.DEPENDENCIES + service.HOOKS:
            for at, other in enumerate(getattr(spec, key)):
                there = other in self._given or template_of(other) in self._given or self._beside(other, name)
                if other != name and not is_template(name) and not there:
                    yield (key, at), f'there is no job "{other}" among these files, nor beside this one'

        for key in graph.DEMANDS:
            for at, other in enumerate(getattr(spec, key)):
                if other not in spec.after and other not in spec.before:
                    yield (key, at), f'"{other}" is not in "after": both start at the same time'

    def _paths(self, spec: JobSpec) -> Iterator[tuple[Path, str]]:
        """Files that are not there; of another user's nobody knows."""
        if spec.user:
            if not _is_user(spec.user):
                yield ("user",), f'there is no user "{spec.user}" on this machine'
            return
        cwd = os.fsdecode(spec.cwd)
        if not os.path.isdir(cwd):
            yield ("working_directory",), f"{escape(cwd)}: no such directory"
        for at, (path, may_miss) in enumerate(spec.env_files):
            if not may_miss and not os.path.exists(path):
                yield ("environment_file", at), f"{escape(os.fsdecode(path))}: no such file"
        commands: dict[Path, tuple[bytes, ...]] = {("command",): spec.argv if not spec.shell else ()}
        commands |= {("stop", "command"): spec.stop_command, ("reload", "command"): spec.reload_command}
        for table, check in (("ready", spec.ready), ("health", spec.health and spec.health.check)):
            if check:
                commands[table, "command"] = check.argv
        for key, argv in commands.items():
            if argv and (why := self._why_no_program(os.fsdecode(argv[0]), cwd)):
                yield key, f"{escape(os.fsdecode(argv[0]))}: {why}"

    def _why_no_program(self, word: str, cwd: str) -> str:
        """What keeps a program from being executed; "" if nothing is seen."""
        if "/" in word:
            path = os.path.join(cwd, word)
            if os.access(path, os.X_OK) and not os.path.isdir(path):
                return ""
            if os.path.isfile(path):
                return "not executable; chmod +x makes it so"
            return "no such program" if word.startswith("/") else f"no such program in {escape(cwd)}"
        search = USER_PATH if self._owner.uid else ROOT_PATH
        there = any(os.access(os.path.join(directory, word), os.X_OK) for directory in search.split(":"))
        return "" if there else f"no such program in {search}"


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _is_user(word: str) -> bool:
    """Whether there is such a user; a uid need not be anybody's."""
    import pwd

    try:
        pwd.getpwnam(word)
    except (KeyError, ValueError, UnicodeError):
        return word.isdecimal()
    return True
