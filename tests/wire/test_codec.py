from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.wire import codec, errors, frames
from jobd.wire import messages as m
from jobd.wire.codec import ProtocolError, decode_client, decode_daemon, encode, output_prefix
from tests.wire.example_views import RUN
from tests.wire.examples import CLIENT, DAEMON

if TYPE_CHECKING:
    from collections.abc import Callable


def body_of(message: m.FromClient | m.FromDaemon) -> bytes:
    return encode(message)[frames.HEADER :]


def a_run(**changes: object) -> m.Run:
    plain: dict[str, object] = {"id": 5, "run": RUN, "argv": [b"true"], "env": [], "cwd": b"/"}
    return m.Run(**{**plain, **changes})  # type: ignore[arg-type]  # each test gives what it means


def refused(message: m.FromClient) -> ProtocolError:
    with pytest.raises(ProtocolError) as info:
        decode_client(body_of(message))
    return info.value


# --- both ends joined ---
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 16])
def test_both_ends_joined_in_pieces_of(size: int) -> None:
    for examples, decode in ((CLIENT, decode_client), (DAEMON, decode_daemon)):
        stream = b"".join(encode(message) for message in examples.values())
        buffer = frames.FrameBuffer()
        found = []
        for start in range(0, len(stream), size):
            buffer.feed(stream[start : start + size])
            while (body := buffer.next()) is not None:
                found.append(decode(body))
        assert found == list(examples.values())


def test_each_side_refuses_what_the_other_says() -> None:
    with pytest.raises(ProtocolError, match="Invalid value 'end'"):
        decode_client(body_of(m.End(id=1)))
    with pytest.raises(ProtocolError, match="Invalid value 'shutdown'"):
        decode_daemon(body_of(m.Shutdown(id=1)))


# --- hostile bytes ---
def read_or_refuse(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except ProtocolError as error:
        sane = error.code in errors.CODES and len(error.message) <= 200 and error.message.isprintable()
        assert sane, error.message  # noqa: PT017  # most bytes raise, some do not


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_parse_or_raise_protocol_error(data: bytes) -> None:
    read_or_refuse(decode_client, data)
    read_or_refuse(decode_daemon, data)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.sampled_from([*CLIENT.values(), *DAEMON.values()]), st.data())
def test_damaged_messages_parse_or_raise_protocol_error(
    message: m.FromClient | m.FromDaemon, data: st.DataObject
) -> None:
    body = bytearray(body_of(message))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for hostile in (bytes(body), bytes(body[:cut]), bytes(body) + b"\xc0"):
        read_or_refuse(decode_client, hostile)
        read_or_refuse(decode_daemon, hostile)


def packed(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        packed([]),
        packed({}),
        packed({"type": "nonsense"}),
        packed({"type": "get", "id": 1, "names": ["x"], "more": 1}),  # an unknown field
        packed({"type": "get", "id": 1}),  # one missing
        packed({"type": "get", "id": -1, "names": ["x"]}),
        packed({"type": "get", "id": 2**53 + 1, "names": ["x"]}),
        packed({"type": "get", "id": "1", "names": ["x"]}),
        packed({"type": "get", "id": 1, "names": []}),
        packed({"type": "wait", "id": 1, "runs": [b"x" * 15]}),
        packed({"type": "kill", "id": 1, "names": ["x"], "signal": 65}),
        packed({"type": "get", "id": -1, "names": ["x" * 97]}),
        packed({"type": "hello", "version": m.PROTOCOL_VERSION, "software": "x" * 5000}),
        packed({"type": "input", "id": 1, "request": 1, "offset": 0, "data": b"x" * (m.MAX_INPUT_BYTES + 1)}),
        packed({"type": "cancel", "id": 1, "request": 1}) + b"\0",  # trailing bytes
        packed({"type": "shutdown", "id": 1})[:-1],
        b"\x82\xa4type\xa8shutdown\xa2id\xa1\xff",  # not UTF-8
        b"\x81\xa4type" + b"\x91" * 1_000_000,  # deep
        b"\xdd\xff\xff\xff\xff",  # 4 Gi elements announced
        b"\x81\xa4type\xdb\xff\xff\xff\xff",
    ],
)
def test_malformed_requests_end_the_connection(data: bytes) -> None:
    with pytest.raises(ProtocolError) as info:
        decode_client(data)
    assert info.value.code == errors.MALFORMED
    assert info.value.id is None
    assert info.value.message.startswith("cannot read the message: ")


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"type": "get", "names": ["x", "x" * 97]}, "names[1]: more than 96 characters"),
        ({"type": "get", "names": ["x"] * 4097}, "names: more than 4096 entries"),
        ({"type": "list", "patterns": ["*"] * 4097}, "patterns: more than 4096 entries"),
        ({"type": "run", "run": RUN, "argv": [b"x" * 131_072]}, "argv[0]: more than 131071 bytes"),
    ],
)
def test_a_value_that_is_too_long_concerns_its_request_alone(request_: dict[str, object], text: str) -> None:
    with pytest.raises(ProtocolError) as info:
        decode_client(packed({**request_, "id": 7}))
    assert (info.value.code, info.value.id) == (errors.TOO_LARGE, 7)
    assert info.value.message == f"cannot take {text}"


