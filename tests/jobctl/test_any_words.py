"""Whatever is typed, a verb says what is wrong with it: no line ends in a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.slow


def not_found(request: m.Request) -> Iterable[m.FromDaemon]:
    yield m.Fault(code=errors.NOT_FOUND, message="no such job", id=request.id)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((b"status", b"web\xff"), 2),
        ((b"stop", b"web", b"web\xff"), 2),
        ((b"wait", b"web\xff"), 125),
        ((b"run", b"--after", b"web\xff", b"true"), 2),
        ((b"run", b"-f", b"--after", b"web\xff", b"true"), 125),
    ],
)
def test_a_word_that_is_not_utf_8_can_be_asked_of_nobody(tmp_path: Path, words: tuple[bytes, ...], status: int) -> None:
    daemon = FakeDaemon(tmp_path, not_found)
    done = jobctl(daemon.path, *words)
    daemon.close()
    assert done.stderr == b"jobctl: cannot ask for 'web\\udcff': it is not valid UTF-8\n"
    assert done.returncode == status


def test_of_a_cursor_file_no_number_is_too_large_to_be_refused(tmp_path: Path) -> None:
    cursors = tmp_path / "cursors"
    (tmp_path / "d").mkdir()
    daemon = FakeDaemon(tmp_path / "d", not_found)
    first = jobctl(daemon.path, "logs", "--cursor-file", str(cursors), "web")
    assert b"Traceback" not in first.stderr
    cursors.write_text(f"jobctl-cursor 1\nweb {'00' * 16} 1 {2**70} 0\n")
    done = jobctl(daemon.path, "logs", "--cursor-file", str(cursors), "web")
    daemon.close()
    assert b"Traceback" not in done.stderr
    assert done.returncode != 0
