"""A part of a campaign that has died is seen: without it the campaign would have nothing to find."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.fault.background import Background
from tests.fault.killing import Killer
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path


class Part(Background):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("part")
        self.error = error
        self.done = False

    def act(self) -> None:
        if self.error is not None:
            raise self.error
        self.over.wait()
        self.done = True


def test_it_ends_with_its_block() -> None:
    with Part() as part:
        assert part.is_alive()
    assert part.done
    assert not part.is_alive()


def test_what_it_raises_the_block_raises() -> None:
    with pytest.raises(ValueError, match="no load"), Part(ValueError("no load")):
        pass


def test_what_the_block_raises_comes_first() -> None:
    with pytest.raises(KeyError), Part(ValueError("no load")):
        raise KeyError


def test_a_killer_without_a_jobd_says_so(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with pytest.raises(FileNotFoundError), Killer(program, random.Random(7), 3) as killer:
        killer.finish()
    assert killer.kills == 0
