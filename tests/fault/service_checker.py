"""Compares what services told their ledger with what jobd says of their runs. Pure.

A run that jobd knows the exit of has begun once and ended so; whatever has begun is known; nothing ran beside itself;
stop commands and hooks were executed once for each run that they are about.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.fault.report import Problem
from tests.fault.service_work import Fate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

KINDS = ("lost", "doubled", "beside", "unfinished", "wrong exit", "wrong stdout", "hook twice", "stop twice")
NOT_BEGUN = ("canceled", "dependency", "start-failed")


class Seen(NamedTuple):
    """What jobd says of one run. `writes` is whether it is of a service, which writes what its id says."""

    job: str
    state: str
    result: str
    exit_code: int | None
    signal: int | None
    out: bytes
    writes: bool


def check(lines: Iterable[str], seen: Mapping[str, Seen], may_be_lost: Collection[str] = ()) -> list[Problem]:
    """Every way in which the ledger and the runs differ; runs by their ids in hex.

    `may_be_lost`: jobd may say of these that it does not know their end; what they wrote is right as far as it goes.
    """
    words = [line.split() for line in lines]
    begun, ended = Counter(w[2] for w in words if w[0] == "begin"), {w[2]: int(w[3]) for w in words if w[0] == "end"}
    problems = [Problem("doubled", run, f"began {times} times") for run, times in begun.items() if times > 1]
    problems += [Problem("beside", w[2], f"another run of {w[1]} was still there") for w in words if w[0] == "beside"]
    problems += [Problem("lost", run, "ran, and is not in history") for run in begun.keys() - seen.keys()]
    for word in ("hook", "stop"):
        counts = Counter(w[2] for w in words if w[0] == word)
        problems += [Problem(f"{word} twice", run, f"{times} times") for run, times in counts.items() if times > 1]
    for run, one in seen.items():
        if one.result == "lost" and run in may_be_lost:
            if one.writes and not Fate(run).out.startswith(one.out):
                problems.append(Problem("wrong stdout", run, f"{len(one.out)} bytes that it has not written"))
            continue
        problems += _of_run(run, one, begun[run], ended.get(run))
    return problems


def _of_run(run: str, one: Seen, begun: int, code: int | None) -> Iterable[Problem]:
    if one.state != "finished":
        yield Problem("unfinished", run, f"{one.state} at the end")
        return
    if one.result == "lost" or (one.exit_code is not None and not begun) or (one.result in NOT_BEGUN and begun):
        yield Problem("lost", run, f"began {begun} times, and jobd says {one.result}")
        return
    if code is not None and (one.exit_code, one.signal) != (code, None):
        yield Problem("wrong exit", run, f"code {one.exit_code}, signal {one.signal}; it ended with {code}")
    whole = Fate(run).out if one.writes else b""
    if not whole.startswith(one.out) or (code not in (0, None) and one.out != whole):  # by SIGTERM at any byte
        yield Problem("wrong stdout", run, f"{len(one.out)} bytes for {len(whole)}")
