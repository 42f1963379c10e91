"""`auth can-i`: what is said of a verb that there is not."""

from __future__ import annotations

import pytest

from jobd.rpc.context import Refused
from jobd.rpc.handlers.auth import can_i
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import Bed


@pytest.mark.parametrize(
    ("verb", "user", "said"),
    [
        ("fly", "", "cannot say whether you may 'fly': no rule is about that; jobd.toml(5) has them all"),
        ("fly", "bob", "cannot say whether 'bob' may 'fly': no rule is about that; jobd.toml(5) has them all"),
        ("strat", "", "cannot say whether you may 'strat': no rule is about that; did you mean 'start'?"),
    ],
)
async def test_of_what_is_no_verb_nobody_can_say_who_may(verb: str, user: str, said: str) -> None:
    with pytest.raises(Refused) as info:
        await can_i(context_of(Bed(), Answers()), m.AuthCanI(id=1, action=verb, job="web", user=user))
    assert (info.value.code, str(info.value)) == (errors.INVALID, said)
