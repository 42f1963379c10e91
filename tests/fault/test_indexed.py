"""F4's choice of kills."""

from __future__ import annotations

from tests.fault.indexed import DEAR, MOST, PLACES, kills

PAIRS = {(place, call) for place, calls in PLACES.items() for call in calls if place != "coming keeper"}


def test_each_place_and_call_comes() -> None:
    found = kills(2 * len(PAIRS), 7, [*PLACES])
    assert {(kill.whom, kill.call) for kill in found} >= PAIRS
    assert all(1 <= kill.when <= MOST for kill in found)
    assert sum(kill.whom == "coming keeper" for kill in found) == len(found) // DEAR
    assert found == kills(2 * len(PAIRS), 7, [*PLACES])


def test_where_no_keeper_may_die_none_is_killed() -> None:
    assert {kill.whom for kill in kills(200, 7, ["daemon", "coming daemon"])} == {"daemon", "coming daemon"}
