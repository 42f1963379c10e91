"""whoami: names, errors, rows; and status of a process."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, jobctl, missing, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

ME = os.getpid()


def script(request: m.Request) -> Answer:
    """Process 5 belongs to web, 6 to another's."""
    match request:
        case m.Whoami():
            known = {5: ("web", os.geteuid()), 6: ("db", 61009), 77: ("web", os.geteuid())}
            members = [
                m.Member(pid=pid, job=known[pid][0], owner=known[pid][1], run=RUN_ID, number=3)
                if pid in known else m.Member(pid=pid)
                for pid in request.pids or [77]
            ]  # fmt: skip
            yield m.Reply(id=request.id, body=m.Members(members=members))
        case m.Get():
            found = [view() if name == f"{os.geteuid()}/web" else missing(name) for name in request.names]
            yield m.Reply(id=request.id, body=m.Jobs(jobs=found))
        case m.Logs():
            yield m.End(id=request.id)
        case _:
            raise AssertionError(request)


def test_names_one_a_line(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    done = jobctl(fake.path, "whoami", "5", "6")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"web\n61009/db\n", b"")
    assert jobctl(fake.path, "whoami").stdout == b"web\n"
    (asked,) = [request for request in fake.requests if isinstance(request, m.Whoami) and not request.pids]
    assert asked.pids == []


def test_who_belongs_to_none_is_an_error_and_the_others_are_told(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    done = jobctl(fake.path, "whoami", str(ME), "5", str(2**31 - 1))
    assert (done.returncode, done.stdout) == (1, b"web\n")
    assert done.stderr.decode().splitlines() == [
        f"jobctl: cannot find the job of process {ME}: it belongs to none",
        f"jobctl: cannot find the job of process {2**31 - 1}: there is no such process",
    ]


def test_json(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    done = jobctl(fake.path, "whoami", "5", str(ME), "-o", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == [
        {"pid": 5, "job": "web", "owner": "root", "run": "00010203-0405-0607-0809-0a0b0c0d0e0f", "number": 3},
        {"pid": ME, "job": None, "owner": None, "run": None, "number": None},
    ]


@pytest.mark.parametrize("word", ["x", "0", "-5", str(2**31), "9" * 50, "1.5"])
def test_what_is_no_pid(daemon: Callable[[Script], FakeDaemon], word: str) -> None:
    done = jobctl(daemon(script).path, "whoami", "--", word)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"the id of a process is a number" in done.stderr


def test_status_of_a_process_asks_for_its_job_alone(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    done = jobctl(fake.path, "status", "5")
    assert done.returncode == 0
    assert "web" in done.stdout.decode()
    assert [request.names for request in fake.requests if isinstance(request, m.Get)] == [
        ["5"],
        [f"{os.geteuid()}/web"],
    ]
    for number in ("4", "9" * 30):
        done = jobctl(fake.path, "status", number)
        assert done.returncode == 4
        assert f"cannot find the job of process {number}: it belongs to none" in done.stderr.decode()
