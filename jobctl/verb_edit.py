"""edit: a definition, or a drop-in of it, in the caller's editor, as systemctl edit.

Nothing is changed until the editor has ended and the text was found to be good. A text that cannot be taken stays in
its file, whose name is said: no work is lost.
"""

from __future__ import annotations

import os
import sys

from jobctl import jobfiles, names, terminal
from jobctl.escape import escape
from jobctl.exits import Fault, UsageError
from jobctl.verb_add import BAD_DEFINITION, checked_text, define, is_sound, put, reload
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.jobfiles import Place
    from jobctl.options import DropIn, FromStdin, Jobs, WholeFile
    from jobctl.shapes import Definition, SourceFile
    from jobd.core.jobfile import Source

OVERRIDE = "override"  # systemctl's
EDITORS = ("editor", "nano", "vim", "vi")  # systemd's, when no variable names one
BEGIN = "### Anything between here and the comment below becomes the drop-in; without anything it goes"
END = "### Edits below this comment are discarded"
NOTHING_SAID = 1


class Subject:
    """What is edited: a job file or a drop-in, and what else its job is made of."""

    def __init__(self, place: Place, definition: Definition, dropin: str) -> None:
        self.name = definition["job"]
        self.dropin = dropin  # the drop-in's file name; "" for the job file
        self.files = definition.get("files", [])
        self.path = ""  # where it is kept; "" in the database
        self._beneath = ""  # what is in force while there is no file of its own
        if place.directory:
            self.path = place.dropin(self.name, dropin) if dropin else place.file(self.name)
            self._beneath = "" if dropin else place.beneath(self.name)
        self.old = self._present()

    def _present(self) -> str | None:
        """Its text as it is now; None where there is none yet."""
        if self.path:
            # From the disk, and not from the daemon, which may have been taken over: root's jobs are made of it.
            path = self.path if os.path.exists(self.path) else self._beneath
            data = jobfiles.read(path) if path else None
            return None if data is None else checked_text(data, path)
        found = self.own()
        return None if found is None else found["text"]

    def own(self) -> SourceFile | None:
        """What the daemon has of it."""
        if not self.dropin:
            return self.files[0] if self.files else None
        wanted = self.path or f"{self.name}{jobfiles.DROPIN_DIR}/{self.dropin}"
        return next((file for file in self.files[1:] if file["path"] == wanted), None)

    @property
    def base(self) -> bytes:
        """The directory that relative paths are meant from."""
        own = self.own() or (self.files[0] if self.files else None)
        return b"" if own is None else own.get("base", b"")

    @property
    def shown(self) -> str:
        """Its name for a person."""
        return self.path or f"{self.name}{jobfiles.SUFFIX}" + (f".d/{self.dropin}" if self.dropin else "")

    def with_text(self, text: str) -> list[Source]:
        """All files of the job, if its text were this."""
        from jobd.core.jobfile import Source

        sources = [Source(file["path"], file["text"], file.get("base", b"")) for file in self.files]
        new = Source(self.shown, text, self.base)
        if not self.dropin:
            return [new, *sources[1:]]
        others = [source for source in sources[1:] if os.path.basename(source.path) != self.dropin]
        return [*sources[:1], *sorted([*others, new], key=lambda source: os.path.basename(source.path))]


def edit(
    client: Client, jobs: Jobs, *, full: WholeFile = False, drop_in: DropIn = None, stdin: FromStdin = False
) -> int:
    """Change the definitions of jobs in an editor.

    By default in a drop-in, override.toml: a file of what is to be otherwise. It is checked when the editor ends, and
    a text with errors changes nothing. What runs is not restarted.
    """
    if full and drop_in is not None:
        raise UsageError("only one of --full and --drop-in can be given")
    if stdin and len(jobs) > 1:
        raise UsageError("--stdin is for one job")
    dropin = "" if full else _file_name(OVERRIDE if drop_in is None else drop_in)
    place = jobfiles.find(client, "edit jobs")
    status = 0
    for job in jobs:
        status = _edit(client, place, job, dropin, stdin) or status
    return status


def _file_name(word: str) -> str:
    name = word.removesuffix(jobfiles.SUFFIX)
    if not name or "/" in name or name.startswith(".") or len(name) > 64 - len(jobfiles.SUFFIX):
        raise UsageError(f"cannot edit a drop-in called {word!r}: it is the name of a file")
    return name + jobfiles.SUFFIX


def _edit(client: Client, place: Place, job: str, dropin: str, stdin: bool) -> int:
    before = _definition(client, job)
    if "/" in job or not all(file["path"].startswith("/") for file in before.get("files", [])[:1]):
        place = jobfiles.Place("", place.mode)  # it is in the database: another owner's, or sent there
    subject = Subject(place, before, dropin)
    edited = "" if stdin else _in_editor(subject)
    text = ""
    try:
        text = _from_stdin() if stdin else _edited(subject, edited)
        if not text.strip() and not (dropin and subject.old):
            terminal.warn(f"cannot edit {job}: the text is empty, and nothing is changed")
            _forget(edited)
            return NOTHING_SAID
        if text == (subject.old or ""):
            _forget(edited)
            return 0
        status = _take(client, place, job, before, subject, text)
    except Fault as e:
        for line in e.message.splitlines():
            terminal.warn(line)
        status = errors.exit_status(e.code, errors.ACTION)
    if not status:
        _forget(edited)
    elif edited:
        _keep(edited, text)
        terminal.warn(f"nothing is changed; your text is in {edited}")
        which = "--full " if not dropin else "" if dropin == _file_name(OVERRIDE) else f"--drop-in {dropin} "
        terminal.warn(f"{client.target.program} edit {which}--stdin {job} < {edited} takes it when it is mended")
    return status


