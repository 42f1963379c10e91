"""Signals, limits, and specs as blobs."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import spec


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("sigterm", 15), ("9", 9), ("SIGRTMIN+2", signal.SIGRTMIN + 2), ("SIGRTMAX", signal.SIGRTMAX)],
)
def test_signals_by_name_and_number(text: str, number: int) -> None:
    assert spec.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "TERMM", "RTMIN+99", "SIGTERM+1", "-9"])
def test_unknown_signals_are_refused(text: str) -> None:
    with pytest.raises(spec.SpecError, match="unknown signal"):
        spec.parse_signal(text)


def test_limits_are_checked() -> None:
    spec.check_rlimits({"nofile": (1024, 4096), "core": (0, -1), "nproc": (-1, -1)})
    with pytest.raises(spec.SpecError, match="unknown resource limit 'nofiles'"):
        spec.check_rlimits({"nofiles": (1, 1)})
    with pytest.raises(spec.SpecError, match="above hard"):
        spec.check_rlimits({"nofile": (2, 1)})
    with pytest.raises(spec.SpecError, match="above hard"):
        spec.check_rlimits({"nofile": (-1, 1)})


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.binary(min_size=1, max_size=20))
def test_a_spec_survives_its_blob_and_equal_specs_share_one(argv: list[bytes], cwd: bytes) -> None:
    made = spec.JobSpec(argv=tuple(argv), cwd=cwd, rlimits={"core": (0, -1), "as": (1, 2)})
    again = spec.JobSpec(argv=tuple(argv), cwd=cwd, rlimits={"as": (1, 2), "core": (0, -1)})
    assert spec.decode_spec(spec.encode_spec(made)) == made
    assert spec.encode_spec(made) == spec.encode_spec(again)


def test_a_shell_job_is_run_by_sh() -> None:
    assert spec.JobSpec(argv=(b"a; b",), cwd=b"/", shell=True).program == (b"/bin/sh", b"-c", b"a; b")


@given(st.lists(st.binary(max_size=30), max_size=9))
def test_an_environment_survives_its_blob(env: list[bytes]) -> None:
    assert spec.decode_env(spec.encode_env(env)) == env
