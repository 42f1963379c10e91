"""`jobctl __complete`, which a TAB runs: names that fit, one a line, and never anything else."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobctl.spellings import COMPLETE
from jobd.wire import messages as m
from tests.jobctl.fakes import HangupError, jobctl, jobctl_command, run_view, table, view
from tests.jobctl.test_imports import HEAVY, PROBE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jobctl.shapes import JobView
    from tests.jobctl.fakes import Answer, FakeDaemon, Script

GAMES, STRANGER = pwd.getpwnam("games").pw_uid, 61101
LIVE = (view("web"), view("web@1", active="activating", sub="start"), view("ice", frozen=True))
BAD = view("bad", active="failed", sub="failed")
OTHER = view("web", owner=GAMES)
DONE = view("done", active="inactive", sub="dead")
QUEUED = view("late", active="activating", sub="queued")
HELD = view("later", active="activating", sub="held", held=True)
QUEUES = (
    m.QueueView(name="batch"), m.QueueView(name="build"), m.QueueView(name="build", owner=os.geteuid(), state="paused"),
)  # fmt: skip


def of(*views: m.JobView, runs: Sequence[m.RunView] = ()) -> Script:
    """A daemon with these jobs."""

    def get(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.Get)
        (pattern,) = request.names
        assert pattern.endswith("*")
        owner, _, name = pattern[:-1].rpartition("/")
        wanted = {"games": GAMES, str(STRANGER): STRANGER, "": os.geteuid()}[owner]
        return m.Jobs(jobs=[each for each in views if each.job.startswith(name) and each.owner == wanted])

    def listed(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.List)
        assert not request.all
        own = request.patterns == [f"{os.geteuid()}/*"]
        assert own or not request.patterns
        listed = (each for each in views if each.active != "inactive")
        return m.Jobs(jobs=[each for each in listed if not own or each.owner == os.geteuid()])

    return table(
        get=get,
        list=listed,
        history=lambda _: m.Runs(runs=list(runs)),
        queue_list=lambda _: m.Queues(queues=list(QUEUES)),
    )


def names(path: str, *words: str) -> list[str]:
    done = jobctl(path, "__complete", *words)
    assert (done.returncode, done.stderr) == (0, b"")
    return [line.partition("\t")[0] for line in done.stdout.decode().splitlines()]


def test_jobs_from_files_that_fit_the_verb() -> None:
    from jobctl.complete import FILTERS

    views: list[JobView] = [
        {"job": "run", "owner": 0},
        {"job": "off", "owner": 0, "transient": False, "file": "stored", "enabled": "disabled"},
        {"job": "on", "owner": 0, "transient": False, "file": "/f", "enabled": "enabled", "active": "active",
         "can_reload": True},
        {"job": "shut", "owner": 0, "load": "not-found", "enabled": "masked"},
        {"job": "web@", "owner": 0, "transient": False, "file": "/f", "enabled": "static"},
    ]  # fmt: skip
    fitting = {kind: [view["job"] for view in views if FILTERS[kind](view)] for kind in FILTERS}
    assert fitting["rest"] == ["run", "off", "shut"]
    assert fitting["files"] == ["off", "on", "web@"]
    assert (fitting["disabled"], fitting["enabled"], fitting["masked"]) == (["off"], ["on"], ["shut"])
    assert fitting["reloads"] == ["on"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("jobs any ", ["web", "web@1", "ice", "bad", "done"]),
        ("jobs any we", ["web", "web@1"]),
        ("jobs runs we", ["web", "web@1"]),
        ("jobs rest ", ["bad", "done"]),
        ("jobs live ", ["web", "web@1", "ice"]),
        ("jobs live i", ["ice"]),
        ("jobs failed ", ["bad"]),
        ("jobs frozen ", ["ice"]),
        ("jobs runs web#", ["web#12", "web#2"]),
        ("jobs runs web#1", ["web#12"]),
        ("jobs any web#", []),
        ("runs web ", ["0", "-1", "all", "12", "2"]),
        ("runs  ", ["0", "-1", "all"]),
        ("runs web -", ["-1"]),
        ("queues ", ["batch", "shared/build", "build"]),
        ("jobs nonsense ", []),
        ("jobs any [", []),
        ("nonsense", []),
    ],
)
def test_names_that_fit(daemon: Callable[[Script], FakeDaemon], words: str, found: list[str]) -> None:
    fake = daemon(of(*LIVE, BAD, DONE, runs=[run_view(number=12), run_view(number=2)]))
    assert names(fake.path, *words.split(" ")) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("any ", ["web", "games/web", f"{STRANGER}/db"]),
        ("any we", ["web"]),
        ("any ga", ["games/web"]),
        ("any games/", ["games/web", "games/done"]),
        ("any games/d", ["games/done"]),
        (f"any {STRANGER}/", [f"{STRANGER}/db"]),
        (f"live {GAMES}", []),
        ("live ", ["web", "games/web", f"{STRANGER}/db"]),
        ("live games/", ["games/web"]),
        ("rest games/", ["games/done"]),
    ],
)
def test_jobs_of_others(daemon: Callable[[Script], FakeDaemon], words: str, found: list[str]) -> None:
    others = (view("web", owner=GAMES), view("done", owner=GAMES, active="inactive", sub="dead"))
    fake = daemon(of(view("web"), *others, view("db", owner=STRANGER)))
    assert names(fake.path, "jobs", *words.split(" ")) == found


def test_each_has_a_word_on_it(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(of(*LIVE, runs=[run_view(number=2), run_view(number=1, result="exit-code")]))
    assert jobctl(fake.path, "__complete", "jobs", "live", "web").stdout == b"web\trunning\nweb@1\tstart\n"
    assert jobctl(fake.path, "__complete", "runs", "web", "").stdout.endswith(b"2\tsuccess\n1\texit-code\n")


def test_what_could_do_harm_in_a_command_line_is_left_out(daemon: Callable[[Script], FakeDaemon]) -> None:
    bad = ("$(reboot)", "`x`", "a b", "a;b", "\x1b[31m", "--now", "a\nb", "a\tb", "~", "é", "")
    fake = daemon(of(view("fine"), view("told", sub="\x1b[31m"), *(view(name) for name in bad)))
    assert names(fake.path, "jobs", "any", "") == ["fine"]


def never(_: m.Request) -> Answer:
    raise HangupError


def nonsense(request: m.Request) -> Answer:
    yield m.Reply(id=getattr(request, "id"), body=m.Ok())  # noqa: B009  # every request has one


def refusal(request: m.Request) -> Answer:
    yield m.Fault(id=getattr(request, "id"), code="internal", message="no\x1b[31m")  # noqa: B009


@pytest.mark.parametrize("script", [never, nonsense, refusal, lambda _: [b"\0\0\0\1\xc1"]])
@pytest.mark.parametrize("words", [["jobs", "any", ""], ["runs", "web", ""], ["jobs", "runs", "web#"]])
def test_a_daemon_that_answers_badly_gives_nothing(
    daemon: Callable[[Script], FakeDaemon], script: Script, words: list[str]
) -> None:
    assert names(daemon(script).path, *words) == []


def test_without_a_daemon_there_is_nothing_and_none_is_started(tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    env.pop("JOBD_SOCKET", None)
    command = [*jobctl_command("/nonexistent")[:-2], "--user", "__complete", "jobs", "any", ""]
    done = subprocess.run(command, env=env, capture_output=True, timeout=20, check=True)
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == (b"", b"", [])


def test_a_daemon_that_hangs_is_left_alone_after_a_while(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert names(str(tmp_path / "s"), "jobs", "any", "") == []


def test_even_where_the_signal_of_its_timer_is_blocked_or_ignored(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        done = subprocess.run(
            jobctl_command(str(tmp_path / "s"), "__complete", "jobs", "any", ""),
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]),
            capture_output=True,
            timeout=20,
            check=True,
        )
    assert done.stdout + done.stderr == b""


def test_nothing_is_said_when_nobody_listens(daemon: Callable[[Script], FakeDaemon]) -> None:
    fake = daemon(of(*LIVE))
    with open("/dev/full", "wb") as full:
        done = jobctl(fake.path, "__complete", "jobs", "live", "", capture_output=False, stdout=full, stderr=-1)
    assert (done.returncode, done.stderr) == (0, b"")


def test_it_loads_nothing_heavy(daemon: Callable[[Script], FakeDaemon]) -> None:
    import sys

    fake = daemon(of(*LIVE))
    command = [sys.executable, "-I", "-c", PROBE, "--socket", fake.path, "__complete", "jobs", "live", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout
    assert not {*HEAVY, "json"} & set(done.stderr.split())


def test_a_job_or_command_of_that_name_is_not_meant() -> None:
    from jobctl.argv import parse

    call = parse(["run", COMPLETE])
    assert call is not None
    assert (call.verb, call.operands) == ("run", (COMPLETE,))
