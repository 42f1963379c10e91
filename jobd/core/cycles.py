"""Circles in the order of jobs: who comes after itself, and by which way. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobd.core.graph import Graph

SHOWN: Final = 12  # jobs of a cycle that are named; nobody reads more


def cycles(graph: Graph, names: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """For each job that comes after itself, a way round: (a, b, c) is a after b after c after a.

    Args:
        graph: of all jobs.
        names: look only at these, and at what they come after.
    """
    found: dict[str, tuple[str, ...]] = {}
    knots = _Knots(graph)
    for name in graph if names is None else names:
        knots.visit(name)
    for group in knots.found:
        members = frozenset(group)
        for name in group:
            if name in found:
                continue
            way = _way_round(graph, name, members)
            for at, other in enumerate(way):  # one knot is told as one cycle wherever that is as true
                if other not in found:
                    found[other] = way[at:] + way[:at] if len(way) <= SHOWN else way
    return found


def describe_cycle(cycle: tuple[str, ...]) -> str:
    """`a after b after c after a`, beginning where the alphabet does."""
    at = cycle.index(min(cycle))
    turned = cycle[at:] + cycle[:at]
    shown = turned if len(turned) <= SHOWN else (*turned[: SHOWN - 1], "…")
    return " after ".join((*shown, turned[0]))


class _Knots:
    """The strongly connected parts in which there is a cycle (Tarjan's algorithm, without recursion)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._index: dict[str, int] = {}
        self._low: dict[str, int] = {}
        self._stack: list[str] = []
        self._on_stack: set[str] = set()
        self.found: list[list[str]] = []

    def visit(self, root: str) -> None:
        """Look at a job and all that it comes after, if that was not done yet."""
        work = [self._enter(root)] if root not in self._index else []
        while work:
            name, rest = work[-1]
            for other in rest:
                if other not in self._index and other in self._graph:
                    work.append(self._enter(other))
                    break
                if other in self._on_stack:
                    self._low[name] = min(self._low[name], self._index[other])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    self._low[above] = min(self._low[above], self._low[name])
                self._leave(name)

    def _enter(self, name: str) -> tuple[str, Iterator[str]]:
        self._index[name] = self._low[name] = len(self._index)
        self._stack.append(name)
        self._on_stack.add(name)
        return name, self._graph.earlier(name)

    def _leave(self, name: str) -> None:
        if self._low[name] != self._index[name]:
            return
        part = [self._stack.pop()]
        while part[-1] != name:
            part.append(self._stack.pop())
        self._on_stack.difference_update(part)
        if len(part) > 1 or name in self._graph.earlier(name):
            self.found.append(part)


def _way_round(graph: Graph, name: str, members: frozenset[str]) -> tuple[str, ...]:
    came_from: dict[str, str] = {}
    todo = deque([name])
    while todo:
        here = todo.popleft()
        for other in graph.earlier(here):
            if other == name:
                way = [here]
                while way[-1] != name:
                    way.append(came_from[way[-1]])
                return tuple(reversed(way))
            if other in members and other not in came_from:
                came_from[other] = here
                todo.append(other)
    raise AssertionError(f"{name} is on no cycle")
