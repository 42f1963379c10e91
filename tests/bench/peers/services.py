"""One service under each supervisor, in turns: how long its commands take, and how soon it is there again."""

from __future__ import annotations

import re
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import measure
from tests.bench.peers.supervisor import Service, Supervisor, bytes_on_disk
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROUNDS = measure.quick(9, 3)
CRASHES = measure.quick(5, 2)
# Before a crash the service has run for so long: all but jobd and circus do not count less as a good start.
UP_SEC = 1.5
LINES = measure.quick((64 << 20) // 100, (8 << 20) // 100)
QUIET_SEC = 1.5  # nothing more has come to a log for so long: all that will be is there
SLEEPER, WRITER = "sleeper", "writer"
SERVICES = (Service(SLEEPER), Service(WRITER, ("lines", str(LINES))))


class Row(NamedTuple):
    """One line of a table: what was measured of each, in one unit; None where it cannot be done."""

    what: str
    unit: str
    values: dict[str, float | None]
    higher_is_better: bool = False


def commands(peer: Supervisor) -> dict[str, float]:
    """Seconds of a start, a status, a restart and a stop of the sleeper."""
    found: dict[str, float] = {}

    def effect(verb: str) -> None:
        count, at = len(peer.stamps(SLEEPER)), time.monotonic_ns()
        took = peer.timed(peer.command(verb, SLEEPER))
        if verb == "start":  # there are those whose restart is back before it has begun
            found["start: the prompt is back"] = took
        found[f"{verb}: its first instruction"] = (peer.began(SLEEPER, count).value - at) / 1e9

    effect("start")
    found["status"] = peer.timed(peer.command("status", SLEEPER))
    effect("restart")
    pid = peer.stamps(SLEEPER)[-1].pid
    found["stop, and it is gone"] = peer.timed(peer.command("stop", SLEEPER))
    assert not peer.alive(pid), f"{peer.title}: its stop is back before the process is gone"
    return found


def crash(peer: Supervisor) -> float:
    """Seconds from the SIGKILL of a service to its next first instruction."""
    stamps = peer.stamps(SLEEPER)
    at = time.monotonic_ns()
    peer.kill_service(stamps[-1].pid)
    return (peer.began(SLEEPER, len(stamps)).value - at) / 1e9


def output(peer: Supervisor) -> tuple[float, float, float]:
    """Bytes a second that a service gets rid of, what they take on disk for each, and the part that can be read."""
    size = LINES * 100
    before = bytes_on_disk(peer.log_folder(WRITER))
    peer.timed(peer.command("start", WRITER))
    until(lambda: peer.stamps(WRITER, "wrote"), f"{peer.title} has taken {size} bytes", 300)
    took = (peer.stamps(WRITER, "wrote")[0].value - peer.stamps(WRITER)[0].value) / 1e9
    disk, at = -1, time.monotonic()
    while time.monotonic() - at < QUIET_SEC:
        if (now := bytes_on_disk(peer.log_folder(WRITER))) != disk:
            disk, at = now, time.monotonic()
        time.sleep(0.1)
    found = set(re.findall(rb"^(\d{10}) the", peer.log(WRITER), re.MULTILINE))
    peer.timed(peer.command("stop", WRITER))
    return size / took / 1e6, (disk - before) / size, len(found) / LINES * 100


def rows(peers: Sequence[Supervisor]) -> list[Row]:
    """Open supervisors, all measured in turns."""
    timed: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for peer in peers:
            for what, took in commands(peer).items():
                timed.setdefault(what, {}).setdefault(peer.title, []).append(took)
    crashes: dict[str, list[float]] = {peer.title: [] for peer in peers}
    for peer in peers:
        count = len(peer.stamps(SLEEPER))
        peer.timed(peer.command("start", SLEEPER))
        peer.began(SLEEPER, count)
    for _ in range(CRASHES):
        time.sleep(UP_SEC)
        for peer in peers:
            crashes[peer.title].append(crash(peer))
    for peer in peers:
        peer.timed(peer.command("stop", SLEEPER))
    timed["kill -9 of the service to its next first instruction"] = crashes
    outputs = {peer.title: output(peer) for peer in peers}
    return [
        *(Row(what, "ms", _medians(found)) for what, found in timed.items()),
        Row(f"output: {LINES * 100 >> 20} MiB of lines", "MB/s", _part(outputs, 0), higher_is_better=True),
        Row("disk for a byte of them", "bytes", _part(outputs, 1)),
        Row("of them can be read back", "%", _part(outputs, 2), higher_is_better=True),
    ]


def _medians(found: Mapping[str, list[float]]) -> dict[str, float | None]:
    return {title: statistics.median(values) * 1000 for title, values in found.items()}


def _part(found: Mapping[str, tuple[float, float, float]], at: int) -> dict[str, float | None]:
    return {title: values[at] for title, values in found.items()}


def opened(kinds: Sequence[Callable[[], Supervisor]]) -> list[Supervisor]:
    """Supervisors with the services of this file, none of which runs."""
    peers: list[Supervisor] = []
    try:
        for kind in kinds:
            peers.append(kind())
            peers[-1].open(SERVICES)
    except BaseException:
        for peer in peers:
            peer.close()
        raise
    return peers
