"""Durations and sizes as systemd reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import units

SEC = units.USEC_PER_SEC


@pytest.mark.parametrize(
    ("text", "usec"),
    [
        ("90", 90 * SEC),
        ("1min 30s", 90 * SEC),
        ("1min30s", 90 * SEC),
        ("1.5h", 5400 * SEC),
        ("100ms", 100_000),
        ("5us", 5),
        ("2 h", 7200 * SEC),
        ("1d", 86_400 * SEC),
        ("1w", 7 * 86_400 * SEC),
        (" 3s ", 3 * SEC),
        ("0", 0),
        (".5s", SEC // 2),
        ("infinity", None),
    ],
)
def test_parse_duration_reads_what_systemd_reads(text: str, usec: int | None) -> None:
    assert units.parse_duration(text) == usec


@pytest.mark.parametrize(
    "text", ["", " ", "s", "1x", "1 min sec", "-1s", "1..5s", "1.s", "99999999999999y", "infinity s"]
)
def test_parse_duration_refuses_and_names_the_value(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("usec", "text"),
    [(None, "infinity"), (0, "0"), (90 * SEC, "1min 30s"), (2_500_000, "2s 500ms"), (86_400 * SEC, "1d"), (3, "3us")],
)
def test_format_duration_writes_as_systemd(usec: int | None, text: str) -> None:
    assert units.format_duration(usec) == text


def test_format_duration_leaves_out_what_is_below_the_accuracy() -> None:
    assert units.format_duration(3 * 3600 * SEC + 5 * SEC + 7, accuracy=SEC) == "3h 5s"
    assert units.format_duration(1_500, accuracy=SEC) == "1ms"


@given(st.integers(0, 2**62))
def test_a_duration_reads_back_as_it_was_written(usec: int) -> None:
    assert units.parse_duration(units.format_duration(usec)) == usec


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("1.5G", 3 << 29),
        ("4096", 4096),
        ("10K", 10240),
        ("1KiB", 1024),
        ("7B", 7),
        ("infinity", None),
    ],
)
def test_parse_size_reads_powers_of_1024(text: str, size: int | None) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "1X", "-1", "1.2.3M", "1 M M"])
def test_parse_size_refuses_and_names_the_value(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read size"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(532, "532B"), (663_552, "648.0K"), (1_258_291, "1.1M"), (None, "infinity")]
)
def test_format_size_writes_as_systemd(size: int | None, text: str) -> None:
    assert units.format_size(size) == text


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (units.parse_duration, units.parse_size):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value is None or value >= 0
