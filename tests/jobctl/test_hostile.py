"""Whatever a job, a user or a command line says: no verb passes on what a terminal would act on, or a forged line."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from jobctl import names
from jobctl.spellings import VERBS
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, jobctl, output_frame
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
# A title, a clear screen in C1, bidi and zero-width marks, a line separator, rich's markup, an overwritten line and one
# of its own.
EVIL = "\x1b]0;pwned\x07\x9b2J\u202e\u2066\u200f\u200b\u2028[bold red]loud[/]\rover\nFAKE=line"
EVIL_BYTES = EVIL.encode() + b"\xff\x9b"
NAME: dict[str, Any] = {"job": "web", "owner": os.geteuid(), "run": RUN_ID, "number": 1}
ENDED: dict[str, Any] = {
    "argv": [EVIL_BYTES],
    "cwd": EVIL_BYTES,
    "note": EVIL,
    "queued_at": 10**18,
    "started_at": 10**18,
}
VIEW = m.JobView(
    **NAME, **ENDED, description=EVIL, user=EVIL, active="active", sub="running", cgroup=f"/x{EVIL}", pid=1,
    processes=[m.Process(pid=1, command=EVIL_BYTES), m.Process(pid=2, ppid=1, command=EVIL_BYTES)],
    transient=False, file=EVIL, dropins=[f"/x/{EVIL}"], enabled=EVIL, need_reload=True, problem=f"{EVIL}\n{EVIL}",
    unenforced=[EVIL], waits=EVIL, cause=EVIL, status_text=EVIL, health=EVIL, control_pid=2**22 + 1,
    queue=EVIL, after=[EVIL], schedule=[EVIL], elapse_next=10**18, elapse_last=1,
    control_command=[EVIL_BYTES], links=[m.Link(job="web", kind="after", other=EVIL)], restart_at=10**18, type=EVIL,
)  # fmt: skip
RUN = m.RunView(
    **NAME, **ENDED, seq=1, state="finished", result="lost", reason=EVIL, out_bytes=9, err_bytes=9, queue=EVIL
)
TIMER = m.TimerView(job="web", owner=os.geteuid(), next=10**18, last=1, schedule=[EVIL], description=EVIL, active=EVIL)
QUEUE = m.QueueView(name=EVIL, owner=os.geteuid(), state=EVIL, reason=EVIL)
DAEMON = m.Daemon(
    version=EVIL, state="degraded", pid=1, keeper_pid=2, keeper_version=EVIL, socket=EVIL, state_dir=EVIL, mode="user",
    started_at=10**18, tracking="cgroup", kernel=EVIL, running=0, queued=0, connections=1, reasons=[EVIL], python=EVIL,
    config_dir=EVIL,
)  # fmt: skip
RULE = m.RuleView(line=1, users=[EVIL], groups=[EVIL], actions=[EVIL], owners=[EVIL], jobs=[EVIL])
ACTS = (
    m.Start,
    m.Stop,
    m.Restart,
    m.Kill,
    m.Freeze,
    m.Thaw,
    m.ResetFailed,
    m.Remove,
    m.Enable,
    m.Mask,
    m.CancelQueued,
    m.Hold,
    m.Release,
)
PLAN = m.Plan(
    changes=[
        m.Planned(job="web", owner=os.geteuid(), change="changed", keys=[EVIL], file=EVIL, restart=True, text=EVIL),
        m.Planned(job="db", owner=os.geteuid(), change="broken", text=f"{EVIL}\n{EVIL}"),
    ],
    warnings=[EVIL],
)
CHANGE = m.Change(**NAME, seq=1, at=10**18, kind="finished", reason=EVIL, step="exec", by_uid=0)


def hostile(request: m.Request) -> Answer:
    """Answers everything with evil words."""
    number = request.id
    if isinstance(request, m.Logs):
        yield m.Item(id=number, body=m.LogRun(**NAME, pid=1))
        yield output_frame(number, RUN_ID, 1, 0, EVIL_BYTES + b"\n")
        yield output_frame(number, RUN_ID, 2, 0, EVIL_BYTES + b"\n")
        yield m.Item(id=number, body=m.Progress(job="web", text=EVIL))
        yield m.End(id=number)
    elif isinstance(request, m.Wait):
        yield m.Item(id=number, body=m.Ended(run=RUN))
        yield m.End(id=number)
    elif isinstance(request, m.Events):
        yield m.Item(id=number, body=CHANGE)
        yield m.End(id=number)
    elif isinstance(request, ACTS):
        yield m.Item(id=number, body=m.Progress(job="web", text=EVIL))
        yield m.Item(id=number, body=m.Done(job="web", code=errors.FAILED, text=EVIL))
        yield m.End(id=number)
    elif (body := replies().get(type(request))) is not None:
        yield m.Reply(id=number, body=body)
    else:
        yield m.Fault(id=number, code=errors.FAILED, message=EVIL, details={"meant": EVIL})


def replies() -> dict[type, m.AnyBody]:
    text = f'description = "{EVIL}"\n'
    files = [m.SourceFile(path=path, text=text) for path in (f"/x{EVIL}", EVIL)]
    definition = m.Definition(job="web", owner=os.geteuid(), transient=False, text=text, files=files)
    return {
        m.Get: m.Jobs(jobs=[VIEW]),
        m.List: m.Jobs(jobs=[VIEW]),
        m.History: m.Runs(runs=[RUN]),
        m.HistoryStats: m.Stats(stats=[m.StatsView(job=EVIL, owner=os.geteuid(), runs=1)]),
        m.Resolve: m.Runs(runs=[RUN]),
        m.DaemonStatus: DAEMON,
        m.Cat: m.Definitions(definitions=[definition]),
        m.Run: m.Started(**NAME, step="exec", errno=2, text=EVIL),
        m.Rerun: m.Started(**NAME, waits=EVIL, text=EVIL),
        m.AuthWhoami: m.Identity(uid=61001, gid=61001, groups=[61002], pid=1, owner=61001, rules=[EVIL], admin=True),
        m.AuthCanI: m.Decision(action=EVIL, uid=61001, allowed=True, visible=True, rule=EVIL, job=EVIL, owner=61001),
        m.DaemonReload: PLAN,
        m.Define: PLAN,
        m.Why: m.Reasons(reasons=[m.Reason(job="web", owner=os.geteuid(), kind=EVIL, text=EVIL, other=EVIL)]),
        m.Revert: PLAN,
        m.SetProperty: m.Ok(text=EVIL),
        m.ListFiles: m.Files(files=[m.FileView(job="web", owner=os.geteuid(), state=EVIL, file=EVIL, dropins=[EVIL])]),
        m.ListDependencies: m.Graph(links=[m.Link(job="web", kind="wants", other=EVIL)], jobs=[VIEW]),
        m.ListTimers: m.Timers(timers=[TIMER]),
        m.QueueList: m.Queues(queues=[QUEUE, m.QueueView(name=EVIL)]),
        m.QueueShow: m.QueueDetail(view=QUEUE, runs=[RUN], others=1),
        m.AuthRules: m.Rules(rules=[RULE], file=EVIL, error=EVIL),
        m.Whoami: m.Members(members=[m.Member(**NAME, pid=1)]),
    }


def refusing(request: m.Request) -> Answer:
    """Refuses everything in evil words."""
    yield m.Fault(id=request.id, code=errors.INVALID, message=EVIL, details={"meant": EVIL})


OPERANDS = {
    "run": ["--", "true"], "list": [], "daemon-status": [], "is-system-running": [],
    "daemon-reload": [], "daemon-reexec": [], "shutdown": [], "list-job-files": [],
    "completion": ["bash"], "auth": ["whoami"], "add": ["--name", "web", __file__],
    "set-property": ["web", "limits.memory=1G"], "queue": [],
}  # fmt: skip
RAW_IN_A_PIPE = ("logs", "result", "cat", "attach", "events")  # what jobs and people wrote, as they wrote it
LINES = [
    *([verb, *OPERANDS.get(verb, ["web"])] for verb in VERBS if verb not in ("daemon-reexec", "completion", "verify")),
    ["auth", "can-i", "stop", "web"], ["auth", "rules"], ["history", "--audit"], ["history", "--audit", "-o", "json"],
    ["history", "--stats"], ["history", "--stats", "-o", "json"],
    ["queue", "show", "build"], ["queue", "pause", "build"], ["queue", "-o", "json"], ["queue", "-o", "name"],
    ["list-timers", "-o", "json"], ["wait", "--any", "--queue", "build", "web"],
    ["status"], ["show"], ["status", "-o", "verbose", "web"], ["logs", "-o", "verbose", "web"],
    ["logs", "-o", "cat", "web"], ["logs", "-r", "web"], ["events", "web"],
    *([verb, "-o", "json-seq", "web"] for verb in ("list", "show", "history", "result", "logs")),
]  # fmt: skip


def check(shown: bytes) -> None:
    """Nothing but text, our own way of writing progress, and line ends."""
    text = shown.decode().replace("\r\x1b[K", "").replace("\r\n", "\n").replace("\x1e", "")
    bad = {char for char in text if not (char.isprintable() or char in "\n\t")}
    assert not bad, (bad, text)


@pytest.mark.parametrize("script", [hostile, refusing], ids=lambda script: script.__name__)
@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_on_a_terminal(daemon: Make, line: list[str], script: Script) -> None:
    shown = on_terminal(daemon(script).path, *line, NO_COLOR="1", columns=300)
    check(shown)
    assert b"Traceback" not in shown
    if line[0] not in ("logs", "result", "status", "cat"):  # where a line of the job's is a line
        assert not re.search(rb"^FAKE", shown, re.MULTILINE)


@pytest.mark.parametrize("columns", [1, 500])
@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_on_the_narrowest_and_on_a_wide_terminal(daemon: Make, line: list[str], columns: int) -> None:
    shown = on_terminal(daemon(hostile).path, *line, columns=columns)
    assert b"Traceback" not in shown


@pytest.mark.parametrize("line", [line for line in LINES if line[0] not in RAW_IN_A_PIPE], ids=" ".join)
def test_in_a_pipe_nobody_forges_a_line(daemon: Make, line: list[str]) -> None:
    result = jobctl(daemon(hostile).path, *line)
    check(result.stderr)
    for written in (result.stdout, result.stderr):
        assert b"Traceback" not in written
        assert line[0] == "status" or not re.search(rb"^FAKE", written, re.MULTILINE)
    if line[0] not in ("show", "status"):
        check(result.stdout)


@pytest.mark.parametrize(
    "line",
    [
        [EVIL], [f"--{EVIL}"], ["help", EVIL], ["--socket", EVIL, "list"], ["status", EVIL],
        ["list", EVIL], ["list", f"--{EVIL}"], ["list", "-o", EVIL], ["list", f"--state={EVIL}"], ["list", "-t", EVIL],
        ["list", "--bogus", "[bold]x[/bold]"], ["logs", "-n", EVIL, "web"], ["logs", "-S", EVIL, "web"],
        ["logs", "-g", f"({EVIL}", "web"], ["logs", "--cursor-file", f"/nonexistent/{EVIL}", "web"],
        ["kill", "-s", EVIL, "web"], ["wait", "--timeout", EVIL, "web"], ["run", "-p", EVIL, "true"],
        ["auth", EVIL], ["auth", "can-i", EVIL], ["auth", "can-i", "stop", EVIL, "--as", EVIL],
        ["history", "--audit", EVIL],
        ["run", "-u", EVIL, "true"], ["run", "-p", f"user={EVIL}", "true"], ["run", "-C", EVIL, "--", EVIL],
    ],
    ids=lambda line: " ".join(line).replace(EVIL, "EVIL").replace("\n", " "),
)  # fmt: skip
def test_what_is_typed(daemon: Make, line: list[str]) -> None:
    path = daemon(refusing).path
    shown = on_terminal(path, *line, NO_COLOR="1", columns=300)
    check(shown)
    assert b"Traceback" not in shown
    result = jobctl(path, *line)
    check(result.stdout + result.stderr)
    assert result.returncode != 0
    if b"bold red" in result.stderr:
        assert b"[bold red]loud[/]" in result.stderr


def test_bytes_that_are_not_text(daemon: Make) -> None:
    for line in ([b"\xff\x1b[2J"], [b"list", b"--\xff"], [b"status", b"\xff\x9b"], [b"list", b"-o", b"\xff"]):
        result = jobctl(daemon(refusing).path, *line)
        check(result.stdout + result.stderr)
        assert result.returncode != 0


def test_names_of_users_and_groups_from_a_directory_that_others_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        pw_name = gr_name = EVIL

    monkeypatch.setattr("pwd.getpwuid", lambda _: Entry)
    monkeypatch.setattr("grp.getgrgid", lambda _: Entry)
    monkeypatch.setattr(names, "_users", {})
    for shown in (names.owner_name(61001), names.group_name(61001), names.shown_name("web", 61001, 0)):
        check(shown.encode())
        assert "\n" not in shown
        assert "[bold red]" in shown
