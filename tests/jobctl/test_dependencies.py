"""list-dependencies: what it asks for, and the tree that it draws."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, table
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
ME = os.geteuid()


def view(name: str, active: str = "active", load: str = "loaded") -> m.JobView:
    return m.JobView(job=name, owner=ME, active=active, load=load)


LINKS = [
    m.Link(job="web", kind="requires", other="api"),
    m.Link(job="web", kind="wants", other="mail"),
    m.Link(job="side", kind="part_of", other="web"),
    m.Link(job="api", kind="binds_to", other="db"),
    m.Link(job="side", kind="requires", other="api"),
    m.Link(job="db", kind="wants", other="api"),
]
JOBS = [
    view("web"),
    view("api", "activating"),
    view("mail", "inactive", "not-found"),
    view("side", "failed"),
    view("db", "inactive"),
]


def graph(request: m.Request) -> m.Graph:
    assert isinstance(request, m.ListDependencies)
    if request.names == ["gone"]:
        return m.Graph(links=[], jobs=[view("gone", "inactive", "not-found")])
    return m.Graph(links=LINKS, jobs=JOBS)


def not_found(_: m.Request) -> m.Fault:
    return m.Fault(code=errors.NOT_FOUND, message="cannot find job 'gone'", details={"meant": "gong"})


TREE = """\
web
● ├─api
○ │ └─db
● │   └─api …
○ ├─mail (not-found)
\u00d7 └─side
●   └─api …
"""
ALL = """\
web
● ├─api
○ │ └─db
● │   └─api …
○ ├─mail (not-found)
\u00d7 └─side
●   └─api
○     └─db
●       └─api …
"""
PLAIN = "web\n  api\n  db\n  mail (not-found)\n  side\n"


@pytest.mark.parametrize(("options", "shown"), [("", TREE), ("-a", ALL), ("--plain", PLAIN)])
def test_tree(daemon: Make, options: str, shown: str) -> None:
    result = jobctl(daemon(table(list_dependencies=graph)).path, "list-dependencies", "web", *options.split())
    assert result.stdout.decode() == shown
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("options", "reverse", "order"),
    [("", False, False), ("-r", True, False), ("--after", False, True), ("--before", True, True),
     ("--reverse --before", False, True)],
)  # fmt: skip
def test_what_is_asked(daemon: Make, options: str, reverse: bool, order: bool) -> None:
    fake = daemon(table(list_dependencies=graph))
    jobctl(fake.path, "list-dependencies", "web", *options.split())
    assert fake.requests == [m.ListDependencies(id=1, names=["web"], reverse=reverse, order=order)]


def test_backwards_the_ends_are_turned(daemon: Make) -> None:
    links = [m.Link(job="web", kind="requires", other="db"), m.Link(job="db", kind="part_of", other="all")]
    script = table(list_dependencies=lambda _: m.Graph(links=links, jobs=[view("db"), view("web"), view("all")]))
    assert jobctl(daemon(script).path, "list-dependencies", "-r", "db").stdout.decode().splitlines() == [
        "db", "● ├─all", "● └─web",
    ]  # fmt: skip


def test_what_is_not_there_has_a_status(daemon: Make) -> None:
    result = jobctl(daemon(table(list_dependencies=graph, resolve=not_found)).path, "list-dependencies", "gone", "web")
    assert result.returncode == 4
    assert result.stderr.startswith(b"jobctl: cannot find job 'gone'")
    assert result.stdout.decode() == TREE


def test_without_a_job_all_that_are_enabled(daemon: Make) -> None:
    files = m.Files(files=[m.FileView(job=job, owner=ME, state="enabled") for job in ("gone", "web")])
    fake = daemon(table(list_job_files=lambda _: files, list_dependencies=graph))
    done = jobctl(fake.path, "list-dependencies")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, TREE, b"")  # the file of one has gone
    assert fake.requests[0] == m.ListFiles(id=1, patterns=[], states=["enabled"])


def test_json(daemon: Make) -> None:
    rows = json.loads(
        jobctl(daemon(table(list_dependencies=graph)).path, "list-dependencies", "web", "-o", "json").stdout
    )
    assert rows[1] == {
        "job": "web", "kind": "wants", "other": "mail", "load": "not-found", "active": "inactive", "sub": "dead",
    }  # fmt: skip
    assert rows[2]["active"] == "failed", "of what is further down"


def test_colours_and_a_contradiction(daemon: Make) -> None:
    path = daemon(table(list_dependencies=graph)).path
    shown = on_terminal(path, "list-dependencies", "web").decode()
    assert "\x1b[0;1;31m\u00d7\x1b[0m └─side" in shown
    assert jobctl(path, "list-dependencies", "--after", "--before", "web").returncode == 2
