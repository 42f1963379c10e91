"""The present jobd on what earlier ones have left: state directories of their own making, as a crash left them.

tests/store/data/keep.py says what is in them. One of a newer jobd is refused, and left as it is.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from jobd.client import Change, connect_blocking
from jobd.store.schema import VERSION
from tests.store.data.keep import HERE
from tests.system.program import DEADLINE_SEC, Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.client import BlockingJobs

pytestmark = pytest.mark.slow
VERSIONS = range(1, VERSION + 1)
# Job and number, with how it ended and what it wrote to stdout; of every version.
ENDED = {
    ("ok", 1): ("success", 0, None, b"out\nno end"),
    ("bad", 1): ("exit-code", 3, None, b"bad\n"),
    ("killed", 1): ("signal", None, 9, b"before\n"),
    ("stopped", 1): ("stopped", None, 15, b"begun\n"),
    ("again", 1): ("success", 0, None, b"1\n"),
    ("again", 2): ("exit-code", 2, None, b"2\n"),
    ("missing", 1): ("start-failed", None, None, b""),
    ("busy", 1): ("lost", None, None, b"busy\n"),
}
FAILED = {"bad", "killed", "again", "missing", "busy"}
WAITED = ("low", "high", "then", "line", "many@1", "many@2", "many@3")  # with what they write


def restore(program: Program, version: int) -> None:
    """Put the files in place, as those of whoever runs this."""
    with tarfile.open(HERE / f"kept-v{version}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python before 3.11.4 has none
        archive.extractall(program.root)
    (program.state_dir / "logs" / "0").rename(program.state_dir / "logs" / str(os.getuid()))
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        for table in ("runs", "jobs", "events") + ("queues",) * (version > 2):
            db.execute(f"UPDATE {table} SET owner = ? WHERE owner = 0", (os.getuid(),))
        db.commit()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_all_of_it_is_there_and_goes_on(program: Program, version: int) -> None:
    restore(program, version)
    program.start()
    assert program.daemon_status().reasons == [], "not degraded"
    with connect_blocking(str(program.socket)) as jobs:
        check_history(jobs)
        if version > 1:
            check_services(jobs)
        if version > 2:
            check_waiting(jobs)
        for name, (result, output) in {"ok": ("success", b"out\nno end"), "bad": ("exit-code", b"bad\n")}.items():
            again = jobs.rerun(name)
            assert (again.number, again.wait(DEADLINE_SEC).result) == (2, result)
            assert written(jobs, name, again.id) == output
        first = next(iter(jobs.events("ok")))
        assert isinstance(first, Change)
        assert (first.kind, first.number) == ("accepted", 1)
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def written(jobs: BlockingJobs, name: str, run: str, *, stderr: bool = False) -> bytes:
    return b"".join(chunk.data for chunk in jobs.logs(name, run=run, stdout=not stderr, stderr=stderr))


def check_history(jobs: BlockingJobs) -> None:
    until(lambda: not jobs.list("busy", states=["active"]), "what ran is found to be lost")
    for (name, number), (result, code, signal, output) in ENDED.items():
        seen = jobs.result(name, str(number))
        assert (seen.result, seen.exit_code, seen.signal) == (result, code, signal), name
        assert written(jobs, name, seen.id) == output
    assert written(jobs, "ok", "0", stderr=True) == b"err\n"
    assert {view.job for view in jobs.list(states=["failed"])} >= FAILED
    assert jobs.result("missing").view.step == "exec"
    assert [run.number for run in jobs.history("again")] == [2, 1]


def check_services(jobs: BlockingJobs) -> None:
    """What was enabled has begun anew; what remained after its exit has not."""
    until(lambda: jobs.get("web")[0].active == "active", "the enabled service is started")
    assert [(run.number, run.result) for run in jobs.history("web")] == [(2, None), (1, "lost")]
    assert jobs.get("web")[0].description == "a service"
    assert jobs.result("once", "1").result in ("success", "lost")
    assert jobs.get("never")[0].load == "masked"

    def has_tried_again() -> bool:
        """Its time came an hour after the state was kept, and so has passed; then it waits for an hour again."""
        retry = jobs.get("retry")[0]
        assert retry.restart == "on-failure"
        return (retry.sub, retry.number) == ("auto-restart", 2)

    until(has_tried_again, "what was between two runs has its next one")
    jobs.stop("web", "retry")


def check_waiting(jobs: BlockingJobs) -> None:
    """What waited goes on, in its order."""
    for name in WAITED:
        (ended,) = jobs.wait(name, timeout=DEADLINE_SEC)
        assert ended.result == "success", name
        assert written(jobs, name, "0") == name.rpartition("@")[2].encode() + b"\n"
    begun = {name: jobs.result(name).view.started_at or 0 for name in WAITED}
    assert begun["high"] < begun["low"] < begun["many@1"] < begun["many@2"] < begun["many@3"]
    assert [run.result for run in jobs.history("head")] == ["lost"]
    assert [run.result for run in jobs.history("line")] == ["success", "lost"]
    held, later = jobs.get("held", "later")
    assert (held.sub, held.queue, later.sub, bool(later.not_before)) == ("held", "build", "queued", True)
    assert {(view.name, view.slots, view.state) for view in jobs.queues("*") if view.owner is not None} == {
        ("build", 1, "open"), ("idle", 7, "paused")
    }  # fmt: skip
    (nightly,) = jobs.timers("nightly")
    assert nightly.next
    jobs.cancel("held", "later")


def test_state_of_a_newer_jobd_is_refused_and_left_as_it_is(program: Program) -> None:
    restore(program, VERSION)
    path = program.state_dir / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = {each: each.read_bytes() for each in program.state_dir.rglob("*") if each.is_file()}
    program.start(answering=False)
    assert program.keeper.wait(DEADLINE_SEC) == 2, "not 1, for which systemd would try again for ever"
    said = f"made by a newer jobd (schema {VERSION + 1}, this one knows {VERSION})"
    assert program.log_text().count(said) == 1
    assert {each: each.read_bytes() for each in before} == before
    assert "cannot connect to jobd" in program.jobctl("list").stderr
