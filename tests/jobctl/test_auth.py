"""auth whoami, and what is said of auth alone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

ME = m.Identity(uid=0, gid=0, groups=[0, 61009], pid=4711, owner=61001, rules=["read", "control"])


def test_text(daemon: Callable[[Script], FakeDaemon]) -> None:
    done = jobctl(daemon(table(auth_whoami=lambda _: ME)).path, "auth", "whoami")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "       User: root (0)",
        "      Group: root (0)",
        "     Groups: root (0), 61009",
        "        PID: 4711",
        "    Jobs of: 61001",
        "        May: read, control",
    ]
    nobody = m.Identity(uid=61001, gid=61002, groups=[], pid=4711, owner=61001)
    text = jobctl(daemon(table(auth_whoami=lambda _: nobody)).path, "auth", "whoami").stdout.decode()
    assert "Groups: none\n" in text
    assert "May: nothing\n" in text


def test_json(daemon: Callable[[Script], FakeDaemon]) -> None:
    done = jobctl(daemon(table(auth_whoami=lambda _: ME)).path, "auth", "whoami", "-o", "json")
    assert json.loads(done.stdout) == {
        "user": "root", "uid": 0, "group": "root", "gid": 0, "groups": ["root", "61009"], "gids": [0, 61009],
        "pid": 4711, "owner": "61001", "rules": ["read", "control"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "auth needs a verb of its own: whoami"),
        (("whoam",), "unknown verb of auth 'whoam'; did you mean 'whoami'?"),
        (("rules",), "unknown verb of auth 'rules'; it is one of whoami"),
        (("whoami", "web"), "auth whoami takes no operand: 'web'"),
        (("whoami", "-o", "text"), "unknown output format 'text'"),
    ],
)
def test_mistakes(daemon: Callable[[Script], FakeDaemon], words: tuple[str, ...], said: str) -> None:
    fake = daemon(table())
    done = jobctl(fake.path, "auth", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert fake.requests == []


def test_help_says_what_there_is() -> None:
    done = jobctl("/nonexistent", "auth", "--help", env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0
    assert b"whoami" in done.stdout
