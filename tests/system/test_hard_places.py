"""A jobd of root's where the machine is odd, and users who make it hard: each ends with an answer, and soon."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.wire import codec
from jobd.wire import messages as m
from tests.system.callers import CallerAs, connect_as
from tests.system.people import ALICE, EVE, ROOT, People, many_users, why_not
from tests.system.program import until
from tests.system.test_privileges import OPTIONS, output, run, said, submitted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why := why_not()), reason=why)]
STARTS = 200  # during which a directory is exchanged
TURN = 50
BOMBER = 100_000 + os.getpid()  # the kernel counts a uid's processes: this one has no others, whoever tests beside us


@pytest.fixture(scope="module")
def jobd() -> Iterator[People]:
    with many_users(options=OPTIONS) as people:
        yield people


@pytest.fixture
def alice(jobd: People) -> Iterator[CallerAs]:
    made = CallerAs(jobd.socket, ALICE)
    yield made
    made.close()


# --- what users point at ------------------------------------------------------------------------------------------
def test_a_directory_that_is_none(jobd: People, alice: CallerAs) -> None:
    place = jobd.place
    os.mkfifo(place / "fifo")
    with (place / "huge").open("wb") as file:
        file.truncate(10 << 30)  # sparse
    (place / "to-root").symlink_to("/root")
    (place / "round").symlink_to("round")
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    bad = {
        place / "fifo": "Not a directory", place / "huge": "Not a directory", Path("/dev/zero"): "Not a directory",
        place / "round": "Too many levels of symbolic links", closed: "Permission denied",
        place / "missing": "No such file or directory",
    }  # fmt: skip
    for path, reason in bad.items():
        started = submitted(alice, run("pwd", cwd=os.fsencode(path)))
        assert (started.step, started.text.rpartition(": ")[2]) == ("chdir", reason), path
    assert submitted(alice, run("pwd", cwd=bytes(place / "to-root"))).step in ("chdir", "")


def test_a_directory_that_is_exchanged_during_many_starts(jobd: People, alice: CallerAs) -> None:
    """Whichever it was, the job is in it as its user: never in one that he may not enter."""
    place, stop = jobd.place, threading.Event()
    (place / "good").mkdir(mode=0o777)
    (place / "secret").mkdir(mode=0o700)
    (place / "secret" / "treasure").write_text("gold")
    here = place / "here"

    def exchange() -> None:
        while not stop.is_set():
            for name in ("good", "secret"):
                with contextlib.suppress(OSError):
                    os.symlink(place / name, place / "next")
                os.rename(place / "next", here)

    os.symlink(place / "good", here)
    thread = threading.Thread(target=exchange)
    thread.start()
    steps: dict[str, int] = {}
    try:
        while sum(steps.values()) < STARTS:
            script = "ls treasure 2>/dev/null && exit 9; exit 0"
            started = [submitted(alice, run(script, cwd=os.fsencode(here))) for _ in range(TURN)]
            for one in started:
                steps[one.step] = steps.get(one.step, 0) + 1
            alive = [one.run for one in started if not one.step]
            found = [answer.body for answer in alice.ask(m.Wait(id=1, runs=alive)) if isinstance(answer, m.Item)]
            assert {body.run.exit_code for body in found if isinstance(body, m.Ended)} <= {0}
    finally:
        stop.set()
        thread.join()
    assert set(steps) == {"", "chdir"}, steps


def test_a_fork_bomb_is_bounded_and_can_be_stopped(jobd: People) -> None:
    bomber = CallerAs(jobd.socket, BOMBER)
    inner = "i=0; while [ $i -lt 500 ]; do sleep 300 & i=$((i+1)); done; echo all"
    script = f"sh -c '{inner}' 2>/dev/null; exec sleep 300"
    started = submitted(bomber, run(script, name="bomb", rlimits={"nproc": (60, 60)}))
    assert started.step == ""

    def mine() -> int:
        return sum(1 for pid in os.listdir("/proc") if pid.isdigit() and _uid_of(pid) == BOMBER)

    until(lambda: mine() >= 50, "it has forked")
    other = CallerAs(jobd.socket, EVE)
    assert said(jobd, other, "echo here") == ["here"]
    other.close()
    assert mine() <= 60
    assert jobd.ask(BOMBER, "kill", "--signal", "KILL", "bomb", check=True)
    until(lambda: mine() == 0, "all of it is gone")
    assert "all" not in output(jobd, BOMBER, started.run)
    bomber.close()


def _uid_of(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def test_limits_that_his_shell_has_are_his_and_no_more_than_jobds(jobd: People, alice: CallerAs) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert said(jobd, alice, "ulimit -Hn", rlimits={"nofile": (hard + 5, hard + 5)}) == [str(hard)]
    assert said(jobd, alice, "ulimit -n", rlimits={"nofile": (100, 200)}) == ["100"]


# --- odd machines -------------------------------------------------------------------------------------------------
class Elsewhere(People):
    """A jobd in a mount namespace of its own; `prepare` is shell text that makes it odd."""

    prepare = ""

    def command(self) -> list[str]:
        inner = f'{self.prepare}\nexec "$@"'
        return ["unshare", "-m", "--propagation", "private", "sh", "-ec", inner, "sh", *super().command()]


@contextlib.contextmanager
def elsewhere(prepare: str) -> Iterator[Elsewhere]:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace of one's own here")
    root = Path(tempfile.mkdtemp(prefix="jobd-people-"))
    root.chmod(0o755)
    made = Elsewhere(root, options=OPTIONS)
    made.prepare = prepare.format(root=root)
    try:
        made.start()
        yield made
    finally:
        made.close()
        shutil.rmtree(root)


def test_hidden_processes_no_cgroups_and_no_shared_memory() -> None:
    prepare = """
