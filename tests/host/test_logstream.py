"""Where the log goes, and that nobody waits for it."""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import TYPE_CHECKING

from jobd.host.logstream import LogStream

if TYPE_CHECKING:
    from pathlib import Path

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} jobd\[(\d+)\]: (\w+): (.*)\n")


def test_a_file_gets_times(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        LogStream(file.fileno(), {}).write("kind", "a\nb", "info")
    match = LINE.fullmatch((tmp_path / "log").read_bytes())
    assert match is not None
    assert match.groups() == (str(os.getpid()).encode(), b"info", rb"a\nb")


def test_the_journal_gets_priorities_only_if_it_is_this_stream() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        info = os.fstat(ours.fileno())
        LogStream(ours.fileno(), {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}).write("a", "one", "warning")
        assert theirs.recv(100) == b"<4>one\n"
        LogStream(ours.fileno(), {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino + 1}"}).write("a", "one", "warning")
        assert LINE.fullmatch(theirs.recv(100))


def test_a_reader_who_does_not_read_holds_nobody_up_and_hears_how_much_he_missed() -> None:
    reader, writer = os.pipe()
    try:
        stream = LogStream(writer, {})
        done = threading.Event()

        def flood() -> None:
            for n in range(1000):
                stream.write(n, "x" * 300, "info")
            done.set()

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        assert done.wait(20)
        first = os.read(reader, 1 << 20)
        while first.count(b"\n") < 100:
            first += os.read(reader, 1 << 20)
        stream.write("last", "last", "error")
        last = os.read(reader, 1 << 20)
        match = re.search(rb"error: \((\d+) records before this one could not be written\) last\n$", last)
        assert match is not None
        assert int(match[1]) + (first + last).count(b"\n") == 1001
    finally:
        os.close(reader)
        os.close(writer)


def test_without_a_stderr_nothing_happens() -> None:
    reader, writer = os.pipe()
    stream = LogStream(writer, {})
    os.close(reader)
    stream.write("a", "nobody reads this", "info")  # Python ignores SIGPIPE
    os.close(writer)
    stream.write("a", "nor this", "info")
    LogStream(writer, {"JOURNAL_STREAM": "1:1"}).write("a", "nor this", "info")
