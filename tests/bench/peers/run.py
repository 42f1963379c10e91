"""All of it in one run: which supervisors there are here, what was measured of each, and what was tried."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import measure
from tests.bench.measure import CannotMeasureError
from tests.bench.peers import facts, jobs, many, services
from tests.bench.peers.circus import Circus
from tests.bench.peers.folders import S6, Runit
from tests.bench.peers.ours import Jobd
from tests.bench.peers.supervisord import Supervisord
from tests.bench.peers.systemd import Systemd

if TYPE_CHECKING:
    from tests.bench.peers.facts import Fact
    from tests.bench.peers.services import Row
    from tests.bench.peers.supervisor import Supervisor

SUPERVISORS: tuple[type[Supervisor], ...] = (Jobd, Supervisord, Circus, S6, Runit, Systemd)


class Found(NamedTuple):
    """Everything of one run. `versions` and `settings` are by title."""

    versions: dict[str, str]
    settings: dict[str, str]
    services: list[Row]
    jobs: list[Row]
    facts: list[Fact]


def measure_peers(root: Path) -> Found:
    """Measure all that are installed. Raises CannotMeasureError without a compiler."""
    binary = measure.compiled(Path(__file__).with_name("service.c"), root)
    measure.compiled(Path(__file__).parents[1] / "stamp.c", root)
    kinds = _there(root, binary)
    versions, settings = {}, {}
    with ExitStack() as stack:
        peers = []
        for title, kind in kinds.items():
            _say(f"{title} …")
            peer = stack.enter_context(kind(root / f"{title}-one", binary))
            peer.open(services.SERVICES)
            versions[title], settings[title] = peer.version(), peer.settings
            peers.append(peer)
        _say("one service of each, in turns …")
        service_rows = services.rows(peers)
    _say("many services of each …")
    service_rows += many.rows(
        {title: lambda name, title=title, kind=kind: kind(root / f"{title}-{name}", binary)  # type: ignore[misc]
         for title, kind in kinds.items()}
    )  # fmt: skip
    _say("jobs …")
    with ExitStack() as stack:
        runners = []
        for runner, place, needs in jobs.RUNNERS:
            try:
                there = stack.enter_context(place(root / f"jobs-{runner.title.partition(',')[0]}", binary))
                there.require(needs)
                runners.append(runner(there))
            except CannotMeasureError as e:
                _say(f"{runner.title}: skipped: {e}")
        job_rows = jobs.rows(runners)
    _say("a supervisor killed under a job …")
    tried = facts.all_facts({title: partial(_at, kind, binary) for title, kind in kinds.items()}, root)
    return Found(versions, settings, service_rows, job_rows, tried)


def _at(kind: type[Supervisor], binary: Path, root: Path) -> Supervisor:
    return kind(root, binary)


def _there(root: Path, binary: Path) -> dict[str, type[Supervisor]]:
    """Those that can be had on this machine."""
    found = {}
    for kind in SUPERVISORS:
        try:
            with kind(root / f"{kind.title}-there", binary):
                found[kind.title] = kind
        except CannotMeasureError as e:
            _say(f"{kind.title}: skipped: {e}")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
