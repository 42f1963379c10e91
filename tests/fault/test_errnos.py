"""F5's choice of calls, and that a leak is seen."""

from __future__ import annotations

import os

from tests.fault.errnos import DAEMON_CALLS, ERRORS, KEEPER_CALLS, kinds_of_fds, leaks, shots

ALL = len(ERRORS) * (len(DAEMON_CALLS) + len(KEEPER_CALLS))


def test_each_pair_comes_once_before_any_comes_again() -> None:
    found = shots(ALL + 5, 7)
    pairs = [(shot.who, shot.call, shot.error) for shot in found]
    assert len({*pairs[:ALL]}) == ALL
    assert found == shots(ALL + 5, 7)


def test_a_descriptor_that_stays_is_seen_and_one_in_anothers_place_is_not() -> None:
    reader, writer = os.pipe()
    before = kinds_of_fds(os.getpid())
    os.close(reader)
    os.close(writer)
    others = os.pipe()
    assert leaks(kinds_of_fds(os.getpid()), before) == []
    more = os.pipe()
    assert leaks(kinds_of_fds(os.getpid()), before) == ["2 x pipe:"]
    for fd in (*others, *more):
        os.close(fd)
