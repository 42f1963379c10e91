"""One record is one line, whatever is in it; a loop of errors fills no disk; a failure is told in one line."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.logline import BURST, LEVELS, MAX_BYTES, MAX_KINDS, WINDOW_SEC, RateLimit, brief, line, printable

if TYPE_CHECKING:
    from collections.abc import Callable

STAMP = "2026-11-22T09:00:00+0000"
EVIL = "a\nb\r\x1b[31m\x9b2J\u202e\u2028\u200b\ud800\x00\x7f\ue000é日"
SHOWN = r"a\nb\r\x1b[31m\x9b2J\u202e\u2028\u200b\ud800\x00\x7f\ue000é日"


def test_a_line_has_time_and_process_and_for_the_journal_its_priority_alone() -> None:
    assert line("ready", "info", STAMP, 42) == b"2026-11-22T09:00:00+0000 jobd[42]: info: ready\n"
    assert [line("x", level, None, 42) for level in LEVELS] == [b"<7>x\n", b"<6>x\n", b"<4>x\n", b"<3>x\n"]


def test_nothing_in_a_record_acts_on_a_terminal_or_begins_another() -> None:
    assert printable(EVIL) == SHOWN
    assert line(EVIL, "error", None, 1) == f"<3>{SHOWN}\n".encode()
    assert line("\n<0>forged", "info", None, 1) == b"<6>\\n<0>forged\n"


@given(st.text(st.characters(codec=None), max_size=200), st.sampled_from([None, STAMP]))
def test_any_text_is_one_line(text: str, stamp: str | None) -> None:
    made = line(text, "info", stamp, 1)
    assert made.endswith(b"\n")
    assert made.count(b"\n") == 1
    assert made[:-1].decode().isprintable()


@pytest.mark.parametrize("text", ["x" * (1 << 20), "é" * (1 << 20), "\u202e" * (1 << 20), "x" * MAX_BYTES])
def test_a_long_record_is_cut_where_a_pipe_would_split_it(text: str) -> None:
    begun = time.process_time()
    for stamp in (None, STAMP):
        made = line(text, "info", stamp, 1)
        assert MAX_BYTES - 8 <= len(made) <= MAX_BYTES
        assert made.decode().endswith("…\n")
    assert time.process_time() - begun < 0.5


# --- rates --------------------------------------------------------------------------------------------------------
def test_of_many_of_a_kind_the_first_are_written_and_the_others_counted() -> None:
    limit = RateLimit()
    written = [each for n in range(1000) for each in limit.admit("a", f"a {n}", "error", 1.0)]
    assert written == [(f"a {n}", "error") for n in range(BURST)]
    assert limit.admit("b", "b", "info", 2.0) == [("b", "info")]
    later = limit.admit("a", "again", "error", 1.0 + WINDOW_SEC)
    assert later == [
        (f"{1000 - BURST} more such records were left out, the last: a 999", "error"),
        ("again", "error"),
    ]


def test_what_was_left_out_is_told_with_any_later_record() -> None:
    limit = RateLimit()
    for n in range(BURST + 1):
        limit.admit("a", f"a {n}", "warning", 1.0)
    assert limit.admit("b", "b", "info", 100.0) == [
        (f"1 more such records were left out, the last: a {BURST}", "warning"),
        ("b", "info"),
    ]


def test_kinds_without_end_take_no_memory_without_end() -> None:
    limit = RateLimit()
    for n in range(10 * MAX_KINDS):
        assert limit.admit(n, "x", "info", 1.0)
    assert len(limit._kinds) <= MAX_KINDS


# --- failures -----------------------------------------------------------------------------------------------------
class UnshowableError(Exception):
    def __str__(self) -> str:
        raise ValueError


def caught(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:  # it is what is looked at
        return error
    raise AssertionError


def fails() -> None:
    raise ValueError("x\ny")


def fails_after() -> None:
    try:
        fails()
    except ValueError as error:
        raise OSError(5, "no") from error


def endless() -> None:
    endless()


def test_a_failure_is_told_in_one_line_with_its_places() -> None:
    said = brief(caught(fails_after))
    pattern = (
        r"OSError: \[Errno 5\] no \[test_logline.py:\d+ caught > test_logline.py:\d+ fails_after\]; "
        "after ValueError: x\ny "
        r"\[test_logline.py:\d+ fails_after > test_logline.py:\d+ fails\]"
    )
    assert re.fullmatch(pattern, said)


def test_failures_of_every_shape_can_be_told() -> None:
    assert brief(ExceptionGroup("many", [ValueError("a"), OSError("b")])).endswith(
        "of (ValueError: a), and (OSError: b)"
    )
    assert brief(UnshowableError()) == "UnshowableError: (which cannot be shown: ValueError)"
    assert len(brief(caught(endless))) < 4096
    assert len(brief(ValueError("x" * (1 << 20)))) < 1000
