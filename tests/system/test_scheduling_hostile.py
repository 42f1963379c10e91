"""What one user may try with runs that wait, arrays, queues and schedules, at the cost of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.core import arrays
from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.system.callers import SAME_ID, CallerAs
from tests.system.people import ALICE, EVE, People, many_users, why_not
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
I = SAME_ID  # noqa: E741  # an id


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users() as made:
        yield made


@pytest.fixture
def eve(people: People) -> Iterator[CallerAs]:
    """Her connection; the daemon is afterwards the one that it was before."""
    before = people.daemon_pid()
    caller = CallerAs(people.socket, EVE)
    yield caller
    caller.close()
    assert people.daemon_pid() == before


def run(name: str, run_id: bytes, array: str = "", *, hold: bool = False, singleton: bool = False) -> m.Run:
    argv = [b"sleep", b"1000"]
    return m.Run(
        id=I, run=run_id, argv=argv, env=[], cwd=b"/", name=name, exec_wait=False, array=array, hold=hold,
        singleton=singleton,
    )  # fmt: skip


def pids(people: People, uid: int, *jobs: str) -> set[str]:
    return {pid for pid in people.said(uid, "show", *jobs, "-P", "MainPID").split() if pid != "0"}


def test_an_id_that_an_element_was_to_have_is_taken_and_it_has_another(people: People, eve: CallerAs) -> None:
    base = new_run_id()
    eve.body(run("theirs", arrays.element_id(base, 2)))
    eve.body(run("own", arrays.element_id(base, 1)))
    eve.body(run("hers", base, "0-2"))
    alice = CallerAs(people.socket, ALICE)
    base = new_run_id()
    eve.body(run("taken", arrays.element_id(base, 1)))
    alice.body(run("hers", base, "0-1"))
    alice.close()
    elements = ("hers@0", "hers@1")
    until(lambda: len(pids(people, ALICE, *elements)) == 2, "alice's elements")
    until(lambda: len(pids(people, EVE, "theirs", "own", "taken", *elements, "hers@2")) == 6, "and eve's runs")
    people.ask(ALICE, "stop", "hers", check=True)
    assert people.ask(EVE, "is-active", "taken").stdout == "active\n"
    people.ask(EVE, "stop", "*", check=True)


def test_what_is_found_by_its_id_has_that_alone(eve: CallerAs) -> None:
    base, other = new_run_id(), new_run_id()
    eve.body(run("first", arrays.element_id(base, 0)))
    eve.body(run("same", other))
    for taken in (base, other):
        assert eve.fault(run("arr", taken, "0-2")).code == errors.MALFORMED
    ids = [new_run_id()] * 2
    for request in (m.Start(id=I, names=["first", "same"], runs=ids), m.Restart(id=I, names=["a", "b"], runs=ids)):
        assert eve.fault(request).code == errors.MALFORMED


def test_a_next_run_of_which_the_id_was_taken_meanwhile_has_another(people: People, eve: CallerAs) -> None:
    people.ask(EVE, "run", "-u", "stays", "--", "sh", "-c", "trap '' TERM; echo up; exec sleep 1000", check=True)
    until(lambda: "up" in people.said(EVE, "logs", "stays"), "its trap")
    following = new_run_id()
    eve.ask(m.Restart(id=I, names=["stays"], runs=[following], no_block=True))
    eve.body(run("quick", following))
    (before,) = pids(people, EVE, "stays")
    people.ask(EVE, "kill", "-s", "KILL", "stays", check=True)
    until(lambda: len(pids(people, EVE, "stays", "quick") - {before}) == 2, "both of them")
    people.ask(EVE, "kill", "-s", "KILL", "stays", "quick", check=True)


def test_a_queue_of_somebody_elses_is_as_one_that_is_not_there(people: People) -> None:
    people.ask(ALICE, "queue", "add", "secret", check=True)
    people.ask(EVE, "run", "-u", "waits", "--hold", "--", "true", check=True)

    def said(queue: str) -> list[tuple[int, str]]:
        word = f"{ALICE}/{queue}"
        asked = (
            ("run", "--queue", word, "--", "true"),
            ("set-property", "waits", f"queue={word}"),
            *(("queue", verb, word) for verb in ("show", "pause", "rm", "add")),
            *((verb, "--queue", word) for verb in ("list", "history", "wait")),
        )
        found = [people.ask(EVE, *words) for words in asked]
        return [(done.returncode, done.stderr.replace(queue, "QUEUE")) for done in found]

    assert said("secret") == said("not-there")
    people.ask(EVE, "cancel", "waits", check=True)
    people.ask(ALICE, "queue", "rm", "secret", check=True)


def test_what_an_array_is_stays_whole_under_acts_while_it_is_accepted(people: People, eve: CallerAs) -> None:
    eve.body(run("whole", new_run_id(), "0-299", hold=True))
    assert eve.fault(run("whole", new_run_id(), singleton=True)).code == errors.EXISTS
    eve.body(m.SetProperty(id=I, name="whole", settings={"priority": "1"}))
    assert people.said(EVE, "show", "whole@299", "-P", "Priority") == "1\n"
    people.ask(EVE, "cancel", "whole", check=True)
    assert "(300 canceled)" in people.ask(EVE, "status", "whole").stdout
