"""What the Python clients keep of a stdin until the daemon has it: exact over any losses."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd._client.faults import Conflict, JobdError
from jobd._client.feeding import Feeding
from jobd.wire import messages as m

RUN = bytes(16)


class Daemon:
    """Takes Inputs as the real one does."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.taken = b""
        self.safe = 0
        self.ended = False

    def attached(self) -> m.Attached:
        self.taken = self.taken[: self.safe]  # what a killed one had in memory is gone
        return m.Attached(
            job="x", owner=0, run=RUN, number=1, stdin="pipe", received=self.safe, limit=self.limit, open=not self.ended
        )

    @property
    def limit(self) -> int:
        return self.safe + self.window

    def feed(self, request: m.Request) -> None:
        assert isinstance(request, m.Input)
        end = request.offset + len(request.data)
        assert request.offset <= len(self.taken)
        assert end <= self.limit
        self.taken += request.data[len(self.taken) - request.offset :]
        self.ended = self.ended or (request.eof and end == len(self.taken))

    def fed(self) -> m.Fed:
        return m.Fed(received=self.safe, limit=self.limit, open=not self.ended)


@given(st.lists(st.binary(min_size=1, max_size=2000), max_size=8), st.integers(1, 3000), st.integers(0, 2**32))
def test_every_byte_arrives_once_whatever_is_lost(pieces: list[bytes], window: int, seed: int) -> None:
    numbers = random.Random(seed)
    daemon, feeding = Daemon(window), Feeding(RUN)
    feeding.item(daemon.attached())
    waiting = list(pieces)
    while not daemon.ended or daemon.safe < len(daemon.taken):
        step = numbers.randrange(5)
        if step == 0:
            if waiting:
                feeding.add(waiting.pop(0))
            else:
                feeding.finish()
        elif step == 1 and (build := feeding.next(5)) is not None:
            daemon.feed(build(6))
        elif step == 2:
            daemon.safe = numbers.randint(daemon.safe, len(daemon.taken))
        elif step == 3:
            feeding.item(daemon.fed())
        elif step == 4 and not daemon.ended and numbers.random() < 0.3:
            feeding.sent()
            feeding.again("lost")
            feeding.item(daemon.attached())
    feeding.item(daemon.fed())
    assert daemon.taken == b"".join(pieces)
    assert feeding.settled


def test_goes_on_where_another_client_has_stopped() -> None:
    daemon, feeding = Daemon(100), Feeding(RUN)
    daemon.taken, daemon.safe = b"before", 6
    feeding.item(daemon.attached())
    feeding.add(b"after")
    build = feeding.next(5)
    assert build is not None
    request = build(6)
    assert isinstance(request, m.Input)
    assert (request.offset, request.data, request.request) == (6, b"after", 5)


def test_a_run_that_takes_no_more_is_a_conflict() -> None:
    daemon, feeding = Daemon(100), Feeding(RUN)
    feeding.item(daemon.attached())
    feeding.add(b"x")
    feeding.end()
    with pytest.raises(Conflict, match="takes no more input"):
        feeding.check()


def test_a_run_that_had_it_all_and_ended_while_the_daemon_was_away_is_no_conflict() -> None:
    feeding = Feeding(RUN)
    feeding.item(Daemon(100).attached())
    feeding.add(b"all")
    feeding.finish()
    feeding.item(m.Fed(received=3, limit=103, open=True))
    feeding.sent()
    feeding.again("lost")
    feeding.item(m.Attached(job="x", owner=0, run=RUN, number=1, stdin="pipe", received=0, limit=0, open=False))
    feeding.check()
    assert feeding.settled


def test_an_answer_that_does_not_fit() -> None:
    with pytest.raises(JobdError, match="cannot understand"):
        Feeding(RUN).item(m.Ok())
