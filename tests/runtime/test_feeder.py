"""The feeder's two queues: what the loop hears of a run, and when."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobd.runtime.feeder import Feeder
from jobd.runtime.inlet import create

if TYPE_CHECKING:
    from pathlib import Path

RUN = b"r" * 16


def test_a_daemon_that_leaves_does_not_end_what_is_fed(tmp_path: Path) -> None:
    feeder = Feeder(lambda: None)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    file = create(str(tmp_path / "run"))
    held = {"stdin": os.dup(writer), "input": os.dup(file)}
    assert feeder.add(RUN, str(tmp_path / "run"), held) is not None
    feeder.feed(RUN, b"hello")
    feeder.stop()
    # The loop takes news that it had not taken before; `closed` among them would have the keeper end the run's stdin.
    assert [(told.received, told.closed) for told in feeder.take()] == [(5, False)]
    assert os.read(reader, 100) == b"hello"
    for fd in (reader, writer, file):
        os.close(fd)
