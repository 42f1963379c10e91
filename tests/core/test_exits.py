"""What an end means."""

from __future__ import annotations

import errno
import re
import signal
from pathlib import Path

import pytest

from jobd.core import exits


@pytest.mark.parametrize(
    ("status", "code", "number", "core", "result"),
    [
        (0, 0, None, False, "success"),
        (3 << 8, 3, None, False, "exit-code"),
        (222 << 8, 222, None, False, "exit-code"),
        (signal.SIGKILL, None, 9, False, "signal"),
        (signal.SIGSEGV | 0x80, None, 11, True, "core-dump"),
        (-1, None, None, False, "lost"),
    ],
)
def test_a_wait_status_is_decoded(status: int, code: int | None, number: int | None, core: bool, result: str) -> None:
    end = exits.Exit(status)
    assert (end.code, end.signal, end.core) == (code, number, core)
    assert exits.result_of(end) == result


def test_success_codes_make_a_success() -> None:
    assert exits.result_of(exits.Exit(75 << 8), frozenset((0, 75))) == "success"


def test_signal_names() -> None:
    assert exits.signal_name(15) == "SIGTERM"
    assert exits.signal_name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
    assert exits.signal_name(33) == "SIG33"


def test_a_failed_start_is_told_in_words() -> None:
    text = exits.describe_start_failure("foo", "chdir", errno.ENOENT, "make", "/srv/foo")
    assert text == "cannot start foo: changing directory to /srv/foo: No such file or directory"
    text = exits.describe_start_failure("foo", "exec", errno.EACCES, "./x", "/")
    assert text == "cannot start foo: executing ./x in /: Permission denied"
    files = ["/etc/a.env", "/etc/b.env"]
    for step, number, words in (
        ("environment.1", errno.ENOENT, "/etc/b.env: No such file or directory"),
        ("environment.0", errno.EFBIG, "/etc/a.env: it is larger than 256 KiB"),
        ("environment.0", errno.EINVAL, "/etc/a.env: it is not a regular file"),
        ("environment.7", errno.EACCES, "an environment file: Permission denied"),
    ):
        text = exits.describe_start_failure("foo", step, number, "./x", "/", "", files)
        assert text == f"cannot start foo: reading {words}"


def test_every_step_that_can_fail_has_words() -> None:
    keeper = Path(__file__).resolve().parents[2] / "jobd" / "keeper"
    text = "".join((keeper / f"{name}.py").read_text() for name in ("spawn", "child", "spawns", "helpers"))
    found = set(re.findall(r'(?:step = b?|SpawnFailed\(|"step": |[\[(]\(?b)"([a-z]+)"', text))
    assert {"chdir", "exec", "descriptors", "oom", "pty", "cgroup"} <= found
    assert found <= exits.STEP_WORDS.keys()
