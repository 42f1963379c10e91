"""What a job's output leaves behind on a terminal, and how it is undone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.pty_modes import MAX_COLOURS, MAX_SEQUENCE_BYTES, Modes


def after(*data: bytes) -> Modes:
    modes = Modes()
    for piece in data:
        modes.feed(piece)
    return modes


UNDONE = [
    (b"\x1b[?1049h", b"\x1b[?1049l"),
    (b"\x1b[?47h", b"\x1b[?47l"),
    (b"\x1b[?1047h", b"\x1b[?1047l"),
    (b"\x1b[?25l", b"\x1b[?25h"),
    (b"\x1b[?7l", b"\x1b[?7h"),
    (b"\x1b[?1000h", b"\x1b[?1000l"),
    (b"\x1b[?1002;1006h", b"\x1b[?1002l\x1b[?1006l"),
    (b"\x1b[?1003h", b"\x1b[?1003l"),
    (b"\x1b[?2004h", b"\x1b[?2004l"),
    (b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>"),
    (b"\x1b[1;31m", b"\x1b[0m"),
    (b"\x1b[0;31m", b"\x1b[0m"),
    (b"\x1b[38:2::1:2:3m", b"\x1b[0m"),
    (b"\x1b[4h", b"\x1b[4l"),
    (b"\x1b(0lqqk", b"\x1b(B"),
    (b"\x0e", b"\x0f"),
    (b"\x1b[3;10r", b"\x1b7\x1b[r\x1b8"),
    (b"\x1b[5 q", b"\x1b[0 q"),
    (b"\x1b[>4;2m", b"\x1b[>4;0m"),
    (b"\x1b[>1u\x1b[>3u", b"\x1b[<2u"),
    (b"\x1b[=5u", b"\x1b[=0;1u"),
    (b"\x1b]0;a title that never ends", b"\x1b\\"),
    (b"\x1bPq", b"\x1b\\"),
    (b"\x1b[38;5", b"\x18"),
    (b"\x1b", b"\x18"),
]
CLEAN = [
    b"", b"text\r\n", b"\x1b[2J\x1b[H", b"\x1b[31mred\x1b[0m", b"\x1b[31mred\x1b[m", b"\x1b[1;31m\x1b[00m",
    b"\x1b[?1049h\x1b[?1049l", b"\x1b[?1049h\x1b[?47l", b"\x1b[?25l\x1b[?25h", b"\x1b[?1000h\x1bc", b"\x1b[4h\x1b[4l",
    b"\x1b]0;title\x07", b"\x1b]0;title\x1b\\", b"\x1bPq\x1b\\", b"\x1b(0x\x1b(B", b"\x0ex\x0f", b"\x1b[3;10r\x1b[r",
    b"\x1b[5 q\x1b[ q", b"\x1b[>1u\x1b[<u", b"\x1b[>4;2m\x1b[>4m", b"\x1b=\x1b>", b"\x1b[31m\x1b[!p", b"\x1b[?9999h",
    b"\x1b[\x18?25l",
]  # fmt: skip


@pytest.mark.parametrize(("sent", "undone"), UNDONE)
def test_what_is_on_is_undone(sent: bytes, undone: bytes) -> None:
    modes = after(sent)
    assert modes.undo() == undone
    assert modes.undo() == b""


@pytest.mark.parametrize(("sent", "undone"), UNDONE)
def test_in_pieces_it_is_the_same(sent: bytes, undone: bytes) -> None:
    assert after(*(bytes([byte]) for byte in sent)).undo() == undone


@pytest.mark.parametrize("sent", CLEAN)
def test_what_was_put_back_needs_no_undoing(sent: bytes) -> None:
    assert after(sent).undo() == b""
    assert after(*(bytes([byte]) for byte in sent)).undo() == b""


def test_the_text_of_a_string_is_none_of_ours() -> None:
    assert after(b"\x1b]2;[?25l\x07").undo() == b""


def test_an_escape_in_a_string_ends_it_and_begins_anew() -> None:
    assert after(b"\x1b]2;title\x1b[?25l").undo() == b"\x1b[?25h"


def test_controls_in_a_sequence_do_not_end_it() -> None:
    assert after(b"\x1b[?2\r\n5l").undo() == b"\x1b[?25h"


def test_the_other_screen_is_left_last() -> None:
    assert after(b"\x1b[?1049h\x1b[?25l\x1b[?1000h").undo() == b"\x1b[?25h\x1b[?1000l\x1b[?1049l"


def test_keys_are_put_back_on_the_screen_they_were_pushed_on() -> None:
    assert after(b"\x1b[>1u\x1b[?1049h\x1b[>5u").undo() == b"\x1b[<1u\x1b[?1049l\x1b[<1u"


def test_a_state_is_set_again_the_other_screen_first() -> None:
    assert after(b"\x1b[?25l\x1b[1mx\x1b[31m\x1b[?1049h\x1b[?2004h\x1b[3;4r").redo() == (
        b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[1m\x1b[31m"
    )
    assert after(b"plain \x1b[31mred\x1b[0m").redo() == b""


def test_set_again_and_undone_is_as_before() -> None:
    for sent, undone in UNDONE[:13]:
        assert after(after(sent).redo()).undo() == undone


ANSWERED = [
    b"\x1b[c", b"\x1b[>c", b"\x1b[>0c", b"\x1b[5n", b"\x1b[6n", b"\x1b[?6n", b"\x1b[14t", b"\x1b[x", b"\x1b[?25$p",
    b"\x1b[>q", b"\x1b[?u", b"\x05", b"\x1bZ", b"\x1b]11;?\x07", b"\x1b]52;c;?\x1b\\", b"\x1bP+q544e\x1b\\",
    b"\x1bP$qm\x1b\\", b"\x1b[?1;1;0S", b"\x1b[1;1;1;1;5;5*y",
]  # fmt: skip
SHOWN = [
    b"text",
    b"\x1b[31m",
    b"\x1b[2;2H",
    b"\x1b[2J",
    b"\x1b[u",
    b"\x1b[5 q",
    b"\x1b[!p",
    b"\x1b(0",
    b"\x1b7",
    b"\r\n",
]


@pytest.mark.parametrize("sent", ANSWERED)
def test_what_a_terminal_answers_is_not_shown_again(sent: bytes) -> None:
    for pieces in ((sent,), [bytes([byte]) for byte in sent]):
        modes, kept = Modes(), bytearray()
        for piece in (b"a", *pieces, b"b"):
            modes.feed(piece, kept)
        assert kept == b"ab"


@pytest.mark.parametrize("sent", SHOWN)
def test_what_it_only_draws_is(sent: bytes) -> None:
    kept = bytearray()
    Modes().feed(sent, kept)
    assert kept == sent


def test_an_endless_sequence_takes_no_memory() -> None:
    modes = after(*[b"\x1b[" + b"1;" * 500_000], b"?25l")
    assert len(modes._sequence) == MAX_SEQUENCE_BYTES
    assert modes.is_between
    many = after(b"\x1b[31m" * 10_000)
    assert len(many._colours) <= MAX_COLOURS + 1


@given(st.lists(st.sampled_from([each for each, _ in UNDONE] + CLEAN + ANSWERED + [b"\x1b", b"\x9b", b"\xff"])))
def test_anything_can_be_undone_however_it_is_cut(pieces: list[bytes]) -> None:
    whole, cut = Modes(), Modes()
    kept_whole, kept_cut = bytearray(), bytearray()
    data = b"".join(pieces)
    whole.feed(data, kept_whole)
    for byte in data:
        cut.feed(bytes([byte]), kept_cut)
    assert kept_whole == kept_cut
    undone = whole.undo()
    assert cut.undo() == undone
    assert after(data, undone).undo() == b""


@given(st.binary(max_size=200))
def test_any_bytes_can_be_fed(data: bytes) -> None:
    modes = after(data)
    assert after(data, modes.undo()).undo() == b""
