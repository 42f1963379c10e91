from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import arrays
from jobd.core.arrays import ArrayError, parse
from jobd.core.ids import new_run_id
from jobd.core.names import MAX_NAME, transient_base, valid_job_name


@pytest.mark.parametrize(
    ("text", "indices", "limit"),
    [
        ("7", [7], None),
        ("0-3", [0, 1, 2, 3], None),
        ("0-99%4", list(range(100)), 4),
        ("1,3,7-9", [1, 3, 7, 8, 9], None),
        ("0-10:2", [0, 2, 4, 6, 8, 10], None),
        ("0-9:4", [0, 4, 8], None),
        ("9,1,1-2", [1, 2, 9], None),  # in order, each once
        ("007", [7], None),
        ("5-5", [5], None),
        ("999999999%999999999", [999_999_999], 999_999_999),
        ("0-999999999:100000", list(range(0, 10**9, 10**5)), None),
    ],
)
def test_is_read_as_slurm_reads_it(text: str, indices: list[int], limit: int | None) -> None:
    array = parse(text)
    assert (list(array.indices), array.limit) == (indices, limit)
    assert array.places == {index: place for place, index in enumerate(indices)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a number is missing"), ("1,", "a number is missing"), ("-3", "a number is missing"),
        ("1-", "a number is missing"), ("0-5%", "a number is missing"), ("0-5:", "a number is missing"),
        ("a", "'a' is no number"), ("1-2-3", "'2-3' is no number"), ("1 2", "'1 2' is no number"),
        ("0-5%4%2", "'4%2' is no number"), ("\u0663", "is no number"), ("+1", "is no number"),
        ("0-5:2:2", "'2:2' is no number"), ("5-1", "5-1 ends before it begins"), ("0-5:0", "a step of 0 leads nowhere"),
        ("3:2", "has a step and is no range"), ("0-5%0", "with %0 nothing would ever run"),
        ("1000000000", "is more than 999999999"), ("9" * 200, "is more than 999999999"),
        ("0-10000", "more than 10000 elements"), ("0-9999,7", "more than 10000 elements"),
        ("1," * 200 + "1", "at most 256 characters"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(text: str, why: str) -> None:
    with pytest.raises(ArrayError) as mistake:
        parse(text)
    assert why in str(mistake.value)


@given(st.text("0123456789,-:% x", max_size=20))
def test_anything_is_an_array_or_a_mistake(text: str) -> None:
    try:
        array = parse(text)
    except ArrayError:
        return
    assert 0 < len(array.indices) <= arrays.MAX_ELEMENTS
    assert list(array.indices) == sorted(set(array.indices))
    assert parse(",".join(map(str, array.indices[:20]))).indices == array.indices[:20]


def test_names_of_elements_have_room_behind_one_that_is_made_up() -> None:
    base = f"{transient_base('x' * 200)}-9999"
    assert len(base) + 1 + len(str(arrays.MAX_INDEX)) <= MAX_NAME
    name = arrays.element_name(base, arrays.MAX_INDEX)
    assert valid_job_name(name)
    assert arrays.index_of(name) == arrays.MAX_INDEX
    assert [arrays.index_of(other) for other in ("web", "web@", "web@x", "web@1234567890")] == [None] * 4


def test_ids_of_elements_are_the_same_whoever_makes_them_and_no_two_are() -> None:
    base = new_run_id()
    ids = [arrays.element_id(base, place) for place in range(arrays.MAX_ELEMENTS)]
    assert ids == [arrays.element_id(base, place) for place in range(arrays.MAX_ELEMENTS)]
    assert len({*ids, base}) == arrays.MAX_ELEMENTS + 1
    made = uuid.UUID(bytes=ids[0])
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert {one[:8] for one in ids} == {base[:8]}


@pytest.mark.parametrize(
    ("argv", "made"),
    [
        ([b"work", b"%i"], [b"work", b"7"]),
        ([b"part-%i.%i", b"x"], [b"part-7.7", b"x"]),
        ([b"%%i", b"%%%i", b"%%i%i"], [b"%i", b"%%i", b"%i7"]),
        ([b"date", b"+%s", b"100%", b"%%", b"%I"], [b"date", b"+%s", b"100%", b"%%", b"%I"]),
        ([b"\xff%i\xfe"], [b"\xff7\xfe"]),
    ],
)
def test_only_the_number_is_put_in(argv: list[bytes], made: list[bytes]) -> None:
    assert arrays.with_index(argv, 7) == made
