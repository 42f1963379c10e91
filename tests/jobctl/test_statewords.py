"""The words that --state takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl import statewords
from jobd.core import records, states
from tests.jobctl.fakes import jobctl
from tests.jobctl.test_verbs import LOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import FakeDaemon, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def test_states_that_mean_nothing_are_refused(daemon: Make) -> None:
    for line, hint in (("list --state=faild", "did you mean 'failed'?"), ("history --state=x", "see --state=help")):
        result = jobctl(daemon(LOOKS).path, *line.split())
        word = line.partition("=")[2]
        assert (result.returncode, result.stderr.decode()) == (2, f"jobctl: unknown state '{word}'; {hint}\n")
    assert jobctl(daemon(LOOKS).path, "list", "--state=exited", "-o", "name").returncode == 0  # a state of systemd's


def test_states_are_those_of_the_daemon() -> None:
    assert set(statewords.STATES) == set(records.STATES)
    assert set(statewords.SUB) == {*states.ACTIVE_STATE, statewords.FROZEN, statewords.HELD}
    assert set(statewords.ACTIVE) == set(states.ACTIVE_STATE.values())


def test_state_help_lists_the_states(daemon: Make) -> None:
    path = daemon(LOOKS).path
    assert "\nSUB states:\ndead\n" in jobctl(path, "list", "--state=help").stdout.decode()
    assert "\nResults of runs:\nsuccess\n" in jobctl(path, "history", "--state", "help").stdout.decode()
