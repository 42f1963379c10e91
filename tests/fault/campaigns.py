"""The table of the campaigns: what each is called, does, and how large it is."""

from __future__ import annotations

import random
import time
import traceback
from typing import TYPE_CHECKING, NamedTuple

from tests.fault import (
    attacked,
    both,
    damage,
    errnos,
    feeding,
    framing,
    full_disk,
    indexed,
    kills,
    lying,
    order,
    pumping,
    queued,
    races,
    repeated,
    services,
    uids,
    upgrades,
)
from tests.fault.model_campaign import run_model
from tests.fault.report import CannotRunError, Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Campaign(NamedTuple):
    """One campaign. `full` is its size in `make fault`, `short` in `make test`, counted in `unit`."""

    name: str
    what: str
    run: Callable[[Path, int, int], Report]
    unit: str
    full: int
    short: int
    alone: bool = False  # it measures time: nothing else runs beside it
    seed: int | None = None  # in `make test`, of what draws anything at all: the rest of that is for `make fault`


CAMPAIGNS = {
    one.name: one
    for one in (
        Campaign("F1", "the daemon is killed under load", kills.run_daemon_kills, "kills", 1000, 6),
        Campaign("F2a", "the keeper is killed under load", kills.run_keeper_kills, "kills", 100, 3),
        Campaign("F2b", "keeper and daemon are killed together", both.run_both, "kills", 50, 2),
        Campaign("F3", "the pump is killed under floods of output", pumping.run_pumping, "kills", 1500, 25),
        Campaign("F4", "daemon or keeper is killed at its k-th system call", indexed.run_indexed, "kills", 400, 2),
        Campaign("F5", "a system call of daemon or keeper fails", errnos.run_errnos, "calls", 360, 3),
        Campaign("F6", "frames that nobody should send", framing.run_frames, "frames", 100_000, 600, alone=True),
        Campaign("F7", "what B feels of A's attack", attacked.run_attacked, "seconds", 60, 1, alone=True),
        Campaign("F8", "the disk is full under load, and free again", full_disk.run_full_disk, "times", 20, 1),
        Campaign("F9", "jobd is replaced politely under load", upgrades.run_upgrades, "acts", 50, 2),
        Campaign("F10", "the database is damaged at rest", damage.run_damage, "starts", 200, 2),
        Campaign("F11", "who may do what with whose job", uids.run_uids, "cells", 4000, 20),
        Campaign("F12", "runs are stopped and killed as they start", races.run_races, "races", 1000, 16),
        Campaign("lies", "a daemon that was taken over lies to its keeper", lying.run_lies, "lies", 2000, 25),
        Campaign("arrays", "daemon or keeper is killed under arrays", repeated.run_arrays, "kills", 60, 3),
        Campaign("schedules", "daemon or keeper is killed under schedules", repeated.run_schedules, "kills", 30, 2),
        Campaign("services", "daemon or keeper is killed under services", services.run_services, "kills", 80, 5),
        Campaign("order", "the daemon is killed under runs in order", order.run_order, "kills", 100, 8),
        Campaign("queues", "daemon or keeper is killed under queued runs", queued.run_queued, "kills", 60, 4),
        Campaign("model", "random acts beside a model, and kills", run_model, "examples", 150, 3, seed=4),
        Campaign("feeding", "daemon or keeper is killed under a large stdin", feeding.run_feeding, "MiB", 1024, 64),
    )
}


def new_seed() -> int:
    return random.SystemRandom().randrange(1 << 30)


def run(one: Campaign, root: Path, size: int, seed: int) -> Report:
    """Run a campaign. What it raises is a failure, too; CannotRunError alone goes through."""
    began = time.monotonic()
    try:
        return one.run(root, size, seed)._replace(seconds=time.monotonic() - began)
    except CannotRunError:
        raise
    except Exception:  # whatever it is, it has to be seen beside the seed
        lines = traceback.format_exc().splitlines()
        return Report(seed, f"{size} {one.unit}", {"broke off": 1}, lines, time.monotonic() - began)
