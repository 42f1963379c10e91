"""What looks for faults in how frames are decoded finds those that are planted."""

from __future__ import annotations

import pytest

from jobd.keeper.link import LinkCodec
from jobd.wire import codec, frames
from tests.fault import decoding
from tests.fault.decoding import SENT, misread, read_all


@pytest.mark.parametrize(
    "exception", [KeyError("x"), MemoryError(), RecursionError(), UnicodeDecodeError("a", b"", 0, 1, "b")]
)
def test_what_a_decoder_raises_besides_its_own_error_is_found(
    exception: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise exception

    monkeypatch.setattr(LinkCodec, "decode", fail)
    (problem, *_) = read_all(5, 1)
    assert (problem.kind, type(exception).__name__ in problem.text) == ("decoder exceptions", True)


def test_a_message_that_changes_on_its_way_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "encode", lambda _: frames.pack(SENT[-1]))
    assert "does not come back" in misread(SENT[0])
    monkeypatch.setattr(decoding, "packb", lambda _: b"\x01")
    assert "comes back as 1" in decoding._plainly(b"\x02")


def test_a_buffer_that_flips_one_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take = frames.FrameBuffer.next

    def flipped(self: frames.FrameBuffer) -> frames.Body | None:
        body = take(self)
        return bytes((body[0] ^ 1, *body[1:])) if body else body

    monkeypatch.setattr(frames.FrameBuffer, "next", flipped)
    assert [problem.kind for problem in read_all(64, 1)] == ["decoder exceptions"]
