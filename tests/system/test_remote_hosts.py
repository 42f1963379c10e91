"""jobctl -H through a real sshd: keys that are for jobd alone, clients of another kind, several hosts at a time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.system import sshd as sshds
from tests.system.program import DEADLINE_SEC
from tests.terminals import Terminal

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.system.sshd import Sshd

WHY_NOT = sshds.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


def said(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str]:
    return done.returncode, done.stderr.decode()


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


def test_a_host_is_named_once_in_an_error(far: Sshd) -> None:
    done = far.jobctl("--socket", "/nonexistent/s", "list", host="one,two")
    said = "jobctl: cannot connect to jobd at /nonexistent/s: No such file or directory"
    assert sorted(done.stderr.decode().splitlines()) == [f"one: {said}", f"two: {said}"]


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
    with Terminal() as terminal:
        client = terminal.start(far.command("logs", name, host="one,two"), env=far.env)
        assert client.wait(DEADLINE_SEC) == 0
        shown = terminal.read_rest()
    time = rb"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d"
    assert re.search(rb"two: %s %s\[\d+\]: b\\x1b\[1m\r\n" % (time, name.encode()), shown), shown


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


# --- definitions --------------------------------------------------------------------------------------------------
def test_services_of_another_host(far: Sshd, tmp_path: Path) -> None:
    """What is sent is kept there; nothing of it is read here again."""
    (tmp_path / "far-db.toml").write_text('command = ["sleep", "1000"]\n[ready]\ndelay = "50ms"\n')
    web = tmp_path / "far-web.toml"
    web.write_text('command = "sleep 1000"\nrequires = ["far-db"]\nafter = ["far-db"]\n')
    done = far.jobctl("add", str(web), str(tmp_path / "far-db.toml"), "--enable", "--now")
    assert (said(done), done.stdout) == ((0, ""), b"added far-web\nadded far-db\n")
    web.unlink()
    listed = json.loads(far.jobctl("list-job-files", "-o", "json").stdout)
    assert [row["state"] for row in listed if row["job"].startswith("far-")] == ["enabled", "enabled"]
    assert far.jobctl("cat", "far-web").stdout.startswith(b"# stored: far-web\n")
    assert far.jobctl("list-dependencies", "far-web").stdout.decode().split() == ["far-web", "●", "└─far-db"]
    changed = far.jobctl("edit", "--stdin", "far-web", data=b'restart = "always"\n')
    assert (said(changed), changed.stdout) == ((0, ""), b"changed far-web: restart (needs restart)\n")
    assert far.jobctl("set-property", "far-web", "description=There").returncode == 0
    assert b"override.toml, set-property.toml" in far.jobctl("status", "far-web").stdout
    assert said(far.jobctl("stop", "far-db")) == (0, "")
    why = far.jobctl("why", "far-web").stdout.decode()
    assert re.search(r"^far-web is not running: .* stopped it .* \(it requires far-db\)$", why, re.MULTILINE)
    assert said(far.jobctl("rm", "far-web", "far-db")) == (0, "")
    web.write_text('command = "true"\nworking_directory = "sub"\n')
    here = f"paths in {web} that do not begin with / are meant from {tmp_path} on one"
    assert said(far.jobctl("add", str(web))) == (0, f"jobctl: {here}\n")
    assert said(far.jobctl("rm", "far-web")) == (0, "")
