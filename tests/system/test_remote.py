"""jobctl -H through a real sshd: every kind of verb, exact bytes, and whatever may die in the middle."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system import people
from tests.system import sshd as sshds
from tests.system.clients import read
from tests.system.program import DEADLINE_SEC, is_alive, until
from tests.terminals import Terminal

if TYPE_CHECKING:
    from tests.system.sshd import Sshd

WHY_NOT = sshds.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

NASTY: list[str | bytes] = [
    "a b",
    "",
    "new\nline",
    "$HOME",
    "*",
    "'",
    '"',
    "\\",
    "`id`",
    "; id",
    "-H",
    b"\xff\xfe",
    "%h",
    "~",
    "é",
]
DETACH = b"\x1d\x1d\x1d"


def said(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str]:
    return done.returncode, done.stderr.decode()


# --- what works as it does here ---------------------------------------------------------------------------------------
def test_a_job_runs_over_there_as_a_command_of_ssh_would(far: Sshd, name: str) -> None:
    script = "pwd; id -u; umask; ulimit -n; echo $FOO $BAR; env | cut -d= -f1 | grep -cE '^(SSH_|JOBCTL_)'"
    done = far.jobctl(
        "run", "-P", "-u", name, "-E", "FOO=a b", "-E", "BAR", "--", "sh", "-c", script, env={"BAR": "mine"}
    )
    plain = far.ssh("one", "pwd; id -u; umask; ulimit -n")
    assert done.stdout == plain.stdout + b"a b mine\n0\n"
    assert (done.returncode, done.stderr.decode()) == (1, f"{name}\n")  # grep -c of none
    assert far.jobctl("run", "-P", "-C", "..", "pwd").stdout == os.fsencode(far_home(far).rpartition("/")[0]) + b"\n"
    assert b"BAR=mine" in far.jobctl("run", "-P", "--env", "all", "env", env={"BAR": "mine"}).stdout
    assert far.jobctl("run", "-P", "--env", "none", "env").stdout.count(b"MAIL") == 0


def far_home(far: Sshd) -> str:
    return str(far.home) if far.is_root else os.path.expanduser("~")


def test_the_command_arrives_exactly(far: Sshd) -> None:
    done = far.jobctl("run", "-qP", "--", "printf", r"%s\0", *NASTY)
    assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in NASTY), done.stderr


def test_verbs_that_look_and_act(far: Sshd, name: str) -> None:
    assert far.jobctl("run", "-u", name, "sleep", "1000").stdout.decode() == f"{name}\n"
    rows = json.loads(far.jobctl("list", "-o", "json", name).stdout)
    assert [(row["job"], row["active"], row["owner"]) for row in rows] == [(name, "active", far.user)]
    status = far.jobctl("status", name)
    assert (status.returncode, status.stderr) == (0, b"")
    assert f"● {name} - sleep 1000\n" in status.stdout.decode()
    assert re.search(r"^ +CPU: ", status.stdout.decode(), re.MULTILINE)
    assert far.jobctl("stop", name).returncode == 0
    assert far.jobctl("is-active", name).returncode == 3
    whoami = far.jobctl("auth", "whoami").stdout.decode()
    assert f"{far.user} ({sshds.UID if far.is_root else os.getuid()})" in whoami


def test_both_streams_and_the_status_and_no_more_than_one_connection(far: Sshd) -> None:
    before = (far.root / "sshd.log").read_text().count("Accepted ")
    data = os.urandom(3 << 20)
    done = far.jobctl("run", "-qP", "--", "sh", "-c", "tee /dev/stderr; exit 7", data=data)
    assert (done.returncode, done.stdout == data, done.stderr == data) == (7, True, True)
    until(lambda: (far.root / "sshd.log").read_text().count("Accepted ") == before + 1, "one login")


def test_a_reader_who_stops_holds_up_no_signal(far: Sshd) -> None:
    """stdout stands still with all that fits on its way, and a signal still arrives."""
    script = "trap 'echo got >&2; exit 3' TERM; cat /dev/zero & wait"
    client = subprocess.Popen(
        far.command("run", "-qP", "-p", "logs.max_size=64M", "--", "sh", "-c", script), env=far.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert client.stdout is not None
    assert client.stderr is not None
    try:
        assert read(client.stdout, 1 << 20) == bytes(1 << 20)
        client.terminate()
        assert read(client.stderr, 4) == b"got\n"
    finally:
        client.kill()
        client.communicate(timeout=DEADLINE_SEC)


def test_ones_own_daemon_over_there_is_started(far: Sshd, name: str) -> None:
    if not far.is_root:
        pytest.skip("only root can make an account whose daemon it would be")
    done = far.jobctl("--user", "run", "-qP", "-u", name, "--", "sh", "-c", "id -u; echo $JOBD_JOB")
    try:
        assert (done.returncode, done.stdout.decode()) == (0, f"{sshds.UID}\n{name}\n"), done.stderr
        status = json.loads(far.jobctl("--user", "daemon-status", "-o", "json").stdout)
        assert (status["mode"], status["state_dir"].startswith(str(far.home))) == ("user", True)
        assert far.jobctl("list", "-ao", "name").stdout.decode().split().count(name) == 0
    finally:
        assert far.jobctl("--user", "shutdown").returncode == 0


def test_root_over_there_grants_what_is_to_run_as_root(far: Sshd, name: str) -> None:
    if not far.is_root:
        pytest.skip("only root can start a jobd for all users")
    status = json.loads(far.jobctl("daemon-status", "-o", "json").stdout)
    assert status["uid"] == pwd.getpwnam(people.DAEMON).pw_uid
    for options in ("-qP", "-qf"):
        done = far.jobctl("run", options, "-u", name, "--", "id", "-u", host="root@one")
        assert (done.returncode, done.stdout) == (0, b"0\n"), done.stderr
    done = far.jobctl("run", "-qP", "-C", "/", "-p", f"user={sshds.UID}", "--", "id", "-u", host="root@one")
    assert (done.returncode, done.stdout.decode()) == (0, f"{sshds.UID}\n"), done.stderr


# --- whoever dies -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("who", ["daemon", "ssh", "bridge"])
def test_a_pipe_goes_on_exactly_when_one_of_them_is_killed(far: Sshd, who: str) -> None:
    client = subprocess.Popen(
        far.command("run", "-qP", "cat"), env=far.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert client.stdin is not None
    try:
        lines = [f"line {i}\n".encode() * 5000 for i in range(3)]
        for i, line in enumerate(lines):
            if i == 1:
                kill(far, who, client.pid)
            writer = threading.Thread(target=client.stdin.write, args=(line,))
            writer.start()
            assert read(client.stdout, len(line)) == line
            writer.join()
        client.stdin.close()
        assert read(client.stderr, 1) == b""
        assert client.wait(DEADLINE_SEC) == 0
    finally:
        client.kill()
        for file in (client.stdin, client.stdout, client.stderr):
            assert file is not None
            file.close()
        client.wait()


def kill(far: Sshd, who: str, jobctl: int) -> None:
    if who == "daemon":
        far.jobd.replace_daemon()
    elif who == "ssh":
        os.kill(sshds.ssh_of(jobctl), signal.SIGKILL)
    else:
        bridges = until(far.bridges, "the bridge runs")
        assert len(bridges) == 1, bridges
        os.kill(bridges[0], signal.SIGKILL)


def test_a_network_that_goes_silent(far: Sshd) -> None:
    """Nothing ends, nothing comes: ssh gives up, the next login takes over, and every byte is there once."""
    usual = far.env["JOBCTL_SSH"]
    env = {**far.env, "JOBCTL_SSH": f"{usual} -o ServerAliveInterval=1 -o ServerAliveCountMax=1"}  # the first counts
    before = far.logins()
    client = subprocess.Popen(
        far.command("run", "-qP", "cat"), env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert client.stdin is not None
    client.stdin.write(b"one\n")
    assert read(client.stdout, 4) == b"one\n"
    (session,) = far.logins() - before
    os.kill(session, signal.SIGSTOP)
    try:
        client.stdin.write(b"two\n")
        assert read(client.stdout, 4) == b"two\n"
        client.stdin.close()
        client.stdin = None
        said = client.communicate(timeout=DEADLINE_SEC)
        assert (client.returncode, *said) == (0, b"", b"Timeout, server 127.0.0.1 not responding.\n")
    finally:
        os.kill(session, signal.SIGCONT)
        client.kill()
        client.communicate()


def test_a_host_that_does_not_come_back(far: Sshd, name: str) -> None:
    once = far.root / "once"
    once.write_text(f'#!/bin/sh\nmkdir {once}.was 2>/dev/null && exec ssh "$@"\necho "ssh: no way" >&2\nexit 255\n')
    once.chmod(0o755)
    code = (
        "import sys; sys.argv[0] = 'jobctl'; from jobctl import connect; connect.NETWORK_SEC = 0.2\n"
        "from jobctl.__main__ import main; main()"
    )
    command = [sys.executable, "-I", "-c", code, *far.command("run", "-P", "-u", name, "cat")[1:]]
    client = subprocess.Popen(
        command, env={**far.env, "JOBCTL_SSH": f"{once} -F {far.root}/ssh_config"}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert client.stdin is not None
    client.stdin.write(b"one\n")
    assert read(client.stdout, 4) == b"one\n"
    os.kill(sshds.ssh_of(client.pid), signal.SIGKILL)
    _, said = client.communicate(timeout=DEADLINE_SEC)
    assert client.returncode == 125
    lines = said.decode().splitlines()
    assert lines[0] == name
    assert lines[1].startswith("jobctl: cannot reach one: no way; trying again for ")
    last = f"cannot go on with {name}: cannot reach one: no way; when it is back: jobctl -H one attach {name}"
    assert lines[2:] == [f"jobctl: {last}"]
    assert far.jobctl("stop", name).returncode == 0


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(far: Sshd, name: str) -> None:
    far.jobctl("run", "-u", name, "--", "sh", "-c", "echo here; exec sleep 1000")
    client = subprocess.Popen(
        far.command("logs", "-f", name), env=far.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert read(client.stdout, 5) == b"here\n"
    ssh = sshds.ssh_of(client.pid)
    os.killpg(client.pid, signal.SIGINT)
    assert client.communicate(timeout=DEADLINE_SEC)[0] == b""
    assert client.returncode == 130
    until(lambda: not is_alive(ssh) and not far.bridges(), "ssh and the bridge have gone")
    assert far.jobctl("stop", name).returncode == 0


def test_ctrl_c_ends_an_ssh_that_has_not_come_through(far: Sshd) -> None:
    script = far.root / "silent"
    script.write_text("Host *\n  ProxyCommand cat 3>&1 > /dev/null\n")
    client = subprocess.Popen(
        far.command("list"), env={**far.env, "JOBCTL_SSH": f"ssh -F {script}"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    child = until(lambda: sshds.children(client.pid), "ssh has begun")[0]
    until(lambda: sshds.children(child), "its proxy, too")
    os.killpg(client.pid, signal.SIGINT)
    assert client.communicate(timeout=DEADLINE_SEC) == (b"", b"")
    assert client.returncode == 130
    until(lambda: not is_alive(child), "ssh has gone")


def test_a_terminal_over_there(far: Sshd, name: str) -> None:
    script = "stty -echo; trap 'stty size' WINCH; stty size; read -r a; echo \"got $a\"; while :; do sleep 0.05; done"
    with Terminal(24, 80) as terminal:
        env = {**far.env, "TERM": "xterm"}
        client = terminal.start(far.command("run", "-t", "-u", name, "--", "sh", "-c", script), env=env)
        at = terminal.read(b"24 80\r\n")
        terminal.type(b"keys\r")
        at = terminal.read(b"got keys\r\n", at)
        terminal.resize(30, 100)
        terminal.read(b"30 100\r\n", at)
        terminal.type(DETACH)
        assert client.wait(DEADLINE_SEC) == 125
        terminal.read(f"{name} goes on".encode())
        client = terminal.start(far.command("attach", name), env=env)
        until(lambda: terminal.is_raw or client.poll() is not None, "the terminal is raw")
        terminal.type(b"\x03")
        assert client.wait(DEADLINE_SEC) == 130


# --- what goes wrong --------------------------------------------------------------------------------------------------
class Failure(NamedTuple):
    says: str
    host: str = "one"
    env: str = ""


SHELL_SAYS = "the login shell there did not run jobd-stdio-bridge (exit status 1): This account is closed."
FAILURES = {
    "no_route": Failure(
        "cannot reach 127.0.0.1:1: connect to host 127.0.0.1 port 1: Connection refused", host="127.0.0.1:1"
    ),
    "no_such_host": Failure("cannot reach no.invalid: Could not resolve hostname no.invalid", host="no.invalid"),
    "host_key": Failure(
        "cannot trust 127.0.0.1:{port}: its host key is unknown or has changed", host="127.0.0.1:{port}"
    ),
    "key": Failure(
        "cannot log in to one: {user}@127.0.0.1: Permission denied", env="JOBCTL_SSH={ssh} -o PubkeyAuthentication=no"
    ),
    "not_installed": Failure("cannot find jobd-stdio-bridge on one: jobd is not", env="JOBCTL_BRIDGE=jobd-no-bridge"),
    "shell": Failure(f"cannot use one: {SHELL_SAYS}", env="JOBCTL_BRIDGE=echo This account is closed.; exit 1"),
    "no_ssh": Failure("cannot run /no/ssh: No such file or directory", env="JOBCTL_SSH=/no/ssh"),
    "noise": Failure("cannot use one: its login scripts write more than 64 KiB", env="JOBCTL_BRIDGE=yes noise"),
    "newer": Failure("cannot speak with one: its jobd is too different", env="JOBCTL_BRIDGE=echo JOBD9 7.0"),
    "option": Failure("cannot read the host '-oProxyCommand=id': no name begins", host="-oProxyCommand=id"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_each_failure_has_words_of_its_own(far: Sshd, case: str) -> None:
    failure = FAILURES[case]._asdict()
    places = {"port": str(far.port), "user": far.user, "ssh": far.env["JOBCTL_SSH"]}
    says, host, env = (text.format(**places) for text in failure.values())
    done = far.jobctl("list", host=host, env=dict([env.split("=", 1)]) if env else None)
    assert done.returncode == (2 if case == "option" else 1)
    assert done.stdout == b""
    *before, last = done.stderr.decode().splitlines()
    assert last.startswith(f"jobctl: {says}"), done.stderr
    assert len(before) == (case == "host_key")  # ssh says which key it does not know


def test_no_daemon_over_there(far: Sshd) -> None:
    status, text = said(far.jobctl("list", "--socket", "/nonexistent/s"))
    assert status == 1
    assert text.startswith("jobctl: cannot connect to jobd at /nonexistent/s: No such file or directory (on one)")
    done = far.ssh("one", "jobd-stdio-bridge --socket /nonexistent/s", data=b"\0\0\0\1")
    assert done.returncode == 69
    assert done.stderr == b"jobd-stdio-bridge: cannot connect to jobd at /nonexistent/s: No such file or directory\n"


def test_what_login_scripts_write_is_passed_over(far: Sshd) -> None:
    for noise in ("echo hello; echo there >&2", "printf 'no newline'", "head -c 60000 /dev/zero"):
        done = far.jobctl("run", "-qP", "echo", "here", env={"JOBCTL_BRIDGE": f"{noise}; exec jobd-stdio-bridge"})
        assert (done.returncode, done.stdout) == (0, b"here\n"), done.stderr
        assert done.stderr == (b"there\n" if "there" in noise else b"")
