"""`jobd.toml` → Policy: pure. Every error names file, line and why; all of a file are found, not the first alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from jobd.core import names, readers, rules, units
from jobd.core.logline import LEVELS, printable
from jobd.core.policy import Kept, Policy, Rule, UserLimits
from jobd.core.spec import RLIMITS
from jobd.core.tomlplace import TomlError
from jobd.core.tomlread import ReadError, Table, kind, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The keys of each table, as they are documented in jobd.toml(5); a test compares the two.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "": ("allow", "limits", "retention", "no_new_privileges", "log_level"),
    "[allow]": ("users", "groups", "actions", "owners", "jobs"),
    "limits": (
        "connections",
        "requests",
        "running",
        "queued",
        "total_running",
        "log_size",
        "environment_size",
        "rlimits",
    ),
    "limits.rlimits": tuple(RLIMITS),
    "retention": ("keep_runs", "keep_for", "runs_per_owner"),
}
EVERYBODY: Final = "*"
MAX_UID: Final = 2**32 - 2  # -1 is nobody
MAX_RULES: Final = 1000  # each of which is looked at for what others do; and all are shown in one answer
MAX_COUNT: Final = 10**9
# What is counted in bytes, and may be written as a size.
USUAL: Final = UserLimits()
SIZES: Final = frozenset({"as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"})
# Words that people try for actions, and what they mean here.
_ACTIONS_MEANT: Final = {
    "*": rules.ALL, "all": rules.ALL, "any": rules.ALL, "read": rules.READ, "view": rules.READ, "see": rules.READ,
    "control": rules.CONTROL, "write": rules.CONTROL, "manage": rules.CONTROL, "admin": rules.ALL, "tail": "logs",
    "log": "logs", "ps": "list", "signal": "kill", "remove": "rm", "delete": "rm",
}  # fmt: skip


class ConfigError(ValueError):
    """The file cannot be taken. `problems` are all that were found, each `FILE:LINE: why`."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = tuple(problems)


class Lookup(Protocol):
    """Who users and groups are."""

    def uid(self, name: str) -> int | None:
        """Of a user's name; None when there is no such user."""

    def gid(self, name: str) -> int | None:
        """Of a group's name; None when there is no such group."""


