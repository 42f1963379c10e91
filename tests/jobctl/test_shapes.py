"""The shapes that type checkers see are those of the contract."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from jobctl import shapes
from jobd.wire import messages as m


@pytest.mark.parametrize(
    ("shape", "struct"),
    [
        (shapes.JobView, m.JobView),
        (shapes.RunView, m.RunView),
        (shapes.Process, m.Process),
        (shapes.QueueView, m.QueueView),
        (shapes.TimerView, m.TimerView),
        (shapes.StatsView, m.StatsView),
    ],
)
def test_views_have_the_fields_of_the_messages(shape: type, struct: type[m.JobView]) -> None:
    ours, theirs = get_type_hints(shape), get_type_hints(struct)
    assert set(ours) == set(theirs)
    for name, type_ in theirs.items():
        assert str(ours[name]).replace(shape.__module__, m.JobView.__module__) == str(type_), name


def test_what_has_no_default_is_required() -> None:
    for shape, struct in ((shapes.JobView, m.JobView), (shapes.RunView, m.RunView)):
        needed = len(struct.__struct_fields__) - len([d for d in struct.__struct_defaults__ if str(d) != "NODEFAULT"])
        assert len(shape.__required_keys__) == needed


def test_a_body_can_hold_every_body() -> None:
    known = set(get_type_hints(shapes.Body)) | {"run"}
    for body in get_args(m.AnyBody):
        assert set(body.__struct_fields__) <= known, body


def test_a_message_can_hold_every_message() -> None:
    known = set(get_type_hints(shapes.Message))
    for message in get_args(m.FromDaemon):
        assert set(message.__struct_fields__) <= known, message