def test_error_text_is_short_and_printable() -> None:
    with pytest.raises(ProtocolError) as info:
        decode_client(packed({"type": "\x1b]0;evil\x07\u202e\n" + "x" * 60_000}))
    assert len(info.value.message) <= 200
    assert info.value.message.isprintable()
    assert "\\x1b]0;evil\\x07\\u202e" in info.value.message


# --- rules beyond types ---
def test_bytes_of_argv_env_and_paths_are_exact() -> None:
    odd = bytes(range(1, 256))
    run = a_run(argv=[odd, b"", odd], env=[b"BASH_FUNC_x%%=" + odd, b"A==", b"\xff=" + odd], cwd=b"/" + odd)
    assert decode_client(body_of(run)) == run


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("software", m.Hello(version=1, software="a\0b")),
        ("argv", a_run(argv=[b"echo", b"a\0b"])),
        ("env", a_run(env=[b"A=a\0b"])),
        ("cwd", a_run(cwd=b"/\0")),
        ("name", a_run(name="a\0b")),
        ("settings", a_run(settings={"a": "\0"})),
        ("settings", a_run(settings={"\0": "a"})),
        ("rlimits", a_run(rlimits={"\0": (1, 1)})),
        ("names", m.Stop(id=5, names=["web", "w\0b"])),
        ("whom", m.Kill(id=5, names=["web"], whom="\0")),
        ("patterns", m.List(id=5, patterns=["\0"])),
        ("jobs", m.Logs(id=5, jobs=["\0"])),
        ("run", m.Logs(id=5, jobs=["web"], run="\0")),
    ],
)
def test_nul_is_refused(field: str, message: m.FromClient) -> None:
    error = refused(message)
    assert (error.code, error.message) == (errors.INVALID, f"cannot take {field}: it holds a NUL")
    assert error.id == getattr(message, "id", None)


def test_zero_bytes_elsewhere_are_no_nul() -> None:
    for message in (
        m.Wait(id=0, runs=[bytes(16)]),
        m.Logs(id=256, jobs=["web"], out_from=0x1000000),
        a_run(run=bytes(16), argv=[b"x" * 256]),
    ):
        assert decode_client(body_of(message)) == message


def holds_text(hint: object) -> bool:
    """Whether a field's type has text or words in it; run ids are any 16 bytes, and so is what a run is fed."""
    return hint not in (m.RunId, m.Data) and (hint in (str, bytes) or any(holds_text(part) for part in get_args(hint)))


def test_every_text_of_a_request_is_looked_into() -> None:
    for kind in get_args(m.FromClient):
        fields = {name for name, hint in get_type_hints(kind, include_extras=True).items() if holds_text(hint)}
        assert fields == set(codec.TEXT_FIELDS.get(kind, ())), kind


def test_empty_command_is_refused() -> None:
    error = refused(a_run(argv=[b"", b"x"]))
    assert (error.code, error.message, error.id) == (errors.INVALID, "cannot run an empty command", 5)


@pytest.mark.parametrize("entry", [b"", b"=", b"=x", b"NAME", b"\xff"])
def test_environment_entries_need_name_and_value(entry: bytes) -> None:
    error = refused(a_run(env=[b"A=1", entry]))
    assert (error.code, error.id) == (errors.INVALID, 5)
    assert error.message.startswith("cannot take environment entry ")