def decode(data: bytes, file: str) -> str:
    """The text of a file. Raises ConfigError when it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{file}:{line}: not UTF-8: byte {data[error.start]:#04x}"]) from error


def parse(text: str, file: str, lookup: Lookup, usual: UserLimits = USUAL) -> Policy:
    """Read a configuration.

    Args:
        text, file: what it says, and where.
        lookup: of names of users and groups.
        usual: limits that the file leaves out.

    Raises:
        ConfigError: it cannot be taken.
    """
    try:
        top = Table.read(text, file, KEYS)
        limits, retention = top.table("limits"), top.table("retention")
    except TomlError as error:
        raise ConfigError([printable(f"{file}:{error.line}:{error.column}: {error.why}")]) from error
    found = Policy(
        file=file,
        allow=tuple(rule for rule in (_rule(table, lookup) for table in _allow(top)) if rule is not None),
        limits=_limits(limits, usual),
        total_running=limits.take("total_running", _count, None),
        kept=_kept(retention),
        rlimits=_rlimits(limits.table("rlimits")),
        no_new_privileges=top.boolean("no_new_privileges", False),
        log_level=top.take("log_level", _level, ""),
        warnings=tuple(top.said.warnings()),
    )
    if problems := top.said.problems():
        raise ConfigError(problems)
    return found


def _level(value: object) -> str:
    if value not in LEVELS or not isinstance(value, str):
        meant = names.closest(value, LEVELS) if isinstance(value, str) else None
        raise ReadError(f"must be one of {listed(LEVELS)}" + (f'; did you mean "{meant}"?' if meant else ""))
    return value


# --- [[allow]] ----------------------------------------------------------------------------------------------------
def _allow(top: Table) -> list[Table]:
    value = top.values.get("allow")
    if isinstance(value, dict):
        top.problem("allow", "a rule is written [[allow]], in two pairs of brackets")
        return []
    found = top.tables("allow", "[allow]")
    if len(found) > MAX_RULES:
        found[MAX_RULES].problem("", f"more than {MAX_RULES} rules")
    return found[:MAX_RULES]


def _rule(table: Table, lookup: Lookup) -> Rule | None:
    """One `[[allow]]`; None when it grants nothing, which was said."""
    users, groups, actions = (table.words(key) for key in ("users", "groups", "actions"))
    owners, jobs = (table.words(key, (EVERYBODY,)) for key in ("owners", "jobs"))
    if not users and not groups and not (table.wrong("users") or table.wrong("groups")):
        table.problem("", 'this [[allow]] needs users or groups; users = ["*"] means everybody')
    if not actions and not table.wrong("actions"):
        table.problem("", 'this [[allow]] needs actions, such as actions = ["@read"]')
    for key, value in (("owners", owners), ("jobs", jobs)):
        if not value and not table.wrong(key):
            table.problem(key, f'"{key}" is empty, so that nothing is granted; without it all are meant')
    for at, word in enumerate(actions):
        _check_action(table, at, word)
    for at, word in enumerate(jobs):
        _check_job(table, at, word)
    for at, word in enumerate(owners):
        if not names.is_glob(word):
            _uid(table, "owners", at, word, lookup)
    uids = [_uid(table, "users", at, word, lookup) for at, word in enumerate(users) if word != EVERYBODY]
    gids = [_gid(table, at, word, lookup) for at, word in enumerate(groups)]
    return Rule(
        line=table.line(),
        users=users,
        groups=groups,
        actions=actions,
        owners=owners,
        jobs=jobs,
        uids=frozenset(uid for uid in uids if uid is not None),
        gids=frozenset(gid for gid in gids if gid is not None),
        any_user=EVERYBODY in users,
    )


def _check_action(table: Table, at: int, word: str) -> None:
    if word in rules.ACTIONS or word in rules.GROUPS:
        return
    group = rules.VERBS.get(word)
    if group == rules.ADMIN:
        table.problem(
            ("actions", at), f'"{word}" cannot be granted: it is for root and the group {rules.ADMIN_GROUP} alone'
        )
    elif group is not None:
        table.problem(("actions", at), f'"{word}" need not be granted: everybody may do that')
    else:
        known = (*rules.ACTIONS, *rules.GROUPS)
        meant = _ACTIONS_MEANT.get(word) or names.closest(word, known)
        hint = f'did you mean "{meant}"?' if meant else f"known are {listed(rules.GROUPS)} and verbs of jobctl"
        table.problem(("actions", at), f'unknown action "{word}"; {hint}')


def _check_job(table: Table, at: int, word: str) -> None:
    owner, name = names.split_owner(word)
    if owner is not None:
        table.problem(("jobs", at), f'"{word}" is no name of a job; write owners = ["{owner}"] and jobs = ["{name}"]')
    elif not names.is_glob(word) and not names.valid_job_name(word):
        table.problem(("jobs", at), names.why_invalid(word))


def _uid(table: Table, key: str, at: int, word: str, lookup: Lookup) -> int | None:
    """Of a user by name or number."""
    if names.is_glob(word):
        table.problem((key, at), f'"{word}": users are named one by one; only "*", for everybody, is a pattern')
        return None
    if word[:1] in ("@", "%", "+"):
        table.problem((key, at), f'"{word}" is no user; write groups = ["{word[1:]}"]')
        return None
    return _id(table, (key, at), word, "user", lookup.uid)


def _gid(table: Table, at: int, word: str, lookup: Lookup) -> int | None:
    """Of a group by name or number."""
    if names.is_glob(word):
        table.problem(("groups", at), f'"{word}": groups are named one by one; users = ["*"] means everybody')
        return None
    return _id(table, ("groups", at), word, "group", lookup.gid)


def _id(table: Table, where: tuple[str, int], word: str, what: str, find: Callable[[str], int | None]) -> int | None:
    found = find(word)
    if found is not None:
        return found
    if word.isascii() and word.isdigit():
        if int(word[:11]) <= MAX_UID and len(word) <= 10:
            return int(word)
        table.problem(where, f"{what} {word} cannot be: numbers end at {MAX_UID}")
        return None
    table.warn(where, f'there is no {what} "{word}"; daemon-reload looks again')
    return None


# --- [limits] -----------------------------------------------------------------------------------------------------
def _limits(table: Table, usual: UserLimits) -> UserLimits:
    return UserLimits(
        connections=table.take("connections", _positive, usual.connections),
        requests=table.take("requests", _positive, usual.requests),
        running=table.take("running", _count, usual.running),
        queued=table.take("queued", _count, usual.queued),
        log_bytes=table.take("log_size", _size, usual.log_bytes),
        environment_bytes=table.take("environment_size", _size, usual.environment_bytes),
    )


def _rlimits(table: Table) -> dict[str, int]:
    found = {}
    for name in RLIMITS:
        value: int | None = table.take(name, _size if name in SIZES else _count, None)
        if value is not None:
            found[name] = value
    return found


def _kept(table: Table) -> Kept:
    usual = Kept()
    return Kept(
        runs=table.take("keep_runs", _several, usual.runs),
        for_usec=table.take("keep_for", readers.duration(zero="no run could be looked at"), usual.for_usec),
        runs_per_owner=table.take("runs_per_owner", _several, usual.runs_per_owner),
    )


def _several(value: object) -> int | None:
    return None if value == units.INFINITY else _positive(value)


def _positive(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ReadError(f"must be a number, not {kind(value)}")
    if not 1 <= value <= MAX_COUNT:
        raise ReadError(f"must be between 1 and {MAX_COUNT}, not {value}")
    return value


def _count(value: object) -> int | None:
    if value == units.INFINITY:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ReadError(f'must be a number or "{units.INFINITY}", not {kind(value)}')
    if not 0 <= value <= MAX_COUNT:
        raise ReadError(f"must be between 0 and {MAX_COUNT}, not {value}")
    return value


def _size(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ReadError(f'must be a size, such as "512M", not {kind(value)}')
    try:
        return units.parse_size(str(value))
    except ValueError as error:
        raise ReadError(f'is no size, such as "512M": {str(error).partition(": ")[2] or error}') from error
