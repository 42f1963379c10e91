"""add, and revert: definitions that come and changes of them that go, as files or in jobd's database."""

from __future__ import annotations

import os
import sys

from jobctl import jobfiles, terminal
from jobctl.exits import Fault, UsageError
from jobctl.verb_files import BROKEN, show_plan
from jobd.core import paths
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.client import Client
    from jobctl.jobfiles import Place
    from jobctl.options import AddEnabled, AddNow, FileName, Files, Jobs, Replace
    from jobd.core.jobfile import Owner, Source

STDIN = "-"
BAD_DEFINITION = 6


class Given:
    """One definition that was named on the command line."""

    __slots__ = ("base", "name", "text", "word")

    def __init__(self, word: str, name: str | None) -> None:
        """Read it. Raises Fault, UsageError."""
        from jobd.core import names

        self.word = word
        self.base = os.getcwdb() if word == STDIN else os.path.dirname(os.path.abspath(os.fsencode(word)))
        self.name = name if name is not None else _name_of(word)
        if not names.valid_job_name(self.name):
            raise UsageError(f"cannot add {word!r}: {names.why_invalid(self.name)}")
        self.text = _read(word)


def add(
    client: Client,
    files: Files,
    *,
    name: FileName = None,
    enable: AddEnabled = False,
    now: AddNow = False,
    replace: Replace = False,
) -> int:
    """Add jobs from job files. The job's name is the file's, without .toml.

    A file with errors is refused, with all of them. Root's jobs, and those of your own jobd, are files below jobs in
    the directory of jobd.toml; to the system's jobd yours are sent.
    """
    if name is not None and len(files) > 1:
        raise UsageError("--name is for one file")
    given = [Given(word, name) for word in files]
    place = jobfiles.find(client, "add jobs")
    status = 0
    added: list[str] = []
    for each in given:
        this = _add(client, place, each, replace)
        status = status or this
        if not this:
            added.append(each.name)
    if added and status and (enable or now):
        asked = " and ".join(word for word, wanted in (("enabled", enable), ("started", now)) if wanted)
        terminal.warn(f"not {asked}, as not all could be added: {', '.join(added)}")
        return status
    if added and enable:
        from jobctl.verb_enable import enable as enable_jobs

        startable = tuple(job for job in added if not job.endswith("@"))
        status = enable_jobs(client, startable) if startable else 0
    if added and now and not status:
        from jobctl.verb_act import start

        status = start(client, tuple(added))
    return status


def _name_of(word: str) -> str:
    if word == STDIN:
        raise UsageError("a job file from standard input needs a name: --name NAME")
    file = os.path.basename(word)
    if not file.endswith(jobfiles.SUFFIX):
        if not os.path.exists(word):  # pueue's add
            raise UsageError(f"cannot add {word!r}: there is no such file; a command is run by jobctl run")
        raise UsageError(f"cannot add {word!r}: a job file is called NAME{jobfiles.SUFFIX}; --name gives another name")
    return file.removesuffix(jobfiles.SUFFIX)


def _read(word: str) -> str:
    data = sys.stdin.buffer.read(jobfiles.MAX_BYTES + 1) if word == STDIN else jobfiles.read(word)
    if data is None:
        raise Fault(errors.FAILED, f"cannot read {word}: No such file or directory")
    return checked_text(data, "standard input" if word == STDIN else word)


