"""Runs that wait for others, or for the live one of their own job, by the real programs and through a kill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.system.program import Gate, Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("order")) as program:
        yield program


def test_a_pipeline_with_a_branch_for_what_fails_outlives_the_daemon(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    jobd.jobctl("run", "--name", "fetch", "--shell", f"{gate.wait}; exit 3", check=True)
    jobd.jobctl("run", "--name", "build", "--after", "fetch", "--", "true", check=True)
    jobd.jobctl("run", "--name", "pack", "--after", "build", "--", "true", check=True)
    jobd.jobctl("run", "--name", "alert", "--after", "build:failed", "--after", "fetch:any", "--", "true", check=True)
    assert jobd.show("pack", "Waits") == "for build to succeed"
    assert jobd.show("alert", "WaitsFor") == "build:failed fetch:any"
    jobd.replace_daemon()
    gate.open()
    done = jobd.jobctl("wait", "fetch", "build", "pack", "alert")
    assert done.returncode == 3
    ends = {name: jobd.history(name)[0]["result"] for name in ("fetch", "build", "pack", "alert")}
    assert ends == {"fetch": "exit-code", "build": "dependency", "pack": "dependency", "alert": "success"}
    why = jobd.jobctl("why", "pack").stdout.splitlines()
    assert [line.split()[0] for line in why] == ["pack", "build", "fetch"]
    assert "it waits for build to succeed, which could not begin either" in why[0]
    late = jobd.jobctl("run", "--name", "late", "--after", "pack", "--", "true")
    assert (late.returncode, late.stdout) == (0, "late\n")
    assert late.stderr == "jobctl: late never begins: it waits for pack to succeed, which could not begin either\n"
    waiting = jobd.jobctl("run", "--wait", "--after", "pack", "--", "true")
    assert (waiting.returncode, waiting.stderr.count("\n"), "dependency: it waits" in waiting.stderr) == (125, 1, True)


def test_who_would_wait_for_himself_is_told(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "web", "--hold", "-p", "after=db", "--", "true", check=True)
    jobd.jobctl("run", "--name", "mid", "--after", "web", "--", "true", check=True)
    refused = jobd.jobctl("run", "--name", "db", "--after", "mid", "--", "true")
    assert refused.returncode == 2
    words = "cannot run db: it would wait for web, which comes after db: neither would ever begin"
    assert words in refused.stderr
    jobd.jobctl("cancel", "web", "mid", check=True)  # of which the second ends with the first
    jobd.jobctl("run", "--name", "db", "--after", "mid:any", "--wait", "--", "true", check=True)


def test_what_others_wait_for_is_removed_meanwhile(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    jobd.jobctl("run", "--name", "gone", "--shell", gate.wait, check=True)
    for condition in ("ok", "failed", "any"):
        jobd.jobctl("run", "--name", f"on-{condition}", "--after", f"gone:{condition}", "--", "true", check=True)
    jobd.jobctl("rm", "--now", "--purge", "gone", check=True)
    assert jobd.jobctl("wait", "on-ok", "on-failed", "on-any").returncode == 125
    ends = [jobd.history(f"on-{condition}")[0]["result"] for condition in ("ok", "failed", "any")]
    assert ends == ["dependency", "dependency", "success"]
    assert jobd.history("on-ok")[0]["reason"] == "it waits for gone to succeed, which was stopped"
    assert jobd.jobctl("run", "--after", "gone", "--", "true").returncode == 5


def test_runs_of_one_name_wait_for_each_other_and_a_stop_ends_them_all(jobd: Program, tmp_path: Path) -> None:
    gates = [Gate(tmp_path / name) for name in ("one", "two")]
    for gate in gates:
        jobd.jobctl(
            "run",
            "--name",
            "sync",
            "--singleton",
            "--shell",
            f"echo {gate.path.name}; {gate.wait}",
            check=True,
        )
    jobd.jobctl("run", "--name", "sync", "--singleton", "--", "true", check=True)
    assert [row["state"] for row in jobd.history("sync")] == ["queued", "queued", "running"]
    assert "In line: 2 more runs\n" in jobd.jobctl("status", "sync").stdout
    refused = jobd.jobctl("run", "--name", "sync", "--", "true")
    assert (refused.returncode, "is running" in refused.stderr) == (1, True)
    jobd.replace_daemon()
    gates[0].open()
    until(lambda: jobd.output("sync") == b"two\n", "the second run has begun")
    jobd.jobctl("stop", "sync", check=True)
    rows = jobd.history("sync")
    assert [(row["number"], row["result"]) for row in rows] == [(3, "canceled"), (2, "stopped"), (1, "success")]
    assert {row["stopped_by"] for row in rows[:2]} == {rows[0]["owner"]}
    assert json.loads(jobd.jobctl("result", "sync#2", "-o", "json").stdout)["stopped_by"] == rows[0]["owner"]
    assert jobd.jobctl("rm", "--purge", "sync").returncode == 0
