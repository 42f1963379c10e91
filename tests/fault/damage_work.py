"""Ways to damage a file at rest, and what jobd says of the past: for F10."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tests.fault.asking import history
from tests.fault.report import Problem

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from pathlib import Path

    from tests.system.raw import Raw

PAGE_BYTES: Final = 4096
GARBAGE_BYTES: Final = 64
HARMS: Final = ("bit", "garbage", "zeros", "cut")
WEIGHTS: Final = (60, 15, 10, 15)  # mostly what is hardest to see
WAL_HEADER: Final = 32
FRAME_HEADER: Final = 24

Past = dict[str, dict[str, object]]


class Harm(NamedTuple):
    """Something that happened to a file."""

    file: str
    kind: str
    at: int

    def __str__(self) -> str:
        return f"{self.kind} at byte {self.at} of {self.file}"


def harm(path: Path, dice: random.Random) -> Harm:
    """Change a file somewhere in what is used of it; never to what it was."""
    used = used_bytes(path)
    if not used:  # it was cut before, and there is nothing left to change
        return Harm(path.name, "cut", 0)
    kind = dice.choices(HARMS, WEIGHTS)[0]
    at = dice.randrange(used)
    if kind == "cut":
        os.truncate(path, at)
        return Harm(path.name, kind, at)
    with path.open("r+b") as file:
        if kind == "zeros":
            at -= at % PAGE_BYTES
        file.seek(at)
        size = {"bit": 1, "garbage": min(GARBAGE_BYTES, used - at), "zeros": min(PAGE_BYTES, used - at)}[kind]
        old = file.read(size)
        new = {
            "bit": bytes([old[0] ^ 1 << dice.randrange(8)]),
            "garbage": dice.randbytes(size),
            "zeros": bytes(size),
        }[kind]
        if new == old:
            new = bytes([old[0] ^ 1]) + old[1:]
        file.seek(at)
        file.write(new)
    return Harm(path.name, kind, at)


def used_bytes(path: Path) -> int:
    """How much of a file means anything: of a write-ahead log what was written since it began anew."""
    size = path.stat().st_size
    if not path.name.endswith("-wal"):
        return size
    with path.open("rb") as file:
        salts = file.read(WAL_HEADER)[16:24]
        end = WAL_HEADER
        while end < size:
            file.seek(end)
            if file.read(FRAME_HEADER)[8:16] != salts:
                break
            end += FRAME_HEADER + PAGE_BYTES
    return min(end, size)  # of one that was cut before


def past(raw: Raw) -> Past:
    """All runs as history has them. Raises RuntimeError with what jobd says when it cannot read them."""
    found: Past = {}
    for view in history(raw):
        row = found[view.run.hex()] = msgspec.to_builtins(view)
        row.pop("position", None)
    return found


def check_past(name: str, truth: Past, seen: Past, told: str) -> list[Problem]:
    """History has to be right, or to be said to be damaged (`told`: in which words)."""
    both = truth.keys() & seen.keys()
    wrong = [
        *(f"{run} is gone" for run in truth.keys() - seen.keys()),
        *(f"{run} was never there" for run in seen.keys() - truth.keys()),
        *(f"{run}: {difference(truth[run], seen[run])}" for run in both if truth[run] != seen[run]),
    ]
    if not wrong or told:
        return []
    return [Problem("silent wrong history", name, f"{len(wrong)} runs: {min(wrong)}")]


def difference(a: Mapping[str, object], b: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {a.get(key)!r} is {b.get(key)!r}" for key in sorted({*a, *b}) if a.get(key) != b.get(key))