mount -t proc -o hidepid=2 proc /proc
for place in /sys/fs/cgroup /sys/fs/cgroup/unified; do
  if mountpoint -q $place; then mount -o remount,bind,ro $place; fi
done
if [ -d /dev/shm ]; then mkdir {root}/empty; mount --bind -o ro {root}/empty /dev/shm; fi
"""
    with elsewhere(prepare) as jobd:
        assert jobd.daemon_status().tracking == "process"
        alice = CallerAs(jobd.socket, ALICE)
        assert said(jobd, alice, "(sleep 0.1; echo late) & echo early; wait") == ["early", "late"]
        started = submitted(alice, run("sleep 300 & exec sleep 300", name="web"))
        assert started.pid is not None
        body = alice.body(m.Whoami(id=1, pids=[started.pid, os.getpid()]))
        assert isinstance(body, m.Members)
        assert [member.job for member in body.members] == ["web", ""]
        jobd.replace_daemon()
        alice.close()
        jobd.ask(ALICE, "stop", "web", check=True)
        assert jobd.ask(ROOT, "run", "--follow", "--", "id", "-u", check=True).stdout == "0\n"


def test_a_user_who_is_deleted_while_his_service_runs() -> None:
    name, gid = "lodger", 61112
    with _lodging(name, ALICE, gid) as jobd:
        lodger = CallerAs(jobd.socket, ALICE, gid=gid)
        script = 'id -un 2>&1; echo "$HOME"; exec sleep 300'
        started = submitted(lodger, run(script, name="web"))
        until(lambda: len(output(jobd, ALICE, started.run)) == 2, "it has written")
        assert output(jobd, ALICE, started.run) == [name, f"/home/{name}"]
        passwd = jobd.root / "passwd"
        passwd.write_text("".join(line for line in passwd.read_text().splitlines(True) if not line.startswith(name)))
        jobd.ask(ROOT, "restart", f"{ALICE}/web", check=True)
        view = jobd.ask(ROOT, "show", "-p", "ActiveState", "--value", f"{ALICE}/web", check=True).stdout.strip()
        assert view == "active", "it goes on under its uid, with the group it was submitted with"
        jobd.ask(ROOT, "stop", f"{ALICE}/web", check=True)
        failed = jobd.ask(ROOT, "run", "-p", f"user={name}", "--", "true")
        assert failed.returncode != 0
        assert "there is no such user" in failed.stderr
        lodger.close()


@contextlib.contextmanager
def _lodging(name: str, uid: int, gid: int) -> Iterator[Elsewhere]:
    """A jobd on a machine of its own where this user has an account."""
    entry = f"{name}:x:{uid}:{gid}::/home/{name}:/bin/sh"
    prepare = (
        f"cp /etc/passwd {{root}}/passwd; echo '{entry}' >> {{root}}/passwd; mount --bind {{root}}/passwd /etc/passwd"
    )
    with elsewhere(prepare) as jobd:
        yield jobd


def test_a_user_namespace_of_one() -> None:
    """Root there is one ordinary user; all others are nobody, and nobody's jobs are not run."""
    root = Path(tempfile.mkdtemp(prefix="jobd-people-"))
    root.chmod(0o755)

    class Alone(People):
        def command(self) -> list[str]:
            switch = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups", "unshare", "-Ur"]
            return [*switch, *super().command()]

    made = Alone(root)
    if subprocess.run([*made.command()[:6], "true"], capture_output=True, cwd="/").returncode:
        shutil.rmtree(root)
        pytest.skip("users may not make user namespaces here")
    for path in (made.state_dir, made.socket.parent, made.config_dir):
        os.chown(path, ALICE, ALICE)
    try:
        made.start(answering=False)
        until(made.socket.exists, "it listens")
        alice = CallerAs(made.socket, ALICE)
        assert said(made, _As(alice, 0), "id -u") == ["0"]  # type: ignore[arg-type]  # who alice is in there
        alice.close()
        with connect_as(made.socket, EVE) as eve, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            eve.sendall(codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="test 0")))
            assert b"hello" not in b"".join(iter(lambda: eve.recv(4096), b""))
    finally:
        made.keeper.terminate()
        made.keeper.wait(60)
        shutil.rmtree(root)


class _As:
    """A caller whose jobs are kept under another uid than the one we know."""

    def __init__(self, caller: CallerAs, uid: int) -> None:
        self.uid = uid
        self.body, self.ask = caller.body, caller.ask
