"""Arrays with the real programs: their elements, what a person sees of them, and a daemon that is killed over one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.system.program import Gate, until
from tests.system.raw import Raw, fault, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow
SCRIPT = "echo %i $JOBD_ARRAY_INDEX $JOBD_JOB %%i; exit $((%i == 3 ? 7 : 0))"


def row_of(jobd: Program, job: str) -> dict[str, object]:
    rows = json.loads(jobd.jobctl("status", "-o", "json", job).stdout)
    assert isinstance(rows[0], dict)
    return rows[0]


def test_an_array_from_its_submission_to_its_removal(shared: Program, name: str) -> None:
    done = shared.jobctl("run", "--array", "1,3-4%2", "-u", name, "--wait", "--shell", "--", SCRIPT)
    assert (done.returncode, done.stdout) == (7, f"{name}\n"), done.stderr
    assert sorted(shared.jobctl("logs", name).stdout.splitlines()) == [f"{n} {n} {name}@{n} %i" for n in (1, 3, 4)]
    row = row_of(shared, name)
    assert (row["active"], row["array"], row["elements"]) == ("failed", "1,3-4%2", {"success": 2, "exit-code": 1})
    listed = [line.split()[1:4] for line in shared.jobctl("list", "--no-legend", f"{name}*").stdout.splitlines()]
    assert listed == [[name, "loaded", "failed"]]
    assert f"{name}@3" in shared.jobctl("list", f"{name}@*").stdout
    runs = shared.history(name)
    assert sorted(str(run["job"]) for run in runs) == [f"{name}@{n}" for n in (1, 3, 4)]
    assert sorted(str(run["array_index"]) for run in runs) == ["1", "3", "4"]
    why = shared.jobctl("why", name).stdout
    assert "is an array of 3 elements: " in why
    assert f"{name}@3 " in why
    assert shared.jobctl("wait", name).returncode == 7
    assert shared.jobctl("rerun", "--wait", f"{name}@3").returncode == 7
    assert len(shared.history(f"{name}@3")) == 2
    for line, words in (
        (["rerun", name], f"name an element, such as {name}@1"),
        (["run", "-u", name, "true"], "it is an array"),
        (["run", "-u", f"{name}@9", "true"], f"elements of the array {name} are called so"),
        (["run", "-u", name, "--array", "1", "true"], "choose another name"),
        (["run", "--array", "3-1", "true"], "ends before it begins"),
    ):
        refused = shared.jobctl(*line)
        assert refused.returncode != 0
        assert words in refused.stderr
    shared.jobctl("reset-failed", name, check=True)
    assert row_of(shared, name)["active"] == "inactive"
    assert row_of(shared, f"{name}@3")["active"] == "inactive"
    shared.jobctl("rm", "--purge", name, check=True)
    assert name not in shared.jobctl("list", "-a").stdout
    row = json.loads(shared.jobctl("run", "--array", "1-2", "-u", "of-json", "-o", "json", "true").stdout)
    assert (row["number"], row["elements"]) == (None, 2)
    assert shared.jobctl("history", f"{name}@3").returncode == 4


def test_its_name_means_all_of_them(shared: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"[ %i = 0 ] && {gate.wait}; sleep 100"
    shared.jobctl("run", "--array", "0-5%1", "--queue", "batch", "-u", name, "--shell", "--", script, check=True)
    assert name in shared.jobctl("list", "--queue", "batch", "-o", "name").stdout.split()
    after = shared.jobctl("run", "--after", f"{name}:any", "-u", f"{name}-next", "true", check=True)
    assert after.returncode == 0
    until(lambda: row_of(shared, f"{name}@0")["state"] == "running", "the first runs")
    assert row_of(shared, name)["elements"] == {"running": 1, "queued": 5}
    assert shared.jobctl("is-active", name).stdout == "active\n"
    refused = shared.jobctl("rm", name)
    assert (refused.returncode, "6 of its elements are queued or running" in refused.stderr) == (1, True)
    shared.jobctl("hold", name, check=True)
    shared.jobctl("release", f"{name}@1", check=True)
    shared.jobctl("set-property", name, "priority=5", check=True)
    assert [row_of(shared, f"{name}@{n}")["priority"] for n in (1, 5)] == [5, 5]
    assert [row_of(shared, f"{name}@{n}")["held"] for n in (0, 1, 5)] == [False, False, True]
    assert shared.jobctl("cancel", f"{name}@5").returncode == 0
    assert shared.jobctl("freeze", name, check=True).stderr == shared.jobctl("thaw", name, check=True).stderr == ""
    waiting = shared.start_jobctl("wait", name)
    shared.jobctl("stop", name, check=True)
    assert waiting.wait(10) in (125, 143)  # as the first of them ended: never begun, or by the signal
    assert row_of(shared, name)["elements"] == {"canceled": 5, "stopped": 1}
    assert shared.jobctl("wait", f"{name}-next").returncode == 0
    shared.jobctl("rm", name, f"{name}-next", check=True)


def test_a_daemon_killed_while_it_accepts_one_leaves_none_out(jobd: Program) -> None:
    count = 400
    request = m.Run(
        id=1, run=new_run_id(), argv=[b"true"], env=[], cwd=b"/", name="many", hold=True, array=f"0-{count - 1}"
    )
    answers = []
    for _ in range(3):  # as a client that has lost the answer
        with Raw(jobd.socket) as raw:
            answers.append(raw.ask(request))
        jobd.replace_daemon()
    started = m.Started(job="many", owner=os.geteuid(), run=request.run, number=0, elements=count)
    assert answers == [m.Reply(id=1, body=started)] * 3
    assert row_of(jobd, "many")["elements"] == {"queued": count}
    jobd.jobctl("release", "many", check=True)
    assert jobd.jobctl("wait", "many").returncode == 0
    assert row_of(jobd, "many")["elements"] == {"success": count}
    numbers = json.loads(jobd.jobctl("history", "-n", "all", "-o", "json", "many").stdout)
    assert sorted(run["array_index"] for run in numbers) == list(range(count))


def test_wait_for_a_queue_is_for_all_of_an_array_that_was_just_accepted(shared: Program) -> None:
    """Its elements come to the queue in steps: the first are there, and the others not yet."""
    with Raw(shared.socket) as raw, Raw(shared.socket) as other:
        assert isinstance(raw.ask(m.QueueAdd(id=raw.next_id(), name="later", slots=0)), m.Reply)
        run = m.Run(
            id=raw.next_id(), run=new_run_id(), argv=[b"true"], env=[], cwd=b"/", name="many", array="0-299",
            settings={"queue": "later"}, exec_wait=False,
        )  # fmt: skip
        assert isinstance(raw.ask(run), m.Reply)
        wait = raw.next_id()
        raw.send(m.Wait(id=wait, queue="later"))
        list(other.items(m.CancelQueued(id=other.next_id(), names=["many"])))
        ended = 0
        while isinstance(raw.receive(), m.Item):
            ended += 1
        assert ended == 300


@pytest.mark.parametrize("array", ["0-9%0", "+1", "9-1"])
def test_what_is_no_array_is_refused_also_when_it_would_wait_for_others(shared: Program, name: str, array: str) -> None:
    with Raw(shared.socket) as raw:
        started(raw.run([b"sleep", b"600"], name=name))
        request = m.Run(
            id=raw.next_id(), run=new_run_id(), argv=[b"true"], env=[], cwd=b"/", after=[f"{name}:ok"], array=array
        )
        refused = fault(raw.ask(request))
        assert (refused.code, "array" in refused.message) == (errors.INVALID, True)
    shared.jobctl("stop", name, check=True)
