"""A run's input as one client sends it: every byte once, whatever the daemon says and whenever it is killed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl import foreground_feed as ff
from jobctl.foreground_feed import BLOCK_BYTES, SHUT, TAKEN, Feed, InputLostError
from jobd.wire import messages as m


def read(feed: Feed, data: bytes) -> None:
    """As reads from stdin that give `data`."""
    assert len(data) <= feed.room()
    while data:
        view = feed.buffer()[: len(data)]
        view[:] = data[: len(view)]
        feed.add(len(view))
        data = data[len(view) :]


def pieces(feed: Feed) -> list[tuple[int, bytes, bool]]:
    found = []
    while (piece := feed.next_piece()) is not None:
        assert isinstance(piece[1], memoryview)
        found.append((piece[0], bytes(piece[1]), piece[2]))
    return found


def opened(limit: int = 1 << 20, received: int = 0, **options: object) -> Feed:
    feed = Feed(**options)  # type: ignore[arg-type]
    feed.attached(received, limit, is_open=True)
    return feed


def test_the_largest_piece_is_what_the_protocol_allows() -> None:
    assert BLOCK_BYTES == m.MAX_INPUT_BYTES


def test_nothing_is_read_or_sent_before_the_daemon_has_answered() -> None:
    feed = Feed(ahead=100)
    feed.finish()
    assert feed.room() == 0
    assert feed.next_piece() is None


def test_no_more_is_read_than_there_is_credit_for() -> None:
    feed = opened(limit=5)
    assert feed.room() == 5
    read(feed, b"abcde")
    assert feed.room() == 0
    assert pieces(feed) == [(0, b"abcde", False)]
    feed.fed(2, 7, is_open=True, taken=False)
    assert feed.room() == 2


def test_what_is_read_ahead_is_not_sent_before_there_is_credit() -> None:
    feed = opened(limit=2, ahead=3)
    assert feed.room() == 5
    read(feed, b"abcde")
    assert pieces(feed) == [(0, b"ab", False)]
    feed.fed(0, 4, is_open=True, taken=False)
    assert pieces(feed) == [(2, b"cd", False)]


def test_what_is_kept_is_bounded_whatever_the_credit() -> None:
    feed = opened(limit=2**60)
    total = 0
    while room := feed.room():
        read(feed, bytes(room))
        total += room
    assert total == ff.MAX_KEPT_BYTES


def test_the_end_comes_with_the_last_bytes_and_once() -> None:
    feed = opened()
    read(feed, b"abc")
    feed.finish()
    assert pieces(feed) == [(0, b"abc", True)]
    assert feed.room() == 0
    assert pieces(feed) == []


def test_an_end_without_a_byte_is_sent_too() -> None:
    feed = opened(limit=0)
    feed.finish()
    assert pieces(feed) == [(0, b"", True)]


def test_the_end_waits_for_the_credit_of_the_last_byte() -> None:
    feed = opened(limit=3, ahead=10)
    read(feed, b"abcd")
    feed.finish()
    assert pieces(feed) == [(0, b"abc", False)]
    feed.fed(3, 4, is_open=True, taken=False)
    assert pieces(feed) == [(3, b"d", True)]


def test_after_a_loss_it_goes_on_from_what_was_received_and_ends_again() -> None:
    feed = opened()
    read(feed, b"abcdef")
    feed.finish()
    assert pieces(feed) == [(0, b"abcdef", True)]
    feed.attached(4, 100, is_open=True)
    assert pieces(feed) == [(4, b"ef", True)]
    feed.attached(6, 100, is_open=True)
    assert pieces(feed) == [(6, b"", True)]


def test_an_input_that_was_ended_is_not_opened_again() -> None:
    feed = opened()
    feed.finish()
    pieces(feed)
    feed.attached(0, 100, is_open=False)
    assert feed.state == SHUT
    assert pieces(feed) == []


def test_an_end_that_was_lost_after_all_is_sent_again_with_what_led_to_it() -> None:
    feed = opened()
    read(feed, b"abc")
    feed.finish()
    pieces(feed)
    feed.fed(1, 100, is_open=False, taken=False)
    feed.attached(1, 100, is_open=True)
    assert pieces(feed) == [(1, b"bc", True)]


def test_a_terminal_has_no_end() -> None:
    feed = opened(says_end=False)
    read(feed, b"abc")
    feed.finish()
    assert pieces(feed) == [(0, b"abc", False)]
    assert feed.room() == 0
    feed.attached(0, 100, is_open=True)
    assert pieces(feed) == [(0, b"abc", False)]


def test_a_run_that_does_not_read_any_more_takes_nothing() -> None:
    feed = opened()
    read(feed, b"abc")
    feed.fed(0, 100, is_open=False, taken=False)
    assert (feed.state, feed.room(), pieces(feed)) == (SHUT, 0, [])


def test_another_that_feeds_stops_us_for_good() -> None:
    feed = opened()
    read(feed, b"abc")
    feed.fed(0, 100, is_open=True, taken=True)
    assert (feed.state, feed.room(), pieces(feed)) == (TAKEN, 0, [])
    feed.attached(0, 100, is_open=True)
    feed.fed(0, 100, is_open=True, taken=False)
    assert feed.state == TAKEN


def test_bytes_that_are_not_ours_mean_that_somebody_else_feeds() -> None:
    feed = opened()
    read(feed, b"abc")
    feed.attached(4, 100, is_open=True)
    assert feed.state == TAKEN


def test_a_daemon_that_has_less_than_it_said_is_an_error() -> None:
    feed = opened()
    read(feed, b"abc")
    pieces(feed)
    feed.fed(3, 100, is_open=True, taken=False)
    with pytest.raises(InputLostError, match="3 bytes of it, and has 2"):
        feed.attached(2, 100, is_open=True)


def test_a_run_that_ended_while_nobody_was_connected_has_nothing_to_count() -> None:
    feed = opened()
    read(feed, b"abc")
    pieces(feed)
    feed.fed(3, 100, is_open=True, taken=False)
    feed.attached(0, 0, is_open=False)
    assert (feed.state, feed.room(), pieces(feed)) == (SHUT, 0, [])


def test_it_follows_what_the_run_has_had() -> None:
    feed = opened(limit=1000, received=700, follow=True)
    read(feed, b"abc")
    assert pieces(feed) == [(700, b"abc", False)]


def test_what_the_run_has_had_of_the_same_input_is_thrown_away() -> None:
    feed = opened(limit=1000, received=5, follow=True)
    feed.skip = 5
    assert feed.room() == 5
    read(feed, b"abc")
    assert feed.room() == 2
    read(feed, b"de")
    assert feed.room() == 995
    read(feed, b"fg")
    assert pieces(feed) == [(5, b"fg", False)]


def test_a_key_is_taken_without_room() -> None:
    feed = opened(limit=0)
    feed.put(b"\x04")
    assert feed.next_piece() is None
    feed.fed(0, 10, is_open=True, taken=False)
    assert pieces(feed) == [(0, b"\x04", False)]


def test_blocks_are_used_again() -> None:
    feed = opened(limit=4 * BLOCK_BYTES)
    for _ in range(50):
        for _ in range(4):
            read(feed, bytes(feed.room()))
        pieces(feed)
        feed.fed(feed.end, feed.end + 4 * BLOCK_BYTES, is_open=True, taken=False)
    assert len(feed._blocks) + len(feed._spare) <= 5


def test_small_reads_share_a_block() -> None:
    feed = opened(limit=10**9)
    for _ in range(10_000):
        read(feed, b"0123456789")
    assert len(feed._blocks) == 1


class Run:
    """The daemon's side: takes what comes in order, acknowledges when it likes, dies when it likes."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.data = bytearray()
        self.eof = False
        self.told = 0
        self.limit = 0

    def take(self, offset: int, data: bytes, eof: bool) -> None:
        assert offset <= len(self.data), "a gap"
        assert offset + len(data) <= max(self.limit, self.told), "over the limit"
        assert not self.eof
        self.data += data[len(self.data) - offset :]
        self.eof = eof

    def say(self) -> tuple[int, int]:
        self.told = self.rng.randint(self.told, len(self.data))
        self.limit = max(self.limit, len(self.data) + self.rng.choice((0, 1, 10, 100_000, 1_000_000)))
        return self.told, self.limit


