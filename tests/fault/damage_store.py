"""The store alone on damaged files, much faster than a jobd that starts: all is read, and something is written.

It may say that the database is damaged, and one question may fail for it. What it must not do is to raise anything
else, or to fail for good.
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Final

from jobd.core.spec import decode_spec
from jobd.store.batch import StoreError
from tests.fault.damage_work import harm
from tests.fault.report import Problem
from tests.store.helpers import Book, run_id

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from jobd.store.db import Store

TRIES: Final = 3  # one question to find it, one more that finds the next
PAGE: Final = 500
MOST_PAGES: Final = 100  # of the few hundred rows that there are
HARMS: Final = (1, 1, 3)
NEW_RUN: Final = run_id(1_000_000)


def read_all(store: Store) -> None:
    """Ask every question that a daemon asks when it starts, and all that clients ask about the past."""
    asks = (store.live_runs, store.enabled, store.jobs_to_restart, store.armed, store.queues, store.live_arrays)
    for ask in (*asks, store.failed_definitions, store.counts):
        ask()
    after = None
    for _ in range(MOST_PAGES):
        if not (jobs := store.jobs_page(every=True, after=after, limit=PAGE)):
            break
        after = jobs[-1].owner, jobs[-1].job
        for job in jobs:
            if blob := store.blob(job.spec):
                decode_spec(blob)
    before = None
    for _ in range(MOST_PAGES):
        page = store.runs_page(before=before, limit=PAGE)
        for run in page.rows:
            store.blob(run.env)
        if (before := page.more) is None:
            break
    seq = 0
    while events := store.events_page(seq, PAGE):
        assert events[-1].seq > seq
        seq = events[-1].seq


def try_store(template: Path, directory: Path, name: str, dice: random.Random) -> list[Problem]:
    """Damage a copy of the files of `template` in `directory`, and use them."""
    directory.mkdir()
    files = [directory / part for part in ("state.db", "state.db-wal", "state.db-shm")]
    for file in files:
        if (template / file.name).exists():
            shutil.copy(template / file.name, file)
    done = [harm(dice.choice(files[:2]), dice) for _ in range(dice.choice(HARMS))]
    said = f"{name}, {', '.join(map(str, done))}"
    logging.disable(logging.CRITICAL)  # hundreds of tracebacks that nobody reads
    try:
        with Book(directory, boot_id=dice.choice(("boot-1", "boot-2"))) as book:
            for left in reversed(range(TRIES)):
                try:
                    read_all(book.store)
                    break
                except StoreError as e:
                    if not left:
                        return [Problem("unreadable", said, f"for good: {e}")]
            book.durable(book.accept(NEW_RUN, "new"))
            book.until_quiet()
    except Exception as e:  # whatever it is, it is a fault
        return [Problem("unreadable", said, repr(e)[:300])]
    finally:
        logging.disable(logging.NOTSET)
        shutil.rmtree(directory)
    return []
