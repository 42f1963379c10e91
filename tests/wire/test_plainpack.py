from __future__ import annotations

import signal
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.wire import plainpack
from jobd.wire.plainpack import MAX_DEPTH, PlainpackError, packb, unpackb

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
KEYS = st.one_of(TEXT, st.integers(-(2**63), 2**64 - 1), st.binary(max_size=20))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), TEXT, st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=18), st.dictionaries(KEYS, inner, max_size=4))
)

SIZES = [0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 65535, 65536]
EXTENSIONS = (0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8)
BITS = (0, 5, 7, 8, 15, 16, 31, 32, 63)
INTS = sorted({sign * (1 << bits) + more for bits in BITS for sign in (1, -1) for more in (-1, 0, 1)})


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_equal_to_msgspec_both_ways(value: object) -> None:
    data = msgspec.msgpack.encode(value)
    assert packb(value) == data
    assert unpackb(data) == msgspec.msgpack.decode(data) == value


@pytest.mark.parametrize("size", SIZES)
def test_every_size_boundary(size: int) -> None:
    for value in ("x" * size, b"x" * size, [None] * size, {str(n): n for n in range(size)}, "é" * (size // 2)):
        data = msgspec.msgpack.encode(value)
        assert packb(value) == data
        assert unpackb(data) == value


def test_every_integer_boundary() -> None:
    for value in [*INTS, 2**64 - 1]:
        if -(2**63) <= value < 2**64:
            data = msgspec.msgpack.encode(value)
            assert packb(value) == data
            assert unpackb(data) == value
    for value in (2**64, -(2**63) - 1):
        with pytest.raises(PlainpackError, match="more than 64 bits"):
            packb(value)


def test_short_float_is_read() -> None:
    assert unpackb(b"\xca\x3f\x80\0\0") == 1.0


def test_types_come_back_as_they_went() -> None:
    value = [True, False, 1, 0, 1.0, "1", b"1", None]
    found = unpackb(packb(value))
    assert isinstance(found, list)
    assert [type(item) for item in found] == [type(item) for item in value]


def test_tuples_and_subclasses_go_as_what_they_stand_for() -> None:
    assert unpackb(packb((1, (2,)))) == [1, [2]]
    assert unpackb(packb([signal.SIGTERM, bytearray(b"x"), memoryview(b"y")])) == [15, b"x", b"y"]


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, {None: 1}, {(1,): 1}, {True: 1}, {1.5: 1}])
def test_strange_types_are_refused(value: object) -> None:
    with pytest.raises(PlainpackError, match="cannot pack a"):
        packb(value)


def test_surrogates_are_refused_clearly() -> None:
    with pytest.raises(PlainpackError, match=r"cannot pack 'a\\udcff': not valid text; send it as bytes"):
        packb({"name": "a\udcff"})


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_limit_both_ways() -> None:
    deepest = nested(MAX_DEPTH)
    assert unpackb(packb(deepest)) == deepest
    with pytest.raises(PlainpackError, match="nested more than 64 deep"):
        packb(nested(MAX_DEPTH + 1))
    for opening in (b"\x91", b"\x81\xa1k", b"\xdd\0\0\0\1", b"\x81\x81"):
        with pytest.raises(PlainpackError):
            unpackb(opening * 100_000 + b"\xc0")


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_plainpack_error(data: bytes) -> None:
    try:
        value = unpackb(data)
    except PlainpackError:
        return
    assert repr(msgspec.msgpack.decode(data)) == repr(value)  # NaN is not equal to itself


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_damaged_values_decode_or_raise_plainpack_error(value: object, data: st.DataObject) -> None:
    whole = bytearray(msgspec.msgpack.encode(value))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for hostile in (bytes(whole), bytes(whole[:-1]), bytes(whole) + b"\0"):
        try:
            unpackb(hostile)
        except PlainpackError:
            continue


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut short"),
        (b"\xa5abc", "cut short"),
        (b"\xc4\x05ab", "cut short"),
        (b"\x81\xa5k", "cut short"),
        (b"\x81\xa1k", "cut short"),
        (b"\xdd\xff\xff\xff\xff", "cut short"),
        (b"\xdf\xff\xff\xff\xff", "cut short"),
        (b"\xc6\xff\xff\xff\xff", "cut short"),
        (b"\xdb\xff\xff\xff\xff", "cut short"),
        (b"\xcf\0", "cut short"),
        (b"\xc0\xc0", "1 bytes too many"),
        (b"\xc1", "0xc1 is not plain"),
        (b"\xd4\1\0", "0xd4 is not plain"),
        (b"\xc7\1\1\0", "0xc7 is not plain"),
        (b"\xa1\xff", "not valid UTF-8"),
        (b"\xa3\xed\xa0\x80", "not valid UTF-8"),
        (b"\x81\xa1\xff\xc0", "not valid UTF-8"),
        (b"\x81\xc0\xc0", "key of type NoneType"),
        (b"\x81\x90\xc0", "key of type list"),
    ],
)
def test_hostile_bytes_are_named(data: bytes, why: str) -> None:
    with pytest.raises(PlainpackError, match=why):
        unpackb(data)


def test_every_first_byte_has_its_reader() -> None:
    assert len(plainpack._READERS) == 256
    for first in range(256):
        for tail in (b"", b"\0" * 9, b"\xff" * 9):
            data = bytes([first]) + tail
            try:
                expected = repr(msgspec.msgpack.decode(data))
            except (msgspec.DecodeError, UnicodeDecodeError):
                with pytest.raises(PlainpackError):
                    unpackb(data)
                continue
            if first not in EXTENSIONS:
                assert repr(unpackb(data)) == expected


def test_hot_modules_load_nothing_heavy() -> None:
    code = (
        "import sys; import jobd.wire.frames, jobd.wire.plainpack, jobd.wire.endpoint, jobd.wire.errors, jobd.core.ids;"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    heavy = {"typing", "re", "enum", "socket", "json", "pathlib", "dataclasses", "msgspec", "subprocess", "contextlib"}
    plain = loaded_by("import sys; print(*sys.modules)")  # a .pth file of the installation may load some
    assert heavy & loaded_by(code) <= plain


def loaded_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
