"""Who may do what: one table of verbs, and the one decision by it. Pure.

Denied unless somebody's standing or an `[[allow]]` says otherwise. Whoever may do anything with a job may *see* it: its
state, its runs and what happened to it. To everybody else it does not exist.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.core.policy import Policy, Rule

READ: Final = "@read"
CONTROL: Final = "@control"
ALL: Final = "@all"
OWNER_ALONE: Final = "own"  # what a job is, and so what runs as its owner: no rule grants that to anybody else
ADMIN: Final = "admin"  # acts on the daemon itself: no rule grants them
EVERYONE: Final = "everyone"  # about the caller himself
GROUPS: Final = (READ, CONTROL, ALL)

ADMIN_GROUP: Final = "jobd-admin"

# Every verb, and the group that it belongs to. `jobctl auth can-i` and the `actions` of jobd.toml take these words.
VERBS: Final[dict[str, str]] = {
    "list": READ,
    "status": READ,
    "show": READ,
    "is-active": READ,
    "is-failed": READ,
    "history": READ,
    "events": READ,
    "wait": READ,
    "logs": READ,
    "result": READ,
    "cat": READ,
    "why": READ,
    "is-enabled": READ,
    "list-job-files": READ,
    "list-dependencies": READ,
    "list-timers": READ,
    "run": CONTROL,
    "rerun": CONTROL,
    "attach": CONTROL,
    "start": CONTROL,
    "stop": CONTROL,
    "restart": CONTROL,
    "reload": CONTROL,
    "try-restart": CONTROL,
    "reload-or-restart": CONTROL,
    "kill": CONTROL,
    "freeze": CONTROL,
    "thaw": CONTROL,
    "reset-failed": CONTROL,
    "rm": CONTROL,
    "cancel": CONTROL,
    "hold": CONTROL,
    "release": CONTROL,
    "add": OWNER_ALONE,
    "edit": OWNER_ALONE,
    "revert": OWNER_ALONE,
    "enable": CONTROL,
    "disable": CONTROL,
    "mask": CONTROL,
    "unmask": CONTROL,
    "set-property": OWNER_ALONE,
    "queue": EVERYONE,  # each caller's own, and the shared ones: the handlers decide which he may change
    "whoami": EVERYONE,
    "auth": EVERYONE,
    "daemon-status": EVERYONE,
    "is-system-running": EVERYONE,
    "daemon-reload": ADMIN,
    "daemon-reexec": ADMIN,
    "shutdown": ADMIN,
}
OF_JOBS: Final = (*GROUPS, OWNER_ALONE)  # groups of verbs that are about a job
# What needs no more than to see the job. Output and definition are more: they may hold secrets.
SEEING: Final = frozenset(
    {
        "list",
        "status",
        "show",
        "is-active",
        "is-failed",
        "history",
        "events",
        "wait",
        "whoami",
        "why",
        "is-enabled",
        "list-job-files",
        "list-dependencies",
        "list-timers",
    }
)
SAME_AS: Final = {  # one request serves both
    "result": "logs", "try-restart": "restart", "reload-or-restart": "restart", "edit": "add", "revert": "add",
    "disable": "enable", "unmask": "mask",
}  # fmt: skip
ACTIONS: Final = tuple(verb for verb, group in VERBS.items() if group in GROUPS)  # what an `[[allow]]` may name


class Who(Struct, frozen=True):
    """The caller. `groups` are his primary group and the supplementary ones."""

    uid: int
    groups: frozenset[int]
    standing: str = ""  # why he may do everything, if he may: "root", "daemon's own user", "group jobd-admin"

    @property
    def is_admin(self) -> bool:
        """Whether he may do everything."""
        return bool(self.standing)


class Owner(Struct, frozen=True):
    """Whose a job is; `name` is "" for a uid without one."""

    uid: int
    name: str = ""


class Decision(Struct, frozen=True):
    """`rule` says in words which rule decided, as jobd-protocol(7) has it; "" if none allows it."""

    allowed: bool
    visible: bool
    rule: str = ""


OWNER: Final = Decision(True, True, "owner")
MISSING: Final = Decision(False, False)


def decide(policy: Policy, who: Who, action: str, owner: Owner | None, job: str = "") -> Decision:
    """Whether `who` may do `action` (a verb) with `owner`'s job, or with `owner` None on the daemon."""
    if who.standing:
        return Decision(True, True, who.standing)
    group = VERBS.get(action, ADMIN)
    if owner is None or group not in OF_JOBS:
        if group == EVERYONE:
            return Decision(True, True, EVERYONE)
        return Decision(group in OF_JOBS, True, OWNER.rule if group in OF_JOBS else "")
    if not job:
        return MISSING  # the name under which acts on the daemon are kept
    if owner.uid == who.uid:
        return OWNER
    return _by_rules(policy, who, action, owner, job)


def _by_rules(policy: Policy, who: Who, action: str, owner: Owner, job: str) -> Decision:
    seen = ""
    for rule in policy.allow:
        if not (concerns(rule, who) and fits_owner(rule.owners, owner) and fits(job, rule.jobs)):
            continue
        where = f"{policy.file}:{rule.line}"
        if grants(rule, action):
            return Decision(True, True, where)
        seen = seen or where
    if seen and action in SEEING:
        return Decision(True, True, seen)
    return Decision(False, bool(seen))


def concerns(rule: Rule, who: Who) -> bool:
    """Whether he is one of those that the rule is about."""
    return rule.any_user or who.uid in rule.uids or not rule.gids.isdisjoint(who.groups)


def grants(rule: Rule, action: str) -> bool:
    """Whether the rule names this action, or a group of it."""
    group = VERBS.get(action, ADMIN)
    if group not in GROUPS:
        return False
    same = SAME_AS.get(action, action)
    return any(word in (ALL, group) or SAME_AS.get(word, word) == same for word in rule.actions)


def fits_owner(words: Iterable[str], owner: Owner) -> bool:
    """Whether one of these globs means this owner, by name or uid."""
    return fits(str(owner.uid), words) or bool(owner.name and fits(owner.name, words))


def fits(name: str, globs: Iterable[str]) -> bool:
    """Whether a name fits one of these."""
    return any(glob == "*" or fnmatch.fnmatchcase(name, glob) for glob in globs)
