"""Environment files are read as systemd reads them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.envfile import parse, valid_name


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("A=1", ["A=1"]),
        ("A=1\nB=2\n", ["A=1", "B=2"]),
        ("A=1\r\nB=2\r\n", ["A=1", "B=2"]),
        ("\n# no\n; no\n  \t# no\nA=1", ["A=1"]),
        ("# a comment ends with its line\\\nA=1", ["A=1"]),
        ("  A  =  one two  \n", ["A=one two"]),
        ("A=\nB= \n", ["A=", "B="]),
        ("A='one  two  '", ["A=one  two  "]),
        ('A="one  two  "  ', ["A=one  two  "]),
        ("A='a\\b$c\"d'", ['A=a\\b$c"d']),
        (r'A="q\"b\\d\$t\`n\n"', ['A=q"b\\d$t`n\\n']),
        ("A=one\\\ntwo", ["A=onetwo"]),
        ('A="one\\\ntwo"', ["A=onetwo"]),
        ("A='one\ntwo'\nB=2", ["A=one\ntwo", "B=2"]),
        ('A="one\ntwo"', ["A=one\ntwo"]),
        ("A=a\\ b\\\\c\\n", ["A=a b\\cn"]),
        ("A=trailing\\ ", ["A=trailing "]),
        ("A=b'c'd", ["A=b'c'd"]),
        ("A='b'c", ["A=bc"]),
        ("A='b' 'c'", ["A=bc"]),
        ("A=1\nA=2", ["A=2"]),
        ("A=1\nB=2\nA=3", ["B=2", "A=3"]),
        ("A=a=b", ["A=a=b"]),
        ("A=1 # no comment", ["A=1 # no comment"]),
        ("A=${B} `c` $(d)", ["A=${B} `c` $(d)"]),
        ("\ufeffA=1", ["A=1"]),
        ("A=é", ["A=é"]),
        ("A='no end", ["A=no end"]),
        ('A="no end\\', ["A=no end"]),
    ],
)
def test_what_is_read(text: str, entries: list[str]) -> None:
    assert parse(text.encode()) == ([entry.encode() for entry in entries], [])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("no assignment", [1]),
        ("A=1\n\nno assignment\nB=2\n1A=3\n", [3, 5]),
        ("export A=1", [1]),
        ("=1", [1]),
        ("A-B=1", [1]),
        ("A=x\0y", [1]),
        ("A='x\ny\0z'\nB\n", [1, 3]),
    ],
)
def test_what_is_passed_over_is_told(text: str, lines: list[int]) -> None:
    assert parse(text.encode())[1] == lines


def test_values_may_be_any_bytes() -> None:
    assert parse(b"A=\xff\xfe\nB='\x01\x80'")[0] == [b"A=\xff\xfe", b"B=\x01\x80"]


@given(st.binary(max_size=200))
def test_any_bytes_give_an_environment(data: bytes) -> None:
    entries, lines = parse(data)
    names = [entry.partition(b"=")[0] for entry in entries]
    assert len(set(names)) == len(names)
    assert all(map(valid_name, names))
    assert not any(b"\0" in entry for entry in entries)
    assert all(1 <= line <= data.count(b"\n") + 1 for line in lines)


@given(st.dictionaries(st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}\Z"), st.text(st.characters(exclude_characters="\0'\r"))))
def test_what_is_quoted_comes_back(env: dict[str, str]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in env.items())
    assert parse(text.encode("utf-8", "surrogatepass"))[0] == [
        f"{name}={value}".encode("utf-8", "surrogatepass") for name, value in env.items()
    ]


def test_the_keeper_can_load_it() -> None:
    code = "import sys; import jobd.core.envfile; sys.exit(bool({'typing', 're', 'msgspec'} & set(sys.modules)))"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path[:0] = sys.argv[1:]; " + code, "."], check=True
    )
