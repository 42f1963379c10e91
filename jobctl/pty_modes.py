"""What a job's output has done to the terminal: which modes are on, how to undo them, and how to set them once more.

No I/O here: bytes in as they pass, bytes out to be written. The theory: terminals differ, and so do the sequences that
programs send. Tracked is what makes the shell's next line unusable or unreadable when a program has been left in the
middle: the other screen, the mouse, the cursor, keys that send something else, colours, character sets, margins.
Sequences are those of ECMA-48, and of xterm's "Control Sequences"; C1 controls have two bytes, as UTF-8 needs it.

For a screenful that is shown again, `feed` also gives the bytes without what a terminal would answer: the answers would
be typed into the job a second time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Kept: TypeAlias = bytearray | None

ESC, CAN, SUB, BEL, ENQ, SO, SI = 0x1B, 0x18, 0x1A, 0x07, 0x05, 0x0E, 0x0F
MAX_SEQUENCE_BYTES = 1024  # longer ones are not followed: a terminal ends them somewhere as well
MAX_COLOURS = 64  # SGR sequences kept since the last that began anew

OTHER_SCREENS = (1049, 1047, 47)
NORMALLY_ON = (7, 25)  # a line goes on in the next; the cursor is seen
# Keys, reverse video, origin; the mouse and its encodings, focus; pastes, synchronized output, colour and size reports.
NORMALLY_OFF = (
    1, 5, 6, 66, 9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026, 2031, 2048, *OTHER_SCREENS
)  # fmt: skip
SOFT_RESET = (1, 6, 7, 25, 66)  # what DECSTR puts back, of these

GROUND, ESCAPE, CSI, STRING, STRING_ESCAPE = range(5)
STRING_STARTS = b"]PX^_"  # OSC, DCS, SOS, PM, APC
ASKING_FINALS = b"cntx"  # device attributes, reports, the window, parameters
WITH_PREFIX_ASKING = b"qS"  # with < = > or ?: the terminal's version, its graphics


class Modes:
    """The state of a terminal that a job's output went to."""

    def __init__(self) -> None:
        self._state = GROUND
        self._sequence = bytearray()
        self._too_long = False
        self._reset()

    def _reset(self) -> None:
        self._private: dict[int, None] = {}  # modes that are not as they normally are, in the order they were changed
        self._insert = False
        self._keypad = False
        self._charset = False
        self._shifted = False
        self._margins = False
        self._cursor = b""  # its shape
        self._other_keys = False
        self._keys = {False: 0, True: 0}  # flags of the kitty keyboard that are pushed, on each of the two screens
        self._keys_set = False
        self._colours: list[bytes] = []

    # --- reading --------------------------------------------------------------------------------------------------
    @property
    def is_between(self) -> bool:
        """Whether no sequence has begun and not ended."""
        return self._state == GROUND

    def feed(self, data: bytes | memoryview, kept: Kept = None) -> None:
        """Take note of `data`. `kept` gets them, less what a terminal answers to."""
        data = bytes(data)
        at, end = 0, len(data)
        while at < end:
            if self._state == GROUND:
                start, at = at, data.find(ESC, at)
                at = end if at < 0 else at
                self._plain(data[start:at], kept)
                if at < end:
                    self._state, self._sequence, self._too_long = ESCAPE, bytearray(b"\x1b"), False
                    at += 1
            elif self._state == STRING:
                at = self._in_string(data, at)
            else:
                self._byte(data[at], kept)
                at += 1

    def _plain(self, text: bytes, kept: Kept) -> None:
        if SO in text or SI in text:
            self._shifted = text.rfind(SO) > text.rfind(SI)
        if kept is not None:
            kept += text.replace(b"\x05", b"")

    def _in_string(self, data: bytes, at: int) -> int:
        """Skip to what may end a string; where to go on."""
        while at < len(data):
            byte = data[at]
            at += 1
            if byte == ESC:
                self._state = STRING_ESCAPE
                return at
            if byte in (BEL, CAN, SUB):
                self._state = GROUND
                return at
        return at

    def _byte(self, byte: int, kept: Kept) -> None:
        """One byte of a sequence."""
        if byte in (CAN, SUB):
            self._state = GROUND
        elif byte == ESC:
            self._state, self._sequence, self._too_long = ESCAPE, bytearray(b"\x1b"), False
        elif self._state == STRING_ESCAPE:
            # ST; anything else ends the string as well, and begins a sequence of its own.
            self._state, self._sequence = (GROUND if byte == ord("\\") else ESCAPE), bytearray(b"\x1b")
            if self._state == ESCAPE:
                self._byte(byte, kept)
        elif byte < 0x20 or byte >= 0x7F:
            if kept is not None and byte != ENQ:
                kept.append(byte)  # a terminal acts on it in the middle of a sequence, and goes on with that
        else:
            self._part(byte, kept)

    def _part(self, byte: int, kept: Kept) -> None:
        sequence = self._sequence
        if len(sequence) < MAX_SEQUENCE_BYTES:
            sequence.append(byte)
        else:
            self._too_long = True
        if self._state == ESCAPE:
            if byte == ord("[") and len(sequence) == 2:
                self._state = CSI
                return
            if byte in STRING_STARTS and len(sequence) == 2:
                self._state = STRING
                return
            if byte < 0x30:  # an intermediate: of a character set, say
                return
            self._state = GROUND
            self._escape(bytes(sequence[1:]))
            if kept is not None and sequence != b"\x1bZ":  # "what are you?"
                kept += sequence
        elif byte >= 0x40:
            self._state = GROUND
            if self._too_long:
                return
            body, final = bytes(sequence[2:-1]), byte
            self._control(body, final)
            if kept is not None and not _asks(body, final):
                kept += sequence

    # --- what sequences do ----------------------------------------------------------------------------------------
    def _escape(self, rest: bytes) -> None:
        if rest == b"c":
            self._reset()
        elif rest in (b"=", b">"):
            self._keypad = rest == b"="
        elif rest[:1] == b"(":
            self._charset = rest[1:] != b"B"

    def _control(self, body: bytes, final: int) -> None:
        """A control sequence: its parameters and intermediates, and the byte that ends it."""
        kind, prefix = chr(final), body[:1]
        if kind in "hl" and prefix == b"?":
            for number in _numbers(body[1:]):
                self._set_private(number, kind == "h")
        elif kind in "hl" and 4 in _numbers(body):
            self._insert = kind == "h"
        elif kind == "m" and body[:2] == b">4":
            self._other_keys = body not in (b">4", b">4;", b">4;0")
        elif kind == "m" and prefix not in (b">", b"?"):
            self._colour(body)
        elif kind == "r" and prefix != b"?":
            self._margins = bool(body.strip(b";"))
        elif kind == "q" and body[-1:] == b" ":
            self._cursor = b"" if body in (b" ", b"0 ") else b"\x1b[" + body + b"q"
        elif kind == "u" and prefix in (b"<", b">", b"="):
            self._set_keys(prefix, body[1:])
        elif kind == "p" and body == b"!":
            self._soft_reset()

    def _set_private(self, number: int, on: bool) -> None:
        if number in (NORMALLY_OFF if on else NORMALLY_ON):
            self._private[number] = None
        elif number in OTHER_SCREENS:
            for screen in OTHER_SCREENS:
                self._private.pop(screen, None)
        else:
            self._private.pop(number, None)

    def _colour(self, body: bytes) -> None:
        if body.partition(b";")[0].strip(b"0") == b"":  # begins with 0, or has none: anew
            self._colours.clear()
            if not body.strip(b"0;"):
                return
        self._colours = [*self._colours[-MAX_COLOURS:], b"\x1b[" + body + b"m"]

    def _set_keys(self, prefix: bytes, body: bytes) -> None:
        if prefix == b"=":
            self._keys_set = body.partition(b";")[0] not in (b"", b"0")
            return
        screen = self.on_other_screen
        change = 1 if prefix == b">" else -(_numbers(body) or [1])[0]
        self._keys[screen] = max(0, self._keys[screen] + change)

    def _soft_reset(self) -> None:
        for number in SOFT_RESET:
            self._private.pop(number, None)
        self._insert = self._keypad = self._charset = self._shifted = self._margins = False
        self._colours.clear()

    @property
    def on_other_screen(self) -> bool:
        """Whether what is seen is not the screen that the shell is on."""
        return any(number in self._private for number in OTHER_SCREENS)

    # --- undoing and doing again ----------------------------------------------------------------------------------
    def undo(self) -> bytes:
        """What puts a terminal back to where it was before; then nothing is left to be undone."""
        out = bytearray()
        if self._state in (STRING, STRING_ESCAPE):
            out += b"\x1b\\"
        elif self._state != GROUND:
            out.append(CAN)
        if self.on_other_screen:
            out += self._pop_keys(True)
        if self._margins:
            out += b"\x1b7\x1b[r\x1b8"
        for number in sorted(self._private, key=lambda number: number in OTHER_SCREENS):
            out += b"\x1b[?%d%s" % (number, b"h" if number in NORMALLY_ON else b"l")
        out += self._pop_keys(False)
        for on, text in (
            (self._keys_set, b"\x1b[=0;1u"), (self._other_keys, b"\x1b[>4;0m"), (self._insert, b"\x1b[4l"),
            (self._keypad, b"\x1b>"), (self._charset, b"\x1b(B"), (self._shifted, b"\x0f"),
            (bool(self._cursor), b"\x1b[0 q"), (bool(self._colours), b"\x1b[0m"),
        ):  # fmt: skip
            if on:
                out += text
        self._state = GROUND
        self._reset()
        return bytes(out)

    def _pop_keys(self, screen: bool) -> bytes:
        return b"\x1b[<%du" % self._keys[screen] if self._keys[screen] else b""

    def redo(self) -> bytes:
        """What brings another terminal to this state. Margins are left to the program, which is told to draw anew."""
        out = bytearray()
        for number in sorted(self._private, key=lambda number: number not in OTHER_SCREENS):
            out += b"\x1b[?%d%s" % (number, b"l" if number in NORMALLY_ON else b"h")
        for on, text in (
            (self._insert, b"\x1b[4h"), (self._keypad, b"\x1b="), (self._charset, b"\x1b(0"), (self._shifted, b"\x0e"),
            (True, self._cursor), (True, b"".join(self._colours)),
        ):  # fmt: skip
            if on:
                out += text
        return bytes(out)


def _numbers(body: bytes) -> list[int]:
    """The parameters that are numbers."""
    return [int(part) for part in body.split(b";") if part.isdigit() and len(part) < 10]


def _asks(body: bytes, final: int) -> bool:
    """Whether a terminal would answer to this sequence."""
    if final in ASKING_FINALS or any(byte in b"$*" for byte in body):
        return True
    if final == ord("u"):
        return body[:1] == b"?"
    return final in WITH_PREFIX_ASKING and body[:1] in (b"<", b"=", b">", b"?")
