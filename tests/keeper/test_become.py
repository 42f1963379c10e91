"""Becoming the user of a job: what he gets, who is refused, and what happens when a step does not do what it says."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import become
from jobd.keeper.become import NOBODY, Refused, Wish, _is_group, look_up
from tests.keeper.harness import DAEMON, DEADLINE_SEC, KeeperProcess, close_all, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.keeper.harness import Daemon

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start jobs as other users"),
]
UID, GID = 61001, 61002  # of no account
ACCOUNT = "games"  # which every Debian has
SHOW = "/proc/self/status"
# A keeper in a mount namespace of its own, whose /etc/passwd is what the test says, and which does not wait long.
ALONE = """
import sys
from jobd.config import Config
from jobd.core.paths import socket_paths
from jobd.keeper import helpers, lookups, start, unixchecks
lookups.LOOKUP_SEC = helpers.LOOKUP_SEC = unixchecks.CHECK_SEC = 0.3
config = Config(socket_paths(sys.argv[1], sys.argv[2], sys.argv[2] + "/config"), log_level="debug")
config.daemon_argv = [sys.executable, "-I", "-S", "-c", sys.argv[3], sys.argv[4]]
sys.exit(start.run(config))
"""


class AloneKeeper(KeeperProcess):
    """`prepare` is shell text that arranges the mounts."""

    prepare = ""

    def start(self) -> subprocess.Popen[bytes]:
        env = {**os.environ, "JOBD_TRACKING": self.tracking}
        argv = [sys.executable, "-I", "-c", ALONE, str(self.socket), str(self.state_dir), DAEMON, self._path]
        shell = ["unshare", "-m", "--propagation", "private", "sh", "-ec", f'{self.prepare}\nexec "$@"', "sh", *argv]
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(shell, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One keeper for all tests that only start jobs."""
    directory = tmp_path_factory.mktemp("become")
    with KeeperProcess(directory) as keeper:
        yield keeper.ready_daemon()


def said(daemon: Daemon, script: str, *, env: tuple[bytes, ...] = (), **fields: object) -> list[str]:
    """The lines that a shell script writes."""
    run = os.urandom(16)
    _, fds = daemon.start(run, b"/bin/sh", b"-c", script.encode(), env=env, **fields)
    out = read_all(fds["out"]).decode()
    close_all(fds)
    daemon.expect("exited", run=run)
    daemon.send("ack", run=run)
    return out.splitlines()


def failure(daemon: Daemon, **fields: object) -> tuple[object, object]:
    """(step, errno) of a start that must fail."""
    run = os.urandom(16)
    _, fds = daemon.spawn(run, b"/bin/true", env=(), **fields)
    answer = daemon.go(run)
    close_all(fds)
    assert answer["op"] == "exec-failed", answer
    daemon.send("ack", run=run)
    return answer["step"], answer["errno"]


