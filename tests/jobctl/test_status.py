"""status: what systemctl's says, line for line, in one round trip."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from jobctl import usage
from jobctl.status_text import Screen, branches
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, HangupError, jobctl, missing, output_frame, table, view
from tests.jobctl.terminals import on_terminal
from tests.jobctl.test_verbs import LOOKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.shapes import JobView, Process
    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

slow = pytest.mark.slow
SEC = 10**9
HOUR_USEC = 3600 * 10**6
OTHER_RUN = bytes(reversed(RUN_ID))
SEED = 20261122


def shows(*views: m.JobView, lines: bytes = b"", run: bytes = RUN_ID) -> Script:
    """A daemon with these jobs, of which each has written `lines`."""

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Get):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=list(views)))
        elif isinstance(request, m.Logs):
            yield m.Item(id=request.id, body=m.LogRun(job="web", owner=0, run=run, number=1, pid=7))
            if lines:
                yield output_frame(request.id, run, 1, 0, lines)
            yield m.End(id=request.id)

    return script


def text_of(fake: FakeDaemon, *args: str) -> list[str]:
    return jobctl(fake.path, "status", *args, env={**os.environ, "TZ": "UTC"}).stdout.decode().splitlines()


# --- statuses -------------------------------------------------------------------------------------------------------
@slow
@pytest.mark.parametrize(("job", "status"), [("web", 0), ("db", 3), ("old", 3), ("no", 4)])
def test_status_exits_as_systemctl(daemon: Make, job: str, status: int) -> None:
    assert jobctl(daemon(LOOKS).path, "status", job).returncode == status


@slow
def test_of_several_it_exits_as_the_first_that_is_not_active(daemon: Make) -> None:
    result = jobctl(daemon(LOOKS).path, "status", "web", "db", "no")
    assert result.returncode == 3
    assert result.stderr.decode() == "Job no could not be found.\n"


@slow
@pytest.mark.parametrize("lines", ["-n0", "-n10"])
def test_a_job_that_is_not_there_says_what_was_probably_meant(daemon: Make, lines: str) -> None:
    refused = m.Fault(code="not-found", message="no", details={"meant": "web"})
    script = table(
        get=lambda _: m.Jobs(jobs=[missing("wbe")]), resolve=lambda _: refused, logs=lambda _: refused
    )  # fmt: skip
    result = jobctl(daemon(script).path, "status", lines, "wbe")
    assert (result.returncode, result.stderr) == (4, b"Job wbe could not be found. Did you mean web?\n")


@slow
def test_whoever_may_see_a_job_and_not_read_its_log_is_shown_the_job(daemon: Make) -> None:
    refused = m.Fault(code="denied", message="not for you")
    script = table(get=lambda _: m.Jobs(jobs=[view("web")]), logs=lambda _: refused)
    result = jobctl(daemon(script).path, "status", "web")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines()[-1].startswith("   Main PID: 1")


@slow
def test_a_run_is_no_job_and_is_shown_by_result(daemon: Make) -> None:
    script = table(get=lambda _: m.Jobs(jobs=[missing("web#2")]), logs=lambda _: m.Fault(code="not-found", message=""))
    result = jobctl(daemon(script).path, "status", "web#2")
    said = b"Job web#2 could not be found. A run is shown by jobctl result 'web#2'.\n"
    assert (result.returncode, result.stderr) == (4, said)


# --- one round trip -------------------------------------------------------------------------------------------------
@slow
def test_state_and_log_are_asked_for_together(daemon: Make) -> None:
    fake = daemon(shows(view("web"), view("db"), lines=b"one\ntwo\n"))
    shown = text_of(fake, "web", "db")
    assert [line for line in shown if line.endswith(": two")] == ["Jan 01 00:00:00 web[7]: two"] * 2
    get, *logs = fake.requests
    assert get == m.Get(id=1, names=["web", "db"], tree=True)
    assert logs == [m.Logs(id=i, jobs=[job], lines=10, split=True, one_run=True) for i, job in ((2, "web"), (3, "db"))]
    assert len(fake.hellos) == 1


@slow
def test_a_run_that_has_begun_in_between_is_not_shown(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        newer = isinstance(request, m.Logs) and request.run == "0"
        run, line = (OTHER_RUN, b"of the next run\n") if newer else (RUN_ID, b"of this run\n")
        return shows(view("web"), lines=line, run=run)(request)

    fake = daemon(script)
    assert text_of(fake, "web")[-1].endswith(": of this run")
    asked = fake.of(m.Logs)[-1]
    assert isinstance(asked, m.Logs)
    assert (asked.jobs, asked.run) == ([], RUN_ID.hex())


@slow
def test_a_lost_connection_is_made_again(daemon: Make) -> None:
    lost: list[m.Request] = []

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Logs) and not lost:
            lost.append(request)
            raise HangupError
        return shows(view("web"), lines=b"line\n")(request)

    fake = daemon(script)
    assert text_of(fake, "web")[-1].endswith(": line")
    assert len(fake.hellos) == 2


@slow
def test_globs_and_the_same_job_twice(daemon: Make) -> None:
    for args in (["w*"], ["web", "web"]):
        shown = text_of(daemon(shows(view("web"), lines=b"line\n")), *args)
        assert [line for line in shown if line.endswith(": line")] == ["Jan 01 00:00:00 web[7]: line"]


@slow
def test_a_refusal_is_said(daemon: Make) -> None:
    refused = m.Fault(code="denied", message="cannot look")
    result = jobctl(daemon(table(get=lambda _: refused, logs=lambda _: refused)).path, "status", "web")
    assert (result.returncode, result.stdout, result.stderr) == (4, b"", b"jobctl: cannot look\n")


# --- the lines ------------------------------------------------------------------------------------------------------
ENDED = view(
    "web", description="Front \x1b[2Jend", argv=[b"sh", b"-c", b"exit 2"], active="failed", sub="failed",
    result="exit-code", exit_code=2, exited_at=1_700_000_061_500_000_000, pid=7, cpu_user_usec=1_000_000,
    cpu_system_usec=234_000, max_rss_bytes=663_552, note="log is \x9bfull", errno=28,
)  # fmt: skip


@slow
def test_a_job_that_has_failed(daemon: Make) -> None:
    shown = text_of(daemon(shows(ENDED)), "web")
    assert shown[0] == "× web - Front \\x1b[2Jend"  # noqa: RUF001  # systemd's glyph
    assert shown[3].startswith("     Active: failed (Result: exit-code) since Tue 2023-11-14 22:13:20 UTC; ")
    assert shown[3].endswith(" ago")
    assert [*shown[1:3], *shown[4:]] == [
        "     Loaded: loaded (transient)",
        "  Transient: yes",
        "   Duration: 1min 1.5s",
        " Invocation: 00010203-0405-0607-0809-0a0b0c0d0e0f (run 1)",
        "    Process: 7 ExecStart=sh -c 'exit 2' (code=exited, status=2)",
        "   Main PID: 7 (code=exited, status=2)",
        "       Note: log is \\x9bfull",
        "      Error: 28 (No space left on device)",
        "   Mem peak: 648.0K",
        "        CPU: 1.234s",
    ]


@slow
def test_a_job_that_runs(daemon: Make, tmp_path: Path) -> None:
    for name, content in {
        "pids.current": "12\n", "memory.current": "663552\n", "memory.peak": "1258292\n",
        "cpu.stat": "usage_usec 435000\nuser_usec 1\nsystem_usec 2\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)
    running = view(
        "web", cgroup=str(tmp_path), started_at=10**18, runtime_limit_usec=30 * 365 * 24 * HOUR_USEC, pid=os.getpid(),
        processes=[m.Process(pid=9, command=b"sh"), m.Process(pid=70, ppid=9, command=b"sleep\x0060\0")],
    )  # fmt: skip
    shown = text_of(daemon(shows(running, lines=b"a line\n")), "web")
    assert shown[0] == "● web - sleep 60"
    assert shown[3].startswith("     Active: active (running) since Tue 2023-11-14 22:13:20 UTC; ")
    assert shown[4].startswith("      Until: Tue 2031-09-02 01:46:40 UTC; ")
    assert shown[4].endswith(" left")
    name = usage.name_of(os.getpid()).decode()
    assert shown[6:] == [
        f"   Main PID: {os.getpid()} ({name})",
        "      Tasks: 12",
        "     Memory: 648.0K (peak: 1.2M)",
        "        CPU: 435ms",
        f"     CGroup: {tmp_path}",
        "             └─9 sh",
        "               └─70 sleep 60",
        "",
        "Jan 01 00:00:00 web[7]: a line",
    ]


@slow
@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"frozen": True}, "active (running) (frozen) since "),
        ({"active": "inactive", "sub": "dead"}, "inactive (dead) since "),
        ({"active": "activating", "sub": "start", "result": "signal"}, "activating (start) (Result: signal) since "),
        ({"active": "deactivating", "sub": "stop-sigterm"}, "deactivating (stop-sigterm) since "),
    ],
)  # fmt: skip
def test_active(daemon: Make, fields: dict[str, object], line: str) -> None:
    assert text_of(daemon(shows(view("web", **fields))), "-n0", "web")[3].startswith(f"     Active: {line}")


@slow
@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"exit_code": 0}, ["Process: 1 ExecStart=sleep 60 (code=exited, status=0/SUCCESS)",
                            "Main PID: 1 (code=exited, status=0/SUCCESS)"]),
        ({"signal": 15}, ["Process: 1 ExecStart=sleep 60 (code=killed, signal=TERM)",
                          "Main PID: 1 (code=killed, signal=TERM)"]),
        ({"signal": 11, "core": True}, ["Process: 1 ExecStart=sleep 60 (code=dumped, signal=SEGV)",
                                        "Main PID: 1 (code=dumped, signal=SEGV)"]),
        ({"step": "exec", "errno": 2, "pid": None}, ["Process: ExecStart=sleep 60 (code=exited, status=203/EXEC)",
                                                     "Error: 2 (No such file or directory)"]),
        ({"step": "environment.0", "errno": 2, "pid": None},
         ["Process: ExecStart=sleep 60 (code=exited, status=1/ENVIRONMENT)", "Error: 2 (No such file or directory)"]),
    ],
)  # fmt: skip
def test_how_it_ended(daemon: Make, fields: dict[str, object], lines: list[str]) -> None:
    usual: dict[str, object] = {"active": "inactive", "sub": "dead", "exited_at": 1_700_000_000 * SEC}
    shown = text_of(daemon(shows(view("web", **{**usual, **fields}))), "-n0", "web")
    assert shown[4] == "   Duration: <1ms"
    assert [line.strip() for line in shown[6:]] == lines


@slow
def test_as_whom_a_job_runs_is_told_where_somebody_has_said_so(daemon: Make) -> None:
    assert text_of(daemon(shows(view("web", user="www\x1b"))), "-n0", "web")[3] == "       User: www\\x1b"


# --- on a terminal --------------------------------------------------------------------------------------------------
@slow
def test_colours(daemon: Make) -> None:
    frozen = view("web", frozen=True, processes=[m.Process(pid=9, command=b"sh")])
    shown = on_terminal(daemon(shows(frozen, ENDED)).path, "status", "-n0", "web", "x", columns=200).decode()
    assert "\x1b[0;1;32m●\x1b[0m web - sleep 60\r\n" in shown
    assert "Active: \x1b[0;1;32mactive (running)\x1b[0m \x1b[0;1;33m(frozen)\x1b[0m since " in shown
    assert "└─\x1b[0;90m9 sh\x1b[0m\r\n" in shown
    assert "Active: \x1b[0;1;31mfailed\x1b[0m (Result: exit-code) since " in shown
    assert "ExecStart=sh -c 'exit 2' \x1b[0;1;31m(code=exited, status=2)\x1b[0m\r\n" in shown


@slow
def test_lines_that_do_not_fit_are_cut_and_a_hint_says_how_to_see_them(daemon: Make) -> None:
    fake = daemon(shows(view("web"), lines=b"word " * 50 + b"\n"))
    hint = "Hint: Some lines were ellipsized, use -l to show in full.\r\n"
    shown = on_terminal(fake.path, "status", "web", columns=100).decode()
    assert shown.endswith("word word …\r\n" + hint)
    whole = on_terminal(fake.path, "status", "-l", "web", columns=100).decode()
    assert whole.endswith(": " + "word " * 50 + "\r\n")
    fits = on_terminal(fake.path, "status", "-n0", "web", columns=100).decode()
    assert hint not in fits


@slow
@pytest.mark.parametrize(("columns", "stamp"), [(86, "Nov 14 22:13:20"), (200, "Tue 2023-11-14 22:13:20 UTC")])
def test_how_long_ago_is_not_cut_off_for_the_weekday(daemon: Make, columns: int, stamp: str) -> None:
    shown = on_terminal(daemon(shows(ENDED)).path, "status", "-n0", "x", columns=columns).decode()
    (line,) = [line for line in shown.splitlines() if "Active:" in line]
    assert f" (Result: exit-code) since {stamp}; " in line
    assert line.endswith(" ago")


@slow
@pytest.mark.parametrize("columns", [1, 2, 20, 500])
def test_every_width(daemon: Make, columns: int) -> None:
    fake = daemon(shows(view("web", description="日本語 " * 30), lines="日本語\tx\n".encode()))
    shown = on_terminal(fake.path, "status", "web", columns=columns).decode()
    assert "Active" in shown or columns < 20
    assert "Traceback" not in shown


# --- the tree -------------------------------------------------------------------------------------------------------
def drawn(*processes: tuple[int, int]) -> list[str]:
    listed: list[Process] = [{"pid": pid, "ppid": ppid, "command": b"x"} for pid, ppid in processes]
    return branches(listed, Screen(full=True))


def test_processes_are_drawn_below_their_parents() -> None:
    assert drawn((10, 1), (200, 10), (9, 10), (11, 200), (7, 1)) == [
        "├─ 7 x",
        "└─10 x",
        "  ├─  9 x",
        "  └─200 x",
        "    └─11 x",
    ]
    assert drawn((1, 0), (2, 1), (3, 2), (4, 1)) == ["└─1 x", "  ├─2 x", "  │ └─3 x", "  └─4 x"]
    assert drawn() == []


def test_numbers_that_go_in_circles_are_drawn_once() -> None:
    assert drawn((1, 2), (2, 1), (3, 3), (4, 1)) == ["├─1 x", "├─2 x", "├─3 x", "└─4 x"]


def test_every_process_is_drawn_once() -> None:
    rng = random.Random(SEED)
    for _ in range(300):
        count = rng.randrange(1, 30)
        lines = drawn(*((pid, rng.randrange(count + 5)) for pid in range(1, count + 1)))
        assert sorted(int(line.strip(" │├└─x")) for line in lines) == list(range(1, count + 1))


def test_a_deep_and_a_wide_tree() -> None:
    assert len(drawn(*((pid, pid - 1) for pid in range(1, 3000)))) == 2999
    assert len(drawn(*((pid, 1) for pid in range(1, 3000)))) == 2999


# --- usage ----------------------------------------------------------------------------------------------------------
def test_usage_without_a_cgroup_comes_from_proc() -> None:
    own: JobView = {"job": "web", "owner": 0, "processes": [{"pid": os.getpid()}, {"pid": 2**22 + 1}]}
    used = usage.of(own)
    assert used.tasks == 2
    assert used.cpu_usec is not None
    assert used.cpu_usec > 0
    assert (used.memory, used.peak) == (None, None)


def test_usage_of_a_cgroup_without_controllers(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 7\n")
    used = usage.of({"job": "web", "owner": 0, "cgroup": str(tmp_path), "processes": [{"pid": 1}]})
    assert (used.tasks, used.memory, used.peak, used.cpu_usec) == (1, None, None, 7)


def test_usage_of_what_has_ended_is_what_was_recorded() -> None:
    used = usage.of({"job": "web", "owner": 0, "cpu_user_usec": 3, "cpu_system_usec": 4, "max_rss_bytes": 5})
    assert (used.tasks, used.memory, used.peak, used.cpu_usec) == (None, None, 5, 7)
