"""Names, owners, and what was probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import names


@pytest.mark.parametrize("name", ["web", "make-3", "web@8080", "a.b", "_x", "0day", "x" * 64])
def test_valid_names(name: str) -> None:
    assert names.valid_job_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("-x", "begin with"),
        (".x", "begin with"),
        ("x" * 65, "65 characters"),
        ("a/b", "'/'"),
        ("a b", "' '"),
        ("ä", "'ä'"),
        ("a\x1b", r"\\x1b"),
    ],
)
def test_invalid_names_and_why(name: str, why: str) -> None:
    assert not names.valid_job_name(name)
    assert why.replace("\\\\", "\\") in names.why_invalid(name)
    assert names.why_invalid(name, "queue").replace("queue name", "job name") == names.why_invalid(name)


@given(st.text(max_size=80))
def test_transient_bases_are_valid_names_with_room_for_a_number(command: str) -> None:
    assert names.valid_job_name(names.transient_base(command) + "-123456789")


def test_transient_base_is_the_last_part_of_the_path() -> None:
    assert names.transient_base("/usr/bin/make") == "make"
    assert names.transient_base("./run me.sh") == "run_me.sh"
    assert names.transient_base("/") == "job"


def test_split_owner() -> None:
    assert names.split_owner("alice/web") == ("alice", "web")
    assert names.split_owner("web") == (None, "web")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statsu", "status"),
        ("stats", "status"),
        ("lsit", "list"),
        ("stratus", "status"),
        ("stat", "status"),
        ("xyzzy", None),
        ("x", None),
    ],
)
def test_closest(typed: str, meant: str | None) -> None:
    assert names.closest(typed, ["start", "status", "stop", "list", "logs"]) == meant


def test_globs() -> None:
    assert names.is_glob("web-*")
    assert names.is_glob("web-[12]")
    assert not names.is_glob("web@8080")
