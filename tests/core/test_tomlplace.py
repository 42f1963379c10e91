"""Where things are in TOML: against tomllib's own reading of the same text, and with anything else for a text."""

from __future__ import annotations

import time
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.tomlplace import MAX_DEPTH, Places, TomlError, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.tomlplace import Path

TEXT = '''\
a = 1
b.c."d.e" = """x
""y"""   # a comment = [
[t]  # [not.this]
x = [ 1, # one, two
  { q = 'l]', "z\\n" = [1,
  2]},
]
[[al.x]]
u = ["a",
"b"]
[al.x.sub]
k=1
[[al.x]]
  [[al.x.more]]
  z = """a\\""""""
  day = 1979-05-27 07:32:00
'''


def everything(value: object, path: Path = ()) -> Iterator[Path]:
    """The paths of a value and of all that is in it."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from everything(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from everything(item, (*path, at))


def refusal(text: str) -> tuple[int, int, str]:
    with pytest.raises(TomlError) as caught:
        read(text)
    return caught.value.line, caught.value.column, caught.value.why


def test_every_value_has_its_place() -> None:
    values, places = read(TEXT)
    assert {path: places.place(*path) for path in everything(values) if path} == {
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", "c"): (2, 1),
        ("b", "c", "d.e"): (2, 1),
        ("t",): (4, 1),
        ("t", "x"): (5, 1),
        ("t", "x", 0): (5, 7),
        ("t", "x", 1): (6, 3),
        ("t", "x", 1, "q"): (6, 5),
        ("t", "x", 1, "z\n"): (6, 15),
        ("t", "x", 1, "z\n", 0): (6, 24),
        ("t", "x", 1, "z\n", 1): (7, 3),
        ("al",): (9, 1),
        ("al", "x"): (9, 1),
        ("al", "x", 0): (9, 1),
        ("al", "x", 0, "u"): (10, 1),
        ("al", "x", 0, "u", 0): (10, 6),
        ("al", "x", 0, "u", 1): (11, 1),
        ("al", "x", 0, "sub"): (12, 1),
        ("al", "x", 0, "sub", "k"): (13, 1),
        ("al", "x", 1): (14, 1),
        ("al", "x", 1, "more"): (15, 3),
        ("al", "x", 1, "more", 0): (15, 3),
        ("al", "x", 1, "more", 0, "z"): (16, 3),
        ("al", "x", 1, "more", 0, "day"): (17, 3),
    }
    assert set(places.paths()) == set(everything(values)) - {()}
    assert places.line("al", "x", 1, "nothing", "here") == 14  # what is nearest to it
    assert places.line("nowhere") == 1


def test_lines_that_end_as_on_windows() -> None:
    assert read("a = 1\r\n\r\nb = [\r\n1,\r\n2]\r\n")[1].place("b", 1) == (5, 1)


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ("a = 1\na = 2\n", 2, 1, '"a" is there twice; first on line 1'),
        ("[a]\n\n[b]\n[a]\n", 4, 1, '"a" is there twice; first on line 1'),
        ("[[r]]\nx = 1\n[[r]]\ny = 1\ny = 2\n", 5, 1, '"r.y" is there twice; first on line 4'),
        ("x = { a = 1, a = 2 }\n", 1, 14, '"x.a" is there twice; first on line 1'),
        ("x = hello\n", 1, 5, 'this is no value; text stands in "quotes"'),
        ("y = 1\nx = \n", 2, 5, "a value is missing"),
        ("x = # nothing", 1, 5, "a value is missing"),
        ("\nx\n", 2, 2, 'a key needs a "=" and a value'),
        ("x = 'a\ny = 1\n", 1, 5, "the quotation marks that begin here have no end"),
        ("x = '''a\ny = 1\n", 1, 5, "the quotation marks that begin here have no end"),
        ('a = 1\nx = """a\ny = 1\n', 2, 5, "the quotation marks that begin here have no end"),
        ("a = 1 b = 2\n", 1, 7, "something follows the value on this line"),
        ("a = 512M\n", 1, 8, 'this is no value; text stands in "quotes"'),
        ("a = 5/10s # often\n", 1, 6, 'this is no value; text stands in "quotes"'),
        ("\ufeffa = 1\n", 1, 1, "a byte order mark is no part of TOML: save it as UTF-8 without one"),
        ("a = [1,\n2\n", 2, 2, "unclosed array"),
        ("a = 1\nb = \0\n", 2, 5, 'this is no value; text stands in "quotes"'),
        ('a = "x\0"\n', 1, 7, "illegal character '\\x00'"),
        ("a = " + "[" * 1000, 1, 5 + MAX_DEPTH + 1, "brackets nested more than 50 deep"),
        ("b = 1\na" + ".a" * 100_000 + " = 1", 2, 1, "a key of more than 50 parts"),
        ("a = " + "9" * 5000, 1, 5, "a value of more than 4000 characters without quotes"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, line: int, column: int, why: str) -> None:
    assert refusal(text) == (line, column, why)


KEYS = st.text(min_size=1, max_size=3) | st.sampled_from(["a", "b", "c d", "ä", '"', "'", "\\", "\n"])
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


def written(value: object) -> str:
    """A value as TOML, spread over lines where that is allowed."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case list():
            return "[ # x ]\n" + "".join(f"{written(item)}  ,\n" for item in value) + "]"
        case dict():
            return "{" + " , ".join(f"{quoted(key)}={written(item)}" for key, item in value.items()) + "}"
    return repr(value)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_all_of_a_valid_file_is_found(values: dict[str, object]) -> None:
    lines = []
    for key, value in values.items():
        lines.append(f"\n{quoted(key)} = {written(value)} # = [x]")
    found, places = read("\n".join(lines))
    assert found == values
    assert set(places.paths()) == set(everything(values)) - {()}
    for path in everything(values):
        assert 1 <= places.line(*path) <= "\n".join(lines).count("\n") + 1
    assert places.twice == []


PIECES = st.sampled_from(
    ["a", "b", " = ", "=", "1", "[", "]", "[[", "]]", "{", "}", ",", ".", '"', "'", '"""', "'''", "\\", "\n", "\r\n",
     "#", " ", "\0", "é", "a = 1\n", "[a.b]\n", "[[c]]\n"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    refused: TomlError | None = None
    try:
        values, places = read(text)
    except TomlError as error:
        refused = error
    if refused is None:
        assert values == tomllib.loads(text)
        assert set(places.paths()) == set(everything(values)) - {()}
    else:
        assert 1 <= refused.line <= text.count("\n") + 1
        assert refused.column >= 1
        assert refused.why


@pytest.mark.parametrize("piece", ["[", "{", '"', "'", "a.", "[[a.b.", "a={b=", "#", "\\", "a={x,", "a=1\n", "=", "a"])
def test_a_long_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        begun = time.process_time()
        Places(text)
        return time.process_time() - begun

    seconds(1000)
    assert seconds(1 << 18) < 64 * max(seconds(1 << 14), 0.002)  # a square would be 256
