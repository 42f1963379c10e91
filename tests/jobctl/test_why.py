"""why: sentences, JSON, and what is not there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, jobctl, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
ME = os.geteuid()
WEB = [
    m.Reason(job="web", owner=ME, kind="dependency", text="web was not started: db has failed", other="db"),
    m.Reason(job="db", owner=ME, kind="exited", text="db failed: …", at=10**18, run=RUN_ID, number=4, by_uid=61999),
]
API = [m.Reason(job="api", owner=ME, kind="running", text="api runs")]


def answer(request: m.Request) -> m.AnyBody | m.Fault:
    assert isinstance(request, m.Why)
    found = {"web": WEB, "api": API}.get(request.names[0])
    if found is None:
        return m.Fault(code=errors.NOT_FOUND, message=f"cannot find job {request.names[0]!r}; did you mean 'web'?")
    return m.Reasons(reasons=found)


def test_sentences(daemon: Make) -> None:
    path = daemon(table(why=answer)).path
    done = jobctl(path, "why", "web", "api")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "web was not started: db has failed\ndb failed: …\n\napi runs\n"


def test_what_is_not_there_is_4_and_the_others_are_told(daemon: Make) -> None:
    done = jobctl(daemon(table(why=answer)).path, "why", "wbe", "api")
    said = b"jobctl: cannot find job 'wbe'; did you mean 'web'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (4, b"api runs\n", said)


def test_json(daemon: Make) -> None:
    first, second = json.loads(jobctl(daemon(table(why=answer)).path, "why", "web", "-o", "json").stdout)
    assert (first["job"], first["kind"], first["other"], first["time"], first["run"]) == (
        "web", "dependency", "db", None, None,
    )  # fmt: skip
    assert (second["number"], second["by"], second["by_uid"]) == (4, "61999", 61999)
    assert second["time"].startswith("2001-09-09T")
