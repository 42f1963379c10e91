"""A small msgpack codec for plain values: None, bool, int, float, str, bytes, list (or tuple) and dict.

It serves the keeper's link and jobctl's hot path, where importing msgspec costs more than it saves; a test proves that
the two write the same bytes and read the same values. Keys of maps are str, bytes or int. Any bytes either decode or
raise PlainpackError: nothing else, and nothing is set aside for elements that are announced and not there.
"""

from __future__ import annotations

from struct import Struct, error

# How deep lists and maps may nest: our deepest value has six levels, and Python's own recursion limit is 1,000.
MAX_DEPTH = 64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class PlainpackError(ValueError):
    """The bytes are not one plain msgpack value, or the value is not a plain one."""


_u8, _u16, _u32, _u64 = Struct("B"), Struct(">H"), Struct(">I"), Struct(">Q")
_i8, _i16, _i32, _i64 = Struct(">b"), Struct(">h"), Struct(">i"), Struct(">q")
_f32, _f64 = Struct(">f"), Struct(">d")
_put8, _put16, _put32, _put64 = Struct(">BB").pack, Struct(">BH").pack, Struct(">BI").pack, Struct(">BQ").pack
_put_i8, _put_i16, _put_i32, _put_i64 = Struct(">Bb").pack, Struct(">Bh").pack, Struct(">Bi").pack, Struct(">Bq").pack
_put_f64 = Struct(">Bd").pack


# --- writing ----------------------------------------------------------------------------------------------------
def packb(value: object) -> bytes:
    """The msgpack form of `value`, each part as short as msgpack allows (floats always as 64 bits).

    Raises:
        PlainpackError: a type that is not plain, an int outside of 64 bits, a str with surrogates, too deep a nesting.
    """
    out = bytearray()
    try:
        _pack(value, out, MAX_DEPTH)
    except UnicodeEncodeError as e:
        raise PlainpackError(f"cannot pack {ascii(e.object)[:80]}: not valid text; send it as bytes") from e
    return bytes(out)


def _pack(value: object, out: bytearray, depth: int) -> None:
    _PACKERS.get(type(value), _pack_other)(value, out, depth)


def _pack_other(value: object, out: bytearray, depth: int) -> None:
    """An object of a subclass (an IntEnum, say) goes as the plain value it stands for."""
    for kind in (int, str, float, list, tuple, dict, bytes):
        if isinstance(value, kind):
            _PACKERS[kind](value, out, depth)
            return
    if isinstance(value, (bytearray, memoryview)):
        _pack_bytes(bytes(value), out, depth)
        return
    raise PlainpackError(f"cannot pack a {type(value).__name__}: not a plain type")


def _pack_none(value: None, out: bytearray, depth: int) -> None:  # noqa: ARG001  # all packers are called alike
    out.append(0xC0)


def _pack_bool(value: bool, out: bytearray, depth: int) -> None:  # noqa: ARG001
    out.append(0xC3 if value else 0xC2)


def _pack_float(value: float, out: bytearray, depth: int) -> None:  # noqa: ARG001
    out += _put_f64(0xCB, value)


def _pack_str(value: str, out: bytearray, depth: int) -> None:  # noqa: ARG001
    data = value.encode()
    n = len(data)
    if n < 32:
        out.append(0xA0 | n)
    elif n < 256:
        out += _put8(0xD9, n)
    elif n < 65536:
        out += _put16(0xDA, n)
    else:
        out += _put32(0xDB, n)
    out += data


def _pack_bytes(value: bytes, out: bytearray, depth: int) -> None:  # noqa: ARG001
    n = len(value)
    if n < 256:
        out += _put8(0xC4, n)
    elif n < 65536:
        out += _put16(0xC5, n)
    else:
        out += _put32(0xC6, n)
    out += value


def _pack_int(value: int, out: bytearray, depth: int) -> None:  # noqa: ARG001
    if 0 <= value < 128:
        out.append(value)
    elif value < 0:
        _pack_negative(value, out)
    elif value < 256:
        out += _put8(0xCC, value)
    elif value < 65536:
        out += _put16(0xCD, value)
    elif value < 1 << 32:
        out += _put32(0xCE, value)
    elif value < 1 << 64:
        out += _put64(0xCF, value)
    else:
        raise PlainpackError("cannot pack an integer of more than 64 bits")


def _pack_negative(value: int, out: bytearray) -> None:
    if value >= -32:
        out.append(value & 0xFF)
    elif value >= -128:
        out += _put_i8(0xD0, value)
    elif value >= -32768:
        out += _put_i16(0xD1, value)
    elif value >= -(1 << 31):
        out += _put_i32(0xD2, value)
    elif value >= -(1 << 63):
        out += _put_i64(0xD3, value)
    else:
        raise PlainpackError("cannot pack an integer of more than 64 bits")


def _pack_list(value: Sequence[object], out: bytearray, depth: int) -> None:
    if not depth:
        raise PlainpackError(f"cannot pack a value nested more than {MAX_DEPTH} deep")
    n = len(value)
    if n < 16:
        out.append(0x90 | n)
    elif n < 65536:
        out += _put16(0xDC, n)
    else:
        out += _put32(0xDD, n)
    for item in value:
        _pack(item, out, depth - 1)


