"""Runs that wait for others: the words, and what each end decides."""

from __future__ import annotations

import pytest

from jobctl.statewords import RESULTS
from jobd.core import after
from jobd.core.after import ANY, FAILED, OK, Need
from jobd.core.names import valid_job_name

ID, OTHER = bytes(range(16)), bytes(range(16, 32))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("make-1", ("make-1", OK)),
        ("make-1:ok", ("make-1", OK)),
        ("make-1:failed", ("make-1", FAILED)),
        ("alice/web@1:any", ("alice/web@1", ANY)),
    ],
)
def test_a_job_and_a_condition(text: str, found: tuple[str, str]) -> None:
    assert after.parse(text) == found


@pytest.mark.parametrize("text", ["", ":ok", "make:", "make:OK", "make:done", "make:ok:ok", "a:b:any"])
def test_anything_else_is_refused_with_what_it_can_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"^cannot wait for '.*': (it names no job|after a job may come :ok, ...)"):
        after.parse(text)


def test_no_name_of_a_job_has_a_colon() -> None:
    assert not valid_job_name("a:ok")


def test_what_is_kept_is_found_again_and_each_once() -> None:
    needs = (Need(5, ID), Need(5, OTHER, ANY), Need(0, ID, FAILED), Need(5, ID))
    text = after.encode(needs, 5)
    assert text == f"{ID.hex()}:ok {OTHER.hex()}:any 0/{ID.hex()}:failed"
    assert after.decode(text, 5) == needs[:3]
    assert after.decode("", 5) == ()


def test_every_result_meets_some_conditions_for_good() -> None:
    met = {result: [c for c in after.CONDITIONS if after.is_met(c, result)] for result in (*RESULTS, after.GONE)}
    neither = {"stopped", "canceled", after.GONE}
    assert met == {
        result: [OK, ANY] if result == "success" else [ANY] if result in neither else [FAILED, ANY] for result in met
    }


@pytest.mark.parametrize(
    ("condition", "result", "text"),
    [
        (OK, "exit-code", "it waits for make-1 to succeed, which has failed (exit-code)"),
        (OK, "dependency", "it waits for make-1 to succeed, which could not begin either"),
        (OK, "canceled", "it waits for make-1 to succeed, which was canceled"),
        (FAILED, "success", "it waits for make-1 to fail, which has succeeded"),
        (FAILED, "gone", "it waits for make-1 to fail, which is known no more"),
    ],
)
def test_why_it_never_begins(condition: str, result: str, text: str) -> None:
    assert after.never("make-1", condition, result) == text


def test_what_is_left_when_one_has_ended_or_is_followed() -> None:
    needs = (Need(5, ID), Need(5, OTHER, ANY), Need(0, ID, FAILED), Need(5, ID, ANY))
    assert after.without(needs, 5, ID) == needs[1:3]
    assert after.moved(needs, 5, ID, OTHER) == (Need(5, OTHER), needs[1], needs[2], Need(5, OTHER, ANY))
