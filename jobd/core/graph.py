"""How the jobs of one owner hang together: what a start pulls in, what a stop takes along, and what comes first. Pure.

Theory. Each job names others under seven keys. Three questions are asked of that, and they are apart as in systemd:

    order       `after`, `before`: which of two that start waits for the other; for a stop, the other way round
    demand      `requires`, `binds_to`, `wants`: what is started along. Without the first two a start is refused; what
                is merely wanted is left out when it cannot be had
    downfall    `requires`, `binds_to`, `part_of`, backwards: what is stopped, or restarted, along. And `conflicts`,
                both ways: what is stopped for the sake of what starts

A name that nobody has orders nothing and is wanted in vain; only to require it is an error.
Every function is linear in the edges that it looks at, and no graph of whatever depth overflows a stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobd.core.cycles import cycles as cycles  # read as a part of this: jobd.core.graph.cycles
from jobd.core.cycles import describe_cycle as describe_cycle
from jobd.core.service import DEPENDENCIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobd.core.spec import JobSpec

AFTER, BEFORE, REQUIRES, WANTS, BINDS_TO, PART_OF, CONFLICTS = DEPENDENCIES
DEMANDS: Final = (REQUIRES, BINDS_TO)
DOWNFALLS: Final = (REQUIRES, BINDS_TO, PART_OF)
WORDS: Final = {
    AFTER: "comes after",
    BEFORE: "comes before",
    REQUIRES: "requires",
    WANTS: "wants",
    BINDS_TO: "is bound to",
    PART_OF: "is part of",
    CONFLICTS: "conflicts with",
}

Edge = tuple[str, str, str]  # job, kind, other: as it stands in job's file
Cause = tuple[str, str]  # kind, other: why a job is meant as well


class Graph:
    """The dependencies of one owner's jobs, both ways."""

    __slots__ = ("_named_by", "_of")

    def __init__(self) -> None:
        self._of: dict[str, dict[str, tuple[str, ...]]] = {}
        self._named_by: dict[str, dict[str, dict[str, None]]] = {}  # other → kind → jobs

    @classmethod
    def of(cls, specs: dict[str, JobSpec]) -> Graph:
        """The graph of these jobs."""
        graph = cls()
        for name, spec in specs.items():
            graph.put(name, spec)
        return graph

    def put(self, name: str, spec: JobSpec) -> None:
        """A job is there, or has other dependencies than before."""
        self.remove(name)
        found = {kind: tuple(dict.fromkeys(others)) for kind in DEPENDENCIES if (others := getattr(spec, kind))}
        self._of[name] = found
        for kind, others in found.items():
            for other in others:
                self._named_by.setdefault(other, {}).setdefault(kind, {})[name] = None

    def remove(self, name: str) -> None:
        """A job is not there any more; what others say of it stays."""
        for kind, others in self._of.pop(name, {}).items():
            for other in others:
                kinds = self._named_by[other]
                del kinds[kind][name]
                if not kinds[kind]:
                    del kinds[kind]
                if not kinds:
                    del self._named_by[other]

    def __contains__(self, name: str) -> bool:
        return name in self._of

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def is_alone(self, name: str) -> bool:
        """Whether nothing depends on it in any way, nor it on anything."""
        return not self._of.get(name) and name not in self._named_by

    def named(self, name: str, kind: str) -> tuple[str, ...]:
        """What the job names under a kind."""
        return self._of.get(name, {}).get(kind, ())

    def named_by(self, name: str, kind: str) -> tuple[str, ...]:
        """Who names the job under a kind."""
        return tuple(self._named_by.get(name, {}).get(kind, ()))

    def edges(self, name: str) -> list[Edge]:
        """All that the job says of others, and they of it."""
        own = [(name, kind, other) for kind, others in self._of.get(name, {}).items() for other in others]
        return own + [(by, kind, name) for kind, jobs in self._named_by.get(name, {}).items() for by in jobs]

    def earlier(self, name: str) -> Iterator[str]:
        """What it comes after, by its own word or theirs."""
        yield from self.named(name, AFTER)
        yield from self.named_by(name, BEFORE)

    def later(self, name: str) -> Iterator[str]:
        """What comes after it."""
        yield from self.named(name, BEFORE)
        yield from self.named_by(name, AFTER)

    def demands(self, name: str) -> Iterator[Cause]:
        """What it cannot be started without."""
        for kind in DEMANDS:
            for other in self.named(name, kind):
                yield kind, other

    def dependents(self, name: str) -> Iterator[Edge]:
        """Who is stopped when it is stopped."""
        for kind in DOWNFALLS:
            for by in self.named_by(name, kind):
                yield by, kind, name

    def opponents(self, name: str) -> Iterator[str]:
        """What cannot be there beside it, by its own word or theirs."""
        yield from self.named(name, CONFLICTS)
        yield from self.named_by(name, CONFLICTS)


