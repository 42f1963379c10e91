"""What the configuration grants: rules of who may do what, and limits per user. Plain values; pure.

`jobd.toml` is read into a Policy by jobd.core.configfile; who decides by it is jobd.rpc.access.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

GIB: Final = 1 << 30


class Rule(Struct, frozen=True, kw_only=True):
    """One `[[allow]]`. Words as they were written, and what they mean; who matches none of `uids`, `gids` is not meant.

    `owners` and `jobs` are globs (owners by name or uid). Names that nobody has are in `users` and not in `uids`.
    """

    line: int
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()  # verbs, @read, @control, @all
    owners: tuple[str, ...] = ("*",)
    jobs: tuple[str, ...] = ("*",)
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    any_user: bool = False  # users = ["*"]


class UserLimits(Struct, frozen=True, kw_only=True):
    """What one uid may have at once; root is exempt. None is no limit."""

    connections: int = 512  # a shell loop of many waiting clients fits, and a job in the foreground has three
    requests: int = 4096  # under way on all of his connections
    running: int | None = 1024  # runs that have begun and not ended
    queued: int | None = 10_000  # runs that wait
    log_bytes: int | None = 4 * GIB  # of all his runs (DESIGN.md, section 4)
    environment_bytes: int | None = 256 << 20  # of the distinct environments and definitions of his jobs


# Of a daemon with one user, unless its file says otherwise: what he stores and runs takes nothing from anybody else,
# and a job that stood still at 4 GiB of output would surprise him. Retention goes by size all the same.
ONE_USER: Final = UserLimits(running=None, queued=None, log_bytes=None, environment_bytes=None)


class Kept(Struct, frozen=True, kw_only=True):
    """How much is kept of what has ended; DESIGN.md, section 4. None is no limit."""

    runs: int | None = 1000  # of each job, unless the job says how many (logs.keep_runs)
    for_usec: int | None = 90 * 86_400 * 10**6  # after a run's end, unless the job says how long (logs.keep_for)
    runs_per_owner: int | None = 1_000_000  # whatever his jobs say: with so many nothing is slow yet (make bench)


class Policy(Struct, frozen=True, kw_only=True):
    """A configuration in force."""

    file: str = ""
    allow: tuple[Rule, ...] = ()
    limits: UserLimits = UserLimits()
    total_running: int | None = None  # runs of all users that have begun, root's too
    kept: Kept = Kept()
    rlimits: dict[str, int] = {}  # the most that a submitted hard limit may be, by its name ("nofile")
    no_new_privileges: bool = False  # for every job
    log_level: str = ""  # "" leaves it to the command line
    warnings: tuple[str, ...] = ()  # of the file, each with its place
