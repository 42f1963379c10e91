"""What a view says of a definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.core import service
from jobd.core.enforce import Machine, is_limited, unenforced
from jobd.core.graph import names_others
from jobd.core.records import BAD_SETTING, NOT_FOUND, JobRow
from jobd.core.service import Check, Health
from jobd.core.spec import JobSpec
from jobd.rpc import views
from jobd.wire import messages as m
from tests.runtime.fakes import HELPER, Bed, serving

if TYPE_CHECKING:
    from trio.testing import MockClock


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


@pytest.mark.parametrize("kind", [*service.DEPENDENCIES, *service.HOOKS])
def test_each_kind_of_dependency_is_one(kind: str) -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/", **{kind: ("db",)})  # type: ignore[arg-type]
    assert names_others(spec) == (kind in service.DEPENDENCIES)
    assert views.own_links("web", spec) == [m.Link(job="web", kind=kind, other="db")]
    assert views.own_links("web", JobSpec(argv=(b"x",), cwd=b"/")) == []


@pytest.mark.parametrize(
    "fields",
    [{"memory_max": 1}, {"cpu_percent": 1}, {"tasks_max": 1}, {"nice": -1}, {"oom_score_adjust": -1}],
    ids=lambda fields: next(iter(fields)),
)
def test_whatever_some_machine_cannot_do_is_looked_at(fields: dict[str, int]) -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/", **fields)  # type: ignore[arg-type]
    assert unenforced(spec, Machine(root=False))
    assert is_limited(spec)
    assert not is_limited(JobSpec(argv=(b"x",), cwd=b"/"))


def test_of_a_definition_is_said_what_is_not_as_usual() -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/", nice=5, stop_timeout_usec=None, reload_signal=1)
    said = views.definition_fields(b"1", spec)
    assert said == {"argv": [b"x"], "cwd": b"/", "nice": 5, "can_reload": True}
    assert views.definition_fields(b"1", spec) is said
    other = JobSpec(argv=(b"y",), cwd=b"/")
    assert views.definition_fields(b"1", other)["argv"] == [b"y"]  # it is that of the definition that is given


def test_when_it_starts_again_is_told_while_it_waits_for_that() -> None:
    waiting = views.row_fields(row(sub="auto-restart", restart_at=7, masked=True))
    assert (waiting["restart_at"], waiting["load"]) == (7, "masked")
    assert views.row_fields(row(sub="running", restart_at=7))["restart_at"] is None


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"restarts": 3}, "restarts", 3),
        ({"masked": True}, "load", "masked"),
        ({"sub": "auto-restart", "restart_at": 7}, "restart_at", 7),
        ({"load": NOT_FOUND}, "load", NOT_FOUND),
        ({"enabled": True}, "enabled", "enabled"),
    ],
)
def test_of_a_transient_job_is_said_what_is_not_as_usual(fields: dict[str, object], name: str, value: object) -> None:
    assert views.row_fields(row(transient=True)) == {}
    assert views.row_fields(row(transient=True, **fields))[name] == value


@pytest.mark.parametrize(
    ("operation", "up", "command"),
    [
        ("stop-cmd-1", True, [b"halt"]),
        ("reload-3", True, [b"again"]),
        ("check-7", False, [b"ready"]),
        ("check-7", True, [b"well"]),
        ("", True, []),
    ],
)
async def test_which_of_its_commands_is_at_work(
    autojump_clock: MockClock, operation: str, up: bool, command: list[bytes]
) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(
            stop_command=(b"halt",), reload_command=(b"again",), ready=Check(kind="command", argv=(b"ready",)),
            health=Health(check=Check(kind="command", argv=(b"well",)), interval_usec=1 << 40),
        )  # fmt: skip
        run.up = up
        if operation:
            run.on_keeper("helper-started", {"o": operation, **HELPER}, {})
        view = views.live_fields(run, bed.registry)
        assert (view["control_command"], view["control_pid"]) == (command, 88 if operation else None)
