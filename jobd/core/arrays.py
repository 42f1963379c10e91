"""Arrays: which runs `0-99%4` means (as of Slurm's --array), what they are called, and what their commands are. Pure.

An array is a job without a run of its own, and an element for each of its numbers: a transient job of its own, called
`NAME@NUMBER`. The ids of their runs are made of the array's and the element's place, so that whoever makes them again
makes the same. Imported by the keeper and by the client's hot path.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ELEMENTS = 10_000  # as many runs as a user may have waiting (jobd.core.policy)
MAX_INDEX = 999_999_999  # nine digits: a name has room for them
MAX_TEXT = 256  # characters; jobd.wire.fields.ArrayText
PLACEHOLDER = b"%i"
INDEX_VARIABLE = b"JOBD_ARRAY_INDEX="
EXAMPLES = "write numbers and ranges, such as 0-99, 1,3,7-9 or 0-10:2, and %N behind them for N at a time"
_RANDOM_BYTES = 8  # of an id, its end: they differ between the elements of an array


class ArrayError(ValueError):
    """No array is written like this; the text says what is wrong."""


class Array:
    """The numbers of an array in order, each once, and how many of them may run at a time (None: all)."""

    __slots__ = ("indices", "limit")

    def __init__(self, indices: Sequence[int], limit: int | None) -> None:
        self.indices = tuple(indices)
        self.limit = limit

    @property
    def places(self) -> dict[int, int]:
        """The place of each number among them, from 0. Made when it is asked for, as it is large."""
        return {index: place for place, index in enumerate(self.indices)}


def parse(text: str) -> Array:
    """Read `0-99%4`, `1,3,7-9`, `0-10:2`.

    Raises:
        ArrayError: in words for who typed it.
    """
    if len(text) > MAX_TEXT:
        raise ArrayError(f"an array is written in at most {MAX_TEXT} characters, and these are {len(text)}")
    numbers, percent, limit = text.partition("%")
    ranges = [_range(part, text) for part in numbers.split(",")]
    if sum(map(len, ranges)) > MAX_ELEMENTS:  # those that come twice as well: nobody counts for long
        raise ArrayError(f"array {text!r} has more than {MAX_ELEMENTS} elements")
    indices = {index for these in ranges for index in these}
    return Array(sorted(indices), _limit(limit, text) if percent else None)


def _range(part: str, text: str) -> range:
    ends, colon, step = part.partition(":")
    first, dash, last = ends.partition("-")
    begin = _number(first, text)
    end = _number(last, text) if dash else begin
    by = _number(step, text) if colon else 1
    if colon and not dash:
        raise ArrayError(f"cannot read array {text!r}: {part!r} has a step and is no range, such as {first}-99:{step}")
    if end < begin:
        raise ArrayError(f"cannot read array {text!r}: {ends} ends before it begins")
    if not by:
        raise ArrayError(f"cannot read array {text!r}: a step of 0 leads nowhere")
    return range(begin, end + 1, by)


def _number(word: str, text: str) -> int:
    if not (word.isascii() and word.isdigit()):
        what = f"{word!r} is no number" if word else "a number is missing"
        raise ArrayError(f"cannot read array {text!r}: {what}; {EXAMPLES}")
    if len(word.lstrip("0")) > len(str(MAX_INDEX)):
        raise ArrayError(f"cannot read array {text!r}: {word} is more than {MAX_INDEX}")
    return int(word)


def _limit(word: str, text: str) -> int:
    limit = _number(word, text)
    if not limit:
        raise ArrayError(f"cannot read array {text!r}: with %0 nothing would ever run; jobctl run --hold has it wait")
    return limit


# --- names and ids ------------------------------------------------------------------------------------------------
def element_name(array: str, index: int) -> str:
    """`train-1@7`."""
    return f"{array}@{index}"


def index_of(name: str) -> int | None:
    """The number in the name of an element; None if it can be none."""
    word = name.rpartition("@")[2]
    return int(word) if word.isascii() and word.isdigit() and len(word) <= len(str(MAX_INDEX)) else None


def element_id(array: bytes, place: int) -> bytes:
    """The id of the first run of an array's element, by its place among them: a UUIDv7 of the same time."""
    from _blake2 import blake2b  # as hashlib's, which takes longer to load than all else that the client needs

    random = blake2b(array + place.to_bytes(4, "big"), digest_size=_RANDOM_BYTES).digest()
    return array[:-_RANDOM_BYTES] + bytes((random[0] & 0x3F | 0x80,)) + random[1:]


# --- commands -----------------------------------------------------------------------------------------------------
def with_index(argv: Sequence[bytes], index: int) -> list[bytes]:
    """An element's command: its number in the place of each `%i`, but for `%%i`, which is a `%i` that stays."""
    number = str(index).encode()
    return [_filled(word, number) for word in argv]


def _filled(word: bytes, number: bytes) -> bytes:
    kept = word.split(b"%" + PLACEHOLDER)
    return PLACEHOLDER.join(part.replace(PLACEHOLDER, number) for part in kept)