def _pack_map(value: Mapping[object, object], out: bytearray, depth: int) -> None:
    if not depth:
        raise PlainpackError(f"cannot pack a value nested more than {MAX_DEPTH} deep")
    n = len(value)
    if n < 16:
        out.append(0x80 | n)
    elif n < 65536:
        out += _put16(0xDE, n)
    else:
        out += _put32(0xDF, n)
    for key, item in value.items():
        if type(key) is str:
            _pack_str(key, out, depth)
        elif isinstance(key, (str, bytes, int)) and not isinstance(key, bool):
            _pack(key, out, depth - 1)
        else:
            raise PlainpackError(f"cannot pack a map with a key of type {type(key).__name__}")
        _pack(item, out, depth - 1)


_PACKERS: dict[type, Callable[..., None]] = {  # each takes a value of the type that it stands beside
    type(None): _pack_none, bool: _pack_bool, int: _pack_int, float: _pack_float, str: _pack_str, bytes: _pack_bytes,
    list: _pack_list, tuple: _pack_list, dict: _pack_map,
}  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------------
def unpackb(data: bytes) -> object:
    """The one value that `data` holds; lists come back as list, maps as dict.

    Raises:
        PlainpackError: cut short, something left over, no such type, text that is not UTF-8, too deep a nesting.
    """
    try:
        value, end = _READERS[data[0]](data, 1, data[0], MAX_DEPTH)
    except (IndexError, error) as e:
        raise PlainpackError("cannot unpack: the data is cut short") from e
    except UnicodeDecodeError as e:
        raise PlainpackError("cannot unpack: a text is not valid UTF-8") from e
    if end != len(data):
        raise PlainpackError(f"cannot unpack: {len(data) - end} bytes too many")
    return value


# Each reader is given the position after the first byte, that byte, and how much deeper it may go; it answers the
# value and where the next one begins.
def _read_small(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:  # noqa: ARG001
    return (first if first < 0x80 else first - 256), pos


def _read_constant(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:  # noqa: ARG001
    return _CONSTANTS[first], pos


def _read_number(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:  # noqa: ARG001
    form = _FORMS[first]
    return form.unpack_from(data, pos)[0], pos + form.size


def _read_text(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:
    value, end = _read_bytes(data, pos, first, depth)
    return value.decode(), end


def _read_bytes(data: bytes, pos: int, first: int, depth: int) -> tuple[bytes, int]:  # noqa: ARG001
    if first < 0xC0:
        end = pos + (first & 31)
    else:
        form = _FORMS[first]
        pos += form.size
        end = pos + form.unpack_from(data, pos - form.size)[0]
    if end > len(data):
        raise IndexError
    return data[pos:end], end


def _read_list(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:
    count, pos = _count(data, pos, first, depth)
    if count > len(data) - pos:  # each element takes a byte or more
        raise IndexError
    items: list[object] = []
    for _ in range(count):
        first = data[pos]
        item, pos = _READERS[first](data, pos + 1, first, depth - 1)
        items.append(item)
    return items, pos


def _read_map(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:
    count, pos = _count(data, pos, first, depth)
    if 2 * count > len(data) - pos:
        raise IndexError
    items: dict[object, object] = {}
    for _ in range(count):
        first = data[pos]
        key: object
        if 0xA0 <= first < 0xC0:  # the usual key, a short text, without a call
            end = pos + first - 0x9F
            key = data[pos + 1 : end].decode()
            pos = end
        else:
            key, pos = _READERS[first](data, pos + 1, first, depth - 1)
            if type(key) is not str and type(key) is not int and type(key) is not bytes:
                raise PlainpackError(f"cannot unpack a map with a key of type {type(key).__name__}")
        first = data[pos]  # IndexError, also when the key was cut short
        items[key], pos = _READERS[first](data, pos + 1, first, depth - 1)
    return items, pos


def _count(data: bytes, pos: int, first: int, depth: int) -> tuple[int, int]:
    """How many elements a list or map has, and where they begin."""
    if not depth:
        raise PlainpackError(f"cannot unpack a value nested more than {MAX_DEPTH} deep")
    if first < 0xA0:
        return first & 15, pos
    form = _FORMS[first]
    return form.unpack_from(data, pos)[0], pos + form.size


def _read_foreign(data: bytes, pos: int, first: int, depth: int) -> tuple[object, int]:  # noqa: ARG001
    raise PlainpackError(f"cannot unpack: type {first:#x} is not plain")


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_FORMS = {
    0xC4: _u8, 0xC5: _u16, 0xC6: _u32, 0xCA: _f32, 0xCB: _f64, 0xCC: _u8, 0xCD: _u16, 0xCE: _u32, 0xCF: _u64,
    0xD0: _i8, 0xD1: _i16, 0xD2: _i32, 0xD3: _i64, 0xD9: _u8, 0xDA: _u16, 0xDB: _u32,
    0xDC: _u16, 0xDD: _u32, 0xDE: _u16, 0xDF: _u32,
}  # fmt: skip
_READERS: tuple[Callable[[bytes, int, int, int], tuple[object, int]], ...] = (
    *(_read_small,) * 0x80, *(_read_map,) * 16, *(_read_list,) * 16, *(_read_text,) * 32,  # 0x00, 0x80, 0x90, 0xa0
    _read_constant, _read_foreign, *(_read_constant,) * 2, *(_read_bytes,) * 3, *(_read_foreign,) * 3,  # 0xc0
    *(_read_number,) * 10, *(_read_foreign,) * 5,  # 0xca, 0xd4
    *(_read_text,) * 3, *(_read_list,) * 2, *(_read_map,) * 2, *(_read_small,) * 32,  # 0xd9, 0xdc, 0xde, 0xe0
)  # fmt: skip
