"""What changes from one definition to the next, in the words of a job file; and what keeps a job from starting."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from jobd.core import plan, records
from jobd.core.records import JobRow
from jobd.core.spec import JobSpec

SPEC = JobSpec(argv=(b"true",), cwd=b"/")
ROW = JobRow(owner=0, job="web", spec=b"s", env=b"e", created_at=1, transient=False, file="/etc/jobd/jobs/web.toml")


def test_changed_keys() -> None:
    assert plan.changed_keys(SPEC, SPEC, [b"A=1"], [b"A=1"]) == []
    other = replace(SPEC, argv=(b"x",), memory_max=1, after=("db",), rlimits={"core": (0, 0)})
    assert plan.changed_keys(SPEC, other, [b"A=1"], [b"A=2"]) == [
        "command", "environment", "after", "limits.memory", "limits.core",
    ]  # fmt: skip
    assert plan.changed_keys(SPEC, replace(SPEC, argv=(b"x",), shell=True), [], []) == ["command", "shell"]
    assert plan.changed_keys(SPEC, replace(SPEC, gid=7), [], []) == ["user"]


@pytest.mark.parametrize(
    ("keys", "needed"),
    [([], False), (["description", "on_failure"], False), (["command"], True), (["description", "environment"], True)],
)
def test_whether_a_run_goes_on_with_what_was(keys: list[str], needed: bool) -> None:
    assert plan.needs_restart(keys) is needed


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, None),
        ({"load": records.BAD_SETTING, "problem": "web.toml:1:1: x"}, plan.BAD),
        ({"load": records.NOT_FOUND}, plan.MISSING),
        ({"job": "web@"}, plan.TEMPLATE),
        ({"job": "web@", "transient": True}, None),
        ({"masked": True, "load": records.BAD_SETTING, "job": "web@"}, plan.MASKED),  # it beats everything
    ],
)
def test_obstacles(fields: dict[str, object], kind: str | None) -> None:
    found = plan.obstacle(replace(ROW, **fields))
    assert (found and found[0]) == kind


def test_what_keeps_a_row_whose_definition_has_gone() -> None:
    gone = replace(ROW, load=records.NOT_FOUND)
    assert plan.is_idle_leftover(gone)
    for fields in ({"enabled": True}, {"masked": True}, {"sub": "failed"}, {"sub": "running"}, {"load": "loaded"}):
        assert not plan.is_idle_leftover(replace(gone, **fields)), fields
