"""Definitions of users on a whole machine's jobd: in its database, each his own, and run as him."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.system.callers import SAME_ID, CallerAs
from tests.system.people import ALICE, BOB, ROOT, People, many_users, why_not
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")

RULES = """
[limits]
environment_size = "64K"

[[allow]]
users = ["61102"]
actions = ["@all"]
owners = ["61101"]
jobs = ["shared"]
"""
TEXT = 'command = ["sh", "-c", "id -u; pwd; exec sleep 300"]\n'


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users(RULES, ["--daemon-user", "games"]) as made:
        yield made


def define(people: People, uid: int, name: str, text: str = TEXT, **fields: object) -> m.FromDaemon:
    caller = CallerAs(people.socket, uid)
    with caller.sock:
        asked = m.Define(id=SAME_ID, name=name, text=text, base=bytes(people.place), **fields)  # type: ignore[arg-type]  # a test's own
        return caller.ask(asked)[-1]


def code(answer: m.FromDaemon) -> str:
    """The code of a fault; "" of an answer."""
    return answer.code if isinstance(answer, m.Fault) else ""


def change(answer: m.FromDaemon) -> str:
    assert isinstance(answer, m.Reply), answer
    assert isinstance(answer.body, m.Plan), answer
    return answer.body.changes[0].change


def test_a_definition_is_its_owners(people: People) -> None:
    assert change(define(people, ALICE, "web", dry=True)) == "added"
    assert people.ask(ALICE, "status", "web").returncode == 4
    assert change(define(people, ALICE, "web")) == "added"
    assert change(define(people, ALICE, "web")) == "unchanged"  # sent again, it is done
    assert code(define(people, ALICE, "web", TEXT + 'description = "x"')) == errors.EXISTS
    assert change(define(people, ALICE, "web", TEXT + 'description = "x"', replace=True)) == "changed"
    people.ask(ALICE, "start", "web", check=True)
    output = until(lambda: people.said(ALICE, "logs", "web", "-o", "cat"), "it says who it is").split()
    assert output[0] == str(ALICE)
    assert people.ask(BOB, "status", f"{ALICE}/web").returncode == 4
    assert people.ask(BOB, "start", f"{ALICE}/web").returncode == 5
    assert people.said(ALICE, "cat", "web").startswith("# stored: web\n")
    assert people.said(ALICE, "list-job-files", "-o", "name").split() == ["web"]
    assert people.said(BOB, "list-job-files", "-o", "name").split() == []
    assert change(define(people, BOB, "web")) == "added"  # another job
    people.ask(ALICE, "stop", "web", check=True)
    people.ask(ALICE, "rm", "web", check=True)
    assert people.ask(BOB, "status", "web").returncode == 3


def test_what_others_may_do_with_it(people: People) -> None:
    assert change(define(people, ALICE, "shared")) == "added"
    people.ask(BOB, "enable", f"{ALICE}/shared", check=True)
    people.ask(BOB, "disable", f"{ALICE}/shared", check=True)
    assert code(define(people, BOB, f"{ALICE}/shared", replace=True)) == errors.DENIED
    assert code(define(people, BOB, f"{ALICE}/other")) == errors.NOT_FOUND
    assert change(define(people, ROOT, f"{ALICE}/shared", TEXT + 'description = "x"', replace=True)) == "changed"
    assert people.said(ALICE, "show", "-P", "Description", "shared") == "x\n"
    assert code(define(people, ROOT, "web")) == errors.NOT_APPLICABLE  # root's are files


def test_nobody_edits_anothers_definition_unawares_or_for_nothing(people: People) -> None:
    define(people, ALICE, "shared", replace=True)
    forbidden = {"EDITOR": "false"}  # which would be told
    done = people.ask(ROOT, "edit", "shared", env=forbidden)
    assert (done.returncode, done.stderr) == (
        5, f"jobctl: cannot find job 'shared'; did you mean '{ALICE}/shared'?\n"
    )  # fmt: skip
    done = people.ask(BOB, "edit", f"{ALICE}/shared", env=forbidden)
    assert (done.returncode, done.stderr) == (
        4, f"jobctl: cannot edit {ALICE}/shared: what it is, its owner and administrators say\n"
    )  # fmt: skip
    assert "has failed; nothing is changed" in people.ask(ROOT, "edit", f"{ALICE}/shared", env=forbidden).stderr
    assert people.said(BOB, "list-dependencies", f"{ALICE}/shared") == f"{ALICE}/shared\n"
    done = people.ask(BOB, "set-property", f"{ALICE}/shared", "description=x")
    why = f"what it is, its owner and administrators say, and not uid {BOB}"
    assert (done.returncode, done.stderr) == (4, f"jobctl: cannot do this with {ALICE}/shared: {why}\n")


def test_what_one_may_not_see_is_answered_as_what_is_not_there(people: People) -> None:
    define(people, ALICE, "seen")
    caller = CallerAs(people.socket, BOB)
    for make in (
        lambda name: m.Define(id=SAME_ID, name=f"{ALICE}/{name}", text=TEXT, base=b"/"),
        lambda name: m.Mask(id=SAME_ID, names=[f"{ALICE}/{name}"]),
        lambda name: m.Mask(id=SAME_ID, names=[f"{ALICE}/{name}"], masked=False),
    ):
        answers = [b"\n".join(caller.frames(make(name))).replace(name.encode(), b"NAME") for name in ("seen", "sxxn")]
        assert answers[0] == answers[1]
    caller.close()
    assert people.ask(BOB, "mask", f"{ALICE}/shared").returncode == 0  # by a rule
    assert people.ask(ALICE, "start", "shared").returncode == 1
    assert people.ask(ALICE, "unmask", "shared").returncode == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("command = 7\nbad = 1\n", "web.toml:2:1: "),
        (TEXT + 'user = "root"\n', "user"),
        (TEXT + "essential = true\n", "essential"),
        (TEXT + "[limits]\nnice = -5\n", "limits.nice"),
    ],
)
def test_what_cannot_be_taken_changes_nothing(people: People, text: str, why: str) -> None:
    define(people, ALICE, "strict", TEXT + 'description = "good"', replace=True)
    answer = define(people, ALICE, "strict", text, replace=True)
    assert isinstance(answer, m.Fault)
    assert answer.code == errors.BAD_SETTING
    assert why.replace("web", "strict") in answer.message
    assert people.said(ALICE, "show", "-P", "Description", "strict") == "good\n"


def test_dropins_and_revert(people: People) -> None:
    define(people, ALICE, "drop")
    assert code(define(people, ALICE, "nothing", 'description = "x"', dropin="a.toml")) == errors.NOT_FOUND
    assert code(define(people, ALICE, "drop", 'description = "x"', dropin="../a.toml")) == errors.INVALID
    assert change(define(people, ALICE, "drop", 'description = "x"', dropin="a.toml")) == "changed"
    assert people.said(ALICE, "show", "-P", "Description", "drop") == "x\n"
    people.ask(ALICE, "revert", "drop", check=True)
    assert people.said(ALICE, "show", "-P", "DropInPaths", "drop").strip() == ""


def test_texts_count_among_what_one_may_store(people: People) -> None:
    answer = define(people, ALICE, "large", TEXT + "#" * 70_000)
    assert isinstance(answer, m.Fault)
    assert answer.code == errors.LIMIT
    assert people.ask(ALICE, "status", "large").returncode == 4


def test_roots_files_and_enabled_jobs_of_all_owners(people: People) -> None:
    jobs = people.config_dir / "jobs"
    jobs.mkdir()
    (jobs / "sys.toml").write_text('command = ["sh", "-c", "id -u; exec sleep 300"]\nuser = "daemon"\n')
    (jobs / "stolen.toml").write_text(TEXT)
    os.chown(jobs / "stolen.toml", BOB, BOB)
    assert people.ask(ALICE, "daemon-reload").returncode == 4
    done = people.ask(ROOT, "daemon-reload", "-o", "json")
    plan = {row["job"]: row for row in json.loads(done.stdout)}
    assert plan["sys"]["change"] == "added"
    assert f"it belongs to uid {BOB}, not to root" in str(plan["stolen"])
    define(people, ALICE, "mine")
    people.ask(ROOT, "enable", "sys", check=True)
    people.ask(ALICE, "enable", "mine", check=True)
    people.keeper.send_signal(signal.SIGTERM)
    people.keeper.wait()
    people.start()
    until(lambda: people.ask(ALICE, "is-active", "mine").returncode == 0, "alice's job runs")
    until(lambda: people.ask(ROOT, "is-active", "sys").returncode == 0, "root's job runs")
    assert people.said(ROOT, "logs", "sys", "-o", "cat").split()[0] == "1"  # as user `daemon`
    assert people.said(ALICE, "logs", "mine", "-o", "cat").split()[0] == str(ALICE)
    people.replace_daemon()
    assert people.ask(ALICE, "is-active", "mine").returncode == 0
