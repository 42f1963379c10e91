"""`make fault`: the long campaigns. Prints a line a campaign, with its seed; exits 1 when one has failed.

The directory of a failed campaign is kept and named.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fault.campaign import kill_daemons, kill_keepers, run_campaign
from tests.fault.feeding import run_feeding
from tests.fault.order import run_order
from tests.fault.queued import run_queued
from tests.fault.services import run_services


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fault", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="SIGKILLs of the daemon")
    parser.add_argument("--keeper-kills", type=int, default=30, help="SIGKILLs of the keeper")
    parser.add_argument("--service-kills", type=int, default=100, help="SIGKILLs of the daemon under services")
    parser.add_argument("--order-kills", type=int, default=100, help="SIGKILLs of the daemon under runs in order")
    parser.add_argument("--queue-kills", type=int, default=60, help="SIGKILLs of the daemon under queued runs")
    parser.add_argument("--queued", type=int, default=2000, help="these runs")
    parser.add_argument("--feed", type=int, default=1024, help="MiB of stdin, with a kill each 0.2 s")
    parser.add_argument("--seed", type=int, default=None, help="repeat a campaign")
    options = parser.parse_args()
    failed = False
    for what, kill, kills in (("daemon", kill_daemons, options.kills), ("keeper", kill_keepers, options.keeper_kills)):
        if not kills:
            continue
        seed = random.SystemRandom().randrange(1 << 30) if options.seed is None else options.seed
        root = Path(tempfile.mkdtemp(prefix=f"jobd-fault-{what}-"))
        report = run_campaign(root, what, kill, kills, seed)
        print(report, flush=True)
        if report.passed:
            shutil.rmtree(root)
            continue
        failed = True
        for line in [*report.problems[:40], *report.errors[:40]]:
            print(f"  {line}")
        print(f"  kept: {root}")
    if options.service_kills:
        failed |= _services(options.service_kills, options.seed)
    if options.order_kills:
        failed |= _order(options.order_kills, options.seed)
    if options.queue_kills:
        failed |= _queues(options.queued, options.queue_kills, options.seed)
    if options.feed:
        failed |= _feed(options.feed << 20, options.seed)
    return failed


def _services(kills: int, seed: int | None) -> bool:
    """The campaign of the services; whether it has failed."""
    root = Path(tempfile.mkdtemp(prefix="jobd-fault-services-"))
    report = run_services(root, kill_daemons, kills, random.SystemRandom().randrange(1 << 30) if seed is None else seed)
    print(report, flush=True)
    if report.passed:
        shutil.rmtree(root)
        return False
    for line in [*report.problems[:40], *report.errors[:40]]:
        print(f"  {line}")
    print(f"  kept: {root}")
    return True


def _order(kills: int, seed: int | None) -> bool:
    """The campaign of runs that wait for others; whether it has failed."""
    root = Path(tempfile.mkdtemp(prefix="jobd-fault-order-"))
    report = run_order(root, kills, random.SystemRandom().randrange(1 << 30) if seed is None else seed)
    print(report, flush=True)
    if report.passed:
        shutil.rmtree(root)
        return False
    print(*(f"  {problem}" for problem in report.problems[:40]), f"  kept: {root}", sep="\n")
    return True


def _queues(runs: int, kills: int, seed: int | None) -> bool:
    """The campaign of queued runs; whether it has failed."""
    root = Path(tempfile.mkdtemp(prefix="jobd-fault-queues-"))
    report = run_queued(root, runs, kills, random.SystemRandom().randrange(1 << 30) if seed is None else seed)
    print(report, flush=True)
    if report.passed:
        shutil.rmtree(root)
        return False
    print(*(f"  {line}" for line in [*report.problems[:40], *report.errors[:40]]), f"  kept: {root}", sep="\n")
    return True


def _feed(size: int, seed: int | None) -> bool:
    """The campaign of a large stdin; whether it has failed."""
    root = Path(tempfile.mkdtemp(prefix="jobd-fault-feeding-"))
    fed = run_feeding(root, size, random.SystemRandom().randrange(1 << 30) if seed is None else seed)
    print(fed, flush=True)
    if fed.passed:
        shutil.rmtree(root)
    else:
        print(f"  kept: {root}")
    return not fed.passed


if __name__ == "__main__":
    sys.exit(main())
