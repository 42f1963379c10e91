"""Waiting for a line of a run's output: which bytes count, that nothing polls, and what a bad pattern costs."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.runtime import logwatch
from jobd.runtime.logwatch import MAX_LINE, PatternTooSlow, search, until_line
from jobd.store.logs import RunLog
from tests.runtime.fakes import Bed, serving

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.runtime.pump import Pump
    from jobd.runtime.run import Run


class Watched:
    """A run's output as files, and a pump that counts its watchers."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.watchers = 0
        self.run: Run | None = None
        self.found: list[str] = []

    def watch(self, _: bytes) -> None:
        self.watchers += 1

    def unwatch(self, _: bytes) -> None:
        self.watchers -= 1

    async def write(self, data: bytes, stream: str = "out") -> None:
        with (self.dir / f"{stream}.{0:016x}").open("ab") as file:
            file.write(data)
        assert self.run is not None
        self.run.output_changed.set()
        await wait_all_tasks_blocked()

    async def look(self, pattern: str, **spec: object) -> None:
        async with serving(Bed()) as bed:
            self.run = bed.submit(**spec)
            await wait_all_tasks_blocked()
            log, pump = RunLog(self.dir), cast("Pump", self)
            self.found.append(await until_line(self.run, log, pump, re.compile(pattern), bed.registry.asking))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_a_line_is_found_when_it_is_complete(autojump_clock: MockClock, watched: Watched) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.look, r"ready on \d+$")
        while not watched.watchers:
            await wait_all_tasks_blocked()
        assert watched.watchers == 1
        await watched.write(b"starting\nready on 80")
        assert not watched.found
        await watched.write(b"80\r\n")
    assert watched.found == ["ready on 8080"]
    assert watched.watchers == 0
    assert trio.current_time() == 0, "nothing is polled"


async def test_what_was_written_before_one_looked_counts_and_so_does_stderr(
    autojump_clock: MockClock, watched: Watched
) -> None:
    (watched.dir / f"err.{0:016x}").write_bytes(b"\xffready\n")
    await watched.look("ready")
    assert watched.found == ["�ready"]


async def test_merged_output_has_one_stream(autojump_clock: MockClock, watched: Watched) -> None:
    (watched.dir / f"out.{0:016x}").write_bytes(b"x\n" * 50_000 + b"up\n")
    await watched.look("^up$", merge_output=True)
    assert watched.found == ["up"]


async def test_a_long_line_counts_as_far_as_it_is_looked_at(autojump_clock: MockClock, watched: Watched) -> None:
    data = b"ready" + b"x" * 50_000 + b"second\n" + b"y" * (3 * MAX_LINE) + b"third\nfourth\n"
    (watched.dir / f"out.{0:016x}").write_bytes(data)
    await watched.look("second|third|fourth")
    await watched.look("^readyx+$")
    assert [len(found) for found in watched.found] == [len("fourth"), MAX_LINE]


async def test_what_a_cap_has_dropped_is_passed_over(autojump_clock: MockClock, watched: Watched) -> None:
    (watched.dir / f"out.{70_000:016x}").write_bytes(b"half of ready\nready indeed\n")
    await watched.look("ready")
    assert watched.found == ["ready indeed"]


def test_what_other_threads_do_meanwhile_is_not_the_patterns_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logwatch, "PATIENCE_SEC", 0.002)
    began, done = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        while not done.is_set():
            hashlib.sha256(b"x" * (1 << 22)).digest()  # without the interpreter's lock

    class Pattern:
        def search(self, _: str) -> bool:
            time.sleep(0.05)
            return True

    worker = threading.Thread(target=work)
    worker.start()
    try:
        began.wait()
        assert search(cast("re.Pattern[str]", Pattern()), [b"ready"]) == "ready"
    finally:
        done.set()
        worker.join()


def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    began = time.thread_time()
    with pytest.raises(PatternTooSlow):
        search(re.compile("(a+)+$"), [b"fine", b"a" * 40 + b"!"])
    assert time.thread_time() - began < 10 * logwatch.PATIENCE_SEC
    assert search(re.compile("(a+)+$"), [b"aaa"]) == "aaa"


def test_usual_patterns_are_far_from_the_limit() -> None:
    lines = [b"2026-01-01 00:00:00 INFO request %d served in 12 ms" % n for n in range(300)]
    began = time.thread_time()
    assert search(re.compile(r"(?i)listening on .*:(\d+)"), lines) is None
    assert time.thread_time() - began < logwatch.PATIENCE_SEC / 4
    assert search(re.compile("x.*y"), [b"x" * MAX_LINE]) is None, "n² of the longest line"


def test_bytes_that_come_between_two_looks_are_not_taken_for_dropped_ones() -> None:
    class Racing:
        """The pump's thread writes the first bytes just after they were looked for."""

        def look(self, _which: int, _at: int, _count: int) -> bytes | None:
            return None

        def locate(self, _which: int, _at: int) -> tuple[str, int, int]:
            return "out.0000000000000000", 0, 5

    stream = logwatch._Stream(Racing(), 1)  # type: ignore[arg-type]  # a double
    assert stream.read() == []
    assert stream.behind, "it looks again"
    assert stream._at == 0
