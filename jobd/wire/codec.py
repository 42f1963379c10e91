"""Messages to frames and back, with every rule of the protocol that a type alone cannot say.

Anything the other side got wrong is a ProtocolError and nothing else. With an `id` it concerns that request alone and
is answered by a Fault; without one the stream cannot be trusted any more, and the connection ends after the Fault.
"""

from __future__ import annotations

import re
from operator import methodcaller
from typing import Annotated, Final, cast

import msgspec

from jobd.wire import errors, frames
from jobd.wire import messages as m

MAX_ERROR_TEXT: Final = 200  # characters; msgspec repeats a wrong tag of any length in its message
OUTPUT_DATA_MAX: Final = frames.MAX - 256  # the rest of the frame takes 140 bytes with the longest numbers


class _InputView(m.Input, frozen=True, kw_only=True, tag="input"):
    """An Input whose data are not copied."""

    data: Annotated[memoryview, msgspec.Meta(max_length=m.MAX_INPUT_BYTES)] = memoryview(b"")  # type: ignore[assignment]


class _AnyHello(msgspec.Struct, tag="hello", tag_field="type"):
    """What every hello has, of any version; what else is in one is for those who speak it."""

    version: int
    software: str = "a program"


class _AnyRequest(msgspec.Struct):
    """What every request has; nothing else of one is built."""

    type: str
    id: m.Id


_INPUT: Final = msgspec.msgpack.encode({"type": "input"})[1:]  # what an Input from our clients begins with, at byte 1
# How msgspec says that a text or a list is longer than its type allows; test_codec.py shows that it still does.
_TOO_LONG: Final = re.compile(r"Expected `(str|bytes|array)` of length <= (\d+) - at `\$\.([^`]+)`\Z")
_UNITS: Final = {"str": "characters", "bytes": "bytes", "array": "entries"}
_find_sign: Final = methodcaller("find", b"=")
_encoder = msgspec.msgpack.Encoder()
_client_decoder: msgspec.msgpack.Decoder[m.FromClient] = msgspec.msgpack.Decoder(m.FromClient)
_input_decoder = msgspec.msgpack.Decoder(_InputView)
_request_decoder = msgspec.msgpack.Decoder(_AnyRequest)
_hello_decoder = msgspec.msgpack.Decoder(_AnyHello)
_daemon_decoder: msgspec.msgpack.Decoder[m.FromDaemon] = msgspec.msgpack.Decoder(m.FromDaemon)


class ProtocolError(Exception):
    """A message that breaks the protocol.

    Attributes:
        code: one of jobd.wire.errors.CODES.
        message: what and why, safe to show.
        id: the request it concerns; None when the connection cannot go on.
    """

    def __init__(self, code: str, message: str, id: int | None = None) -> None:  # noqa: A002  # the field's name
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


# --- writing ----------------------------------------------------------------------------------------------------
def encode(message: m.FromClient | m.FromDaemon) -> bytes:
    """The frame of `message`.

    Raises:
        ProtocolError: TOO_LARGE over 1 MiB; INVALID for text with surrogates or an integer of more than 64 bits.
    """
    try:
        return frames.pack(_encoder.encode(message))
    except frames.FrameError as e:
        raise ProtocolError(errors.TOO_LARGE, str(e), getattr(message, "id", None)) from e
    except UnicodeEncodeError as e:
        text = f"cannot send {clean(e.object)!r}: not valid text"
        raise ProtocolError(errors.INVALID, clean(text), getattr(message, "id", None)) from e
    except OverflowError as e:
        raise ProtocolError(errors.INVALID, f"cannot send: {e}", getattr(message, "id", None)) from e


def output_prefix(
    id: int,  # noqa: A002  # the field's name
    run: bytes,
    stream: int,
    offset: int,
    wall: int,
    mono: int,
    length: int,
) -> bytes:
    """What comes before `length` bytes of raw data in the frame of an Item with an Output.

    The daemon sends this and then the data by sendfile. `length` is at most OUTPUT_DATA_MAX.
    """
    output = m.Output(run=run, stream=stream, offset=offset, wall=wall, mono=mono, data=b"")
    body = _encoder.encode(m.Item(id=id, body=output))[:-2]  # without the header of the empty data, bin 8
    return frames.header(len(body) + 5 + length) + body + b"\xc6" + length.to_bytes(4, "big")


# --- reading ----------------------------------------------------------------------------------------------------
def decode_client(body: frames.Body) -> m.FromClient:
    """What a client sent. Raises ProtocolError.

    The data of an Input are part of `body` if that is a memoryview.
    """
    try:
        if isinstance(body, memoryview):
            if body[1 : 1 + len(_INPUT)] == _INPUT:
                view = _input_decoder.decode(body)
                data = cast("bytes", view.data)
                return m.Input(id=view.id, request=view.request, offset=view.offset, data=data, eof=view.eof)
            body = bytes(body)
        message = _client_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise _too_long(body, str(e)) or _malformed(e) from e
    if b"\0" in body:  # else no text of it can hold one; most bodies end here
        _refuse_nul(message)
    if type(message) is m.Run:
        _check_run(message, len(body))
    return message


