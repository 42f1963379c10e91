"""One jobd of root's whose daemon is nobody: what each of the two can do, and what is left when either is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.system.callers import CallerAs
from tests.system.people import ALICE, BOB, EVE, ROOT, People, many_users, why_not
from tests.system.program import Gate, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why := why_not()), reason=why)]
DAEMON_UID = 61999
OPTIONS = ("--daemon-user", str(DAEMON_UID))
GID = 61111
LAST = "that is all"


@pytest.fixture(scope="module")
def jobd() -> Iterator[People]:
    with many_users(options=OPTIONS) as people:
        yield people


@pytest.fixture
def alice(jobd: People) -> Iterator[CallerAs]:
    made = CallerAs(jobd.socket, ALICE, gid=GID)
    yield made
    made.close()


def run(script: str, **fields: object) -> m.Run:
    """A submission; `env` and the like as in the message."""
    usual: dict[str, object] = {"env": [b"PATH=/usr/bin:/bin"], "cwd": b"/"}
    return m.Run(id=1, run=new_run_id(), argv=[b"/bin/sh", b"-c", script.encode()], **{**usual, **fields})  # type: ignore[arg-type]


def submitted(caller: CallerAs, request: m.Run) -> m.Started:
    body = caller.body(request)
    assert isinstance(body, m.Started), body
    return body


def ended(caller: CallerAs, run_id: bytes) -> m.RunView:
    """Wait for the end of a run."""
    found = [answer.body for answer in caller.ask(m.Wait(id=1, runs=[run_id])) if isinstance(answer, m.Item)]
    return next(body.run for body in found if isinstance(body, m.Ended))


def output(jobd: People, owner: int, run_id: bytes) -> list[str]:
    """What a run has written to stdout."""
    logs = jobd.state_dir / "logs" / str(owner) / run_id.hex()[-2:] / run_id.hex()
    return "".join(path.read_text() for path in sorted(logs.glob("out.*"))).splitlines()


def said(jobd: People, caller: CallerAs, script: str, **fields: object) -> list[str]:
    """The lines that a script writes as this caller's job."""
    started = submitted(caller, run(f"{script}\necho {LAST}", **fields))
    assert started.step == "", started.text
    ended(caller, started.run)
    lines = until(lambda: whole(output(jobd, caller.uid, started.run)), "all of its output is in the file")
    return lines[:-1]


def whole(lines: list[str]) -> list[str]:
    """The lines when the last is there: the end of a run is told before the end of its output is on disk."""
    return lines if lines[-1:] == [LAST] else []


def newest(people: People, uid: int, job: str) -> bytes:
    """The id of a job's newest run."""
    row = json.loads(people.said(uid, "history", "-o", "json", job))[0]
    return bytes.fromhex(row["run"].replace("-", ""))


def exit_code(people: People, uid: int, job: str) -> int | None:
    """The exit code of a job's newest run, when it has ended."""
    caller = CallerAs(people.socket, uid)
    try:
        return ended(caller, newest(people, uid, job)).exit_code
    finally:
        caller.close()


