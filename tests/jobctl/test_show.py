"""show: what systemd calls the properties of a job from a file."""

from __future__ import annotations

import os

import pytest

from jobctl import verb_show
from jobctl.client import Client
from jobctl.connect import Target
from jobd.core import service
from jobd.core.spec import JobSpec

ME = os.geteuid()


def shown(**view: object) -> dict[str, str]:
    return verb_show.job_properties({"job": "web", "owner": ME, **view}, Client(Target()))  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("view", "properties"),
    [
        ({}, {"UnitFileState": "transient", "FragmentPath": "", "Type": "exec", "Restart": "no", "RestartUSec": "100ms",
              "NeedDaemonReload": "no", "CanReload": "no", "CanStart": "yes", "WatchdogUSec": "0", "MemoryMax":
              "infinity",
              "TasksMax": "infinity", "CPUQuotaPerSecUSec": "infinity", "ControlPID": "0", "After": ""}),
        ({"transient": False, "file": "/f", "enabled": "enabled", "dropins": ["/a", "/b"], "need_reload": True},
         {"UnitFileState": "enabled", "FragmentPath": "/f", "DropInPaths": "/a /b", "NeedDaemonReload": "yes",
          "Transient": "no"}),
        ({"load": "bad-setting", "problem": "/f:1:1: no", "enabled": "bad"},
         {"LoadState": "bad-setting", "LoadError": "/f:1:1: no", "UnitFileState": "bad", "CanStart": "no"}),
        ({"load": "not-found", "enabled": "masked"}, {"LoadState": "not-found", "UnitFileState": "masked"}),
        ({"type": "notify", "restart": "always", "restart_delay_usec": 2_000_000, "remain_after_exit": True,
          "watchdog_usec": 30_000_000, "restarts": 4, "restart_at": 10**18, "can_reload": True},
         {"Type": "notify", "Restart": "always", "RestartUSec": "2s", "RemainAfterExit": "yes", "WatchdogUSec": "30s",
          "NRestarts": "4", "CanReload": "yes"}),
        ({"active": "active"}, {"CanStart": "yes", "CanStop": "yes"}),
        ({"status_text": "up", "status_errno": 5, "note": "full", "errno": 2, "waits": "for db", "cause": "restart"},
         {"StatusText": "up", "StatusErrno": "5", "Note": "full", "ExecMainErrno": "2", "Waits": "for db",
          "Cause": "restart"}),
        ({"memory_bytes": 5, "memory_max": 6, "tasks": 2, "tasks_max": 3, "cpu_percent": 150, "io_read_bytes": 7,
          "io_write_bytes": 8, "max_rss_bytes": 9, "cpu_user_usec": 1, "cpu_system_usec": 2, "tasks_peak": 4},
         {"MemoryCurrent": "5", "MemoryMax": "6", "TasksCurrent": "2", "TasksMax": "3",
          "CPUQuotaPerSecUSec": "1s 500ms",
          "IOReadBytes": "7", "IOWriteBytes": "8", "MemoryPeak": "9", "CPUUsageNSec": "3000", "TasksPeak": "4"}),
        ({"active": "active", "sub": "exited", "pid": 7, "exited_at": 1, "control_pid": 9},
         {"MainPID": "0", "ExecMainPID": "7", "ControlPID": "9", "CanStop": "yes"}),
    ],
)  # fmt: skip
def test_properties(view: dict[str, object], properties: dict[str, str]) -> None:
    found = shown(**view)
    assert {name: found[name] for name in properties} == properties


def test_dependencies_have_both_ends() -> None:
    links = [("web", "after", "db"), ("net", "before", "web"), ("web", "before", "last"), ("api", "after", "web")]
    links += [("web", "requires", "db"), ("api", "requires", "web"), ("web", "on_failure", "alert")]
    found = shown(links=[{"job": job, "kind": kind, "other": other} for job, kind, other in links])
    wanted = {"After": "db net", "Before": "last api", "Requires": "db", "RequiredBy": "api", "OnFailure": "alert"}
    assert {name: found[name] for name in wanted} == wanted


def test_every_kind_of_dependency_has_a_name() -> None:
    assert {key for key, *_ in verb_show.LINKS} == {*service.DEPENDENCIES, *service.HOOKS}


def test_the_delay_of_a_restart_that_is_not_told_is_the_default() -> None:
    assert JobSpec(argv=(), cwd=b"").restart_delay_usec == verb_show.RESTART_DELAY_USEC
