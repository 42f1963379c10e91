"""What a hot verb loads: this guards its speed without timing anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, output_frame, run_view, table, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

ROOT = str(Path(__file__).resolve().parents[2])
HEAVY = ("typer", "msgspec", "typing", "re", "enum", "socket", "trio", "asyncio", "dataclasses", "pathlib", "inspect")
FOR_ROOT = ("jobd.wire.granting", "jobd.wire.grants", "_blake2")  # and for him only where a keeper wants grants
FAR = ("jobctl.remote", "jobctl.channels", "jobctl.bridge", "jobctl.fanout", "jobctl.hosts")
ON_A_TERMINAL = ("jobctl.pager", "jobctl.progress", "jobctl.progress_runs", "jobctl.width")
PROBE = """
import os, sys
def end(status):
    sys.stderr.write(" ".join(sorted(sys.modules)))
    sys.stderr.flush()
    leave(status)
leave, os._exit = os._exit, end
sys.argv = ["jobctl", *sys.argv[1:]]
from jobctl.__main__ import main
main()
"""
LINES = [
    "is-active -q web", "is-active web", "status web", "status -n 5 web", "list", "list -a", "",
    "start web", "stop web", "restart web", "logs web", "logs -n 20 -f web", "logs -o short web", "show -p MainPID web",
    "show -P Id web", "run -- sleep 5", "run -u x -E A=b -C / sleep 5", "wait web", "run --wait true", "run -f true",
    "run --after web -u x --singleton true", "run --array 0-9%2 true",
    "daemon-status", "history web", "result web", "kill web", "events -f -n 5 web", "cat web", "is-enabled web",
    "enable --now web", "disable web", "mask web", "unmask web", "why web", "list-job-files", "list-dependencies web",
    "daemon-reload",
]  # fmt: skip


def script(request: m.Request) -> Answer:
    if isinstance(request, m.Logs):
        yield m.Item(id=request.id, body=m.LogRun(job="web", owner=0, run=RUN_ID, number=1, pid=7))
        yield output_frame(request.id, RUN_ID, 1, 0, b"one\ntwo\n")
        yield m.End(id=request.id)
        return
    if isinstance(request, m.Wait):
        yield m.Item(id=request.id, body=m.Ended(run=run_view(run=request.runs[0])))
        yield m.End(id=request.id)
        return
    if isinstance(request, m.Events):
        yield m.Item(id=request.id, body=m.Change(seq=2, at=10**18, kind="started", job="web", owner=0, by_uid=0))
        yield m.End(id=request.id)
        return
    yield from _rest(request)


_rest = table(
    get=lambda _: m.Jobs(jobs=[view()]),
    cat=lambda _: m.Definitions(definitions=[m.Definition(job="web", owner=0, text="# transient: web\n")]),
    list=lambda _: m.Jobs(jobs=[view()]),
    run=lambda r: m.Started(job="sleep-1", owner=0, run=getattr(r, "run"), number=1),  # noqa: B009  # it is a Run
    start=lambda _: [m.Done(job="web")],
    stop=lambda _: [m.Done(job="web")],
    restart=lambda _: [m.Done(job="web")],
    kill=lambda _: [m.Done(job="web")],
    enable=lambda _: [m.Done(job="web")],
    mask=lambda _: [m.Done(job="web")],
    list_job_files=lambda _: m.Files(files=[m.FileView(job="web", owner=0, state="enabled", file="/f")]),
    list_dependencies=lambda _: m.Graph(links=[], jobs=[view()]),
    why=lambda _: m.Reasons(reasons=[m.Reason(job="web", owner=0, kind="running", text="web runs")]),
    daemon_reload=lambda _: m.Plan(changes=[m.Planned(job="web", owner=0, change="added")]),
    resolve=lambda _: m.Runs(runs=[run_view()]),
    history=lambda _: m.Runs(runs=[run_view()]),
    daemon_status=lambda _: m.Daemon(
        version="1", state="running", pid=1, keeper_pid=2, keeper_version="1", socket="/s", state_dir="/d",
        mode="socket", started_at=10**18, tracking="process", kernel="6", running=0, queued=0, connections=1,
    ),
)  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_hot_verbs_load_nothing_heavy(line: str, daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    command = [sys.executable, "-I", "-c", PROBE, "--socket", fake.path, *line.split()]
    result = subprocess.run(command, capture_output=True, timeout=20, check=False)
    loaded = result.stderr.decode().split()
    assert result.returncode == 0, result
    assert "jobctl.client" in loaded
    assert [name for name in loaded if name in (*HEAVY, *ON_A_TERMINAL, *FOR_ROOT, *FAR, "json")] == []


def test_json_costs_json_alone(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(script)
    command = [sys.executable, "-I", "-c", PROBE, "--socket", fake.path, "list", "-o", "json"]
    result = subprocess.run(command, capture_output=True, timeout=20, check=True)
    loaded = set(result.stderr.decode().split())
    assert "json" in loaded
    assert not loaded & {"typer", "msgspec", "typing", "socket", "trio"}


@pytest.mark.parametrize("module", ["jobctl.bridge", "jobctl.remote"])
def test_another_host_costs_little_at_either_end(module: str) -> None:
    script = f"import sys; sys.path.append({ROOT!r}); import {module}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", script]
    loaded = subprocess.run(command, capture_output=True, timeout=20, check=True).stdout.decode().split()
    assert module in loaded
    assert set(loaded) & {*HEAVY, "json", "contextlib", "functools", "collections", "subprocess", "threading"} == set()
