"""The checker of the pump's campaign finds what is planted: lost, doubled, misplaced and flipped bytes."""

from __future__ import annotations

import signal

import pytest

from tests.fault.pump_checker import check_bytes, check_index
from tests.fault.pump_work import SIZES, Flow
from tests.fault.pumping import KILLED, RELEASED, end_of

WANTED = [bytes([number]) * 700 for number in range(200)]
WHOLE = b"".join(WANTED)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def kinds(got: bytes, size: int = 9_000) -> list[str]:
    return [problem.kind for problem in check_bytes("run", WANTED, cut(got, size))]


@pytest.mark.parametrize("size", [1, 699, 700, 701, 1 << 20])
def test_the_same_bytes_in_other_pieces_are_right(size: int) -> None:
    assert kinds(WHOLE, size) == []


def test_an_empty_stream_is_right() -> None:
    assert check_bytes("run", [], []) == []


def test_lost_at_the_end() -> None:
    (problem,) = check_bytes("run", WANTED, [WHOLE[:-3]])
    assert (problem.kind, problem.text) == ("missing bytes", f"the last 3 of {len(WHOLE)}")


@pytest.mark.parametrize(
    ("got", "kind"),
    [
        (b"", "missing bytes"),
        (WHOLE + b"x", "extra bytes"),
        (WHOLE[:7_000] + WHOLE[7_700:], "wrong bytes"),
        (WHOLE[:7_000] + WHOLE[6_300:], "wrong bytes"),
        (WHOLE[:7_000] + WHOLE[7_700:8_400] + WHOLE[7_000:7_700] + WHOLE[8_400:], "wrong bytes"),
    ],
    ids=["nothing", "more", "a piece lost", "a piece doubled", "two exchanged"],
)
def test_a_planted_fault_is_found(got: bytes, kind: str) -> None:
    assert kinds(got) == [kind]


@pytest.mark.parametrize("at", [0, 699, 8_999, 9_000, len(WHOLE) - 1])
def test_one_flipped_byte_is_found_where_it_is(at: int) -> None:
    got = bytearray(WHOLE)
    got[at] ^= 0x10
    (problem,) = check_bytes("run", WANTED, cut(bytes(got), 9_000))
    assert (problem.kind, problem.text) == ("wrong bytes", f"from byte {at} on")


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ([(0, 4), (4, 6)], ""),
        ([(0, 4), (5, 5)], "a gap at byte 4 of 10"),
        ([(0, 4), (3, 7)], "twice the same at byte 3 of 10"),
        ([(0, 4)], "a gap at byte 4 of 10"),
        ([(0, 4), (4, 7)], "twice the same at byte 10 of 10"),
        ([], "a gap at byte 0 of 10"),
    ],
)
def test_an_index_shows_all_once_and_in_order(records: list[tuple[int, int]], text: str) -> None:
    assert [problem.text for problem in check_index("run", 10, records)] == ([text] if text else [])


def test_a_flow_is_the_same_again_and_no_other() -> None:
    size = 3 * max(SIZES)
    first = b"".join(Flow(1, "a").upto(size))
    assert len(first) == size
    assert b"".join(Flow(1, "a").upto(size)) == first
    assert b"".join(Flow(1, "b").upto(size)) != first
    assert b"".join(Flow(1, "a").upto(10)) == first[:10]


@pytest.mark.parametrize(
    ("sig", "code", "end"),
    [
        (signal.SIGKILL, -9, KILLED),
        (signal.SIGTERM, 0, RELEASED),
        (signal.SIGTERM, -15, KILLED),
        (signal.SIGKILL, 0, ""),
        (signal.SIGKILL, 1, ""),
        (signal.SIGTERM, 1, ""),
        (signal.SIGKILL, -11, ""),
    ],
)
def test_a_pump_that_ended_by_itself_was_not_killed(sig: signal.Signals, code: int, end: str) -> None:
    assert end_of(sig, code) == end
