"""What the daemon's parts log becomes one line a record, whatever they and Python put into it."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING, NamedTuple

import pytest

from jobd.runtime import daemonlog

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


class Record(NamedTuple):
    kind: Hashable
    text: str
    level: str


class Stream:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, kind: Hashable, text: str, level: str) -> None:
        self.records.append(Record(kind, text, level))


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    """The whole of the daemon's logging, as `begin` makes it, and undone."""
    made = Stream()
    monkeypatch.setattr(daemonlog, "LogStream", lambda: made)
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    daemonlog.begin("")
    yield made
    logging.captureWarnings(False)
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


def test_levels(stream: Stream) -> None:
    log = logging.getLogger("jobd.x")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)("said")
    assert [record.level for record in stream.records] == ["info", "warning", "error", "error"]
    daemonlog.set_level("error")
    log.warning("not this")
    daemonlog.set_level("debug")
    log.debug("this")
    assert [record.text for record in stream.records] == ["said"] * 4 + ["this"]


def test_a_kind_is_where_it_is_said_and_not_what_was_put_in(stream: Stream) -> None:
    log = logging.getLogger("jobd.x")
    for name in ("a", "b"):
        log.warning("cannot read %s", name)
    log.warning("cannot write %s", "a")
    kinds = [record.kind for record in stream.records]
    assert kinds[0] == kinds[1] != kinds[2]


def test_a_trace_is_in_the_line_of_its_record(stream: Stream) -> None:
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logging.getLogger("jobd.x").exception("request %s failed", "Get")
    (record,) = stream.records
    assert record.text.startswith("request Get failed: ValueError: bad\nthing [test_daemonlog.py:")
    assert record.level == "error"


def test_a_record_that_cannot_be_put_together_is_told_all_the_same(stream: Stream) -> None:
    logging.getLogger("jobd.x").warning("two %s %s", "one")
    assert stream.records[0].text == "two %s %s (which lacks something: TypeError)"


def test_what_python_says_by_itself_goes_the_same_way(stream: Stream) -> None:
    def fails() -> None:
        raise OSError("in a thread")

    thread = threading.Thread(target=fails, name="pump")
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd", UserWarning, stacklevel=1)
    sys.excepthook(ValueError, ValueError("the end"), None)
    texts = [record.text for record in stream.records]
    assert texts[0].startswith("pump fails: OSError: in a thread [")
    assert "UserWarning: odd" in texts[1]
    assert texts[2] == "the daemon fails: ValueError: the end"
