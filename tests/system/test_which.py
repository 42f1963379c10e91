"""Which jobd a jobctl without options speaks to, on a machine that has one of its own: /run of a namespace of ours."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, EVE, ROOT, People, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
PLACES = "for place in /run /var/lib; do mount -t tmpfs -o mode=755 tmpfs $place || exit; done; echo up; "


@functools.cache
def why_no_namespace() -> str:
    """Why there can be no /run of our own here; "" if there can."""
    if reason := why_not():
        return reason
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return "unshare and nsenter are not installed"
    if Path("/etc/jobd").exists():
        return "jobd is installed on this machine"
    done = subprocess.run([*NAMESPACE, PLACES], capture_output=True, check=False)
    return "no mounts of our own here" if done.returncode else ""


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_no_namespace()), reason=why_no_namespace() or "-")]


class Machine(People):
    """`jobd --system`, with jobctl as on any machine: no option, and nothing in the environment, names the socket."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.holder = subprocess.Popen(
            [*NAMESPACE, f"{PLACES} exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"up\n"
        inside = Path(f"/proc/{self.holder.pid}/root")
        self.socket = inside / "run/jobd/jobd.sock"
        self.state_dir = Path("/var/lib/jobd")
        for name in ("JOBD_SOCKET", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            self.env.pop(name, None)
        self.env.update(HOME=f"/run/home/{ALICE}", XDG_RUNTIME_DIR=f"/run/user/{ALICE}")
        for place in (inside / f"run/home/{ALICE}", inside / f"run/user/{ALICE}"):
            place.mkdir(parents=True)
            os.chown(place, ALICE, ALICE)
            place.chmod(0o700)

    @property
    def inside(self) -> list[str]:
        """What runs a command in there."""
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", f"--wd={self.place}"]

    def command(self) -> list[str]:
        return [*self.inside, self.python or "", "-I", "-m", "jobd", "--system"]

    def command_as(self, uid: int, *args: str | bytes, gid: int | None = None, groups: str = "") -> list[str | bytes]:
        return [*self.inside, *super().command_as(uid, *args, gid=gid, groups=groups)]

    def close(self) -> None:
        """End it, and then the namespace."""
        try:
            self.ask(ALICE, "--user", "shutdown")
            super().close()
        finally:
            self.holder.communicate()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="jobd-people-"))
    root.chmod(0o755)
    made = Machine(root)
    try:
        made.start()
        yield made
    finally:
        made.close()
        shutil.rmtree(root)


def test_the_systems_comes_first_and_ones_own_is_mentioned(machine: Machine) -> None:
    machine.said(ALICE, "run", "-u", "shared", "--", "sleep", "1000")
    done = machine.ask(ALICE, "list", "-o", "name")
    assert (done.stdout, done.stderr) == ("shared\n", "")
    own = Path(f"/proc/{machine.holder.pid}/root/run/user/{ALICE}/jobd")
    assert not own.exists()  # nobody has started one to ask it
    for name in ("one", "two"):
        machine.said(ALICE, "--user", "run", "-u", name, "--", "sleep", "1000")
    machine.ask(ALICE, "--user", "run", "--wait", "--", "false")
    done = machine.ask(ALICE, "list", "-o", "name")
    assert (done.stdout, done.stderr) == ("shared\n", "2 more: jobctl --user\n")
    for line in (["list", "-q"], ["--system", "list"], ["--user", "list"]):
        assert machine.ask(ALICE, *line).stderr == ""
    assert machine.said(ALICE, "--user", "list", "-o", "name", "--state", "active").split() == ["one", "two"]
    assert machine.ask(ROOT, "list", "-o", "name").stdout == f"{ALICE}/shared\n"


def test_one_that_hangs_holds_up_no_list(machine: Machine) -> None:
    machine.said(ALICE, "--user", "run", "-u", "three", "--", "sleep", "1000")
    pid = int(machine.said(ALICE, "--user", "show", "--value", "-P", "MainPID"))
    os.kill(pid, signal.SIGSTOP)
    try:
        done = machine.ask(ALICE, "list", "--no-legend", "-a")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_listener_that_is_not_roots_is_not_trusted(machine: Machine) -> None:
    """Root's /run/jobd holds what root's keeper has made; should a stranger's socket lie there, nobody speaks to it."""
    script = f"""import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind("/run/jobd/new"); os.setresuid({EVE}, {EVE}, {EVE}); s.listen()
print("up", flush=True); sys.stdin.read()"""
    command = [*machine.inside, machine.python or "", "-I", "-c", script]
    at = Path(f"/proc/{machine.holder.pid}/root/run/jobd")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=machine.env) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"up\n"
        (at / "new").chmod(0o666)
        (at / "jobd.sock").rename(at / "kept")
        (at / "new").rename(at / "jobd.sock")
        try:
            for uid in (ROOT, ALICE):
                done = machine.ask(uid, "run", "true", env={"SECRET": "1"})
                assert done.returncode == 1
                assert f"cannot trust the daemon at /run/jobd/jobd.sock: it belongs to user {EVE}" in done.stderr
        finally:
            (at / "kept").rename(at / "jobd.sock")
        stranger.communicate()
    assert machine.ask(ALICE, "list").returncode == 0
