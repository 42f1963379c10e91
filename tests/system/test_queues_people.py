"""Queues as several users have them, with the real programs: shared and one's own, holds and moves over a kill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, BOB, ROOT, People, many_users, why_not
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
SLEEP = ("--", "sleep", "1000")


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users() as made:
        made.ask(ROOT, "queue", "add", "farm", "slots=1", "--shared", check=True)
        yield made


def rows(people: People, uid: int, queue: str) -> list[tuple[str, str, bool]]:
    """The runs of a queue as this user sees them."""
    shown = json.loads(people.said(uid, "queue", "show", queue, "-o", "json"))
    return [(run["job"], run["state"], run["held"]) for run in shown["runs"]]


def runs(people: People, uid: int, job: str) -> bool:
    return people.ask(uid, "is-active", job).stdout == "active\n"


def test_in_a_shared_queue_users_have_their_turns_and_see_numbers_of_others(people: People) -> None:
    for name in ("a1", "a2", "a3"):
        people.ask(ALICE, "run", "-u", name, "--queue", "farm", "--priority", "9", *SLEEP, check=True)
    people.ask(BOB, "run", "-u", "b1", "--queue", "farm", *SLEEP, check=True)
    assert people.said(BOB, "show", "b1", "-P", "QueuePosition") in ("1\n", "2\n")
    shown = json.loads(people.said(BOB, "queue", "show", "farm", "-o", "json"))
    assert ([run["job"] for run in shown["runs"]], shown["others"], shown["waiting"]) == (["b1"], 3, 3)
    assert "held by 1 run of others" in people.said(BOB, "queue", "list", "farm")
    assert "farm" in people.ask(BOB, "status", "b1").stdout
    for verb in ("pause", "rm", "drain"):
        assert people.ask(BOB, "queue", verb, "farm").returncode == 4
    assert people.ask(BOB, "queue", "set", "farm", "slots=9").returncode == 4
    assert people.ask(BOB, "queue", "switch", "b1", f"{ALICE}/a2").returncode == 5
    people.ask(ALICE, "stop", "a1", check=True)
    until(lambda: runs(people, ALICE, "a2"), "alice's turn: hers came first")
    people.ask(ALICE, "stop", "a2", check=True)
    until(lambda: runs(people, BOB, "b1"), "bob's turn, though alice's are urgent")
    people.ask(ALICE, "cancel", "a*", check=True)  # of those that a glob fits, what waits
    people.ask(BOB, "stop", "b1", check=True)
    assert rows(people, ROOT, "farm") == []


def test_ones_own_queue_comes_first_and_is_nobody_elses(people: People) -> None:
    people.ask(ALICE, "queue", "add", "farm", "slots=2", check=True)
    people.ask(ALICE, "run", "-u", "mine", "--queue", "farm", *SLEEP, check=True)
    people.ask(ALICE, "run", "-u", "ours", "--queue", "shared/farm", *SLEEP, check=True)
    assert people.said(ALICE, "show", "mine", "ours", "-P", "Queue").split() == ["farm", "shared/farm"]
    assert people.said(ROOT, "show", f"{ALICE}/mine", f"{ALICE}/ours", "-P", "Queue").split() == [
        f"{ALICE}/farm", "farm"
    ]  # fmt: skip
    assert people.said(ALICE, "queue", "list", "-o", "name").split() == ["farm", "batch", "shared/farm"]
    assert people.said(BOB, "queue", "list", "-a", "-o", "name").split() == ["batch", "farm"]
    for words in (("show",), ("pause",), ("rm",)):
        assert people.ask(BOB, "queue", *words, f"{ALICE}/farm").returncode == (4 if words == ("show",) else 5)
    refused = people.ask(BOB, "run", "--queue", "nope", *SLEEP)
    assert (refused.returncode, refused.stderr) == (5, 'jobctl: there is no queue "nope" (there are: batch, farm)\n')
    people.ask(ALICE, "stop", "mine", "ours", check=True)
    assert people.ask(ROOT, "queue", "rm", f"{ALICE}/farm").returncode == 0


def test_a_daemon_that_is_killed_leaves_holds_places_and_queues_as_they_were(people: People) -> None:
    people.ask(BOB, "queue", "add", "line", "slots=1", check=True)
    for name in ("r", "x", "y", "z"):
        people.ask(BOB, "run", "-u", name, "--queue", "line", *SLEEP, check=True)
    people.ask(BOB, "hold", "x", check=True)
    people.ask(BOB, "set-property", "z", "priority=1", "-q", check=True)
    people.ask(BOB, "queue", "pause", "line", check=True)
    people.kill_daemon()
    order = [("r", "running", False), ("z", "queued", False), ("y", "queued", False), ("x", "queued", True)]
    assert rows(people, BOB, "line") == order
    people.ask(BOB, "queue", "switch", "y", "z", check=True)
    people.ask(BOB, "stop", "r", check=True)
    assert json.loads(people.said(BOB, "queue", "list", "line", "-o", "json"))[0]["reason"] == "is paused"
    people.ask(BOB, "queue", "resume", "line", check=True)
    until(lambda: runs(people, BOB, "y"), "its turn")
    assert people.ask(BOB, "cancel", "y").returncode == 3
    people.ask(BOB, "release", "x", check=True)
    assert rows(people, BOB, "line")[1:] == [("x", "queued", False), ("z", "queued", False)]
    people.ask(BOB, "cancel", "x", "z", check=True)
    people.ask(BOB, "stop", "y", check=True)
    assert people.said(BOB, "history", "--queue", "line", "--state", "canceled", "-o", "json").count('"canceled"') == 2
