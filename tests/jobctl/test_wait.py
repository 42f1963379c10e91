"""wait: which runs are meant, what is said, and whose status it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jobctl.client import MAX_LOSSES, Client
from jobctl.connect import PATIENCE_SEC, Target
from jobctl.exits import NoDaemonError
from jobctl.verb_wait import DeadlineError, await_runs
from jobd.core.arrays import element_id
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    DEADLINE_SEC,
    RUN_ID,
    FakeDaemon,
    HangupError,
    jobctl,
    jobctl_command,
    missing,
    run_view,
    table,
    view,
)
from tests.jobctl.test_run import accept, ends

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def test_wait_goes_on_after_the_daemon_was_replaced(daemon: Make) -> None:
    one, two = bytes(15) + b"1", bytes(15) + b"2"

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Get):
            views = [view(name, run=one if name == "a" else two) for name in request.names]
            yield m.Reply(id=request.id, body=m.Jobs(jobs=views))
            return
        assert isinstance(request, m.Wait)
        if len(fake.of(m.Wait)) == 1:
            yield m.Item(id=request.id, body=m.Ended(run=run_view("b", run=two, exit_code=0, finished_at=1)))
            raise HangupError
        assert request.runs == [one]
        yield m.Item(id=request.id, body=m.Ended(run=run_view("a", run=one, exit_code=4, finished_at=2)))
        yield m.End(id=request.id)

    fake = daemon(script)
    assert jobctl(fake.path, "wait", "a", "b").returncode == 4


def test_wait_goes_on_as_long_as_daemons_come_back(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.of(m.Wait)) == MAX_LOSSES + 2:
            yield m.Item(id=request.id, body=m.Ended(run=run_view("a", run=RUN_ID, exit_code=4, finished_at=2)))
            yield m.End(id=request.id)
        elif isinstance(request, m.Get):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[view("a", run=RUN_ID)]))
        else:
            raise HangupError

    fake = daemon(script)
    done = jobctl(fake.path, "wait", "a")
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.count(b"is lost again and again; going on") == 1


def test_a_wait_gives_up_on_what_takes_connections_and_never_greets(tmp_path: Path) -> None:
    path, taken = str(tmp_path / "sock"), 0
    listener = socket.create_server(path, family=socket.AF_UNIX)

    def hang_up() -> None:
        nonlocal taken
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()
                taken += 1

    thread = threading.Thread(target=hang_up)
    thread.start()
    client = Client(Target(socket=path))
    with pytest.raises(NoDaemonError, match="lost again and again"):
        await_runs(client, {RUN_ID: RUN_ID}, any_one=False, deadline=None)
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_SEC)
    listener.close()
    assert taken == MAX_LOSSES + 1


def test_a_timeout_holds_when_no_daemon_comes_back(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    listener = socket.create_server(path, family=socket.AF_UNIX)
    client = Client(Target(socket=path))
    client.connect()
    listener.accept()[0].close()
    listener.close()
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        await_runs(client, {RUN_ID: RUN_ID}, any_one=False, deadline=began + 0.1)
    assert time.monotonic() - began < PATIENCE_SEC / 2


def test_several_give_the_status_of_the_first_that_failed(daemon: Make) -> None:
    def wait(request: m.Request) -> list[m.Ended]:
        assert isinstance(request, m.Wait)
        rows = [(30, 3), (10, 0), (20, 2)]
        return [
            m.Ended(run=run_view(run=run, finished_at=at, exit_code=code))
            for run, (at, code) in zip(request.runs, rows, strict=True)
        ]

    views = [view(name, run=bytes(15) + name.encode()) for name in "abc"]
    fake = daemon(table(get=lambda _: m.Jobs(jobs=views), wait=wait))
    assert jobctl(fake.path, "wait", "a", "b", "c").returncode == 2


def test_without_a_job_wait_waits_for_ones_own_live_runs(daemon: Make) -> None:
    views = [view("a"), view("b", owner=os.geteuid() + 1), view("c", active="failed"), view("d", run=None)]
    me = m.Identity(uid=os.geteuid(), gid=0, groups=[], pid=1, owner=os.geteuid())
    fake = daemon(table(auth_whoami=lambda _: me, list=lambda _: m.Jobs(jobs=views), wait=ends()))
    assert jobctl(fake.path, "wait").returncode == 0
    assert [request.patterns for request in fake.of(m.List) if isinstance(request, m.List)] == [[f"{me.owner}/*"]]
    (request,) = fake.of(m.Wait)
    assert isinstance(request, m.Wait)
    assert request.runs == [RUN_ID]


def test_those_in_line_behind_a_live_run_are_ones_own_live_runs_too(daemon: Make) -> None:
    me = m.Identity(uid=os.geteuid(), gid=0, groups=[], pid=1, owner=os.geteuid())
    behind = run_view("a", run=bytes(15) + b"b", state="queued", result=None)
    answers = table(
        auth_whoami=lambda _: me, list=lambda _: m.Jobs(jobs=[view("a", in_line=1)]),
        history=lambda _: m.Runs(runs=[behind]), wait=ends(),
    )  # fmt: skip
    fake = daemon(answers)
    assert jobctl(fake.path, "wait").returncode == 0
    (request,) = fake.of(m.Wait)
    assert isinstance(request, m.Wait)
    assert request.runs == [RUN_ID, behind.run]


def test_json_of_wait_are_rows(daemon: Make) -> None:
    fake = daemon(table(resolve=lambda _: m.Runs(runs=[run_view()]), wait=ends(exit_code=1)))
    result = jobctl(fake.path, "wait", "-o", "json", "--any", "web#1")
    assert result.returncode == 1
    assert json.loads(result.stdout)[0]["exit_code"] == 1
    resolve, wait = fake.requests
    assert isinstance(resolve, m.Resolve)
    assert isinstance(wait, m.Wait)
    assert (resolve.job, resolve.run, wait.any) == ("web", "1", True)


def test_any_prints_the_name_of_the_one_that_ended(daemon: Make) -> None:
    rows = {"a": run_view("a", run=bytes(15) + b"a"), "b": run_view("b", run=bytes(15) + b"b", exit_code=3)}

    def wait(request: m.Request) -> list[m.Ended]:
        assert isinstance(request, m.Wait)
        assert (request.any, request.runs) == (True, [row.run for row in rows.values()])
        return [m.Ended(run=rows["b"])]

    views = [view(name, run=row.run) for name, row in rows.items()]
    result = jobctl(daemon(table(get=lambda _: m.Jobs(jobs=views), wait=wait)).path, "wait", "--any", "a", "b")
    assert (result.returncode, result.stdout, result.stderr) == (3, b"b\n", b"")


def test_wait_for_a_queue_is_for_the_runs_that_were_in_it(daemon: Make) -> None:
    """Page after page, and by their ids: asked again after a loss, the queue might have others."""
    ids = [bytes(15) + bytes([at]) for at in range(4)]
    page = m.QueueDetail(view=m.QueueView(name="q"), runs=[run_view(run=run) for run in ids[:3]], more="3")
    last = m.QueueDetail(view=m.QueueView(name="q"), runs=[run_view(run=run) for run in ids[2:]])

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Wait):
            if len(fake.of(m.Wait)) == 1:
                yield m.Item(id=request.id, body=m.Ended(run=run_view(run=ids[1], exit_code=7)))
                raise HangupError
            yield from table(wait=ends())(request)
            return
        if isinstance(request, m.List):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[]))
            return
        assert isinstance(request, m.QueueShow)
        yield m.Reply(id=request.id, body=last if request.after else page)

    fake = daemon(script)
    result = jobctl(fake.path, "wait", "--queue", "q")
    assert (result.returncode, result.stdout) == (7, b"")
    waits = [request.runs for request in fake.of(m.Wait) if isinstance(request, m.Wait)]
    assert waits == [ids, [ids[0], *ids[2:]]]
    assert [request.after for request in fake.of(m.QueueShow) if isinstance(request, m.QueueShow)] == ["", "3"]


@pytest.mark.parametrize("counts", [{"queued": 3, "success": 1}, {"queued": 1, "exit-code": 3}])
def test_wait_for_a_queue_is_for_elements_that_are_still_to_come(daemon: Make, counts: dict[str, int]) -> None:
    """All of them are accepted, and some of them not in the queue yet: those behind the last that is."""
    base = bytes(15) + b"a"
    ids = [element_id(base, place) for place in range(4)]
    whole = view("arr", array="0-3", run=base, counts=counts)
    there = [run_view("arr@1", run=ids[1], array_index=1)]
    fake = daemon(
        table(
            list=lambda _: m.Jobs(jobs=[whole]),
            queue_show=lambda _: m.QueueDetail(view=m.QueueView(name="q"), runs=there),
            wait=ends(),
        )
    )
    jobctl(fake.path, "wait", "--queue", "q")
    asked = [request.runs for request in fake.of(m.Wait) if isinstance(request, m.Wait)]
    assert asked[0] == ([ids[1], base] if counts["queued"] == 3 else [ids[1]])


def test_wait_for_an_empty_queue_and_for_one_that_is_not_there(daemon: Make) -> None:
    fake = daemon(
        table(list=lambda _: m.Jobs(jobs=[]), queue_show=lambda _: m.QueueDetail(view=m.QueueView(name="q"), runs=[]))
    )
    for line in ("wait --queue=q", "wait --any --queue q"):
        result = jobctl(fake.path, *line.split())
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    no_queue = m.Fault(code="not-found", message="cannot find queue 'q'; there are: batch")
    result = jobctl(daemon(table(list=lambda _: no_queue)).path, "wait", "--queue=q")
    assert (result.returncode, result.stderr) == (125, b"jobctl: cannot find queue 'q'; there are: batch\n")


def test_many_names_are_asked_about_in_one_request(daemon: Make) -> None:
    """And the words for one that is not there are those for the one alone."""
    names = [f"make-{at}" for at in range(20)]

    def get(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.Get)
        rows = {name: view(name, run=bytes(15) + bytes([at])) for at, name in enumerate(names)}
        return m.Jobs(jobs=[rows.get(name) or missing(name) for name in request.names])

    gone = m.Fault(code="not-found", message="cannot find job 'gone'")
    fake = daemon(table(get=get, wait=ends(), resolve=lambda _: gone))
    assert jobctl(fake.path, "wait", *names, names[3]).returncode == 0
    (request,) = fake.of(m.Wait)
    assert isinstance(request, m.Wait)
    assert request.runs == [bytes(15) + bytes([at]) for at in range(20)]
    assert len(fake.requests) == 2
    result = jobctl(fake.path, "wait", *names, "gone")
    assert (result.returncode, result.stderr.partition(b";")[0]) == (125, b"jobctl: cannot find job 'gone'")


def test_an_array_means_its_elements(daemon: Make) -> None:
    """And no instance of a template that is called like one."""
    whole = view("train-1", run=None, array="0-2%1")
    elements = [view(f"train-1@{at}", run=bytes(15) + bytes([at]), array_of="train-1") for at in range(3)]

    def get(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.Get)
        if request.names == ["train-1"]:
            return m.Jobs(jobs=[whole])
        assert request.names == [f"{whole.owner}/train-1@*"]
        return m.Jobs(jobs=[*elements, view("train-1@x", run=bytes(15) + b"x")])

    fake = daemon(table(get=get, wait=ends(exit_code=4)))
    assert jobctl(fake.path, "wait", "train-1").returncode == 4
    (request,) = fake.of(m.Wait)
    assert isinstance(request, m.Wait)
    assert request.runs == [each.run for each in elements]


def test_run_wait_of_an_array_is_for_all_of_it(daemon: Make) -> None:
    def wait(request: m.Request) -> list[m.Ended]:
        assert isinstance(request, m.Wait)
        (base,) = request.runs
        rows = [run_view(run=element_id(base, at), exit_code=at, finished_at=9 - at) for at in range(3)]
        return [m.Ended(run=row) for row in rows]

    def run(request: m.Request) -> m.Started:
        assert isinstance(request, m.Run)
        return m.Started(job="t-1", owner=os.geteuid(), run=request.run, number=0, elements=3)

    result = jobctl(daemon(table(run=run, wait=wait)).path, "run", "--wait", "true")
    assert (result.returncode, result.stdout) == (2, b"t-1\n")


def test_elements_that_were_removed_are_waited_for_no_longer(daemon: Make) -> None:
    def wait(request: m.Request) -> list[m.Ended]:
        assert isinstance(request, m.Wait)
        return [m.Ended(run=run_view(run=element_id(request.runs[0], 1), exit_code=6))]

    def run(request: m.Request) -> m.Started:
        assert isinstance(request, m.Run)
        return m.Started(job="t-1", owner=os.geteuid(), run=request.run, number=0, elements=3)

    assert jobctl(daemon(table(run=run, wait=wait)).path, "run", "--wait", "true").returncode == 6


def silent(request: m.Request) -> Answer:
    """Accepts, resolves, and never ends anything."""
    if not isinstance(request, (m.Wait, m.Logs, m.Start)):
        yield from table(run=accept, get=lambda _: m.Jobs(jobs=[view()]), resolve=lambda _: m.Runs(runs=[run_view()]))(
            request
        )


def test_a_timeout_gives_124(daemon: Make) -> None:
    result = jobctl(daemon(silent).path, "wait", "--timeout", "20ms", "web")
    assert (result.returncode, result.stderr) == (124, b"jobctl: cannot wait longer for web: not ended after 20ms\n")


def test_a_bad_timeout_is_usage(daemon: Make) -> None:
    result = jobctl(daemon(silent).path, "wait", "--timeout", "soon", "web")
    assert result.returncode == 125
    assert b"cannot read duration 'soon'" in result.stderr


@pytest.mark.parametrize("line", ["wait web", "run --wait true", "run -f true", "logs -f web", "start web"])
def test_interrupted_it_says_that_the_job_goes_on(daemon: Make, line: str) -> None:
    fake = daemon(silent)
    child = subprocess.Popen(jobctl_command(fake.path, *line.split()), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    waited = (m.Wait, m.Logs, m.Start)
    assert wait_until(lambda: any(isinstance(request, waited) for request in fake.requests))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=DEADLINE_SEC)
    assert child.returncode == 130
    assert b"goes on\n" in err


def wait_until(condition: Callable[[], bool]) -> bool:
    """Looks at what another thread does, for as long as a client may take."""
    deadline = time.monotonic() + DEADLINE_SEC
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