@settings(max_examples=150, deadline=None)
@given(st.integers(), st.integers(0, 2_000_000), st.sampled_from((0, 7, 4096)))
def test_every_byte_arrives_once_over_any_losses(seed: int, size: int, ahead: int) -> None:
    rng = random.Random(seed)
    source = rng.randbytes(size)
    run = Run(rng)
    feed = Feed(ahead=ahead)
    feed.attached(*run.say(), is_open=True)
    at = 0
    under_way: list[tuple[int, bytes, bool]] = []  # sent, and not taken by the daemon yet
    while not run.eof:
        match rng.randrange(10):
            case 0 | 1 | 2 if feed.room():
                data = source[at : at + rng.choice((1, 100, 65_536, feed.room()))][: feed.room()]
                if data:
                    read(feed, data)
                    at += len(data)
                else:
                    feed.finish()
            case 3 | 4 | 5:
                under_way += pieces(feed)
            case 6 | 7 if under_way:
                run.take(*under_way.pop(0))
            case 8:
                feed.fed(*run.say(), is_open=True, taken=False)
            case 9 if rng.random() < 0.3:  # the connection is lost, with what was under way
                under_way.clear()
                run.told = len(run.data)
                feed.attached(run.told, run.say()[1], is_open=not run.eof)
    assert bytes(run.data) == source
