"""The messages about what jobs are and how they hang together: definitions, dependencies, reloads, reasons."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from jobd.wire.fields import Id, JobName, Message, Names, PathBytes, Patterns, RunIds, Settings, Word, Words

__all__ = [
    "MAX_FILE_BYTES", "Define", "Enable", "FileText", "ListDependencies", "ListFiles", "Mask", "Reload", "Revert",
    "SetProperty", "Why",
]  # fmt: skip

MAX_FILE_BYTES = 256 << 10  # of a job file: a long one has 2 KiB
FileText: TypeAlias = Annotated[str, Meta(max_length=MAX_FILE_BYTES)]


class Define(Message, frozen=True, kw_only=True, tag="define"):
    """Store a job file, or a drop-in of one, in the database. Reply: Plan. Sent again with the same text it is done.

    `base` is the directory that relative paths in the text are meant from. Without `replace`, another text that is
    there is EXISTS. A text with errors is BAD_SETTING and changes nothing; `dry` changes nothing either.
    """

    id: Id
    name: JobName
    text: FileText
    base: PathBytes
    dropin: Word = ""  # its file name, "override.toml"; "" is the job file itself
    replace: bool = False
    dry: bool = False


class Revert(Message, frozen=True, kw_only=True, tag="revert"):
    """Take the stored drop-ins of jobs away. Reply: Plan."""

    id: Id
    names: Names


class Enable(Message, frozen=True, kw_only=True, tag="enable"):
    """Have jobs started with the daemon, or not any more. Items: Done per job; End."""

    id: Id
    names: Names
    enabled: bool = True


class Mask(Message, frozen=True, kw_only=True, tag="mask"):
    """Have jobs not be started by anybody, or be startable again. Items: Done per job; End."""

    id: Id
    names: Names
    masked: bool = True


class Reload(Message, frozen=True, kw_only=True, tag="reload"):
    """Have running jobs read their configuration. Items: Progress; then Done for each job; End.

    With `or_restart`, those that have no way to do so are restarted, under the ids of `runs`, and those at rest
    started; with `running_only` those at rest are left alone. Asked again under the same `runs`, nothing is done twice.
    """

    id: Id
    names: Names
    runs: RunIds = []
    or_restart: bool = False
    running_only: bool = False
    no_block: bool = False


class SetProperty(Message, frozen=True, kw_only=True, tag="set-property"):
    """Change settings of a job: of what runs too, where that can take effect. Reply: Ok, which says what did.

    `settings` as in Run. They are kept as a drop-in, `set-property.toml`; of a transient job in its definition.
    """

    id: Id
    name: JobName
    settings: Settings


class ListFiles(Message, frozen=True, kw_only=True, tag="list-job-files"):
    """The jobs that have a definition. Reply: Files, sorted by owner, name; `more` and `after` as in List."""

    id: Id
    patterns: Patterns = []
    states: Words = []  # of the file: enabled, disabled, masked …
    after: Annotated[str, Meta(max_length=128)] = ""


class ListDependencies(Message, frozen=True, kw_only=True, tag="list-dependencies"):
    """All dependencies that can be reached from jobs, one way. Reply: Graph.

    `reverse`: which jobs name these. `order`: those of after and before only, else those that pull in or stop.
    """

    id: Id
    names: Names
    reverse: bool = False
    order: bool = False


class Why(Message, frozen=True, kw_only=True, tag="why"):
    """Why jobs are in the state that they are in. Reply: Reasons."""

    id: Id
    names: Names