def names_others(spec: JobSpec) -> bool:
    """Whether a job says anything of others."""
    return bool(
        spec.after or spec.before or spec.requires or spec.wants or spec.binds_to or spec.part_of or spec.conflicts
    )


# --- a start ------------------------------------------------------------------------------------------------------
MISSING: Final = "missing"
CYCLIC: Final = "cyclic"


class Lack(Struct, frozen=True):
    """Why a job cannot be started, as the end of a sentence: `does not exist`, `is masked`. `kind` may be MISSING."""

    text: str
    kind: str = ""


class Refusal(Exception):  # noqa: N818  # an answer, not an error of ours
    """A job cannot be started; the text says why: `it requires db, which does not exist`."""

    def __init__(self, text: str, job: str, kind: str = "") -> None:
        super().__init__(text)
        self.job = job  # that is the reason: itself, or what it requires
        self.kind = kind  # of the Lack


class StartPlan(Struct, frozen=True):
    """What a start comes to."""

    start: dict[str, Cause | None]  # what comes first is first; those that were asked for have no cause
    stop: dict[str, Cause]  # what has to be stopped, where it is not at rest
    refused: dict[str, Refusal]  # of those that were asked for
    ignored: dict[str, str]  # wanted, and why it is left out


LackOf = Callable[[str], Lack | None]


def plan_start(graph: Graph, names: Iterable[str], lack: LackOf) -> StartPlan:
    """What is started and stopped when these jobs are started together.

    Args:
        graph: of the owner's jobs. `lack` may put one in, as it makes the instance of a template.
        names: of the jobs that are asked for.
        lack: why a job cannot be started, if it cannot.
    """
    meant = tuple(names)
    plan = _plan(graph, meant, lack)
    round_ = cycles(graph, plan.start)
    if round_.keys().isdisjoint(plan.start):
        return plan

    def lack_or_cycle(name: str) -> Lack | None:
        if name in round_:
            return Lack(f"comes after itself ({describe_cycle(round_[name])})", CYCLIC)
        return lack(name)

    return _plan(graph, meant, lack_or_cycle)


def _plan(graph: Graph, names: Iterable[str], lack: LackOf) -> StartPlan:
    chosen: dict[str, Cause | None] = {}
    plan = StartPlan({}, {}, {}, {})
    for name in names:
        try:
            _choose(graph, name, None, chosen, lack)
        except Refusal as refusal:
            plan.refused[name] = refusal
        else:
            chosen[name] = None
    todo = deque(chosen)
    while todo:
        name = todo.popleft()
        for other in graph.named(name, WANTS):
            if other not in chosen and other not in plan.ignored:
                try:
                    todo.extend(_choose(graph, other, (WANTS, name), chosen, lack))
                except Refusal as refusal:
                    plan.ignored[other] = str(refusal)
    plan.start.update((name, chosen[name]) for name in in_order(graph, chosen))
    plan.stop.update(_fall(graph, chosen))
    return plan


