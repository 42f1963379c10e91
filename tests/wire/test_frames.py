from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.wire import frames, messages

BODIES = [b"", b"a", b"\x81\xa1k\x01", bytes(range(256)), b"x" * 70_000]


def drain(buffer: frames.FrameBuffer) -> list[frames.Body]:
    found = []
    while (body := buffer.next()) is not None:
        found.append(body)
    return found


def test_bound_is_that_of_the_protocol() -> None:
    assert frames.MAX == messages.MAX_FRAME_BYTES == 1 << 20


def test_pack_puts_the_length_first() -> None:
    assert frames.pack(b"abc") == b"\0\0\0\3abc"


def test_whole() -> None:
    buffer = frames.FrameBuffer()
    buffer.feed(b"".join(map(frames.pack, BODIES)))
    assert drain(buffer) == BODIES
    assert buffer.pending == 0


def test_byte_by_byte() -> None:
    buffer = frames.FrameBuffer()
    found = []
    for byte in b"".join(map(frames.pack, BODIES)):
        buffer.feed(bytes([byte]))
        found += drain(buffer)
    assert found == BODIES


def test_trailing_bytes_stay_until_the_rest_comes() -> None:
    buffer = frames.FrameBuffer()
    buffer.feed(frames.pack(b"one") + frames.pack(b"two")[:5])
    assert drain(buffer) == [b"one"]
    assert buffer.pending == 5
    buffer.feed(b"wo" + b"\0\0")
    assert drain(buffer) == [b"two"]
    assert buffer.pending == 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 300_000), max_size=6), st.lists(st.integers(1, 200_000), min_size=1), st.booleans())
def test_large_bodies_arrive_whole_either_way(sizes: list[int], cuts: list[int], direct: bool) -> None:
    bodies = [bytes(i % 251 for i in range(7)) * (size // 7) for size in sizes]
    data = b"".join(map(frames.pack, bodies))
    buffer = frames.FrameBuffer()
    found: list[frames.Body] = []
    at = 0
    while at < len(data):
        count = cuts[at % len(cuts)]
        space = buffer.space() if direct else None
        if space is None:
            buffer.feed(data[at : at + count])
        else:
            count = min(count, len(space))
            space[:count] = data[at : at + count]
            buffer.filled(count)
        at += count
        if at % 3:
            found += drain(buffer)
        assert buffer.pending <= len(data)
    assert found + drain(buffer) == bodies
    assert buffer.pending == 0


def test_who_only_announces_a_large_body_costs_nothing() -> None:
    buffer = frames.FrameBuffer()
    frame = frames.pack(bytes(frames.MAX))
    tracemalloc.start()
    buffer.feed(frame[: frames.MAX // 4 - 100])
    assert buffer.next() is None
    assert buffer.space() is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < frames.MAX // 2
    buffer.feed(frame[frames.MAX // 4 - 100 : frames.MAX // 4 + 100])
    assert buffer.next() is None
    assert buffer.space() is not None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20), st.lists(st.integers(0, 30), max_size=60))
def test_any_cut_gives_the_same_bodies(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(frames.pack, bodies))
    buffer = frames.FrameBuffer()
    found = []
    for cut in cuts:
        buffer.feed(data[:cut])
        data = data[cut:]
        if cut % 3:  # not after every feed
            found += drain(buffer)
    buffer.feed(data)
    assert found + drain(buffer) == bodies


def test_largest_frame_passes_and_one_byte_more_does_not() -> None:
    body = bytes(frames.MAX)
    buffer = frames.FrameBuffer()
    buffer.feed(frames.pack(body))
    assert buffer.next() == body
    with pytest.raises(frames.FrameError, match="cannot send a frame of 1048577 bytes"):
        frames.pack(body + b"x")
    buffer.feed(b"\0\x10\0\1")
    with pytest.raises(frames.FrameError, match="cannot read a frame of 1048577 bytes"):
        buffer.next()
    with pytest.raises(frames.FrameError):  # and it stays so
        buffer.next()


def test_huge_length_sets_nothing_aside() -> None:
    tracemalloc.start()
    buffer = frames.FrameBuffer()
    buffer.feed(b"\xff\xff\xff\xff")
    with pytest.raises(frames.FrameError):
        buffer.next()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000


@pytest.mark.slow
def test_tiny_pieces_of_the_largest_frame_take_little_memory() -> None:
    frame = frames.pack(bytes(frames.MAX))
    buffer = frames.FrameBuffer()
    pieces = [frame[start : start + 2] for start in range(0, len(frame) - 2, 2)]
    tracemalloc.start()
    for piece in pieces:
        buffer.feed(piece)
        assert buffer.next() is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * frames.MAX


def test_of_a_flood_the_rooms_are_used_again_when_nobody_needs_them() -> None:
    buffer = frames.FrameBuffer()
    buffer.expect_flood()
    held: list[frames.Body] = []
    rooms = set()
    for n in range(60):
        data = bytes([n]) * (200_000 + n)
        frame = frames.pack(data)
        while (body := buffer.next()) is None:
            space = buffer.space()
            count = min(len(frame), buffer.wants if space is None else len(space))
            if space is None:
                buffer.feed(frame[:count])
            else:
                space[:count] = frame[:count]
                buffer.filled(count)
                space.release()
            frame = frame[count:]
        assert not frame
        assert isinstance(body, memoryview)
        held.append(body)
        rooms.add(id(body.obj))
        assert [bytes(body[:1]) for body in held] == [bytes([i]) for i in range(n - len(held) + 1, n + 1)]
        if len(held) == 5:
            del held[0]
    assert len(rooms) <= 6


def test_in_a_flood_other_bodies_come_as_ever() -> None:
    buffer = frames.FrameBuffer()
    buffer.expect_flood()
    bodies = [*BODIES, b"y" * 300_000, b"z" * frames.MAX, b"x" * 100_000, *BODIES]
    left = b"".join(map(frames.pack, bodies))
    found = []
    while left:
        count = buffer.wants if (space := buffer.space()) is None else len(space)
        buffer.feed(left[:count])
        left = left[count:]
        found += [bytes(body) for body in drain(buffer)]
    assert found == bodies
    assert buffer.pending == 0
