"""The table of the job's life: complete, reachable, and always able to come to rest."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from jobd.core import records, states

SUBS = sorted(states.ACTIVE_STATE)


@pytest.mark.parametrize(("sub", "event"), list(itertools.product(SUBS, states.EVENTS)))
def test_every_pair_is_listed_or_raises_naming_both(sub: str, event: str) -> None:
    if (sub, event) in states.TRANSITIONS:
        assert states.after(sub, event) in states.ACTIVE_STATE
    else:
        with pytest.raises(states.ImpossibleTransition, match=rf"{event}.*{sub}"):
            states.after(sub, event)


def _reachable(start: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for (sub, _), then in states.TRANSITIONS.items():
            if sub == here and then not in seen:
                seen.add(then)
                todo.append(then)
    return seen


def test_every_state_is_reachable_from_dead() -> None:
    assert _reachable(states.DEAD) == set(SUBS)


@pytest.mark.parametrize("sub", SUBS)
def test_every_state_can_come_to_rest(sub: str) -> None:
    assert _reachable(sub) & states.AT_REST


def test_the_derived_tables_cover_every_state_with_known_words() -> None:
    assert set(states.ACTIVE_STATE) == set(states.RUN_STATE)
    assert set(states.ACTIVE_STATE.values()) == {
        "active",
        "inactive",
        "failed",
        "activating",
        "deactivating",
        "reloading",
    }
    assert set(states.RUN_STATE.values()) == set(records.STATES)


def test_only_states_without_a_run_are_finished() -> None:
    finished = {sub for sub, state in states.RUN_STATE.items() if state == records.FINISHED}
    assert finished == states.NO_RUN


def test_a_live_job_never_takes_a_second_run() -> None:
    for sub in set(SUBS) - states.NO_RUN:
        assert (sub, states.SUBMIT) not in states.TRANSITIONS
        assert (sub, states.ENQUEUE) not in states.TRANSITIONS


def test_the_diagram_that_is_kept_is_that_of_the_table() -> None:
    kept = Path(__file__).parents[2] / "docs" / "states.dot"
    assert kept.read_text() == states.diagram(), "python -m jobd.core.states > docs/states.dot"


def test_the_diagram_names_every_change_of_state() -> None:
    drawn = states.diagram()
    for (sub, _), then in states.TRANSITIONS.items():
        if sub != then:
            assert f'"{sub}" -> "{then}"' in drawn