def status(lines: list[str]) -> dict[str, list[str]]:
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_a_uid_without_an_account_has_its_gid_and_nothing_else(daemon: Daemon) -> None:
    found = status(said(daemon, f"cat {SHOW}", user=UID, gid=GID))
    assert found["Uid"] == [str(UID)] * 4
    assert found["Gid"] == [str(GID)] * 4
    assert found["Groups"] == [str(GID)]
    assert all(int(found[name][0], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert found["NoNewPrivs"] == ["0"]
    assert int(found["SigBlk"][0], 16) == 0
    assert int(found["SigIgn"][0], 16) & ~(3 << 31) == 0  # 32 and 33 are glibc's own


def test_an_account_has_its_groups_and_home(daemon: Daemon) -> None:
    entry = pwd.getpwnam(ACCOUNT)
    script = 'id -u; id -g; id -G; echo "$HOME $USER $LOGNAME $SHELL"'
    uid, gid, groups, env = said(daemon, script, user=ACCOUNT)
    assert (int(uid), int(gid)) == (entry.pw_uid, entry.pw_gid)
    assert sorted(map(int, groups.split())) == sorted({entry.pw_gid, *os.getgrouplist(ACCOUNT, entry.pw_gid)})
    assert env == f"{entry.pw_dir} {ACCOUNT} {ACCOUNT} {entry.pw_shell or '/bin/sh'}"
    assert said(daemon, "id -G", user=entry.pw_uid, gid=7) == [groups]  # what the submitter's group was is no matter
    assert said(daemon, "id -G", user=str(entry.pw_uid)) == [groups]


def test_root_has_the_groups_of_root_and_not_of_who_started_jobd(tmp_path: Path) -> None:
    class Grouped(KeeperProcess):
        def start(self) -> subprocess.Popen[bytes]:
            before = os.getgroups()
            os.setgroups([0, 4, 27])
            try:
                return super().start()
            finally:
                os.setgroups(before)

    with Grouped(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        expected = sorted({0, *os.getgrouplist("root", 0)})
        assert sorted(map(int, said(daemon, "id -G", user=0)[0].split())) == expected
        assert said(daemon, "id -G", user=UID, gid=GID) == [str(GID)]


def test_the_environment_is_completed_and_nothing_in_it_replaced(daemon: Daemon) -> None:
    script = 'echo "$HOME|$USER|$LOGNAME|$SHELL|$PATH"'
    assert said(daemon, script, user=UID, gid=GID) == [f"/|{UID}|{UID}|/bin/sh|/usr/bin:/bin"]
    own = (b"HOME=/own", b"USER=me", b"SHELL=/bin/other")
    assert said(daemon, script, user=UID, gid=GID, env=own) == [f"/own|me|{UID}|/bin/other|/usr/bin:/bin"]


def test_descriptors_and_streams_are_the_users(daemon: Daemon) -> None:
    script = "echo /proc/self/fd/*; echo opened > /dev/stdout; stat -Lc '%u %g' /dev/stdout; stat -Lc %u /dev/stdin"
    fds, opened, owner, null = said(daemon, script, user=UID, gid=GID)
    assert [Path(word).name for word in fds.split() if Path(word).name in "0123456789"] == ["0", "1", "2", "3"]
    assert (opened, owner) == ("opened", f"{UID} {GID}")
    assert null == "0", "/dev/null is everybody's"


def test_a_terminal_is_the_users(daemon: Daemon) -> None:
    run = os.urandom(16)
    script = b"stat -Lc '%u %a' $(tty); echo again > $(tty)"
    _, fds = daemon.start(run, b"/bin/sh", b"-c", script, user=UID, gid=GID, stdin="pty")
    daemon.expect("exited", run=run)
    assert read_all(fds["pty"]).split(b"\r\n") == [b"%d 620" % UID, b"again", b""]
    close_all(fds)
    daemon.send("ack", run=run)


def test_only_root_is_less_nice_than_jobd(daemon: Daemon) -> None:
    assert said(daemon, "nice", user=UID, gid=GID, nice=-5) == [str(os.nice(0))]
    assert said(daemon, "nice", user=UID, gid=GID, nice=7) == ["7"]
    assert said(daemon, "nice", user=0, nice=-5) == ["-5"]


def test_limits_below_what_the_lookup_needs_do_not_hinder_it(daemon: Daemon) -> None:
    limits = {"nofile": [4, 4], "fsize": [0, 0], "as": [64 << 20, 64 << 20]}
    assert said(daemon, "ulimit -n; ulimit -v", user=ACCOUNT, rlimits=limits) == ["4", str(64 << 10)]


def test_no_new_privileges(daemon: Daemon) -> None:
    assert status(said(daemon, f"cat {SHOW}", user=UID, gid=GID, no_new_privileges=True))["NoNewPrivs"] == ["1"]


def test_files_are_the_users_to_reach(daemon: Daemon, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert failure(daemon, user=UID, gid=GID, cwd=os.fsencode(closed)) == ("chdir", errno.EACCES)
    program = closed / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert failure(daemon, user=UID, gid=GID, executable=os.fsencode(program)) == ("exec", errno.EACCES)


@pytest.mark.parametrize(
    ("fields", "step", "number"),
    [
        ({"user": NOBODY, "gid": 5}, "user", errno.EINVAL),
        ({"user": -1, "gid": 5}, "user", errno.EINVAL),
        ({"user": 1 << 40, "gid": 5}, "user", errno.EINVAL),
        ({"user": become.overflow_uid(), "gid": 5}, "user", errno.EINVAL),
        ({"user": "0day"}, "user", errno.EINVAL),
        ({"user": ""}, "user", errno.EINVAL),
        ({"user": "-1"}, "user", errno.EINVAL),
        ({"user": "4294967295"}, "user", errno.EINVAL),
        ({"user": "no-such-user"}, "user", errno.ESRCH),
        ({"user": "a\0b"}, "user", errno.ESRCH),
        ({"user": UID}, "groups", errno.EPERM),
        ({"user": UID, "gid": 0}, "groups", errno.EPERM),
        ({"user": UID, "gid": NOBODY}, "groups", errno.EPERM),
        ({"user": UID, "gid": -1}, "groups", errno.EPERM),
    ],
)
def test_who_is_refused(daemon: Daemon, fields: dict[str, object], step: str, number: int) -> None:
    assert failure(daemon, **fields) == (step, number)


def test_uid_0_needs_a_grant_by_whatever_name_it_is_called() -> None:
    for word in (0, "root", "0", "00"):
        with pytest.raises(Refused) as refused:
            look_up(Wish(word, None, granted=False, believed=False), 65534)
        assert (refused.value.step, refused.value.errno) == (b"grant", errno.EPERM)
        assert look_up(Wish(word, None, granted=True, believed=False), 65534).uid == 0


def _is_user(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def test_a_group_of_the_systems_is_not_for_whoever_a_daemon_names() -> None:
    shadow = 42 if _is_group(42) else 0
    with pytest.raises(Refused):
        look_up(Wish(UID, shadow, granted=False, believed=False), 65534)
    assert look_up(Wish(UID, shadow or 4, granted=False, believed=True), 65534).groups == [shadow or 4]
    if shadow and not _is_user(shadow):
        with pytest.raises(Refused):
            look_up(Wish(str(shadow), None, granted=False, believed=False), 65534)
    assert look_up(Wish(UID, GID, granted=False, believed=False), 65534).groups == [GID]


def test_a_daemon_that_is_not_root_cannot_leave_the_user_out() -> None:
    wish = become.wish({}, guarded=True, granted=False)
    assert wish is not None
    assert (wish.word, wish.granted) == (0, False)
    assert become.wish({}, guarded=False, granted=False) is None


@pytest.mark.parametrize("fields", [{"user": 1.5}, {"user": [0]}, {"user": True}, {"user": 5, "gid": "x"}])
def test_a_message_that_is_not_as_agreed(fields: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        become.wish(fields, guarded=False, granted=False)


# --- steps that fail, or say that they did something and did not --------------------------------------------------
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    ("inject", "step", "number"),
    [
        ("setresuid:error=EAGAIN", "user", errno.EAGAIN),
        ("setresuid:retval=0", "user", errno.EPERM),
        ("setresgid:error=EPERM", "user", errno.EPERM),
        ("setresgid:retval=0", "groups", errno.EPERM),
        ("setgroups:error=EPERM", "groups", errno.EPERM),
        ("setgroups:retval=0", "groups", errno.EPERM),
    ],
)
def test_a_switch_that_did_not_happen_is_seen(tmp_path: Path, inject: str, step: str, number: int) -> None:
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        trace = tmp_path / "trace"
        argv = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={inject.partition(':')[0]}", "-e"]
        argv += [f"inject={inject}", "-p", str(keeper.processes[0].pid)]
        strace = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + DEADLINE_SEC
            tracer = ""
            while tracer in ("", "0"):
                assert time.monotonic() < deadline
                assert strace.poll() is None, "strace may not attach here"
                text = Path(f"/proc/{keeper.processes[0].pid}/status").read_text()
                tracer = next(line.split()[1] for line in text.splitlines() if line.startswith("TracerPid:"))
            assert failure(daemon, user=UID, gid=GID) == (step, number)
        finally:
            strace.send_signal(signal.SIGTERM)
            strace.wait(DEADLINE_SEC)


def alone(directory: Path, prepare: str) -> AloneKeeper:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace of one's own here")
    keeper = AloneKeeper(directory)
    keeper.prepare = prepare
    return keeper


def test_a_lookup_that_never_ends_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passwd")  # nobody ever writes to it: a name service that does not answer
    with alone(tmp_path, "") as keeper:
        daemon = keeper.ready_daemon()
        mount = ["mount", "--bind", str(tmp_path / "passwd"), "/etc/passwd"]
        subprocess.run(["nsenter", "-t", str(keeper.processes[0].pid), "-m", *mount], check=True, timeout=DEADLINE_SEC)
        run, other = os.urandom(16), os.urandom(16)
        message, fds = daemon.spawn(run, b"/bin/true", user=UID, gid=GID)
        _, others = daemon.spawn(other, b"/bin/true")  # without a user: it is not held up
        assert daemon.go(other)["op"] == "execd"
        failed = daemon.answer(run, "exec-failed")[0]
        assert (failed["step"], failed["errno"]) == ("user", errno.ETIMEDOUT)
        assert daemon.go(run)["op"] == "exec-failed"
        who = {"user": UID, "gid": GID}
        daemon.send("helper", run=other, o="check-1", argv=[b"/bin/true"], env=[], cwd=b"/", **who)
        daemon.send("check-unix", tag=1, path=b"/run/x", **who)
        done = daemon.expect("helper-done", o="check-1")[0]
        assert (done["step"], done["errno"], done["status"]) == ("user", errno.ETIMEDOUT, -1)
        assert daemon.expect("checked", tag=1)[0]["errno"] == errno.ETIMEDOUT
        daemon.send("ack", run=run)
        close_all(fds)
        close_all(others)
        deadline = time.monotonic() + DEADLINE_SEC
        while Path(f"/proc/{message['pid']}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_nologin_keeps_users_out_and_not_root(tmp_path: Path) -> None:
    with alone(tmp_path, "mount -t tmpfs none /run; : > /run/nologin") as keeper:
        daemon = keeper.ready_daemon()
        assert failure(daemon, user=UID, gid=GID) == ("nologin", errno.EPERM)
        assert said(daemon, "id -u", user=0) == ["0"]


def test_an_account_that_is_deleted_while_jobd_runs(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(Path("/etc/passwd").read_text() + f"lodger:x:{UID}:{GID}::/home/lodger:/bin/sh\n")
    with alone(tmp_path, f"mount --bind {passwd} /etc/passwd") as keeper:
        daemon = keeper.ready_daemon()
        script = 'echo "$(id -un) $HOME"'
        assert said(daemon, script, user="lodger") == ["lodger /home/lodger"]
        assert said(daemon, script, user=UID, gid=7) == ["lodger /home/lodger"]
        passwd.write_text(Path("/etc/passwd").read_text())
        assert failure(daemon, user="lodger") == ("user", errno.ESRCH)
        assert said(daemon, "id -u; id -G; echo $HOME", user=UID, gid=GID) == [str(UID), str(GID), "/"]
