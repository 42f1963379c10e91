"""What looks for harm that a lying daemon has done finds what is planted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire.plainpack import packb
from tests.fault import lying
from tests.fault.lying import KINDS, Liar, Seen, is_lie, judge, look_at, messages, run_lies
from tests.fault.mutations import Mutator

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message

BEFORE = Seen(1, True, 20, 2, 20 << 20)
ENTRY: Message = {"exit": None, "step": "", "empty": False}


def test_a_keeper_that_is_well_has_no_problems() -> None:
    assert judge(BEFORE, BEFORE, ENTRY, "") == []


@pytest.mark.parametrize(
    ("after", "entry", "log", "kind"),
    [
        (BEFORE._replace(alive=False), ENTRY, "", "deaths"),
        (BEFORE, None, "", "runs hurt"),
        (BEFORE, {**ENTRY, "exit": {"status": 9}}, "", "runs hurt"),
        (BEFORE, {**ENTRY, "empty": True}, "", "runs hurt"),
        (BEFORE._replace(descriptors=21), ENTRY, "", "descriptors"),
        (BEFORE._replace(children=3), ENTRY, "", "children"),
        (BEFORE._replace(resident=41 << 20), ENTRY, "", "growth"),
        (BEFORE, ENTRY, "x\nTraceback (most recent call last):\n", "log"),
    ],
)
def test_a_planted_fault_is_found(after: Seen, entry: Message | None, log: str, kind: str) -> None:
    assert [problem.kind for problem in judge(BEFORE, after, entry, log)] == [kind]
    assert kind in KINDS


def test_what_may_end_the_keeper_or_execute_something_is_not_said() -> None:
    assert is_lie(b"\xc1")
    assert is_lie(packb([{"op": [1]}, {"op": "spawn", "argv": [b"true"]}]))
    assert not is_lie(packb([{"op": "pong"}, {"op": "bye"}]))
    assert not is_lie(packb([{"op": "spawn", "argv": [b"rm"]}]))


def test_what_there_is_of_a_process() -> None:
    seen = look_at(os.getpid())
    assert (seen.pid, seen.alive, seen.descriptors > 3, seen.resident > 1 << 20) == (os.getpid(), True, True, True)
    assert not look_at(2**22 + 5).alive


@pytest.mark.slow
def test_a_keeper_that_dies_of_a_lie_and_one_that_cannot_list_its_runs_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = "from jobd.keeper import requests\nrequests.Requests._backlog = lambda *_: __import__('os')._exit(1)\n"
    dumb = lying.HASTE + "from jobd.keeper import requests\nrequests.chunks = None\n"
    for number, (haste, message, kind) in enumerate(
        (
            (weak, {"op": "backlog"}, "deaths"),
            (dumb, {"op": "pong"}, "list refused"),
        )
    ):
        monkeypatch.setattr(lying, "HASTE", haste)
        monkeypatch.setattr(lying, "messages", lambda *_, said=message: [said])
        monkeypatch.setattr(Mutator, "odd", lambda self: self.samples[0])
        (root := tmp_path / str(number)).mkdir()
        monkeypatch.setattr(Liar, "clear" if kind == "deaths" else "new_victim", lambda *_: None)
        assert run_lies(root, 1, 1).counts[kind], kind


def test_the_samples_are_what_a_keeper_understands() -> None:
    ops = {message["op"] for message in messages(bytes(16), b"X=1")}
    assert {"spawn", "helper", "signal", "list", "set-limits", "grant-files"} <= ops
