"""auth: whoami, can-i and rules, and what is said of mistakes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
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
        "      Admin: no",
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
        "admin": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "auth needs a verb of its own: whoami, can-i, rules"),
        (("whoam",), "unknown verb of auth 'whoam'; did you mean 'whoami'?"),
        (("keys",), "unknown verb of auth 'keys'; it is one of whoami, can-i, rules"),
        (("whoami", "--as", "bob"), "auth whoami takes neither --as nor -q"),
        (("rules", "-q"), "auth rules takes neither --as nor -q"),
        (("can-i",), "auth can-i needs a verb and maybe a job"),
        (("can-i", "stop", "web", "db"), "auth can-i needs a verb and maybe a job"),
        (("can-i", "stop", "--as", ""), "--as needs the name of a user"),
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


# --- can-i ------------------------------------------------------------------------------------------------------------
def decision(rule: str, **fields: object) -> m.Decision:
    usual: dict[str, object] = {"action": "stop", "uid": 61001, "visible": True, "job": "web", "owner": 61002}
    return m.Decision(rule=rule, **{"allowed": bool(rule), **usual, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "said", "status"),
    [
        (decision("owner"), "yes: owner", 0),
        (decision("/etc/jobd/jobd.toml:7"), "yes: /etc/jobd/jobd.toml:7", 0),
        (decision(""), "no: no rule allows it", 4),
        (decision("nologin", allowed=False), "no: nologin", 4),
    ],
)
def test_can_i_says_yes_or_no_and_why(
    daemon: Callable[[Script], FakeDaemon], answer: m.Decision, said: str, status: int
) -> None:
    fake = daemon(table(auth_can_i=lambda _: answer))
    done = jobctl(fake.path, "auth", "can-i", "stop", "61002/web")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (status, f"{said}\n", b"")
    quiet = jobctl(fake.path, "auth", "can-i", "stop", "61002/web", "-q", "--as", "bob")
    assert (quiet.returncode, quiet.stdout) == (status, b"")
    first, second = fake.requests
    assert (first.action, first.job, first.user) == ("stop", "61002/web", "")  # type: ignore[union-attr]
    assert second.user == "bob"  # type: ignore[union-attr]


def test_can_i_without_a_job_is_about_the_daemon(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(table(auth_can_i=lambda _: decision("root", action="shutdown", uid=0, job="", owner=None)))
    done = jobctl(fake.path, "auth", "can-i", "shutdown", "-o", "json")
    assert fake.requests == [m.AuthCanI(id=1, action="shutdown")]
    assert json.loads(done.stdout) == {
        "allowed": True, "rule": "root", "visible": True, "action": "shutdown", "job": None, "owner": None,
        "user": "root", "uid": 0,
    }  # fmt: skip


def test_who_may_not_ask_for_others_is_told_so(daemon: Callable[[Script], FakeDaemon]) -> None:
    refusal = m.Fault(code=errors.DENIED, message="cannot ask for others: only administrators may")
    done = jobctl(daemon(table(auth_can_i=lambda _: refusal)).path, "auth", "can-i", "stop", "--as", "bob")
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr == b"jobctl: cannot ask for others: only administrators may\n"


# --- rules ------------------------------------------------------------------------------------------------------------
RULES = m.Rules(
    rules=[
        m.RuleView(line=3, users=["bob", "eve"], actions=["@read"], owners=["alice"], jobs=["web*"]),
        m.RuleView(line=12, groups=["dev"], actions=["@control"], owners=["*"], jobs=["*"]),
    ],
    file="/etc/jobd/jobd.toml",
)


def test_rules_are_a_table_of_what_is_written(daemon: Callable[[Script], FakeDaemon]) -> None:
    done = jobctl(daemon(table(auth_rules=lambda _: RULES)).path, "auth", "rules")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "LINE USERS   GROUPS ACTIONS  OWNERS JOBS",
        "3    bob,eve -      @read    alice  web*",
        "12   -       dev    @control *      *",
        "",
        "2 rules in /etc/jobd/jobd.toml.",
    ]
    none = jobctl(daemon(table(auth_rules=lambda _: m.Rules(rules=[]))).path, "auth", "rules")
    assert none.stdout == b"0 rules.\n"


def test_rules_of_a_broken_file_are_those_of_before(daemon: Callable[[Script], FakeDaemon]) -> None:
    before = m.Rules(rules=RULES.rules, file="/f", error="/f:9: unknown key 'user'")
    done = jobctl(daemon(table(auth_rules=lambda _: before)).path, "auth", "rules")
    assert done.stdout.endswith(b"2 rules in /f.\n")
    assert done.stderr == b"jobctl: the rules of before are in force: /f:9: unknown key 'user'\n"


def test_where_nothing_was_before_there_are_none(daemon: Callable[[Script], FakeDaemon]) -> None:
    broken = m.Rules(rules=[], file="/f", error="/f:9: unknown key 'user'")
    fake = daemon(table(auth_rules=lambda _: broken))
    done = jobctl(fake.path, "auth", "rules")
    assert (done.returncode, done.stdout) == (0, b"0 rules in /f.\n")
    assert done.stderr == b"jobctl: no rules are in force: /f:9: unknown key 'user'\n"
    row = json.loads(jobctl(fake.path, "auth", "rules", "-o", "json").stdout)
    assert row == {"file": "/f", "rules": [], "error": "/f:9: unknown key 'user'"}


def test_rules_as_json(daemon: Callable[[Script], FakeDaemon]) -> None:
    row = json.loads(jobctl(daemon(table(auth_rules=lambda _: RULES)).path, "auth", "rules", "-o", "json").stdout)
    assert row["rules"][1] == {
        "line": 12, "users": [], "groups": ["dev"], "actions": ["@control"], "owners": ["*"], "jobs": ["*"],
    }  # fmt: skip
