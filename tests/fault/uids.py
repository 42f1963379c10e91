"""F11: who may do what with whose job, in any order: every request by callers of every kind, of a job
that is another's, one's own, or nobody's.

The table is tests/system/matrix.py. Its tests go through it in its order; here the dice choose, so that what one caller
has just done to a job is behind the next one's question. What one may not see has to be answered byte for byte as what
is not there.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

from jobd.core.ids import new_run_id
from tests.fault.report import CannotRunError, Problem, Report, details, tally
from tests.system.matrix import ALICE, CALLERS, DAEMON, MATRIX
from tests.system.matrix_crowd import Crowd, cell, matrix_crowd, why_no_namespace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobd.wire import messages as m

KINDS: Final = ("wrong cells", "told apart", "deaths")
WHOSE: Final = ("another's", "one's own", "nobody's", "hidden")
MISSING: Final = ("none", f"{ALICE}/none", "nobody-has-this-name/web", "61999/web")
STRANGER: Final = "other"  # who sees nothing of hers
EVER: Final = "events after"  # with a cursor, a job that may have gone since is no mistake


class Cell(NamedTuple):
    """One question: who asks what of whose job."""

    whose: str
    request: str
    caller: str

    def __str__(self) -> str:
        return f"{self.request} by {self.caller} of {self.whose}"


def chosen(dice: random.Random) -> Cell:
    """Any cell of the table."""
    whose, request = dice.choice(WHOSE), dice.choice(list(MATRIX))
    if whose == "hidden":
        return Cell(whose, request, STRANGER)
    if request == EVER and whose != "another's":
        whose = "another's"
    return Cell(whose, request, dice.choice(list(CALLERS)))


def expected(cell: Cell) -> str:
    """What the table says."""
    if cell.whose == "one's own":
        return "+"
    if cell.whose == "nobody's":
        return "."
    return dict(zip(CALLERS, MATRIX[cell.request][0].split(), strict=True))[cell.caller]


def ask(crowd: Crowd, one: Cell, dice: random.Random) -> list[Problem]:
    """Ask it, and look at the answer."""
    make, caller = MATRIX[one.request][1], crowd.callers[one.caller]
    if one.whose == "hidden":
        word, run, like = dice.choice((("web", None, "wqb"), ("live", crowd.live, "lqve")))  # lengths are the same, too
        there = plain(crowd, make, f"{ALICE}/{word}", run or crowd.seen_newest("owner"))
        return compare(one, there, plain(crowd, make, f"{ALICE}/{like}", new_run_id()))
    if one.whose == "nobody's":
        word, run = dice.choice(MISSING), new_run_id()
        if word != "none" and make(word, run) == make("none", run):
            word = "none"  # it asks by the run alone
    elif one.whose == "one's own":
        word, run = "web", crowd.seen_newest(one.caller)
    else:
        word, run = f"{ALICE}/web", crowd.seen_newest("owner")
    return judge(one, cell(caller.ask(make(word, run))))


def plain(crowd: Crowd, make: Callable[[str, bytes], m.Request], word: str, run: bytes) -> bytes:
    """The answer to the stranger, without what he has said himself."""
    text = b"\n".join(crowd.callers[STRANGER].frames(make(word, run))).replace(word.encode(), b"WORD")
    digits = run.hex().encode()
    for part in (digits, digits[-12:], digits[-8:]):
        text = text.replace(part, b"RUN")
    return text


def judge(one: Cell, found: str) -> list[Problem]:
    """What is wrong with an answer."""
    if found == expected(one):
        return []
    return [Problem("wrong cells", str(one), f"is {found}, and has to be {expected(one)}")]


def compare(one: Cell, there: bytes, missing: bytes) -> list[Problem]:
    """What is there and not seen, and what is not there, are answered alike."""
    if there == missing:
        return []
    return [Problem("told apart", str(one), f"{there!r} is there, {missing!r} is not")]


def run_uids(_root: Path, size: int, seed: int) -> Report:
    """F11: so many cells, and the requests that are about no job once each."""
    if why := why_no_namespace():
        raise CannotRunError(why)
    dice = random.Random(seed)
    problems: list[Problem] = []
    with matrix_crowd() as crowd:
        before = crowd.people.daemon_pid()
        for request, (cells, make) in DAEMON.items():
            for name, wanted in zip(CALLERS, cells.split(), strict=True):
                if (found := cell(crowd.callers[name].ask(make()))) != wanted:
                    problems.append(Problem("wrong cells", f"{request} by {name}", f"is {found}, not {wanted}"))
        for _ in range(size):
            problems += ask(crowd, chosen(dice), dice)
        if (after := crowd.people.daemon_pid()) != before:
            problems.append(Problem("deaths", "daemon", f"was {before}, is {after}"))
    words = f"{size} cells of {len(MATRIX) * len(CALLERS) * 3 + len(MATRIX)}, {len(DAEMON) * len(CALLERS)} about no job"
    return Report(seed, words, tally(KINDS, problems), details(problems))