def decode_daemon(body: frames.Body) -> m.FromDaemon:
    """What a daemon sent. Raises ProtocolError."""
    try:
        return _daemon_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise _malformed(e) from e


def other_hello(body: frames.Body) -> m.Hello | None:
    """The hello of another version of the protocol, which may have fields that nobody knew here; None: it is none."""
    try:
        found = _hello_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if found.version == m.PROTOCOL_VERSION:
        return None
    return m.Hello(version=found.version, software=clean(found.software))


def clean(text: str) -> str:
    """`text` for a log line or an answer: what is not printable is escaped, and no more than 200 characters."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:MAX_ERROR_TEXT])
    return shown[:MAX_ERROR_TEXT]


def _malformed(e: Exception) -> ProtocolError:
    return ProtocolError(errors.MALFORMED, clean(f"cannot read the message: {e}"))


def _too_long(body: frames.Body, error: str) -> ProtocolError | None:
    """The fault of a request with too long a value, if that is what the decoder's `error` means.

    It concerns this request alone, as the next one can still be read; only input cannot do without what came before.
    """
    match = _TOO_LONG.match(error)
    if match is None:
        return None
    try:
        request = _request_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if request.type == "input":
        return None
    kind, limit, field = match.groups()
    return ProtocolError(errors.TOO_LARGE, f"cannot take {field}: more than {limit} {_UNITS[kind]}", request.id)


# Every field of a request that holds text or words; the rest are numbers, flags and run ids (any 16 bytes).
TEXT_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    m.Hello: ("software",),
    m.Run: ("argv", "env", "cwd", "name", "settings", "rlimits", "after", "array"),
    m.Rerun: ("job", "run"),
    m.Start: ("names",),
    m.Stop: ("names",),
    m.Restart: ("names",),
    m.Kill: ("names", "whom", "once"),
    m.Freeze: ("names",),
    m.Thaw: ("names",),
    m.ResetFailed: ("names",),
    m.Remove: ("names",),
    m.Get: ("names",),
    m.List: ("patterns", "states", "after", "queue"),
    m.History: ("jobs", "states", "queue"),
    m.Resolve: ("job", "run"),
    m.Logs: ("jobs", "run"),
    m.Wait: ("jobs", "queue"),
    m.Events: ("jobs",),
    m.Cat: ("names",),
    m.AuthCanI: ("action", "job", "user"),
    m.Define: ("name", "text", "base", "dropin"),
    m.Revert: ("names",),
    m.Enable: ("names",),
    m.Mask: ("names",),
    m.Reload: ("names",),
    m.SetProperty: ("name", "settings"),
    m.ListFiles: ("patterns", "states", "after"),
    m.ListDependencies: ("names",),
    m.Why: ("names",),
    m.QueueList: ("patterns",),
    m.QueueShow: ("name", "after"),
    m.QueueAdd: ("name",),
    m.QueueSet: ("name", "state"),
    m.QueueRemove: ("name",),
    m.QueueSwitch: ("first", "second", "once"),
    m.CancelQueued: ("names",),
    m.Hold: ("names",),
    m.Release: ("names",),
    m.ListTimers: ("patterns", "after"),
    m.HistoryStats: ("jobs", "queue", "after"),
    m.DaemonReload: ("names",),
}


def _refuse_nul(message: m.FromClient) -> None:
    for field in TEXT_FIELDS.get(type(message), ()):
        value = getattr(message, field)
        if value and _has_nul(value):
            raise ProtocolError(errors.INVALID, f"cannot take {field}: it holds a NUL", getattr(message, "id", None))


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, bytes):
        return b"\0" in value
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, (list, tuple)):
        return False
    try:
        return b"\0" in b"".join(value)  # of an environment, of which the length alone may be the NUL that was seen
    except TypeError:
        return any(map(_has_nul, value))


def _check_run(run: m.Run, length: int) -> None:
    """What execve(2) would refuse, or take and not mean; `length`: of the whole message."""
    if not run.argv[0]:
        raise ProtocolError(errors.INVALID, "cannot run an empty command", run.id)
    if run.env and min(map(_find_sign, run.env)) < 1:
        entry = next(entry for entry in run.env if _find_sign(entry) < 1)
        text = clean(entry.decode("utf-8", "backslashreplace"))
        raise ProtocolError(errors.INVALID, f"cannot take environment entry {text!r}: not NAME=value", run.id)
    if length <= m.MAX_ARGV_ENV_BYTES:
        return  # each word takes two bytes more in it, and one more for execve
    size = sum(map(len, run.argv)) + len(run.argv) + sum(map(len, run.env)) + len(run.env)
    if size > m.MAX_ARGV_ENV_BYTES:
        text = f"cannot take arguments and environment of {size} bytes: the limit is {m.MAX_ARGV_ENV_BYTES}"
        raise ProtocolError(errors.TOO_LARGE, text, run.id)
