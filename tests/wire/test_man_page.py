"""man/jobd-protocol.7 and the messages say the same: tags, fields, types, bounds, error codes, and the bytes shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from jobd.wire import codec, errors, frames
from jobd.wire import messages as m
from tests.wire.describe import VIEWS, fields_of, tag_of

PAGE = Path(__file__).resolve().parents[2] / "man" / "jobd-protocol.7"


def section(title: str) -> str:
    found = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def documented(title: str) -> dict[str, dict[str, str]]:
    """Subsection -> field -> type, in order."""
    parts = re.split(r"^\.Ss (.*)\n", section(title), flags=re.MULTILINE)
    return {
        name: dict(re.findall(r"^\.It Va (\w+) Pq (.*)$", text, re.MULTILINE))
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_requests() -> None:
    assert documented("REQUESTS") == {tag_of(kind): fields_of(kind) for kind in get_args(m.FromClient)}


def test_answers() -> None:
    kinds = [kind for kind in get_args(m.FromDaemon) if kind is not m.Hello]
    assert documented("ANSWERS") == {tag_of(kind): fields_of(kind) for kind in kinds}


def test_bodies() -> None:
    assert documented("BODIES") == {tag_of(kind): fields_of(kind) for kind in get_args(m.AnyBody)}


def test_views() -> None:
    assert documented("VIEWS") == {name: fields_of(kind) for name, kind in VIEWS.items()}


def test_error_codes() -> None:
    assert re.findall(r"^\.It Er (.*)$", section("ERROR CODES"), re.MULTILINE) == list(errors.CODES)


def test_every_field_has_words() -> None:
    for line, after in re.findall(r"^(\.It (?:Va|Er) .*)\n(.*)$", PAGE.read_text(), re.MULTILINE):
        assert after
        assert not after.startswith((".It", ".El")), line


def test_bounds_in_the_text_are_the_code_s() -> None:
    text = PAGE.read_text()
    assert f"at most {frames.MAX} bytes" in text
    assert f"at most {m.MAX_ARGV_ENV_BYTES} bytes" in text


def test_example_session_is_one() -> None:
    """Each frame of the example is read by the side that gets it, and written back byte for byte."""
    shown: list[tuple[str, bytes]] = []
    for line in re.findall(r"^(?:[CD]:|  ) (?:[0-9a-f]{2} ?){1,16}", section("EXAMPLES"), re.MULTILINE):
        data = bytes.fromhex(line[3:])
        if line[0] == " ":
            shown[-1] = (shown[-1][0], shown[-1][1] + data)
        else:
            shown.append((line[0], data))
    kinds = []
    for side, frame in shown:
        body = frame[frames.HEADER :]
        message: m.FromClient | m.FromDaemon = codec.decode_client(body) if side == "C" else codec.decode_daemon(body)
        assert codec.encode(message) == frame
        kinds.append((side, type(message)))
    assert kinds == [
        ("C", m.Hello),
        ("D", m.Hello),
        ("C", m.Run),
        ("D", m.Reply),
        ("C", m.Logs),
        ("D", m.Item),
        ("D", m.Item),
        ("D", m.End),
    ]
