"""Makes the sample database of the present schema: `python -m tests.store.data.make`, from the repository's root.

Run it once for each new version, before that version is released, and commit the file; never make an old one again: it
is the proof that what people have on their disks still opens. What is in it: see `fill`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobd.core.records import QUEUE_ADDED, QueueRow
from jobd.store.schema import VERSION
from tests.store.helpers import OWNER, Book, run_id

if TYPE_CHECKING:
    from jobd.core.records import Data, RunRow

HERE: Final = Path(__file__).parent


def fill(book: Book) -> list[RunRow]:
    """Three jobs: one done, one failed and run again, one running; and a queued run of another owner."""
    book.accept(run_id(1), "build-1")
    book.finish(run_id(1), out_bytes=12)
    book.accept(run_id(2), "web", transient=False)
    book.finish(run_id(2), result="signal")
    failed: Data = {"job.active": "failed", "job.sub": "failed", "job.result": "signal", "signal": 11, "core": True}
    book.change(run_id(2), "failed", failed)
    book.accept(run_id(3), "web", transient=False)
    book.accept(run_id(4), "sleep-1")
    started: Data = {"state": "running", "pid": 42, "pid_start": 4242, "note": "é", "job.sub": "running"}
    book.change(run_id(4), "started", started)
    book.queue(QUEUE_ADDED, QueueRow(owner=OWNER, name="build", slots=None, created_at=7))
    book.durable(book.accept(run_id(5), "queued-1", owner=OWNER + 1))
    return sorted(book.runs.values(), key=lambda row: row.seq)


def main() -> None:
    """Write state-vN.db."""
    target = HERE / f"state-v{VERSION}.db"
    if target.exists():
        raise SystemExit(f"cannot make {target}: it is there")
    with tempfile.TemporaryDirectory() as directory:
        with Book(Path(directory)) as book:
            fill(book)
            book.until_quiet()
        shutil.copy(Path(directory) / "state.db", target)


if __name__ == "__main__":
    main()
