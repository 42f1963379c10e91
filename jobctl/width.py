"""How many columns of a terminal text takes, and text made to fit. Imported only where a terminal has to be fitted.

East Asian wide and fullwidth characters take two columns, combining marks none, everything else one: what wcwidth(3)
says of text that `escape` has made safe. Colour sequences are our own and take none.
"""

from __future__ import annotations

ELLIPSIS = "…"
TAB = 8
PLAIN = "\x1b[0m"
_WIDE = ("W", "F")
_NO_ROOM = ("Mn", "Me")  # combining marks; formats and controls never get here unescaped
_JAMO = range(0x1160, 0x1200)  # vowels and finals of Hangul, drawn into the syllable that they follow


def columns_of(text: str) -> int:
    """The columns that `text`, without tabs and colours, takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if char < "\u0300":
        return 1
    from unicodedata import category, east_asian_width

    if category(char) in _NO_ROOM or ord(char) in _JAMO:
        return 0
    return 2 if east_asian_width(char) in _WIDE else 1


def pad(text: str, width: int) -> str:
    """`text` with spaces behind it, `width` columns wide."""
    return text + " " * (width - columns_of(text))


def cut(line: str, width: int) -> str:
    """A line, without its newline, cut to `width` columns, `…` being the last; 0 leaves it whole.

    It may have colours of ours.
    """
    if not width or (len(line) <= width and line.isascii() and "\t" not in line):
        return line
    shown = at = end = 0
    while at < len(line):
        char = line[at]
        if char == "\x1b":  # ours: what others wrote is escaped
            at = line.index("m", at) + 1
            continue
        shown += TAB - shown % TAB if char == "\t" else _columns(char)
        at += 1
        if shown <= width - 1:
            end = at
        elif shown > width:
            return f"{line[:end]}{ELLIPSIS}{PLAIN if chr(27) in line[:end] else ''}"
    return line


def cut_middle(text: str, width: int) -> str:
    """A name cut to `width` columns in its middle: names differ at their ends."""
    if columns_of(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[:width]
    tail = (width - 1) // 2
    end = len(text)
    while columns_of(text[end - 1 :]) <= tail:
        end -= 1
    return cut(text, width - columns_of(text[end:])).removesuffix(PLAIN) + text[end:]
