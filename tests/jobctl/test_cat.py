"""cat: definitions, exact into a pipe and safe on a terminal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, missing, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

TEXT = '# transient: {}\ncommand = ["true"]\n'


def script(request: m.Request) -> Answer:
    """Two jobs, web and db."""
    match request:
        case m.Get(names=[pattern]):
            fitting = [view(job) for job in ("db", "web") if pattern == "*" or pattern[0] == job[0]]
            yield m.Reply(id=request.id, body=m.Jobs(jobs=fitting or [missing(pattern)]))
        case m.Cat(names=[("web" | "db") as job]):
            found = m.Definition(job=job, owner=os.geteuid(), text=TEXT.format(job))
            yield m.Reply(id=request.id, body=m.Definitions(definitions=[found]))
        case m.Cat(names=[job]):
            found = m.Definition(job=job, owner=os.geteuid(), load="not-found")
            yield m.Reply(id=request.id, body=m.Definitions(definitions=[found]))
        case m.Resolve():
            text = f"cannot find job {request.job!r}"
            yield m.Fault(id=request.id, code="not-found", message=text, details={"meant": "web"})
        case _:
            raise AssertionError(request)


def test_definitions_stand_with_an_empty_line_between(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    done = jobctl(fake.path, "cat", "web")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, TEXT.format("web"), b"")
    done = jobctl(fake.path, "cat", "*")
    assert done.stdout.decode() == f"{TEXT.format('db')}\n{TEXT.format('web')}"


def test_an_unknown_job_is_4_with_what_was_meant_and_the_others_are_shown(
    daemon: Callable[[Script], FakeDaemon],
) -> None:
    fake = daemon(script)
    done = jobctl(fake.path, "cat", "wbe", "db")
    assert (done.returncode, done.stdout.decode()) == (4, TEXT.format("db"))
    assert done.stderr == b"jobctl: cannot find job 'wbe'; did you mean 'web'?\n"
    assert jobctl(fake.path, "cat", "x*").returncode == 0


def test_json(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    rows = json.loads(jobctl(fake.path, "cat", "*", "-o", "json").stdout)
    assert [row["job"] for row in rows] == ["db", "web"]
    assert rows[1] == {"job": "web", "owner": "root", "transient": True, "definition": TEXT.format("web"), "files": []}


def test_files_stand_below_their_paths(daemon: Callable[[Script], FakeDaemon]) -> None:
    files = [m.SourceFile(path="/f/web.toml", text="a = 1"), m.SourceFile(path="/f/web.toml.d/o.toml", text="b = 2\n")]
    stored = [m.SourceFile(path="web.toml", text="c = 3\n"), m.SourceFile(path="web.toml.d/o.toml", text="d = 4\n")]

    def cat(request: m.Request) -> Answer:
        assert isinstance(request, m.Cat)
        owner, found = (os.geteuid(), files) if request.names == ["web"] else (61999, stored)
        definition = m.Definition(job="web", owner=owner, transient=False, files=found)
        yield m.Reply(id=request.id, body=m.Definitions(definitions=[definition]))

    path = daemon(cat).path
    wanted = "# /f/web.toml\na = 1\n\n# /f/web.toml.d/o.toml\nb = 2\n"
    assert jobctl(path, "cat", "web").stdout.decode() == wanted
    wanted = "# stored: 61999/web\nc = 3\n\n# stored: 61999/web, o.toml\nd = 4\n"
    assert jobctl(path, "cat", "61999/web").stdout.decode() == wanted
    (row,) = json.loads(jobctl(path, "cat", "web", "-o", "json").stdout)
    assert (row["definition"], row["transient"]) == ("a = 1", False)
    assert row["files"][1] == {"path": "/f/web.toml.d/o.toml", "text": "b = 2\n"}
