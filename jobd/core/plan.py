"""What reading definitions again changes, and what a definition lets be done. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import names, records, service
from jobd.core.jobkeys import ENVIRONMENT, KEYS
from jobd.core.keytext import differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec

ADDED, CHANGED, REMOVED, BROKEN, UNCHANGED = "added", "changed", "removed", "broken", "unchanged"

# What is asked of a job, and not of one of its runs: it counts from now on.
SCHEDULE: Final = tuple(key for key in KEYS if key.startswith("schedule."))
AT_ONCE: Final = frozenset({"description", "essential", *SCHEDULE, *service.DEPENDENCIES, *service.HOOKS})

# Why a job cannot be started, whoever wants it to.
MASKED, BAD, MISSING, TEMPLATE = "masked", "bad-setting", "not-found", "template"


def changed_keys(old: JobSpec, new: JobSpec, old_env: Sequence[bytes], new_env: Sequence[bytes]) -> list[str]:
    """The keys of a job file that have other values, in the order of the table of keys."""
    found = set(differences(old, new))
    if list(old_env) != list(new_env):
        found.add(ENVIRONMENT)
    if old.gid != new.gid:
        found.add("user")  # whoever has sent the file is in another group
    return [key for key in KEYS if key in found]


def needs_restart(keys: Sequence[str]) -> bool:
    """Whether a run goes on with what these were."""
    return not AT_ONCE.issuperset(keys)


def obstacle(row: JobRow) -> tuple[str, str] | None:
    """Why a job cannot be started: one of the words above, and the end of a sentence; None: it can."""
    if row.masked:
        return MASKED, "it is masked; jobctl unmask allows it again"
    if names.is_template(row.job) and not row.transient:
        return TEMPLATE, f"it is a template; name an instance of it, such as {row.job}1"
    if row.load == records.NOT_FOUND:
        return MISSING, "its file is gone" if row.file else "it has no definition"
    if row.load == records.BAD_SETTING:
        return BAD, f"its definition cannot be taken: {row.problem}"
    return None


def is_idle_leftover(row: JobRow) -> bool:
    """Whether nothing keeps this row: its definition is gone, nobody has enabled or masked it, and it has not failed.

    Its state decides besides: of a job that is not at rest the row stays.
    """
    return row.load == records.NOT_FOUND and not (row.enabled or row.masked or row.transient) and row.sub == "dead"
