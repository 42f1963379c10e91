"""Whatever comes from a daemon, from who hands over or from root's clients is read, or refused by the error that its
reader knows; and no descriptor is left."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.keeper import grants, handover, inherited, start
from jobd.keeper.cgroup import Cgroups
from jobd.keeper.inherited import NotBelieved
from jobd.keeper.link import Link, LinkClosed, LinkCodec, LinkError
from jobd.keeper.table import Entry
from jobd.runtime.linkcodec import FastCodec
from jobd.wire.plainpack import PlainpackError, packb, unpackb
from tests.fault.mutations import Mutator

if TYPE_CHECKING:
    from jobd.keeper.link import Message

RUN = b"\7" * 16
HELPER = {"o": "x", "pid": 2, "start": 1, "done": True, "status": 0, "step": "", "errno": 0, "timed_out": False}
ENTRY: Message = {
    **Entry(RUN).plain(), "pid": 2**22 + 7, "went": True, "exit": {"status": 0, "rusage": None, "at": 1, "mono": 2},
    "helpers": [HELPER], "usage": {"cpu_user": 1}, "ops": ["term-1"], "once": ["once-x"], "label": {"owner": 1},
    "fds": ["out", "err"],
}  # fmt: skip
FIRST: Message = {"op": "given", "entries": [], "fds": ["listener", "lock", "relay_read", "relay_write"], "last": False}
HANDED: list[Message] = [
    FIRST, {**FIRST, "last": True}, {"op": "given", "entries": [ENTRY], "fds": [], "last": True},
    {"op": "held", "pid": 1, "stopping": True}, {"op": "leaving"},
    {"op": "given", "entries": [], "fds": [], "last": True},
]  # fmt: skip
SEEDS = st.integers(0, 2**32)


def mutated(seed: int, samples: list[Message]) -> list[bytes]:
    """A few of these, of which most have something odd in them; all can be unpacked."""
    mutator = Mutator(seed, [packb(sample) for sample in samples])
    pick = mutator.dice
    count = pick.randint(1, 4)
    found = [mutator.odd() if pick.random() < 0.6 else pick.choice(mutator.samples) for _ in range(count)]
    return [body for body in found if fields_in(body) is not None]


def fields_in(body: bytes) -> Message | None:
    try:
        found = unpackb(body)
    except PlainpackError:
        return None
    return found if isinstance(found, dict) else None


def listed(bodies: list[bytes]) -> bytes:
    return bytes((0x90 | len(bodies),)) + b"".join(bodies)


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("codec", [LinkCodec, FastCodec])
@settings(max_examples=200)
@given(seed=SEEDS, fds=st.integers(0, 6))
def test_of_any_datagram_no_descriptor_is_left(codec: type[LinkCodec], seed: int, fds: int) -> None:
    before = open_fds()
    data = listed(mutated(seed, HANDED))
    data = Mutator(seed, [packb([])]).damaged(data) if seed % 2 else data
    own = [os.open(os.devnull, os.O_RDONLY) for _ in range(fds)]
    try:
        for _, named in codec().decode(data, own):
            for fd in named.values():
                os.close(fd)
    except LinkError:
        pass
    assert open_fds() <= before  # what other tests have left may be closed meanwhile


@settings(max_examples=200)
@given(seed=SEEDS, guarded=st.booleans())
def test_any_entry_is_taken_or_not_believed(seed: int, guarded: bool) -> None:
    cgroups = Cgroups("/nonexistent", parent="")
    for body in mutated(seed, [ENTRY]):
        fields = fields_in(body)
        if fields is None or fields_in(b"\x81\xa7entries\x91\x91" + body) is None:
            continue  # so deep it does not come
        try:
            entry = inherited.entry_of(fields, {}, cgroups, guarded)
        except NotBelieved:
            continue
        packb([{"op": "entries", "entries": [entry.plain()]}])


@settings(max_examples=300)
@given(seed=SEEDS)
def test_whatever_is_handed_over_is_taken_or_refused(seed: int) -> None:
    before = open_fds()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taken = handover.Taken()
    got: list[int] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # to a name of the kernel's
    listener.listen()
    lock = os.memfd_create("lock")
    link = Link(ours)
    try:
        for body in mutated(seed, HANDED):
            data = listed([body])
            names = (fields_in(body) or {}).get("fds", [])
            first = [listener.fileno(), lock, 0, 0][: len(names) if isinstance(names, list) else 0]
            extra = [0, 0] if b"err" in body else []
            socket.send_fds(theirs, [data], first + extra)
        theirs.close()
        handover._receive(link, "/state", lock, taken, got)
    except (handover.Held, LinkClosed, LinkError, TimeoutError, OSError, KeyError, TypeError, AttributeError):
        pass
    finally:
        theirs.close()
        link.close()
        if taken.listener is not None:
            got.remove(taken.listener.fileno())
            taken.listener.close()
        for fd in got:
            os.close(fd)
        listener.close()
        os.close(lock)
    assert open_fds() <= before  # what other tests have left may be closed meanwhile


@settings(max_examples=300)
@given(data=st.binary(max_size=150) | SEEDS)
def test_any_word_to_root_is_answered(data: bytes | int) -> None:
    samples: list[Message] = [{"op": "grant", "hash": bytes(32)}, {"op": "grant-instance", "name": "web@x"}]
    word = data if isinstance(data, bytes) else b"".join(mutated(data, samples))
    added: list[object] = []
    keeper = SimpleNamespace(
        config=SimpleNamespace(socket="/nonexistent/s"), log=lambda *_: None,
        file_grants=SimpleNamespace(add_instance=lambda name, _: added.append(name)),
    )  # fmt: skip
    known = SimpleNamespace(add=added.append)
    one = grants.RootSocket(keeper, known)  # type: ignore[arg-type]  # doubles
    answer = one._answer(word, socket.socket.__new__(socket.socket))
    assert answer is None or answer["op"] in ("granted", "refused")
    assert (answer is None or answer["op"] == "granted") is bool(added)


def test_of_a_batch_that_is_refused_nothing_is_kept() -> None:
    before = open_fds()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = Link(ours)
    socket.send_fds(theirs, [packb([{"op": "leaving"}, {"op": "given", "fds": ["lock"]}])], [0])
    with pytest.raises(LinkError, match="another jobd is leaving"):
        handover._receive(link, "/state", -1, handover.Taken(), [])
    theirs.close()
    link.close()
    assert open_fds() <= before  # what other tests have left may be closed meanwhile


def test_of_a_run_that_is_taken_over_nothing_is_kept_that_has_no_name_here() -> None:
    adopted: list[Entry] = []
    keeper = SimpleNamespace(
        table={}, cgroups=Cgroups("/nonexistent", parent=""), base=SimpleNamespace(guarded=False), log=lambda *_: None,
        ends=SimpleNamespace(adopt=adopted.append),
    )  # fmt: skip
    fds = {name: os.open(os.devnull, os.O_RDONLY) for name in ("out", "of-a-later-version")}
    assert start._adopt(keeper, {**ENTRY, "helpers": []}, dict(fds))  # type: ignore[arg-type]  # a double
    os.fstat(fds["out"])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds["of-a-later-version"])
    adopted[0].close()
