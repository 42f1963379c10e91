"""Verbs against a fake daemon: what they print, what they exit with, what they ask for."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd import __version__
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    RUN_ID,
    FakeDaemon,
    HangupError,
    jobctl,
    missing,
    run_view,
    table,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
ACTIVE = view("web")
FAILED = view("db", active="failed", sub="failed", result="exit-code", exit_code=2, exited_at=1_700_000_001 * 10**9)
REST = view("old", active="inactive", sub="dead", exit_code=0, exited_at=1_700_000_001 * 10**9)
JOBS = {each.job: each for each in (ACTIVE, FAILED, REST)}


def found(request: m.Request) -> m.Jobs:
    assert isinstance(request, m.Get)
    views = [view for name in request.names if name == "*" for view in JOBS.values()]
    return m.Jobs(jobs=views or [JOBS.get(name, missing(name)) for name in request.names])


STATUS = m.Daemon(
    version="1", state="running", pid=1, keeper_pid=2, keeper_version="1", socket="/s", state_dir="/d", mode="socket",
    started_at=10**18, tracking="process", kernel="6", running=0, queued=0, connections=1,
)  # fmt: skip
LOOKS = table(
    get=found,
    list=lambda _: m.Jobs(jobs=[FAILED, ACTIVE]),
    logs=lambda _: [],
    daemon_status=lambda _: STATUS,
    history=lambda _: m.Runs(runs=[run_view()]),
    resolve=lambda _: m.Fault(code="not-found", message="cannot find job 'no'"),
)


@pytest.mark.parametrize(
    ("line", "status", "out"),
    [
        ("is-active web", 0, "active\n"),
        ("is-active web db", 0, "active\nfailed\n"),
        ("is-active db", 3, "failed\n"),
        ("is-active no", 4, "inactive\n"),
        ("is-active -q no web", 0, ""),
        ("is-failed db", 0, "failed\n"),
        ("is-failed web", 1, "active\n"),
        ("is-failed no", 4, "inactive\n"),
        ("is-failed", 1, "running\n"),
        ("status -n0 no", 4, ""),
        ("show -P ActiveState web no", 0, "active\n\ninactive\n"),
        ("show -p LoadState,Nonsense no", 0, "LoadState=not-found\n"),
        ("show -p SubState -p Id db", 0, "SubState=failed\nId=db\n"),
        ("show --value -p ExecMainStatus,ExecMainCode db", 0, "2\n1\n"),
        ("list -o name", 0, "db\nweb\n"),
    ],
)
def test_looking(daemon: Make, line: str, status: int, out: str) -> None:
    result = jobctl(daemon(LOOKS).path, *line.split())
    assert (result.returncode, result.stdout.decode()) == (status, out)


def test_list_asks_for_what_was_wanted_and_for_all_pages(daemon: Make) -> None:
    def pages(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.List)
        return m.Jobs(jobs=[ACTIVE], more="" if request.after else "web")

    fake = daemon(table(list=pages))
    out = jobctl(fake.path, "list", "-a", "--state=running,queued", "--failed", "w*", "-o", "json").stdout
    assert len(json.loads(out)) == 2
    asked = fake.requests[0]
    assert isinstance(asked, m.List)
    assert (asked.all, asked.states, asked.patterns) == (True, ["running", "queued", "failed"], ["w*"])
    assert [getattr(request, "after", "") for request in fake.requests] == ["", "web"]


def test_rows_of_json(daemon: Make) -> None:
    killed = view("k", active="failed", sub="failed", result="signal", signal=9, exit_code=None)
    queued = view("q", active="activating", sub="queued", pid=None, queued_at=1_700_000_000_123_456_789)
    fake = daemon(table(list=lambda _: m.Jobs(jobs=[killed, queued])))
    rows = json.loads(jobctl(fake.path, "list", "-o", "json").stdout)
    assert rows[0]["exit_code"] is None
    assert rows[0]["signal"] == "SIGKILL"
    assert rows[0]["state"] == "finished"
    assert rows[0]["result"] == "signal"
    assert rows[1]["state"] == "queued"
    assert rows[1]["result"] is None
    assert rows[1]["queued_at"] == "2023-11-14T22:13:20.123456Z"
    sequence = jobctl(fake.path, "list", "-o", "json-seq").stdout
    assert [json.loads(part)["job"] for part in sequence.split(b"\x1e")[1:]] == ["k", "q"]


@pytest.mark.parametrize("verb", ["list", "show", "history", "daemon-status", "status web", "result web", "wait web"])
def test_an_unknown_format_is_refused_with_those_that_exist(daemon: Make, verb: str) -> None:
    result = jobctl(daemon(LOOKS).path, *verb.split(), "-o", "yaml")
    assert result.returncode == (125 if verb.startswith("wait") else 2)
    assert b"unknown output format 'yaml'" in result.stderr
    assert b"json-pretty" in result.stderr


# --- actions ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "status"),
    [("", 0), (errors.FAILED, 1), (errors.DENIED, 4), (errors.NOT_FOUND, 5), (errors.NOT_APPLICABLE, 3),
     (errors.BAD_SETTING, 6), (errors.MASKED, 1), ("from-the-future", 1)],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill"])
def test_actions_exit_as_systemctl(daemon: Make, verb: str, code: str, status: int) -> None:
    done = lambda _: [m.Done(job="web", code=code, text="cannot: why\x1b" if code else "")]  # noqa: E731
    result = jobctl(daemon(table(start=done, stop=done, restart=done, kill=done)).path, verb, "web")
    assert (result.returncode, result.stdout) == (status, b"")
    assert result.stderr == (b"jobctl: cannot: why\\x1b\n" if code else b"")


def test_the_first_job_that_did_not_work_gives_the_status(daemon: Make) -> None:
    done = [m.Done(job="a"), m.Done(job="b", code="denied"), m.Done(job="c", code="failed", text="cannot start c")]
    result = jobctl(daemon(table(start=lambda _: list(done))).path, "start", "a", "b", "c")
    assert result.returncode == 4
    assert result.stderr == b"jobctl: cannot start b: denied\njobctl: cannot start c\n"


def test_globs_are_expanded_and_none_is_no_error(daemon: Make) -> None:
    def get(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.Get)
        return m.Jobs(jobs=[ACTIVE, view("web2"), view("web@", active="inactive")] if request.names == ["w*"] else [])

    fake = daemon(table(get=get, start=lambda _: [m.Done(job="web")]))
    assert jobctl(fake.path, "start", "w*", "web").returncode == 0
    (asked,) = fake.of(m.Start)
    assert isinstance(asked, m.Start)
    assert asked.names == ["web", "web2"]
    assert len(set(asked.runs)) == 2
    assert jobctl(fake.path, "stop", "x*").returncode == 0
    assert fake.of(m.Stop) == []


def test_a_glob_means_jobs_whose_files_have_gone(daemon: Make) -> None:
    gone = [
        view("runs", load="not-found"), missing("rest"),
        view("shut", load="not-found", active="inactive", enabled="masked"),
    ]  # fmt: skip
    fake = daemon(table(get=lambda _: m.Jobs(jobs=gone), stop=lambda _: [m.Done(job="runs"), m.Done(job="shut")]))
    assert jobctl(fake.path, "stop", "*").returncode == 0
    (asked,) = fake.of(m.Stop)
    assert isinstance(asked, m.Stop)
    assert asked.names == ["runs", "shut"]


def test_a_lost_answer_to_start_is_asked_for_under_the_same_run(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) < 3:
            raise HangupError
        yield m.Item(id=request.id, body=m.Done(job="web"))
        yield m.End(id=request.id)

    fake = daemon(script)
    assert jobctl(fake.path, "start", "web").returncode == 0
    runs = {bytes(getattr(request, "runs")[0]) for request in fake.requests}  # noqa: B009
    assert (len(fake.requests), len(runs)) == (3, 1)


def test_a_lost_answer_to_kill_is_asked_for_under_the_same_name(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) < 3:
            raise HangupError
        yield m.Item(id=request.id, body=m.Done(job="web"))
        yield m.End(id=request.id)

    fake = daemon(script)
    for count in (3, 4):
        assert jobctl(fake.path, "kill", "-s", "HUP", "web").returncode == 0
        assert len(fake.requests) == count
    asked = [request for request in fake.requests if isinstance(request, m.Kill)]
    assert [request.signal for request in asked] == [1] * 4
    names = [request.once for request in asked]
    assert names[0] == names[1] == names[2] != names[3]
    assert all(names)


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("SIGKILL", 9), ("usr1", 10), ("2", 2), ("RTMIN+1", 35)])
def test_signals_are_named_as_kill_names_them(daemon: Make, text: str, number: int) -> None:
    fake = daemon(table(kill=lambda _: [m.Done(job="web")]))
    jobctl(fake.path, "kill", "-s", text, "--kill-whom=main", "web")
    (asked,) = fake.requests
    assert isinstance(asked, m.Kill)
    assert (asked.signal, asked.whom) == (number, "main")


def test_an_unknown_signal_gets_a_suggestion(daemon: Make) -> None:
    result = jobctl(daemon(LOOKS).path, "kill", "-s", "TREM", "web")
    assert (result.returncode, result.stderr) == (2, b"jobctl: unknown signal 'TREM'; did you mean SIGTERM?\n")


def test_no_daemon(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    for line, status in (("list", 1), ("start web", 1), ("wait web", 125), ("run true", 1), ("run --wait true", 125)):
        result = jobctl(gone, *line.split())
        assert (result.returncode, result.stdout) == (status, b"")
        assert (
            result.stderr
            == (
                f"jobctl: cannot connect to jobd at {gone}: No such file or directory; does it run?"
                " jobctl --user starts your own\n"
            ).encode()
        )
    assert jobctl(gone, "daemon-status").returncode == 3


def test_another_version_is_told(daemon: Make) -> None:
    fake = daemon(lambda r: [m.Fault(code=errors.VERSION, message="cannot talk to jobctl: too old")] if r else [])
    result = jobctl(fake.path, "list")
    assert (result.returncode, result.stderr) == (1, b"jobctl: cannot talk to jobctl: too old\n")


@pytest.mark.parametrize(
    ("line", "status"), [("list", 1), ("run --wait true", 125), ("run -P true", 125), ("wait x", 125)]
)
@pytest.mark.parametrize(
    ("version", "todo"),
    [(2, "use the jobctl that was installed with it"), (0, "SIGHUP has jobd start the daemon that is")],
)
def test_a_daemon_of_another_protocol(daemon: Make, line: str, status: int, version: int, todo: str) -> None:
    fake = daemon(lambda _: [])
    fake.hello = m.Hello(version=version, software="jobd 9.9")
    result = jobctl(fake.path, *line.split())
    assert result.returncode == status
    text = (
        f"jobctl: cannot talk to jobd 9.9: it speaks version {version} of the protocol, this jobctl version 1; {todo}"
    )
    assert result.stderr.decode().startswith(text)
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(("line", "status"), [("list", 1), ("run --wait true", 125), ("run -P true", 125)])
def test_a_daemon_of_another_version_that_does_not_understand_us(daemon: Make, line: str, status: int) -> None:
    fake = daemon(lambda r: [m.Fault(code=errors.MALFORMED, message="cannot read the message: what?", id=r.id)])
    ours = jobctl(fake.path, "list").stderr
    assert b"what?; fake is not of this jobctl" in ours
    fake.hello = m.Hello(version=1, software=f"jobd {__version__}")
    assert jobctl(fake.path, "list").stderr == b"jobctl: cannot read the message: what?\n"
    fake.hello = m.Hello(version=1, software="jobd 0.0.1")
    result = jobctl(fake.path, *line.split())
    assert result.returncode == status
    said = f"what?; jobd 0.0.1 is not of this jobctl's version {__version__}: jobctl daemon-reexec starts what is"
    assert said in result.stderr.decode()


def test_a_socket_at_a_path_longer_than_an_address_holds(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    directory.mkdir(parents=True)
    here = os.getcwd()
    os.chdir(directory)
    try:
        fake = FakeDaemon(type(directory)("."), LOOKS)
    finally:
        os.chdir(here)
    try:
        assert jobctl(str(directory / "jobd.sock"), "is-active", "web").returncode == 0
    finally:
        fake.close()


def test_daemon_status_is_an_object_in_json(daemon: Make) -> None:
    row = json.loads(jobctl(daemon(LOOKS).path, "daemon-status", "-o", "json").stdout)
    assert (row["state"], row["pid"], row["keeper_pid"]) == ("running", 1, 2)


def test_daemon_reexec_returns_when_another_daemon_answers(daemon: Make) -> None:
    pids = iter((1, 1, 2))

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.DaemonReexec):
            yield m.Reply(id=request.id, body=m.Ok())
            return
        pid = next(pids)
        yield from table(daemon_status=lambda _: m.Daemon(**{f: getattr(STATUS, f) for f in fields} | {"pid": pid}))(
            request
        )
        if len(fake.of(m.DaemonStatus)) == 2:
            raise HangupError

    fields = STATUS.__struct_fields__
    fake = daemon(script)
    assert jobctl(fake.path, "daemon-reexec").returncode == 0
    assert len(fake.of(m.DaemonReexec)) == 1
    assert next(pids, None) is None


@pytest.mark.parametrize(("state", "status"), [("running", 0), ("degraded", 1), ("stopping", 1)])
def test_is_system_running(daemon: Make, state: str, status: int) -> None:
    body = m.Daemon(**{name: getattr(STATUS, name) for name in STATUS.__struct_fields__} | {"state": state})
    path = daemon(table(daemon_status=lambda _: body)).path
    result = jobctl(path, "is-system-running")
    assert (result.returncode, result.stdout, result.stderr) == (status, f"{state}\n".encode(), b"")
    assert (jobctl(path, "is-system-running", "-q").returncode, jobctl(path, "is-system-running", "-q").stdout) == (
        status,
        b"",
    )


def test_without_a_daemon_the_system_is_offline(tmp_path: Path) -> None:
    result = jobctl(str(tmp_path / "none"), "is-system-running")
    assert (result.returncode, result.stdout) == (1, b"offline\n")


def test_daemon_reload_is_silent_or_says_why(daemon: Make) -> None:
    def done(verb: str, body: m.Plan | m.Fault) -> tuple[int, str, str]:
        result = jobctl(daemon(table(daemon_reload=lambda _: body)).path, verb)
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    assert done("daemon-reload", m.Plan(changes=[])) == (0, "", "")
    assert done("daemon-reload", m.Plan(changes=[], warnings=["warning: a", "warning: b"])) == (
        0,
        "",
        "jobctl: warning: a\njobctl: warning: b\n",
    )
    refused = m.Fault(code=errors.BAD_SETTING, message="cannot reload: jobd.toml:7: why", id=1)
    assert done("daemon-reload", refused) == (6, "", "jobctl: cannot reload: jobd.toml:7: why\n")
    denied = m.Fault(code=errors.DENIED, message="cannot do this", id=1)
    assert done("daemon-reload", denied)[0] == 4


def test_shutdown_returns_when_nobody_listens_any_more(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        yield m.Reply(id=request.id, body=m.Ok())
        os.unlink(fake.path)
        raise HangupError

    fake = daemon(script)
    assert jobctl(fake.path, "shutdown").returncode == 0
    assert len(fake.requests) == 1


assert len(RUN_ID) == 16
