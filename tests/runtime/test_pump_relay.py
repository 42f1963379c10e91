"""The relay: busy streams go through it, and what it holds when the pump dies is in the right log afterwards."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from jobd.runtime.pump_relay import Relay
from jobd.store.logs_index import INDEX, STDERR, STDOUT
from tests.runtime.pump_rig import Rig, records, stream, write_all, write_and_close

if TYPE_CHECKING:
    from pathlib import Path

RUN = bytes(15) + b"\1"
OTHER = bytes(15) + b"\2"


class Kept:
    """A relay pipe as the keeper holds it: each pump gets its own copies."""

    def __init__(self, directory: Path) -> None:
        self.ends = os.pipe()
        self.note = str(directory / "relay")

    def relay(self) -> Relay:
        return Relay(os.dup(self.ends[0]), os.dup(self.ends[1]), self.note)

    def close(self) -> None:
        for fd in self.ends:
            os.close(fd)


def test_busy_streams_of_several_runs_are_exact(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    data = {name: {number: os.urandom(2_000_000) for number in (STDOUT, STDERR)} for name in (RUN, OTHER)}
    with Rig(tmp_path, relay=kept.relay()) as rig:
        writers = []
        for name, streams in data.items():
            (out, out_w), (err, err_w) = os.pipe(), os.pipe()
            rig.pump.add(name, tmp_path / name.hex(), out, err)
            writers += [
                threading.Thread(target=write_and_close, args=(fd, streams[number]))
                for fd, number in ((out_w, STDOUT), (err_w, STDERR))
            ]
        for writer in writers:
            writer.start()
        for name in data:
            rig.until_kind(name, "eof")
        for writer in writers:
            writer.join()
    for name, streams in data.items():
        assert {number: stream(tmp_path / name.hex(), number) for number in streams} == streams
    assert os.stat(kept.note).st_size == 4096  # it was used
    kept.close()


def left_in_relay(tmp_path: Path, kept: Kept) -> tuple[int, int]:
    """Stops a pump's work between its two steps. Returns the pipe of the run."""
    out, out_w = os.pipe()
    with Rig(tmp_path) as rig:
        rig.pump.add(RUN, tmp_path / "run", os.dup(out), None)
        rig.pump.watch(RUN)
        write_all(out_w, b"first ")
        rig.until_bytes(RUN, 6)
    write_all(kept.ends[1], b"second ")
    with open(kept.note, "wb") as note:
        note.write((RUN + bytes([STDOUT]) + os.fsencode(tmp_path / "run")).ljust(4096, b"\0"))
    write_all(out_w, b"third")
    return out, out_w


def test_what_a_killed_pump_left_comes_before_all_else_of_its_stream(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    out, out_w = left_in_relay(tmp_path, kept)
    with Rig(tmp_path, relay=kept.relay()) as rig:
        assert stream(tmp_path / "run", STDOUT) == b"first second "  # without the run being added
        rig.pump.add(RUN, tmp_path / "run", out, None)
        os.close(out_w)
        assert rig.until_kind(RUN, "eof").out_bytes == 18
    assert stream(tmp_path / "run", STDOUT) == b"first second third"
    assert [record[2:4] for record in records(tmp_path / "run")] == [(0, 6), (6, 7), (13, 5)]
    kept.close()


@pytest.mark.slow
def test_what_cannot_be_written_stays_in_the_relay_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.runtime.pump_thread._RETRY_NS", 50_000_000)  # tried again soon, not each second
    kept = Kept(tmp_path)
    out, out_w = left_in_relay(tmp_path, kept)
    index = tmp_path / "run" / INDEX
    index.rename(tmp_path / "aside")
    index.mkdir()  # an index that cannot be opened
    with Rig(tmp_path, relay=kept.relay()) as rig:
        rig.pump.add(RUN, tmp_path / "run", out, None)
        rig.until_kind(RUN, "blocked")
        other, other_w = os.pipe()
        rig.pump.add(OTHER, tmp_path / "other", other, None)  # busy, and not held up
        write_and_close(other_w, b"o" * 1_000_000)
        assert rig.until_kind(OTHER, "eof").out_bytes == 1_000_000
        index.rmdir()
        (tmp_path / "aside").rename(index)
        rig.until_kind(RUN, "unblocked")
        os.close(out_w)
        assert rig.until_kind(RUN, "eof").out_bytes == 18
    assert stream(tmp_path / "run", STDOUT) == b"first second third"
    kept.close()


def test_a_note_for_nothing_is_ignored(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    (tmp_path / "relay").write_bytes(b"\xff" * 50)
    with Rig(tmp_path, relay=kept.relay()) as rig:
        out, out_w = os.pipe()
        rig.pump.add(RUN, tmp_path / "run", out, None)
        write_and_close(out_w, b"x")
        assert rig.until_kind(RUN, "eof").out_bytes == 1
    kept.close()
