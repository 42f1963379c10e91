"""F5's choice of calls, and that a leak is seen."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from jobd.store import schema
from tests.fault.errnos import DAEMON_CALLS, ERRORS, KEEPER_CALLS, kinds_of_fds, leaks, shots

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_connection_that_is_left_open_is_a_leak_and_a_closed_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(schema.open_database(path)) as conn:
        conn.execute("SELECT 1 FROM runs").fetchall()
        before = kinds_of_fds(os.getpid())
        other = schema.connect(path, read_only=True)
        other.execute("SELECT 1 FROM runs").fetchall()
        (leak,) = leaks(kinds_of_fds(os.getpid()), before)
        assert leak.endswith("/state.db-wal")
        other.close()
        assert leaks(kinds_of_fds(os.getpid()), before) == []
