"""Columns of a terminal: what text takes, and text made to fit."""

from __future__ import annotations

import random

import pytest

from jobctl.width import columns_of, cut, cut_middle, pad

SEED = 20261122


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0), ("abc", 3), ("é", 1), ("e\u0301", 1), ("日本", 4), ("\uff41", 2), ("🚀", 2), ("한", 2), ("…", 1),
        ("\u1112\u1161\u11ab", 2),
    ],
)  # fmt: skip
def test_columns_of(text: str, columns: int) -> None:
    assert columns_of(text) == columns


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("abcdef", 0, "abcdef"),
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("", 1, ""),
        ("\x1b[1mabcde\x1b[0m", 5, "\x1b[1mabcde\x1b[0m"),
        ("\x1b[1mabcdef\x1b[0m", 5, "\x1b[1mabcd…\x1b[0m"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("日本語", 1, "…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("a\tb", 9, "a\tb"),
        ("a\tb", 8, "a…"),
        ("a\tbc", 9, "a\t…"),
    ],
)
def test_cut(line: str, width: int, shown: str) -> None:
    assert cut(line, width) == shown


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("make-1", 6, "make-1"),
        ("make-123456", 7, "mak…456"),
        ("make-123456", 2, "m…"),
        ("make-123456", 1, "…"),
        ("make-123456", 0, ""),
        ("日本語/web", 8, "日本…web"),
    ],
)
def test_cut_middle(name: str, width: int, shown: str) -> None:
    assert cut_middle(name, width) == shown


def test_pad() -> None:
    assert pad("日本", 6) == "日本  "


@pytest.mark.slow
def test_nothing_is_wider_than_its_room() -> None:
    rng = random.Random(SEED)
    for _ in range(5000):
        text = "".join(rng.choice("ab日é\u0301🚀-") for _ in range(rng.randrange(30)))
        width = rng.randrange(1, 20)
        for fitted in (cut(text, width), cut_middle(text, width)):
            assert columns_of(fitted) <= width
            assert fitted == text or columns_of(text) > width
