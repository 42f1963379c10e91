"""Names of jobs: which are allowed, how others' jobs are written, what a glob is, and what was probably meant.

Imported by the client's hot path: no `re`, no `difflib`, no `fnmatch` at import.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs the client 6 ms; type checkers know this name
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAME = 64  # DESIGN.md, section 9
_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")


def valid_job_name(name: str) -> bool:
    """Whether `name` is `[A-Za-z0-9_.@-]{1,64}` and does not begin with `-` or `.`."""
    return 0 < len(name) <= MAX_NAME and name[0] not in "-." and _ALLOWED.issuperset(name)


def why_invalid(name: str, what: str = "job") -> str:
    """Says in words what is wrong with a name for which `valid_job_name` is false."""
    if not name:
        return f"a {what} name cannot be empty"
    if len(name) > MAX_NAME:
        return f"{what} name {name[:20]!r}… has {len(name)} characters; at most {MAX_NAME} are allowed"
    if name[0] in "-.":
        return f"{what} name {name!r} cannot begin with {name[0]!r}"
    bad = next(c for c in name if c not in _ALLOWED)
    return f"{what} name {name!r} has {bad!r}; letters, digits and _ . @ - are allowed"


def split_owner(word: str) -> tuple[str | None, str]:
    """`alice/web` gives ("alice", "web"); `web` gives (None, "web")."""
    owner, slash, name = word.partition("/")
    return (owner, name) if slash else (None, word)


def is_template(name: str) -> bool:
    """Whether `name` is a template's: `web@`."""
    return len(name) > 1 and name.endswith("@")


def template_of(name: str) -> str | None:
    """The template that `name` is an instance of: `web@8080` is one of `web@`; None for any other name."""
    stem, at, instance = name.partition("@")
    return f"{stem}@" if stem and at and instance else None


def is_glob(word: str) -> bool:
    """Whether `word` is a pattern rather than a name."""
    return any(c in word for c in "*?[")


def transient_base(argv0: str) -> str:
    """The stem of a transient job's name: the command's last path part, cleaned to allowed characters.

    The caller appends `-N`, so the stem leaves room for it.
    """
    stem = argv0.rstrip("/").rpartition("/")[2]
    stem = "".join(c if c in _ALLOWED else "_" for c in stem).lstrip("-.")
    return stem[:48] or "job"


def _distance(a: str, b: str, limit: int) -> int:
    """Edit distance with transpositions (optimal string alignment), or `limit + 1` when it is more than `limit`."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        last, row, older = row, [i], before
        before = last
        for j, cb in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (ca != cb))
            if i > 1 and j > 1 and ca == b[j - 2] and a[i - 2] == cb:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was probably meant to be, or None.

    Args:
        word: what was typed.
        candidates: an iterable of str; the first of the nearest wins.
    """
    known = list(candidates)
    begun = [candidate for candidate in known if len(word) > 1 and candidate.startswith(word)]
    if begun:
        return min(begun, key=len)  # somebody stopped typing: `stat` is status before it is a misspelt start
    limit = 1 if len(word) < 5 else 2  # as git and cargo do: one slip in a short word, two in a longer one
    best: str | None = None
    best_distance = limit + 1
    for candidate in known:
        distance = _distance(word, candidate, limit)
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best
