"""Names for jobs that were given none: `COMMAND-N`, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core.names import transient_base

if TYPE_CHECKING:
    from jobd.core.spec import JobSpec
    from jobd.runtime.registry import Registry

MAX_COUNTERS: Final = 4096  # numbers that are kept, by owner and command


class MadeUpNames:
    """One a registry."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self._counters: dict[tuple[int, str], int] = {}

    def free(self, owner: int, spec: JobSpec) -> str:
        """A name that no job of this owner has, or had before somebody removed it."""
        base = "sh" if spec.shell else transient_base(spec.argv[0].decode(errors="replace"))
        world, number = self._world, self._counters.get((owner, base))
        if number is None:
            number = world.store.highest_suffix(owner, base)
        number += 1
        while (owner, f"{base}-{number}") in world.jobs or world.store.is_used(owner, f"{base}-{number}"):
            number += 1
        if len(self._counters) >= MAX_COUNTERS:
            self._counters.clear()  # the database knows them as well
        self._counters[owner, base] = number
        return f"{base}-{number}"