def ids(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a followed job has written behind its name."""
    return done.stdout.splitlines()


# --- the daemon ---------------------------------------------------------------------------------------------------
def test_the_daemon_has_no_rights_and_nothing_of_roots(jobd: People) -> None:
    pid = jobd.daemon_pid()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == status["Gid"].split() == [str(DAEMON_UID)] * 4
    assert status["Groups"].split() == []
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].split() == ["1"]
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0, "its memory is not to be looked into"
    environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0] for entry in environ if entry}
    assert all(name in (b"PATH", b"HOME", b"USER", b"LOGNAME", b"LANG", b"LANGUAGE", b"TZ")
               or name.startswith((b"LC_", b"JOBD_")) for name in names)  # fmt: skip
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_who_owns_what_in_the_state_directory(jobd: People) -> None:
    info = jobd.state_dir.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (0, DAEMON_UID, 0o1770)
    owners = {path.name: path.lstat().st_uid for path in jobd.state_dir.iterdir()}
    assert {name for name, uid in owners.items() if uid == 0} <= {"lock", "handover.sock", "grants", "config"}
    assert owners["state.db"] == owners["relay"] == DAEMON_UID
    assert (jobd.socket.parent / "root.sock").stat().st_mode & 0o777 == 0o600


def test_jobs_of_three_users(jobd: People, alice: CallerAs) -> None:
    assert said(jobd, alice, "id -u; id -g; id -G; echo > /dev/stdout; cd; pwd") == [
        str(ALICE),
        str(GID),
        str(GID),
        "",
        "/",
    ]
    bob = CallerAs(jobd.socket, BOB)
    script = "grep -h -e Cap[PEA] -e Groups -e SigIgn /proc/self/status; echo /proc/self/fd/*"
    *status, fds = said(jobd, bob, script)
    bob.close()
    assert [line.split()[1] for line in status] == ["0" * 16, str(BOB), *["0" * 16] * 3] or len(status) == 5
    assert [Path(word).name for word in fds.split()] == ["0", "1", "2", "3"]  # the last is the listing itself
    done = jobd.ask(ROOT, "run", "--follow", "--", "id", "-u", check=True)
    assert ids(done) == ["0"]


def test_fifty_jobs_of_two_users_have_three_descriptors_each(jobd: People, alice: CallerAs) -> None:
    bob = CallerAs(jobd.socket, BOB)
    script = f"ls -1 /proc/self/fd | wc -l; echo {LAST}"
    started = [(caller, submitted(caller, run(script))) for _ in range(25) for caller in (alice, bob)]
    for caller, one in started:
        found = until(lambda: whole(output(jobd, caller.uid, one.run)), "it has written")  # noqa: B023  # called at once
        assert found == ["4", LAST]
    bob.close()


def test_nothing_of_roots_reaches_a_job_that_root_restarts(jobd: People, alice: CallerAs) -> None:
    script = f"env; id -u; pwd; umask; echo {LAST}; exec sleep 60"
    started = submitted(alice, run(script, name="web", umask=0o27))
    secret = {"AWS_SECRET_ACCESS_KEY": "hunter2"}
    jobd.ask(ROOT, "restart", f"{ALICE}/web", env=secret, check=True)
    new = newest(jobd, ALICE, "web")
    assert new != started.run
    lines = until(lambda: whole(output(jobd, ALICE, new)), "it has written")
    assert not any("hunter2" in line for line in lines)
    assert lines[-4:-1] == [str(ALICE), "/", "0027"]
    jobd.ask(ROOT, "stop", f"{ALICE}/web", check=True)


# --- root and grants ----------------------------------------------------------------------------------------------
def test_root_needs_a_grant_and_gets_one_by_jobctl(jobd: People) -> None:
    root = CallerAs(jobd.socket, ROOT)
    env = [b"PATH=/usr/bin:/bin", b"A=1"]
    refused = submitted(root, run("id -u", env=env))
    assert (refused.step, refused.text.rpartition(": ")[2]) == (
        "grant", "root has not allowed this command; only root's own jobctl run and his job files do",
    )  # fmt: skip
    for word in ("root", "0"):
        assert submitted(root, run("id -u", env=env, settings={"user": word})).step == "grant"
    assert ids(jobd.ask(ROOT, "run", "--follow", "--name", "mine", "--", "id", "-u", check=True)) == ["0"]
    assert jobd.ask(ROOT, "rerun", "mine").returncode == 0
    assert submitted(root, run("id -u", env=env)).step == "grant", "only what was granted"
    root.close()


def test_only_root_gives_grants(jobd: People) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(DAEMON_UID, DAEMON_UID, DAEMON_UID)
            os.setresuid(DAEMON_UID, DAEMON_UID, DAEMON_UID)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
                sock.connect(str(jobd.socket.parent / "root.sock"))
            os._exit(0)
        except PermissionError:
            os._exit(13)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 13


def test_root_as_another_user_needs_none(jobd: People) -> None:
    done = jobd.ask(ROOT, "run", "--follow", "-p", f"user={EVE}", "--", "sh", "-c", "id -u; id -g", check=True)
    assert ids(done) == [str(EVE), str(EVE)]


def test_the_socket_of_root_comes_back(jobd: People) -> None:
    path = jobd.socket.parent / "root.sock"
    before = path.stat().st_ino
    path.unlink()
    second = subprocess.run(jobd.command(), env=jobd.env, capture_output=True, text=True, timeout=60)
    assert "already running" in second.stderr, "and the one that runs looks at its sockets"
    assert until(path.exists, "it is bound again")
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, 0)
    assert path.stat().st_ino != before or ids(jobd.ask(ROOT, "run", "--follow", "--", "echo", "again")) == ["again"]


def test_a_configuration_that_lies_in_wait(jobd: People) -> None:
    toml = jobd.config_dir / "jobd.toml"
    for plant, why in ((os.mkfifo, "regular file"), (lambda path: os.symlink("/dev/zero", path), "symbolic link")):
        plant(toml)
        done = jobd.ask(ROOT, "daemon-reload")
        toml.unlink()
        assert done.returncode != 0
        assert why in done.stderr
    with toml.open("wb") as file:
        file.truncate(10 << 30)
    assert jobd.ask(ROOT, "daemon-reload").returncode != 0
    toml.unlink()
    assert jobd.ask(ROOT, "daemon-reload").returncode == 0


# --- death --------------------------------------------------------------------------------------------------------
def test_both_may_be_killed_in_turn() -> None:
    with many_users(options=OPTIONS) as jobd:
        gates = Gate(jobd.place / "a"), Gate(jobd.place / "r")  # one opening wakes every reader there is
        gates[0].path.chmod(0o666)
        alice = CallerAs(jobd.socket, ALICE)
        mine = submitted(alice, run(f"{gates[0].wait}; exit 7", name="a"))
        alice.close()
        jobd.ask(ROOT, "run", "--name", "r", "--", "sh", "-c", f"{gates[1].wait}; exit 8", check=True)
        assert mine.step == ""
        jobd.replace_daemon()
        old = jobd.keeper_pid
        os.kill(old, signal.SIGKILL)
        jobd.keeper.wait()
        until(lambda: jobd.daemon_status().keeper_pid is None, "the daemon knows")
        jobd.start()  # as init would
        until(lambda: jobd.daemon_status().keeper_pid not in (None, old), "a new keeper has taken over")
        assert "took over 2 runs" in jobd.log_text()
        for gate in gates:
            gate.open()
        status = Path(f"/proc/{jobd.daemon_pid()}/status").read_text()
        assert f"Uid:\t{DAEMON_UID}" in status
        assert exit_code(jobd, ALICE, "a") == 7
        assert exit_code(jobd, ROOT, "r") == 8
        # The next daemon, and the keeper's next code; then both at once.
        jobd.ask(ROOT, "daemon-reexec", check=True)
        jobd.ask(ROOT, "daemon-reexec", "--keeper", check=True)
        assert jobd.ask(ROOT, "rerun", "r", check=True).returncode == 0
        daemon, keeper = jobd.daemon_pid(), jobd.keeper_pid
        os.kill(keeper, signal.SIGSTOP)
        os.kill(daemon, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        jobd.keeper.wait()
        until(lambda: not is_alive(daemon), "the daemon is dead")
        jobd.start()
        assert jobd.ask(ROOT, "rerun", "r").returncode == 0, "what root allowed holds across a restart"


def test_what_is_planted_in_the_state_directory(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with many_users(options=OPTIONS) as jobd:
        jobd._terminate()
        state = jobd.state_dir
        os.mkfifo(state / "grants")
        for name in ("last-exits", "last-exits.new", "handover.sock"):
            (state / name).symlink_to(victim)
        for path in state.iterdir():
            if path.name != "lock":
                os.chown(path, DAEMON_UID, DAEMON_UID, follow_symlinks=False)
        jobd.start()
        assert ids(jobd.ask(ROOT, "run", "--follow", "--", "id", "-u", check=True)) == ["0"]
        jobd._terminate()
        assert victim.read_text() == "precious"
        assert victim.stat().st_uid == 0
        (state / "handover.sock").mkdir()
        (state / "lock").unlink()
        (state / "lock").touch()  # which root may not open: fs.protected_regular
        for name in ("handover.sock", "lock"):
            os.chown(state / name, DAEMON_UID, DAEMON_UID)
        jobd.start()
        assert (state / "handover.sock").is_socket()
        assert (state / "lock").stat().st_uid == 0
        jobd._terminate()
        (jobd.state_dir / "lock").unlink()
        (jobd.state_dir / "lock").hardlink_to(victim)
        refused = subprocess.run(jobd.command(), env=jobd.env, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1
        assert "hard link" in refused.stderr
        assert victim.read_text() == "precious"
        (jobd.state_dir / "lock").unlink()


def test_code_that_the_daemons_user_cannot_read_is_named() -> None:
    with many_users() as jobd:
        jobd._terminate()
        closed = jobd.root / "closed"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(closed)], check=True, timeout=60)
        packages = next(closed.glob("lib/python*/site-packages"))
        site = Path(pytest.__file__).parent.parent
        (packages / "jobd.pth").write_text(f"{site}\n{Path(__file__).parent.parent.parent}\n")
        closed.chmod(0o700)
        command = [str(closed / "bin" / "python"), *jobd.command()[1:], *OPTIONS, "--daemonize"]
        done = subprocess.run(command, env=jobd.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done
        assert f"user {DAEMON_UID} (uid {DAEMON_UID}) may not read {closed}/bin/python" in done.stderr


def test_a_state_directory_that_the_daemons_user_cannot_get_to_is_named() -> None:
    with many_users() as jobd:
        closed = jobd.root / "shut"
        closed.mkdir(mode=0o700)
        places = ["--socket", str(jobd.root / "t"), "--state-dir", f"{closed}/state"]
        command = [*jobd.command()[:3], "jobd", *places, *OPTIONS, "--daemonize"]
        done = subprocess.run(command, env=jobd.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done
        why = f"cannot get to the state directory {closed}/state, because of {closed}"
        assert f"user {DAEMON_UID} (uid {DAEMON_UID}) {why}\n" in done.stderr
