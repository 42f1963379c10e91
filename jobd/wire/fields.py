"""The bounds and field types of the protocol's messages, and their base class."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

__all__ = [
    "MAX_ARGV_ENV_BYTES", "MAX_ARG_BYTES", "MAX_FRAME_BYTES", "MAX_INPUT_BYTES", "PROTOCOL_VERSION", "Arg", "Argv",
    "ArrayText", "Data", "EnvList", "Id", "JobName", "Message", "Names", "Nanos", "PathBytes", "Pattern", "Patterns",
    "Pids", "Rlimits", "RunId", "RunIds", "Selector", "Settings", "Size", "Stdin", "Text", "Window", "Word", "Words",
]  # fmt: skip

PROTOCOL_VERSION: Final = 1

# --- bounds (each is checked by the decoder before anything is built) -------------------------------------------
MAX_FRAME_BYTES: Final = 1 << 20  # DESIGN.md, section 6
MAX_ARGV_ENV_BYTES: Final = 768 << 10  # DESIGN.md, section 6: argv + environment, each with its NUL
MAX_INPUT_BYTES: Final = 256 << 10  # of one Input: a few frames fill the pipe of a job
MAX_ARG_BYTES: Final = (128 << 10) - 1  # Linux MAX_ARG_STRLEN, 32 pages with the NUL

Id: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
RunId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
Word: TypeAlias = Annotated[str, Meta(max_length=64)]
ArrayText: TypeAlias = Annotated[str, Meta(max_length=256)]  # jobd.core.arrays.MAX_TEXT
JobName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=96)]  # NAME, or OWNER/NAME
Pattern: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Selector: TypeAlias = Annotated[str, Meta(max_length=64)]  # a run of a job: 0, -1, N, an id or the end of one
Text: TypeAlias = Annotated[str, Meta(max_length=4096)]
Arg: TypeAlias = Annotated[bytes, Meta(max_length=MAX_ARG_BYTES)]
PathBytes: TypeAlias = Annotated[bytes, Meta(min_length=1, max_length=4095)]  # Linux PATH_MAX
Argv: TypeAlias = Annotated[list[Arg], Meta(min_length=1, max_length=65536)]
EnvList: TypeAlias = Annotated[list[Arg], Meta(max_length=16384)]  # b"NAME=value"
Names: TypeAlias = Annotated[list[JobName], Meta(min_length=1, max_length=4096)]
Patterns: TypeAlias = Annotated[list[Pattern], Meta(max_length=4096)]
RunIds: TypeAlias = Annotated[list[RunId], Meta(max_length=4096)]
Words: TypeAlias = Annotated[list[Word], Meta(max_length=64)]
Settings: TypeAlias = Annotated[dict[Word, Text], Meta(max_length=128)]
Rlimits: TypeAlias = Annotated[dict[Word, tuple[int, int]], Meta(max_length=32)]
Stdin: TypeAlias = Literal["null", "pipe", "pty"]
Size: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]  # of a terminal: struct winsize has unsigned shorts
Window: TypeAlias = tuple[Size, Size]  # rows, columns
Pids: TypeAlias = Annotated[list[Annotated[int, Meta(ge=1, le=2**31 - 1)]], Meta(max_length=4096)]
Data: TypeAlias = Annotated[bytes, Meta(max_length=MAX_INPUT_BYTES)]
Nanos: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", omit_defaults=True):
    """Base of all messages."""