def test_768_kib_of_argv_and_env_are_taken_and_a_byte_more_is_not() -> None:
    filler = [b"A=" + b"x" * (m.MAX_ARG_BYTES - 2)] * 5  # each 128 KiB with its NUL
    last = (128 << 10) - len(b"true") - 1 - 1
    exact = a_run(env=[*filler, b"B=" + b"y" * (last - 2)])
    assert decode_client(body_of(exact)) == exact
    error = refused(a_run(env=[*filler, b"B=" + b"y" * (last - 1)]))
    assert (error.code, error.id) == (errors.TOO_LARGE, 5)
    assert "of 786433 bytes: the limit is 786432" in error.message


def test_argument_of_128_kib_is_refused() -> None:
    assert refused(a_run(argv=[b"x" * (128 << 10)])).code == errors.TOO_LARGE
    assert decode_client(body_of(a_run(argv=[b"x" * m.MAX_ARG_BYTES])))


def test_what_cannot_be_sent_is_refused_before() -> None:
    with pytest.raises(ProtocolError, match="not valid text") as info:
        encode(m.Get(id=3, names=["a\udcff"]))
    assert (info.value.code, info.value.id) == (errors.INVALID, 3)
    with pytest.raises(ProtocolError) as info:
        encode(m.Reply(id=3, body=m.Ok(text="x" * frames.MAX)))
    assert (info.value.code, info.value.id) == (errors.TOO_LARGE, 3)
    with pytest.raises(ProtocolError) as info:
        encode(m.Cancel(id=2**64, request=1))
    assert info.value.code == errors.INVALID


# --- output by sendfile ---
@pytest.mark.parametrize("length", [65_536, 100_000, codec.OUTPUT_DATA_MAX])
def test_output_prefix_and_data_are_the_whole_frame(length: int) -> None:
    data = b"x" * length
    output = m.Output(run=RUN, stream=2, offset=2**40, wall=1 << 60, mono=7, data=data)
    assert output_prefix(2**53, RUN, 2, 2**40, 1 << 60, 7, length) + data == encode(m.Item(id=2**53, body=output))


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65_535])
def test_output_of_any_length_is_read_as_the_whole_would(length: int) -> None:
    data = b"x" * length
    buffer = frames.FrameBuffer()
    buffer.feed(output_prefix(1, RUN, 1, 0, 5, 6, length) + data)
    body = buffer.next()
    assert body is not None
    output = m.Output(run=RUN, stream=1, offset=0, wall=5, mono=6, data=data)
    assert decode_daemon(body) == m.Item(id=1, body=output)
    assert buffer.pending == 0


def test_longest_output_fits_a_frame() -> None:
    big = 2**64 - 1
    assert len(output_prefix(big, RUN, 2, big, -(2**63), big, codec.OUTPUT_DATA_MAX)) <= 256


def test_of_a_view_the_data_of_an_input_are_not_copied() -> None:
    request = m.Input(id=1, request=2, offset=3, data=b"x" * 100_000, eof=True)
    frame = bytearray(encode(request))
    message = decode_client(memoryview(frame)[frames.HEADER :])
    assert isinstance(message, m.Input)
    assert message == request
    frame[-20] = ord("y")
    assert b"y" in bytes(message.data)


def test_a_view_is_held_to_the_same_rules() -> None:
    for bad in (
        {"type": "input", "id": 1, "request": 2, "offset": 3, "data": b"x" * (m.MAX_INPUT_BYTES + 1)},
        {"type": "input", "id": 1, "request": 2, "offset": -1, "data": b"x"},
        {"type": "input", "id": 1, "request": 2, "offset": 3, "data": b"x", "more": 1},
        {"type": "start", "id": 1, "names": ["a\0b"]},
    ):
        with pytest.raises(ProtocolError):
            decode_client(memoryview(packed(bad)))
    wait = m.Wait(id=1, runs=[RUN])
    assert decode_client(memoryview(encode(wait))[frames.HEADER :]) == wait
    assert decode_client(memoryview(packed({"type": "input", "id": 1, "request": 2, "offset": 3}))) == m.Input(
        id=1, request=2, offset=3
    )
