"""The dependencies of every owner's jobs, as they are now: a graph an owner, made when it is first asked for.

It has all jobs that are defined, and of the transient ones those that name others or are named. Whoever writes a job's
row says so here (`know`, `forget`), so that nothing is ever read twice. Templates are in no graph; their instances are
once something has asked for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core.graph import Graph, names_others
from jobd.core.names import is_template

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.registry import Registry


class Graphs:
    """One a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._of: dict[int, Graph] = {}
        self._for_now: dict[int, dict[str, None]] = {}  # instances of templates that a plan has met

    def of(self, owner: int) -> Graph:
        """The graph of an owner's jobs."""
        graph = self._of.get(owner)
        if graph is None:
            graph = self._of[owner] = Graph()
            for row in self._registry.catalog.defined(owner).values():
                self.know(row)
            for (uid, _), job in self._registry.jobs.items():
                if uid == owner:
                    self.know(job.row)
        return graph

    def know(self, row: JobRow) -> None:
        """A job is there, with this row."""
        graph = self._of.get(row.owner)
        if graph is None or is_template(row.job):
            return
        try:
            spec = self._registry.spec(row.spec)
        except KeyError:
            return  # damage took it: nothing is known of its dependencies
        if not row.transient or row.job in graph or not graph.is_alone(row.job) or names_others(spec):
            graph.put(row.job, spec)

    def know_for_now(self, row: JobRow) -> None:
        """A plan has come to this job, which may not have a row yet."""
        self.know(row)
        self._for_now.setdefault(row.owner, {})[row.job] = None

    def tidied(self, owner: int) -> Graph:
        """The graph for another plan, without what earlier ones have only met: of some templates that is endless."""
        graph = self.of(owner)
        for name in self._for_now.pop(owner, ()):
            if self._registry.catalog.written(owner, name) is None:
                graph.remove(name)
        return graph

    def rest(self, row: JobRow) -> None:
        """A job is at rest: of a transient one nothing needs to be known before it is asked for again."""
        if row.transient:
            self.forget(row.owner, row.job)

    def forget(self, owner: int, name: str) -> None:
        """A job is not there any more."""
        graph = self._of.get(owner)
        if graph is not None:
            graph.remove(name)