def _choose(
    graph: Graph, name: str, cause: Cause | None, chosen: dict[str, Cause | None], lack: LackOf
) -> dict[str, Cause | None]:
    """Add a job and all that it cannot be without, or nothing (Refusal). Answers what is new."""
    group: dict[str, Cause | None] = {name: cause} if name not in chosen else {}
    todo = list(group)
    while todo:
        here = todo.pop()
        if (why := lack(here)) is not None:
            raise Refusal(_chain(here, group, name, why.text), here, why.kind)
        for other in graph.opponents(here):
            if other != here and (other in chosen or other in group):
                text = f"conflicts with {other}, which is to be started as well"
                raise Refusal(_chain(here, group, name, text), here)
        for kind, other in graph.demands(here):
            if other not in chosen and other not in group:
                group[other] = (kind, here)
                todo.append(other)
    chosen.update(group)
    return group


def _fall(graph: Graph, chosen: Iterable[str]) -> dict[str, Cause]:
    """What has to be stopped for the sake of these, and what that takes along."""
    chosen = dict.fromkeys(chosen)
    enemies: dict[str, Cause] = {}
    for name in chosen:
        for other in graph.opponents(name):
            enemies.setdefault(other, (CONFLICTS, name))
    falling = stopped_with(graph, enemies)
    return {name: cause or enemies[name] for name, cause in falling.items() if name not in chosen}


def _chain(here: str, group: dict[str, Cause | None], first: str, text: str) -> str:
    """`it requires api, which requires db, which does not exist`."""
    words = [text]
    while here != first:
        cause = group[here]
        assert cause is not None
        kind, above = cause
        words.append(f"{WORDS[kind]} {here}")
        here = above
    return "it " + ", which ".join(reversed(words))


def in_order(graph: Graph, names: Iterable[str]) -> list[str]:
    """The names, each behind those of them that it comes after, and else as they came."""
    meant = dict.fromkeys(names)
    done: dict[str, None] = {}
    entered: set[str] = set()
    for root in meant:
        work = [root]
        while work:
            name = work[-1]
            if name not in entered:
                entered.add(name)
                work += [other for other in graph.earlier(name) if other in meant and other not in entered]
                continue
            work.pop()
            done.setdefault(name)
    return list(done)


# --- a stop -------------------------------------------------------------------------------------------------------
def stopped_with(graph: Graph, names: Iterable[str]) -> dict[str, Cause | None]:
    """These and all that a stop, or a restart, of them takes along, with the reason for each."""
    found: dict[str, Cause | None] = dict.fromkeys(names)
    todo = deque(found)
    while todo:
        for by, kind, other in graph.dependents(todo.popleft()):
            if by not in found:
                found[by] = (kind, other)
                todo.append(by)
    return found


# --- to look at ---------------------------------------------------------------------------------------------------
def reach(
    graph: Graph,
    names: Iterable[str],
    *,
    reverse: bool = False,
    order: bool = False,
    tells: Callable[[str], bool] = lambda _: True,
) -> list[Edge]:
    """All edges that are met on the way from these jobs, one way, each once.

    Args:
        graph: of all jobs.
        names: where to begin.
        reverse: towards those who name them; with `order`, towards those who come after them.
        order: by the edges of order alone. Otherwise by those of demand; a job that others are part of has those.
        tells: whether what a job says of others is to be seen.
    """
    edges: dict[Edge, None] = {}
    seen = dict.fromkeys(names)
    todo = deque(seen)
    while todo:
        for edge in _steps(graph, todo.popleft(), reverse, order):
            if not tells(edge[0]):
                continue
            edges[edge] = None
            for end in (edge[0], edge[2]):
                if end not in seen:
                    seen[end] = None
                    todo.append(end)
    return list(edges)


def _steps(graph: Graph, name: str, reverse: bool, order: bool) -> Iterator[Edge]:
    own = [AFTER] if order else [REQUIRES, BINDS_TO, WANTS]
    theirs = [BEFORE] if order else [PART_OF]
    if reverse:
        own, theirs = theirs, own
    for kind in own:
        yield from ((name, kind, other) for other in graph.named(name, kind))
    for kind in theirs:
        yield from ((by, kind, name) for by in graph.named_by(name, kind))
