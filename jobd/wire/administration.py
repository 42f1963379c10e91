"""The messages about the daemon itself, and about who may do what."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobd.wire.fields import Id, JobName, Message, Word

__all__ = [
    "AuthCanI", "AuthRules", "AuthWhoami", "DaemonReexec", "DaemonReload", "DaemonStatus", "Shutdown",
]  # fmt: skip


class AuthWhoami(Message, frozen=True, kw_only=True, tag="auth-whoami"):
    """Whom the daemon takes the caller for. Reply: Identity."""

    id: Id


class AuthCanI(Message, frozen=True, kw_only=True, tag="auth-can-i"):
    """Whether the caller (`user`: somebody else, for administrators) may do something, and by which rule.

    `action` is a verb's name; `job` a job's, which need not exist, or empty for an act on the daemon. Reply: Decision.
    """

    id: Id
    action: Word
    job: Annotated[str, Meta(max_length=96)] = ""
    user: Word = ""  # a name or a uid


class AuthRules(Message, frozen=True, kw_only=True, tag="auth-rules"):
    """The rules that concern the caller; an administrator sees all. Reply: Rules."""

    id: Id


class DaemonReload(Message, frozen=True, kw_only=True, tag="daemon-reload"):
    """Read the configuration and the job files again. Reply: Plan, of what has changed; nothing is restarted.

    BAD_SETTING, with file and line: the configuration stays as it was. Of a job file that cannot be read the plan
    tells. `names`: only these jobs' files, and not the configuration. `dry`: tell, and change nothing.
    """

    id: Id
    names: Annotated[list[JobName], Meta(max_length=4096)] = []
    dry: bool = False


class DaemonStatus(Message, frozen=True, kw_only=True, tag="daemon-status"):
    """Reply: Daemon."""

    id: Id


class DaemonReexec(Message, frozen=True, kw_only=True, tag="daemon-reexec"):
    """Replace the daemon (or with `keeper` the keeper) by the code on disk. Reply: Ok when accepted."""

    id: Id
    keeper: bool = False


class Shutdown(Message, frozen=True, kw_only=True, tag="shutdown"):
    """Stop all runs in order, keep the queue, end jobd. Reply: Ok when accepted."""

    id: Id
