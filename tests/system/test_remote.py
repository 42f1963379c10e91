"""jobctl -H through a real sshd: every kind of verb, exact bytes, and whatever may die in the middle."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system import people
from tests.system import sshd as sshds
from tests.system.clients import read
from tests.system.program import DEADLINE_SEC, is_alive, until
from tests.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def far() -> Iterator[Sshd]:
    with sshds.running_sshd() as made:
        yield made


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
    script.write_text("Host *\n  ProxyCommand cat > /dev/null\n")
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


# --- keys that are for jobd alone -------------------------------------------------------------------------------------
def check_tied(far: Sshd, ssh: str) -> None:
    """What a key or certificate that is for jobd alone can do, and cannot."""
    assert far.jobctl("run", "-qP", "echo", "here", env={"JOBCTL_SSH": f"ssh {ssh}"}).stdout == b"here\n"
    done = far.jobctl("list", "--socket", "/run/other.sock", env={"JOBCTL_SSH": f"ssh {ssh}"})
    assert said(done) == (4, "jobctl: cannot choose a jobd: this bridge is for one alone (on one)\n")
    marker = far.home / "marker"
    assert far.ssh(*ssh.split(), "one", f"touch {marker}").stdout.startswith(b"JOBD1 ")
    assert not marker.exists()
    forward = far.ssh(*ssh.split(), "-W", "127.0.0.1:1", "one")
    assert b"forward" in forward.stderr
    assert b"prohibited" in forward.stderr


def test_a_key_that_can_only_talk_to_jobd(far: Sshd) -> None:
    check_tied(far, f"-F {far.root}/ssh_config -o IdentityFile={far.root}/tied")


def test_a_certificate_that_can_only_talk_to_jobd(far: Sshd) -> None:
    command = f"force-command={far.root}/bin/jobd-stdio-bridge --socket {far.jobd.socket}"
    far.keygen("-s", "ca", "-I", "alice", "-n", "deployers", "-V", "+5m", "-O", "clear", "-O", command, "certified.pub")
    check_tied(far, f"-F {far.root}/ssh_config -o IdentityFile={far.root}/certified")


def test_a_plain_conversation_half_closed(far: Sshd) -> None:
    """A client of another kind: it says all it has to say, ends its stdin, and hears the answers."""
    from jobd.wire import frames
    from jobd.wire.plainpack import packb, unpackb

    requests = [
        {"type": "hello", "version": 1, "software": "test"},
        {"type": "list", "id": 1},
        {"type": "daemon-status", "id": 2},
    ]
    done = far.ssh("one", "jobd-stdio-bridge", data=b"".join(frames.pack(packb(each)) for each in requests))
    line, _, rest = done.stdout.partition(b"\n")
    assert line.startswith(b"JOBD1 ")
    buffer = frames.FrameBuffer()
    buffer.feed(rest)
    answers = []
    while (body := buffer.next()) is not None:
        answer = unpackb(bytes(body))
        assert isinstance(answer, dict)
        answers.append(answer["type"])
    assert answers == ["hello", "reply", "reply"]
    assert (done.returncode, done.stderr) == (0, b"")


# --- several hosts ----------------------------------------------------------------------------------------------------
def test_several_hosts_at_a_time(far: Sshd, name: str) -> None:
    every = ",".join(sshds.HOSTS)
    far.jobctl("run", "-u", name, "--", "sh", "-c", r"printf 'a\nb\033[1m'; exit 3")
    far.jobctl("wait", name)
    done = far.jobctl("logs", name, host=f"{every},127.0.0.1:1")
    assert sorted(done.stdout.splitlines()) == sorted(
        line for host in sshds.HOSTS for line in (f"{host}: a".encode(), f"{host}: b\x1b[1m".encode())
    )
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "127.0.0.1:1: jobctl: cannot reach 127.0.0.1:1: connect to host 127.0.0.1 port 1: Connection refused\n"
    )
    assert far.jobctl("is-active", name, host=every).returncode == 3


def test_lines_of_a_list_stay_together_and_are_safe_on_a_terminal(far: Sshd, name: str) -> None:
    far.jobctl("run", "-u", name, "--", "sh", "-c", r"printf 'a\nb\033[1m'; exit 3")
    far.jobctl("wait", name)
    lines = far.jobctl("list", "-a", host=",".join(sshds.HOSTS)).stdout.decode().splitlines()
    order = [line.partition(":")[0] for line in lines]
    assert [host for i, host in enumerate(order) if order[i - 1] != host] == list(dict.fromkeys(order))
    assert set(order) == set(sshds.HOSTS)
    with Terminal() as terminal:
        client = terminal.start(far.command("logs", "-o", "cat", name, host="one,two"), env=far.env)
        assert client.wait(DEADLINE_SEC) == 0
        assert b"two: b\\x1b[1m\r\n" in terminal.read_rest()


def test_connections_may_share_one_login(far: Sshd) -> None:
    """As ssh_config can say: what is not our own ssh's is not ended with it."""
    control = f"ssh -F {far.root}/ssh_config -o ControlPath={far.root}/c -o ControlMaster=auto -o ControlPersist=60"
    before = (far.root / "sshd.log").read_text().count("Accepted ")
    try:
        for _ in range(3):
            done = far.jobctl("run", "-qP", "echo", "x", env={"JOBCTL_SSH": control})
            assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n", b"")
        assert (far.root / "sshd.log").read_text().count("Accepted ") == before + 1
    finally:
        far.ssh("-o", f"ControlPath={far.root}/c", "-O", "exit", "one")


def test_json_of_several_hosts(far: Sshd, name: str) -> None:
    far.jobctl("run", "-u", name, "--wait", "echo", "x")
    found = json.loads(far.jobctl("history", "-o", "json", name, host="one,two,127.0.0.1:1").stdout)
    assert list(found) == ["one", "two", "127.0.0.1:1"]
    assert found["127.0.0.1:1"] is None
    assert found["one"][0]["job"] == name
    lines = far.jobctl("logs", "-o", "json", name, host="one,two").stdout.splitlines()
    assert {json.loads(line)["host"] for line in lines} == {"one", "two"}


@pytest.mark.parametrize("line", [["run", "-P", "cat"], ["rerun", "-t", "web"], ["attach", "web"]])
def test_what_is_for_one_host_alone(far: Sshd, line: list[str]) -> None:
    done = far.jobctl(*line, host="one,two")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"on several hosts at a time" in done.stderr
