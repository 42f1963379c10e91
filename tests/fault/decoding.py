"""F6 in this process: frames that nobody should send, read by every decoder of ours that somebody else's bytes reach.

Each comes to a value that is the same by every way and survives the way back, or to the decoder's own error.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jobd.keeper.link import LinkCodec, LinkError
from jobd.runtime.linkcodec import FastCodec
from jobd.wire import codec, errors, frames
from jobd.wire.plainpack import PlainpackError, packb, unpackb
from tests.fault.mutations import Mutator
from tests.fault.report import Problem
from tests.wire.examples import CLIENT, DAEMON

if TYPE_CHECKING:
    import random

SENT: Final = [codec.encode(message)[frames.HEADER :] for message in CLIENT.values()]
TOLD: Final = [codec.encode(message)[frames.HEADER :] for message in DAEMON.values()]


def misread(body: bytes) -> str:
    """What is wrong with how the decoders read a body; "" for nothing."""
    try:
        for why in (_by_types(body), _plainly(body), _as_datagram(body)):
            if why:
                return why
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return ""


def _by_types(body: bytes) -> str:
    try:
        sent = codec.decode_client(body)
        if codec.decode_client(codec.encode(sent)[frames.HEADER :]) != sent and b"\xcb" not in body:  # NaN
            return f"{sent} does not come back from its own frame"
        seen: object = codec.decode_client(memoryview(body))
        if seen != sent:
            return f"{sent} is {seen} of a view"
    except codec.ProtocolError as e:
        if e.code not in errors.CODES or not e.message.isprintable():
            return f"its error is {e.code!r}: {e.message!r}"
    with suppress(codec.ProtocolError):
        codec.encode(codec.decode_daemon(body))
    return ""


def _plainly(body: bytes) -> str:
    try:
        value = unpackb(body)
    except PlainpackError:
        return ""
    again = unpackb(packb(value))
    return "" if repr(again) == repr(value) else f"{value!r} comes back as {again!r}"


def _as_datagram(body: bytes) -> str:
    for one in (LinkCodec(), FastCodec()):
        try:
            one.decode(body, [])
        except LinkError:
            continue
    return ""


def read_all(count: int, seed: int) -> list[Problem]:
    """So many bodies through every decoder, and all of them through a buffer of frames, cut at random."""
    mutator = Mutator(f"{seed}:in", [*SENT, *TOLD])
    buffer = frames.FrameBuffer()
    problems = []
    expected: list[bytes] = []
    for number in range(count):
        body = mutator.body()
        if why := misread(body):
            problems.append(Problem("decoder exceptions", f"body {number}", f"{why}: {body[:200].hex()}"))
        expected.append(body)
        if len(expected) == 64:
            problems += _through(buffer, expected, mutator.dice, number)
            expected = []
    return problems


def _through(buffer: frames.FrameBuffer, bodies: list[bytes], dice: random.Random, number: int) -> list[Problem]:
    data = b"".join(map(frames.pack, bodies))
    found: list[frames.Body] = []
    while data:
        cut = dice.choice((1, 3, 100, 5000, len(data)))
        buffer.feed(data[:cut])
        data = data[cut:]
        while (body := buffer.next()) is not None:
            found.append(body)
    if found == bodies and not buffer.pending:
        return []
    return [Problem("decoder exceptions", f"bodies to {number}", "the buffer gives out others than it was fed")]
