"""Settings by key, signals, limits, and specs as blobs."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import spec


def test_settings_are_typed_by_their_key() -> None:
    fields = spec.parse_settings(
        {
            "stop.timeout": "1min 30s",
            "stop.signal": "int",
            "stop.kill_mode": "mixed",
            "logs.max_size": "1M",
            "logs.merge_output": "yes",
            "logs.on_full": "drop",
            "limits.runtime": "infinity",
            "success_exit_status": "75 3",
            "description": "a <b> c",
        }
    )
    assert fields == {
        "stop_timeout_usec": 90_000_000,
        "stop_signal": 2,
        "kill_mode": "mixed",
        "log_max_size": 1 << 20,
        "merge_output": True,
        "on_full": "drop",
        "runtime_usec": None,
        "success_codes": (0, 3, 75),
        "description": "a <b> c",
    }


def test_an_unknown_key_names_the_one_meant() -> None:
    with pytest.raises(spec.SpecError, match=r"unknown key 'RuntimeMaxSec'; did you mean 'limits.runtime'\?"):
        spec.parse_settings({"RuntimeMaxSec": "1h"})
    with pytest.raises(spec.SpecError, match=r"unknown key 'colour'; the keys are description, success_exit_status, "):
        spec.parse_settings({"colour": "red"})
    with pytest.raises(spec.SpecError, match=r"unknown key 'runtime'; did you mean 'limits.runtime'\?"):
        spec.parse_settings({"runtime": "1h"})
    with pytest.raises(spec.SpecError, match=r"unknown key 'stop.timeuot'; did you mean 'stop.timeout'\?"):
        spec.parse_settings({"stop.timeuot": "1s"})


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("stop.timeout", "soon"),
        ("stop.signal", "SIGFOO"),
        ("stop.kill_mode", "proces"),
        ("logs.merge_output", "maybe"),
        ("logs.max_size", "1"),
        ("limits.umask", "999"),
        ("limits.nice", "x"),
        ("limits.nice", "77"),
        ("user", ""),
        ("user", "0day"),
        ("user", "-1"),
        ("user", "4294967295"),
        ("user", "a b"),
        ("success_exit_status", "300"),
    ],
)
def test_a_bad_value_is_named_with_its_key(key: str, text: str) -> None:
    with pytest.raises(spec.SpecError, match=f"cannot set {key}: .*{text}"):
        spec.parse_settings({key: text})


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
