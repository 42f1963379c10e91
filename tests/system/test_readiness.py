"""Services that say how they are, or are asked: real programs, real sockets, and a daemon that dies in between."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.program import Gate, Program, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# What any service written in Python does, without a library. `wait` returns when the test says so.
PRELUDE = """
import os, signal, socket, sys, time
def notify(*lines):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        s.send("\\n".join(lines).encode())
def wait(n):
    while True:
        with open(sys.argv[n]) as gate:  # whoever has opened it last may not have closed it yet
            if line := gate.readline().strip():
                return line
def stay():
    signal.alarm(300)
    while True:
        signal.pause()
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A jobd whose daemon is killed now and then; its jobs have names of their own."""
    with Program(tmp_path_factory.mktemp("services")) as program:
        yield program


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


def run(here: Program, name: str, text: str, *settings: str, gates: tuple[Gate, ...] = ()) -> None:
    """Have a service run whose program is Python text."""
    options = [word for setting in settings for word in ("-p", setting)]
    argv = [sys.executable, "-c", PRELUDE + text, *(str(gate.path) for gate in gates)]
    here.jobctl("run", "--name", name, *options, "--", *argv, check=True)


def state(here: Program, name: str) -> str:
    return here.show(name, "SubState")


def until_state(here: Program, name: str, wanted: str) -> None:
    until(lambda: state(here, name) == wanted, f"{name} is {wanted}")


def test_a_service_that_notifies(here: Program, name: str, gate: Gate) -> None:
    text = """
def leave(*_):
    notify("STOPPING=1", "STATUS=Going")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
wait(1)
notify("READY=1", "STATUS=Serving \\x1b[31mred", "ERRNO=5")
assert wait(1) == "reload"
notify("RELOADING=1")
wait(1)
notify("READY=1")
stay()
"""
    run(here, name, text, "type=notify", gates=(gate,))
    assert (here.show(name, "ActiveState"), state(here, name)) == ("activating", "start")
    assert "READY=1" in here.jobctl("status", name).stdout
    gate.open()
    until_state(here, name, "running")
    until(lambda: here.show(name, "StatusErrno") == "5", "its errno is known")
    shown = here.jobctl("status", name).stdout
    assert "Serving" in shown
    assert "\x1b" not in shown
    gate.open("reload")
    until(lambda: here.show(name, "ActiveState") == "reloading", "it reloads")
    here.replace_daemon()
    assert here.show(name, "ActiveState") == "reloading"
    gate.open()
    until_state(here, name, "running")
    here.jobctl("stop", name, check=True)
    assert (here.show(name, "Result"), here.show(name, "StatusText")) == ("success", "Going")


def test_ready_never_comes(here: Program, name: str) -> None:
    run(here, name, "stay()", "type=notify", "ready.timeout=200ms")
    until_state(here, name, "failed")
    assert here.show(name, "Result") == "timeout"
    assert "it was not ready within 200ms: it waited for READY=1" in here.jobctl("status", name).stdout


def test_a_service_that_forks_away(here: Program, name: str, gate: Gate) -> None:
    text = """
child = os.fork()
if child == 0:
    signal.alarm(300)
    sys.exit(int(wait(1)))
notify(f"MAINPID={child}", "READY=1")
"""
    run(here, name, text, "type=notify", gates=(gate,))
    until_state(here, name, "running")
    main = here.show(name, "MainPID")
    here.replace_daemon()
    assert (here.show(name, "MainPID"), state(here, name)) == (main, "running")
    gate.open("7")
    assert here.jobctl("wait", name).returncode == 7


def test_it_forks_away_while_no_daemon_looks(here: Program, name: str, gate: Gate, tmp_path: Path) -> None:
    text = f"""
child = os.fork()
if child == 0:
    stay()
wait(1)
notify(f"MAINPID={{child}}", "READY=1", "STATUS=Gone")
open({str(tmp_path / "said")!r}, "w").close()
"""
    run(here, name, text, "type=notify", gates=(gate,))
    parent = int(here.show(name, "MainPID"))
    daemon = here.kill_daemon(signal.SIGSTOP)
    gate.open()
    until(lambda: (tmp_path / "said").exists() and not is_alive(parent), "the parent is gone")
    os.kill(daemon, signal.SIGKILL)
    until_state(here, name, "running")
    assert here.show(name, "MainPID") not in ("0", str(parent))
    assert here.show(name, "StatusText") == "Gone"
    here.jobctl("stop", name, check=True)


def test_strangers_are_neither_listened_to_nor_made_the_main_process(here: Program, name: str, gate: Gate) -> None:
    text = """
