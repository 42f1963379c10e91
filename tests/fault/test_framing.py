"""What looks for faults in how a daemon takes odd frames finds those that are planted."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from jobd.wire import codec, errors, frames
from jobd.wire import messages as m
from tests.fault import framing
from tests.fault.decoding import SENT
from tests.fault.framing import ENOUGH, Ended, Hostile, Seen, chosen, judge
from tests.fault.mutations import Mutator
from tests.fault.probing import Asked, quantile, timed

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = Seen([], "listening on x\n", ([2, 1], [2, 1]), (50 << 20, 60 << 20), Asked([0.001] * ENOUGH, []))
SLOW = [*[0.001] * (ENOUGH - 2), 0.2, 0.2]


def test_a_clean_campaign_has_no_problems() -> None:
    assert judge(CLEAN) == []


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (CLEAN._replace(found=[["internal errors", "KeyError", "81"]]), "internal errors"),
        (CLEAN._replace(found=[["unanswered", "no answer in 20 s", "81"]]), "unanswered"),
        (CLEAN._replace(log="2026-11-22 jobd[7]: error: request Run failed\n"), "log errors"),
        (CLEAN._replace(log="Traceback (most recent call last):\n"), "log errors"),
        (CLEAN._replace(pids=([2, 1], [3, 1])), "deaths"),
        (CLEAN._replace(resident=(50 << 20, (70 << 20) + 1)), "growth"),
        (CLEAN._replace(asked=Asked(SLOW, [])), "stalls"),
        (CLEAN._replace(asked=Asked([], ["EOFError()"])), "probe errors"),
    ],
)
def test_a_planted_fault_is_found(seen: Seen, kind: str) -> None:
    assert [problem.kind for problem in judge(seen)] == [kind]
    assert kind in framing.KINDS


def test_few_questions_say_nothing_of_one_in_a_thousand() -> None:
    assert judge(CLEAN._replace(asked=Asked([0.001, 0.2], []))) == []


def test_of_one_seed_come_the_same_bodies_of_both_kinds() -> None:
    one, other = (Mutator(7, SENT) for _ in range(2))
    bodies = [one.body() for _ in range(500)]
    assert bodies == [other.body() for _ in range(500)]
    read = Counter(reads(body) for body in bodies)
    assert read[True] > 50
    assert read[False] > 50


def reads(body: bytes) -> bool:
    try:
        codec.decode_client(body)
    except codec.ProtocolError:
        return False
    return True


def test_nothing_is_sent_that_ends_the_daemon_or_runs_what_the_dice_made_up() -> None:
    mutator = Mutator(3, [SENT[1], *(codec.encode(last)[4:] for last in (m.Shutdown(id=1), m.DaemonReexec(id=2)))])
    for _ in range(300):
        body = chosen(mutator)
        if reads(body):
            message = codec.decode_client(body)
            assert not isinstance(message, framing.DEADLY)
            assert not isinstance(message, m.Run) or message.argv[0] == b"true"


def serve(path: Path, answer: bytes) -> threading.Thread:
    """A daemon that answers whatever comes first by these bytes, and ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def once() -> None:
        with listener, listener.accept()[0] as sock:
            sock.recv(1 << 16)
            sock.sendall(answer)
            while sock.recv(1 << 16):
                pass

    thread = threading.Thread(target=once)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (codec.encode(m.Fault(code=errors.INTERNAL, message="KeyError", id=3)), "internal errors"),
        (frames.pack(b"\xc1"), "bad answers"),
        (codec.encode(m.Fault(code="nonsense", message="", id=3)), "bad answers"),
        (b"", "unanswered"),
    ],
)
def test_a_daemon_that_errs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: str) -> None:
    monkeypatch.setattr(framing, "ANSWER_SEC", 0.5)
    thread = serve(tmp_path / "s", answer)
    found: list[list[str]] = []
    hostile = Hostile(str(tmp_path / "s"), Counter(), found)
    try:
        hostile.ask(3)
    except Ended:
        pass
    finally:
        hostile.sock.close()
    thread.join()
    assert [one[0] for one in found] == [kind]


def test_quantiles_and_times() -> None:
    assert (quantile([], 0.5), quantile([3.0, 1.0, 2.0], 0.5), quantile([1.0, 2.0], 1.0)) == (0.0, 2.0, 2.0)
    assert 0 <= timed(lambda: None, [1]) < 1
