"""What a view says of a definition."""

from __future__ import annotations

import pytest

from jobd.core.records import BAD_SETTING, NOT_FOUND, JobRow
from jobd.core.spec import JobSpec
from jobd.rpc import views
from jobd.wire import messages as m


def row(**fields: object) -> JobRow:
    usual: dict[str, object] = {"owner": 0, "job": "web", "spec": b"", "env": b"", "created_at": 1, "transient": False}
    return JobRow(**{**usual, **fields})  # type: ignore[arg-type]  # each test gives what it means


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "disabled"),
        ({"enabled": True}, "enabled"),
        ({"enabled": True, "masked": True}, "masked"),
        ({"enabled": True, "load": BAD_SETTING}, "bad"),
        ({"job": "web@"}, "static"),
        ({"transient": True}, ""),
        ({"load": NOT_FOUND}, "not-found"),
        ({"load": NOT_FOUND, "enabled": True}, "enabled"),
        ({"load": NOT_FOUND, "masked": True}, "masked"),
        ({"load": NOT_FOUND, "file": "/etc/jobd/jobs/web.toml"}, "disabled"),  # gone while it runs
    ],
)
def test_whether_it_is_started_with_jobd(fields: dict[str, object], state: str) -> None:
    assert views.file_state(row(**fields)) == state


def test_the_dependencies_that_it_names() -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/", after=("db", "net"), requires=("db",), on_failure=("alert",))
    assert views.own_links("web", spec) == [
        m.Link(job="web", kind="after", other="db"),
        m.Link(job="web", kind="after", other="net"),
        m.Link(job="web", kind="requires", other="db"),
        m.Link(job="web", kind="on_failure", other="alert"),
    ]


def test_when_it_starts_again_is_told_while_it_waits_for_that() -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/", reload_signal=1)
    waiting = views.service_fields(row(sub="auto-restart", restart_at=7, masked=True), spec)
    assert (waiting["restart_at"], waiting["can_reload"], waiting["load"]) == (7, True, "masked")
    assert views.service_fields(row(sub="running", restart_at=7), spec)["restart_at"] is None