def _definition(client: Client, job: str) -> Definition:
    definition = client.call({"type": "cat", "names": [job]})["definitions"][0]
    if definition.get("load", "loaded") == "not-found":
        meant = names.meant(client, job)
        hint = f"did you mean {meant!r}?" if meant else "jobctl add makes a job of a file"
        raise Fault(errors.NOT_FOUND, f"cannot find job {job!r}; {hint}")
    if definition.get("transient", True):
        text = f"cannot edit {job}: it has no file, it was made by jobctl run"
        raise Fault(errors.NOT_APPLICABLE, f"{text}; jobctl cat {job} > {job}.toml makes one for jobctl add")
    if definition["owner"] != client.uid:
        _check_others(client, job, definition)
    return definition


def _check_others(client: Client, job: str, definition: Definition) -> None:
    """Another's definition: it is named as his, and nobody edits for nothing."""
    shown = names.shown_name(definition["job"], definition["owner"], client.uid)
    if "/" not in job and client.call({"type": "auth-whoami"})["owner"] != definition["owner"]:
        raise Fault(errors.NOT_FOUND, f"cannot find job {job!r}; did you mean {shown!r}?")
    if not client.call({"type": "auth-can-i", "action": "edit", "job": job})["allowed"]:
        raise Fault(errors.DENIED, f"cannot edit {job}: what it is, its owner and administrators say")


def _take(client: Client, place: Place, job: str, before: Definition, subject: Subject, text: str) -> int:
    """Put the new text in its place, if nobody has changed the definition meanwhile; the status."""
    gone = bool(subject.dropin) and not text.strip()
    if place.directory and not gone and not is_sound(client, place, subject.name, subject.with_text(text)):
        return BAD_DEFINITION
    now = _definition(client, job)
    if now.get("files", []) != before.get("files", []) or Subject(place, now, subject.dropin).old != subject.old:
        terminal.warn(f"cannot take the edit of {job}: its definition has changed meanwhile")
        return errors.exit_status(errors.FAILED, errors.ACTION)
    if not place.directory:
        return define(client, job, text, subject.base or b"/", dropin=subject.dropin, replace=True)
    if gone:
        jobfiles.remove([subject.path])
        return reload(client, [subject.name])
    return put(client, subject.name, subject.path, text)


# --- the text -------------------------------------------------------------------------------------------------------
def _from_stdin() -> str:
    return checked_text(sys.stdin.buffer.read(jobfiles.MAX_BYTES + 1), "standard input")


def _in_editor(subject: Subject) -> str:
    """Have the text edited; the file in which it is. Raises Fault."""
    import subprocess
    import tempfile

    if not _named_editor() and not (os.isatty(terminal.STDOUT) and os.isatty(0)):
        raise Fault(
            errors.FAILED, "cannot edit: there is no terminal for an editor; --stdin takes the text from a pipe"
        )
    directory = tempfile.mkdtemp(prefix="jobctl-edit-")
    path = f"{directory}/{f'{subject.name}-' if subject.dropin else ''}{subject.dropin or f'{subject.name}.toml'}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(_template(subject))
    for command in _editors():
        try:
            status = subprocess.run([*command, path], check=False).returncode
        except FileNotFoundError:
            continue
        except OSError as e:
            _forget(path)
            raise Fault(errors.FAILED, f"cannot run the editor {command[0]}: {e.strerror}") from e
        if status:
            raise Fault(
                errors.FAILED, f"the editor {command[0]} has failed; nothing is changed, your text is in {path}"
            )
        return path
    _forget(path)
    tried = ", ".join(dict.fromkeys(escape(command[0]) for command in _editors()))
    raise Fault(errors.FAILED, f"cannot edit: no editor was found (tried: {tried}); set JOBD_EDITOR or EDITOR")


def _named_editor() -> str:
    return os.environ.get("JOBD_EDITOR") or os.environ.get("EDITOR") or os.environ.get("VISUAL") or ""


def _editors() -> list[list[str]]:
    """What may be run, in the order in which it is tried: what a variable names, or else what there usually is."""
    import shlex

    named = _named_editor()
    if named:
        return [shlex.split(named)]
    return [[editor] for editor in EDITORS]


def _template(subject: Subject) -> str:
    """The text to edit; of a drop-in with the present definition below, in comments."""
    text = subject.old or ""
    if not subject.dropin:
        return text
    lines = [f"### Editing {subject.shown}", BEGIN, "", *(text.splitlines() or ["", ""]), "", END]
    for file in subject.files:
        if file is not subject.own():
            lines += ["", f"### {file['path']}", *(f"# {line}" if line else "#" for line in file["text"].splitlines())]
    return "\n".join(lines) + "\n"


def _edited(subject: Subject, path: str) -> str:
    """What the person has made of it, without our comments."""
    text = checked_text(jobfiles.read(path) or b"", path)
    if not subject.dropin:
        return text
    body = text.partition(END)[0]
    lines = [line for line in body.splitlines() if not line.startswith(("### Editing ", BEGIN))]
    body = "\n".join(lines).strip("\n")
    return f"{body}\n" if body else ""


def _keep(path: str, text: str) -> None:
    """Leave the person's text without our comments: that is where lines are counted, and what --stdin takes."""
    if text.strip():
        try:
            jobfiles.write(path, text)
        except Fault:  # of a full disk, say: then with them
            return


def _forget(path: str) -> None:
    """Take the file away, in which the person's text was."""
    if path:
        import shutil

        shutil.rmtree(os.path.dirname(path), ignore_errors=True)  # the editor may have left more beside it