def checked_text(data: bytes, file: str) -> str:
    """The text of a definition. Raises Fault when it cannot be one."""
    if len(data) > jobfiles.MAX_BYTES:
        raise Fault(errors.TOO_LARGE, f"cannot take {file}: a job file has at most {jobfiles.MAX_BYTES >> 10} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        from jobd.core.jobfile import JobFileError, decode_text

        try:
            return decode_text(data, file)
        except JobFileError as e:
            raise Fault(errors.BAD_SETTING, "\n".join(e.problems)) from e


def _add(client: Client, place: Place, given: Given, replace: bool) -> int:
    if not place.directory:
        status = define(client, given.name, given.text, given.base, replace=replace)
        if client.target.host and not status and _depends_on_place(client, place, given, "/"):
            meant = f"{os.fsdecode(given.base)} on {client.target.host}"
            terminal.warn(f"paths in {given.word} that do not begin with / are meant from {meant}")
        return status
    from jobd.core.jobfile import Source

    path = place.file(given.name)
    there = jobfiles.read(path)
    if there is not None and there != given.text.encode() and not replace:
        terminal.warn(f"cannot add {given.name}: {path} is there already; --replace replaces it")
        return errors.exit_status(errors.EXISTS, errors.ACTION)
    dropins = [Source(each, checked_text(jobfiles.read(each) or b"", each)) for each in place.dropins(given.name)]
    if not is_sound(client, place, given.name, [Source(given.word, given.text, given.base), *dropins]):
        return BAD_DEFINITION
    # They were meant from where it lies: that is another place now.
    if _depends_on_place(client, place, given, place.directory):
        terminal.warn(f"paths in {given.word} that do not begin with / are meant from {place.directory} now")
    return put(client, given.name, path, given.text)


def define(client: Client, name: str, text: str, base: bytes, *, dropin: str = "", replace: bool = False) -> int:
    """Have a definition stored in jobd's database; the status."""
    request = {"type": "define", "name": name, "text": text, "base": base, "dropin": dropin, "replace": replace}
    try:
        return show_plan(client, client.call(request))
    except Fault as e:
        if e.code != errors.BAD_SETTING:
            raise
        for line in e.message.splitlines():
            terminal.warn(line)
        return BAD_DEFINITION


def put(client: Client, name: str, path: str, text: str) -> int:
    """Put a file of a job in its place, and have jobd read it; the status.

    What is sound by itself may still not be taken, as it closes a ring of jobs that come after each other: then the
    file is as it was.
    """
    before = jobfiles.read(path)
    if before != text.encode():
        jobfiles.write(path, text)
    plan = client.call({"type": "daemon-reload", "names": [name]})
    status = show_plan(client, plan)
    refused = any(change["change"] == BROKEN and change["job"] == name for change in plan.get("changes", []))
    if refused and before != text.encode():
        if before is None:
            jobfiles.remove([path])
        else:
            jobfiles.write(path, before.decode(errors="replace"))
        client.call({"type": "daemon-reload", "names": [name]})
    return status


def reload(client: Client, found: Sequence[str]) -> int:
    """Have jobd read the files of these jobs, and say what has changed; the status."""
    return show_plan(client, client.call({"type": "daemon-reload", "names": list(found)}))


def is_sound(client: Client, place: Place, name: str, files: list[Source]) -> bool:
    """Whether these files can be taken as a job's; else all that is wrong is on stderr."""
    from jobd.core.jobfile import JobFileError, parse

    try:
        definition = parse(files, name, _owner(client, place))
    except JobFileError as e:
        for line in e.problems:
            terminal.warn(line)
        return False
    for line in definition.warnings:
        terminal.warn(line)
    return True


def _owner(client: Client, place: Place) -> Owner:
    from jobd.core.jobfile import Owner

    home = os.path.expanduser("~")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "") or "/run"
    shared = place.mode == paths.SYSTEM or (place.mode != paths.USER and not client.uid)  # root's serves all users
    return Owner(uid=client.uid, home=home, runtime_dir=runtime, shared=shared)


def _depends_on_place(client: Client, place: Place, given: Given, other: str) -> bool:
    """Whether the file would mean something else in another directory: paths in it do not begin with /."""
    from jobd.core.jobfile import JobFileError, Source, parse

    owner = _owner(client, place)
    try:
        here = parse([Source(given.word, given.text, given.base)], given.name, owner)
        there = parse([Source(given.word, given.text, os.fsencode(other))], given.name, owner)
    except JobFileError:
        return False  # jobd has taken it: the one over there is newer than we are
    return here.spec != there.spec


def revert(client: Client, jobs: Jobs) -> int:
    """Take the changes of jobs back: their drop-ins, and what stands before the file of a package."""
    from jobctl import names

    found = names.expand(client, jobs)
    if not found:
        return 0
    place = jobfiles.find(client, "revert jobs")
    views = names.views(client, found) if place.directory else []
    in_files = {view["job"] for view in views if view.get("file", "").startswith("/")}
    own = [name for name in found if name in in_files]
    for name in own:
        gone = place.dropins(name)
        if place.lower(name):
            gone.append(place.file(name))
        jobfiles.remove(gone)
    others = [name for name in found if name not in own]
    status = reload(client, own) if own else 0
    if others:
        status = show_plan(client, client.call({"type": "revert", "names": others})) or status
    return status
