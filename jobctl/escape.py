"""What a job or another user wrote, made safe to show on a terminal.

Escaped are control characters (C0, C1, so that no sequence can begin), format characters (bidi overrides, zero-width
ones), line and paragraph separators, surrogates, private and unassigned code points: all of Unicode's categories Cc,
Cf, Cs, Co, Cn, Zl and Zp. Letters, marks, spaces and symbols of every script pass. Python's str.isprintable draws the
same line but for spaces other than U+0020, which are let through here.
"""

from __future__ import annotations

# Category Zs; harmless, and U+3000 and U+00A0 are common in real text.
_SPACES = frozenset("\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
_NAMED = {"\n": "\\n", "\r": "\\r"}


def escape(text: str, keep: str = "") -> str:
    """`text` with everything that is not safe to show written as `\\x1b`, `\\u202e`, `\\U000e0001`, `\\n`.

    A lone surrogate that stands for a byte that is not UTF-8 (surrogateescape) is written as that byte.

    Args:
        text: any text.
        keep: characters to pass all the same; a tab, in the bodies of log lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _SPACES or c in keep else _written(c) for c in text)


def escape_line(line: bytes) -> str:
    """One line of output, without its newline, to show on a terminal. Tabs stay, as does not a final CR of CRLF."""
    return escape(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"), "\t")


def show_bytes(data: bytes) -> str:
    """A path or an argument to show: escaped, what is not UTF-8 as its bytes."""
    return escape(data.decode("utf-8", "surrogateescape"))


def show_command(argv: list[bytes], shell: bool = False) -> str:
    """A command as it could be typed to a shell, escaped. A script (`shell`) is shown as it is."""
    if shell:
        return show_bytes(b" ".join(argv))
    return " ".join(_quoted(show_bytes(arg)) for arg in argv)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")  # as shlex.quote


def _quoted(arg: str) -> str:
    if arg and _PLAIN.issuperset(arg):
        return arg
    return "'" + arg.replace("'", "'\"'\"'") + "'"


def _written(char: str) -> str:
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
