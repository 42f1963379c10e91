"""The bytes of every message, checked in: a change that old clients or daemons would notice shows here.

A deliberate change is written with `python -m tests.wire.test_golden`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from jobd.wire import codec, frames
from jobd.wire import messages as m
from tests.wire.examples import CLIENT, DAEMON

GOLDEN = Path(__file__).with_name("golden.txt")


def current() -> dict[str, str]:
    both = {f"client {name}": message for name, message in CLIENT.items()}
    both |= {f"daemon {name}": message for name, message in DAEMON.items()}  # type: ignore[misc]
    return {name: codec.encode(message).hex() for name, message in both.items()}


def saved() -> dict[str, str]:
    found = {}
    for line in GOLDEN.read_text().splitlines():
        name, _, data = line.partition(": ")
        found[name] = data
    return found


def test_bytes_are_the_saved_ones() -> None:
    assert current() == saved()


@pytest.mark.parametrize("name", CLIENT)
def test_saved_requests_are_read(name: str) -> None:
    body = bytes.fromhex(saved()[f"client {name}"])[frames.HEADER :]
    assert codec.decode_client(body) == CLIENT[name]


@pytest.mark.parametrize("name", DAEMON)
def test_saved_answers_are_read(name: str) -> None:
    body = bytes.fromhex(saved()[f"daemon {name}"])[frames.HEADER :]
    assert codec.decode_daemon(body) == DAEMON[name]


def test_every_message_has_an_example() -> None:
    requests = {type(message) for message in CLIENT.values()}
    answers = {type(message) for message in DAEMON.values()}
    bodies = {type(message.body) for message in DAEMON.values() if isinstance(message, m.Reply | m.Item)}
    assert requests == set(m.FromClient.__args__)
    assert answers == set(m.FromDaemon.__args__)
    assert bodies == set(m.AnyBody.__args__)


def test_examples_set_every_field() -> None:
    examples = [*CLIENT.values(), *DAEMON.values()]
    for kind in {type(message) for message in examples}:
        for field in msgspec.structs.fields(kind):
            if not field.required:
                values = [getattr(message, field.name) for message in examples if type(message) is kind]
                default = None if field.default is msgspec.NODEFAULT else field.default
                assert any(value not in (default, [], {}) for value in values), (kind.__name__, field.name)


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{name}: {data}\n" for name, data in current().items()))
