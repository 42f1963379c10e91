"""The numbers that man/jobd.job.5 says of services are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobd.core import sdnotify
from jobd.runtime import asking, logwatch, notifying, readiness

TEXT = " ".join((Path(__file__).resolve().parents[1] / "man" / "jobd.job.5").read_text().split())


@pytest.mark.parametrize(
    "words",
    [
        f"takes longer than {logwatch.PATIENCE_SEC * 1000:g} ms",
        f"the first {logwatch.MAX_LINE} bytes are looked at",
        f"repeated after {readiness.LEAST_SEC * 1000:g} ms",
        f"by another process {readiness.LEAST_BY_KEEPER_SEC * 1000:g} ms",
        f"{sdnotify.MAX_STATUS} characters",
        f"at most {sdnotify.MAX_BYTES} bytes",
        f"says more than {notifying.RATE:g} a second",
    ],
)
def test_numbers(words: str) -> None:
    assert words in TEXT


def test_numbers_in_words() -> None:
    assert (asking.RATE, "have a quarter of the daemon's time" in TEXT) == (1 / 4, True)
    assert (readiness.MOST_SEC, "at last once a second" in TEXT) == (1, True)
    said = "after ten, one in ten minutes, and the last at its end"
    assert (notifying.STATUSES, notifying.STATUSES_RATE, said in TEXT) == (10, 1 / 600, True)
