"""What may become of a run that is stopped or killed at a random moment of its start. Pure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS: Final = ("lost", "doubled", "left behind", "wrong state", "wrong result", "wrong exit", "stranger")
TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


class Sort(NamedTuple):
    """One sort of tree. Its shell tells the ledger that it begins, and goes on with `script`.

    Attributes:
        script: what comes then.
        code: with which its main process may end, by itself or on SIGTERM; None: with none.
        ends: whether it ends without being told to.
        stubborn: its main process ignores SIGTERM.
        deaf: one of its processes does, so that a stop has to wait for its timeout, and says so.
    """

    script: str
    code: int | None = None
    ends: bool = False
    stubborn: bool = False
    deaf: bool = False


DEAF: Final = "trap '' TERM; while :; do sleep 1; done"
# Each leaves what it starts in another session, another process group or with another parent.
SORTS: Final = {
    "plain": Sort("exec sleep 1000"),
    "quick": Sort("exit 3", code=3, ends=True),
    "clean": Sort("trap 'exit 5' TERM; while :; do sleep 0.01; done", code=5),
    "family": Sort("(sleep 99 &); (setsid sleep 99 &); (setsid sh -c 'sleep 99 & sleep 99' &); exec sleep 99"),
    "daemon": Sort(f'(setsid sh -c "{DEAF}" >/dev/null 2>&1 &); exit 4', code=4, ends=True, deaf=True),
    "stubborn": Sort(f'(setsid sh -c "{DEAF}" &); {DEAF}', stubborn=True, deaf=True),
    "spawner": Sort("i=0; while [ $i -lt 30 ]; do setsid sleep 1000 & i=$((i+1)); done; wait"),
}
ACTS: Final = {  # one after the other, with pauses; a signal of None is a stop, which is always the last
    "stop": (None,),
    "stop twice": (None, None),
    "term": (TERM, None),
    "kill": (KILL, None),
    "kill main": (-KILL, None),  # that process alone
}


class Race(NamedTuple):
    """One run: its job's name is `race-NUMBER`."""

    number: int
    sort: str
    act: str


class Seen(NamedTuple):
    """What jobd says of it after the stop, and how many of its processes were there when the stop was over."""

    state: str
    result: str | None
    exit_code: int | None
    signal: int | None
    active: str  # its job
    left: int


def check(races: Mapping[str, Race], seen: Mapping[str, Seen], ledger: Iterable[str]) -> list[Problem]:
    """Every way in which they differ; runs by their ids in hex, which the ledger has once for each that has begun."""
    lines: Sequence[str] = list(ledger)
    problems = [Problem("stranger", run, "ran, and nobody submitted it") for run in {*lines} - races.keys()]
    for run, race in races.items():
        times, one = lines.count(run), seen.get(run)
        if times > 1:
            problems.append(Problem("doubled", run, f"{race}: ran {times} times"))
        if one is None or one.result == "lost":
            problems.append(Problem("lost", run, f"{race}: {one}"))
        else:
            problems += [Problem(kind, run, f"{race}: began {times} times, {one}") for kind in _wrong(race, one, times)]
    return problems


def _wrong(race: Race, seen: Seen, began: int) -> Iterable[str]:
    if seen.left:
        yield "left behind"
    if seen.state != "finished" or seen.active not in ("inactive", "failed"):
        yield "wrong state"
        return
    if seen.result not in results(race) or (seen.result == "canceled" and began):
        yield "wrong result"
        return
    if not is_right_end(race, seen, began):
        yield "wrong exit"


def results(race: Race) -> set[str]:
    """What its result may be."""
    found = {"stopped", "canceled"}
    if SORTS[race.sort].deaf:
        found.add("timeout")
    if SORTS[race.sort].ends or race.act != "stop":
        found.add("exit-code")
    if race.act not in ("stop", "stop twice"):
        found.add("signal")
    return found


def is_right_end(race: Race, seen: Seen, began: int) -> bool:
    """Whether the exit fits what was done to it."""
    sort = SORTS[race.sort]
    if seen.result == "canceled":
        return (seen.exit_code, seen.signal) == (None, None)
    if seen.exit_code is not None:
        return seen.signal is None and bool(began) and seen.exit_code == sort.code
    if seen.signal == TERM:  # until its trap is set, that ends any of them
        return True
    return seen.signal == KILL and (sort.stubborn or "kill" in race.act)