print(os.environ["NOTIFY_SOCKET"], flush=True)
notify(f"MAINPID={wait(1)}")
stay()
"""
    run(here, name, text, "type=notify", gates=(gate,))
    path = until(lambda: here.output(name).strip(), "it says where its socket is")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.connect(path)  # root may, and so may its own user's other processes
        stranger.send(b"READY=1")
        stranger.send(b"READY=1")
    until(lambda: f"process {os.getpid()}" in here.show(name, "StatusText") + here.log_text(), "it is said")
    main = here.show(name, "MainPID")
    gate.open(str(os.getpid()))
    until(lambda: f"refused MAINPID={os.getpid()}" in here.jobctl("status", name).stdout, "it is refused")
    assert (state(here, name), here.show(name, "MainPID")) == ("start", main)
    assert here.log_text().count(f"notification from process {os.getpid()}") == 1
    here.jobctl("stop", name, check=True)


def test_ready_said_while_no_daemon_looks_is_received_by_the_next(here: Program, name: str, gate: Gate) -> None:
    run(
        here,
        name,
        'wait(1); notify("READY=1"); print("said", flush=True); wait(1); stay()',
        "type=notify",
        gates=(gate,),
    )
    daemon = here.kill_daemon(signal.SIGSTOP)
    gate.open()
    gate.open()  # it has said it
    os.kill(daemon, signal.SIGKILL)
    until_state(here, name, "running")
    here.jobctl("stop", name, check=True)


def test_the_daemon_dies_while_it_waits_for_a_check(here: Program, name: str, tmp_path: Path) -> None:
    flag, stopped = tmp_path / "flag", tmp_path / "asked"
    check = f'ready.command=["/bin/sh", "-c", "echo x >> {stopped}; test -e {flag}"]'
    run(here, name, "stay()", check)
    until(stopped.exists, "it is asked")
    here.replace_daemon()
    assert state(here, name) == "start"
    flag.touch()
    until_state(here, name, "running")
    here.jobctl("stop", name, check=True)


def test_one_that_hangs_is_ended_whatever_becomes_of_the_daemon(here: Program, name: str, tmp_path: Path) -> None:
    aborts = tmp_path / "aborts"
    text = f"""
def aborted(*_):
    with open({str(aborts)!r}, "a") as f:
        f.write("x")
signal.signal(signal.SIGABRT, aborted)
stay()
"""
    run(here, name, text, "watchdog.interval=200ms", "stop.timeout=1500ms")
    until_state(here, name, "stop-watchdog")
    here.replace_daemon()
    until_state(here, name, "failed")
    assert here.show(name, "Result") == "watchdog"
    assert aborts.read_text() == "x"


def test_a_web_server_by_tcp_and_http(here: Program, name: str, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (tmp_path / "healthz").touch()
    url = f"http://localhost:{port}/healthz"
    settings = [f"ready.tcp={port}", f"health.http={url}", "health.interval=300ms", "health.timeout=10s"]
    settings += ["health.action=stop", "health.failures=2"]
    options = [word for setting in settings for word in ("-p", setting)]
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    here.jobctl("run", "--name", name, "-C", str(tmp_path), *options, "--", *server, check=True)
    until_state(here, name, "running")
    until(lambda: "healthy" in here.jobctl("status", name).stdout, "it is healthy")
    here.replace_daemon()
    until(lambda: "healthy" in here.jobctl("status", name).stdout, "it is healthy")
    (tmp_path / "healthz").unlink()
    until_state(here, name, "failed")
    assert here.show(name, "Result") == "watchdog"
    reason = f"its health check failed 2 times in a row: http {url}: it answered 404"
    assert reason in here.jobctl("status", name).stdout


@pytest.mark.parametrize("kind", ["unix", "log", "delay"])
def test_other_checks(here: Program, name: str, gate: Gate, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sock"
    text = f"""
wait(1)
s = socket.socket(socket.AF_UNIX)
s.bind({str(path)!r})
s.listen()
print("listening on", s.getsockname(), file=sys.stderr, flush=True)
stay()
"""
    setting = {"unix": f"ready.unix={path}", "log": "ready.log=^listening on /", "delay": "ready.delay=100ms"}[kind]
    run(here, name, text, setting, gates=(gate,))
    assert state(here, name) in ("start", "running" if kind == "delay" else "start")
    gate.open()
    until_state(here, name, "running")
    here.jobctl("stop", name, check=True)


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="systemd-notify is not installed")
def test_systemd_notify_of_a_shell(here: Program, name: str) -> None:
    script = 'systemd-notify --ready --status="From a shell"; sleep 300 & wait'
    here.jobctl("run", "--name", name, "-p", "type=notify", "--shell", script, check=True)
    until_state(here, name, "running")
    assert here.show(name, "StatusText") == "From a shell"
    here.jobctl("stop", name, check=True)


def test_a_pattern_that_takes_for_ever_costs_nobody_anything(here: Program, name: str) -> None:
    run(here, name, 'print("a" * 60 + "!", flush=True); stay()', "ready.log=(a+)+$")
    daemon = here.daemon_pid()
    until_state(here, name, "failed")
    assert "takes too long" in here.jobctl("status", name).stdout
    assert here.daemon_pid() == daemon


def test_who_starts_one_that_is_never_ready_is_told_why(here: Program, name: str) -> None:
    run(here, name, "stay()", "type=notify", "ready.timeout=100ms")
    until_state(here, name, "failed")
    started = here.jobctl("start", name)
    assert started.returncode == 1
    assert "it was not ready within 100ms: it waited for READY=1" in started.stderr


def test_a_service_does_not_notice_that_its_keeper_dies(here: Program, name: str, gate: Gate) -> None:
    text = """
import threading
def told():
    wait(1)
    notify("STATUS=Still here")
threading.Thread(target=told, daemon=True).start()
notify("READY=1")
signal.alarm(300)
while True:
    notify("WATCHDOG=1")
    time.sleep(0.1)
"""
    run(here, name, text, "type=notify", "watchdog.interval=2s", gates=(gate,))
    until_state(here, name, "running")
    main = here.show(name, "MainPID")
    here.kill_keeper()
    gate.open()
    until(lambda: here.show(name, "StatusText") == "Still here", "the next daemon hears it")
    assert (here.show(name, "MainPID"), state(here, name)) == (main, "running")
    here.jobctl("stop", name, check=True)
