"""Nothing that a terminal would act on passes."""

from __future__ import annotations

import unicodedata

import pytest

from jobctl.escape import escape, escape_line, show_bytes, show_command

ATTACKS = {
    "osc 52": ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
    "csi": ("\x1b[2J", "\\x1b[2J"),
    "c1 csi": ("\x9b2J", "\\x9b2J"),
    "cr overwrite": ("safe\revil", "safe\\revil"),
    "bidi override": ("\u202eevil", "\\u202eevil"),
    "line separator": ("a\u2028b", "a\\u2028b"),
    "zero width": ("a\u200bb", "a\\u200bb"),
    "tag": ("a\U000e0041b", "a\\U000e0041b"),
    "private use": ("\ue000", "\\ue000"),
    "newline": ("a\nb", "a\\nb"),
    "delete": ("a\x7fb", "a\\x7fb"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_written_out(name: str) -> None:
    attack, shown = ATTACKS[name]
    assert escape(attack) == shown


@pytest.mark.slow
def test_no_code_point_of_a_dangerous_category_passes() -> None:
    for code in range(0x110000):
        char = chr(code)
        shown = escape(char)
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            assert shown.isascii(), hex(code)
            assert shown.isprintable(), hex(code)
        else:
            assert shown == char, hex(code)


def test_text_of_every_script_passes() -> None:
    for text in ("é", "漢字", "עברית", "日本\u3000語", "a\u00a0b", "🚀", "ñ"):
        assert escape(text) == text


def test_lines_keep_tabs_and_lose_a_final_cr() -> None:
    assert escape_line(b"a\tb\r") == "a\tb"
    assert escape_line(b"a\rb") == "a\\rb"


def test_bytes_that_are_not_utf8_are_shown_as_bytes() -> None:
    assert escape_line(b"\xff\x9b2J") == "\\xff\\x9b2J"
    assert show_bytes(b"/srv/\xe9") == "/srv/\\xe9"


def test_commands_are_shown_as_they_could_be_typed() -> None:
    assert show_command([b"echo", b"a b", b"it's", b""]) == "echo 'a b' 'it'\"'\"'s' ''"
    assert show_command([b"for i in *; do :; done"], shell=True) == "for i in *; do :; done"
    assert show_command([b"a", b"\x1b[2J"]) == "a '\\x1b[2J'"
