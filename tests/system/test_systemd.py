"""jobd.service, jobd.socket and the user's unit under a real systemd, installed as `make install-system` does it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.machine import COUNT, HURT, ROOT, SITE
from tests.system.program import until

if TYPE_CHECKING:
    from tests.system.machine import Machine

pytestmark = pytest.mark.slow

LIB = "/usr/local/lib/jobd"
UNITS = "/usr/local/lib/systemd"


def test_the_units_are_as_systemd_wants_them(booted: Machine) -> None:
    units = [f"{UNITS}/system/jobd.service", f"{UNITS}/system/jobd.socket"]
    done = booted.run("systemd-analyze", "verify", *units)
    assert done.stdout + done.stderr == ""
    security = booted.run("systemd-analyze", "security", "--no-pager", "jobd.service").stdout
    assert "Overall exposure level for jobd.service" in security
    for absent in ("NoNewPrivileges", "ProtectSystem", "PrivateTmp", "SystemCallFilter=~@privileged"):
        assert f"✗ {absent}=" in security or f"✗ {absent}" in security  # jobs would inherit it
    assert booted.run("getent", "passwd", "jobd").stdout.startswith("jobd:")
    assert booted.run("getent", "group", "jobd-admin").stdout.startswith("jobd-admin:")
    assert (booted.path("/etc/jobd/jobs").stat().st_mode & 0o7777) == 0o755


def test_it_starts_with_the_machine_and_serves_everybody(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--quiet", "jobd.service")
    assert machine.run("systemctl", "is-enabled", "jobd.socket").stdout.strip() == "enabled"
    machine.run("systemctl", "disable", "--quiet", "jobd.service", "jobd.socket")
    assert machine.path("/run/jobd/jobd.sock").stat().st_mode & 0o777 == 0o666
    machine.jobctl("run", "--wait", "-u", "who", "--shell", "id -un; cat /proc/self/cgroup; ulimit -Sn; umask")
    name, *_, cgroup, limit, mask = machine.jobctl("logs", "-o", "cat", "who").split("\n")
    assert name == "alice"
    assert cgroup.startswith("0::/system.slice/jobd.service/jobd-")
    assert (limit, mask) == (machine.run("sh", "-c", "ulimit -Sn").stdout.strip(), "0022")
    keeper, daemon = machine.pids()
    assert str(keeper) == machine.show("MainPID")
    users = machine.run("ps", "-o", "user=", "-p", f"{keeper},{daemon}").stdout.split()
    assert users == ["root", "jobd"]
    state = machine.run("stat", "-c", "%U:%G %a", "/var/lib/jobd").stdout.strip()
    assert state == "root:jobd 1770"
    for pid in (keeper, daemon):
        own = machine.run("cat", f"/proc/{pid}/cgroup").stdout.split("\n")
        assert "0::/system.slice/jobd.service/keeper" in own
        environ = machine.run("cat", f"/proc/{daemon}/environ").stdout
        assert not [name for name in ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_") if name in environ]


def test_a_job_has_nothing_of_the_unit(machine: Machine) -> None:
    script = "env; for name in NoNewPrivs Seccomp CapBnd SigIgn; do grep ^$name: /proc/self/status; done"
    machine.jobctl("run", "--wait", "--env", "none", "-u", "bare", "--shell", script + "; cat /proc/self/oom_score_adj")
    text = machine.jobctl("logs", "-o", "cat", "bare")
    assert not [name for name in ("NOTIFY_SOCKET", "LISTEN", "WATCHDOG", "JOURNAL_STREAM", "RUNTIME_D") if name in text]
    bound = machine.run("grep", "^CapBnd:", "/proc/1/status").stdout.strip()
    found = dict(line.split(":\t") for line in text.split("\n") if ":\t" in line)
    assert (found["NoNewPrivs"], found["Seccomp"], "CapBnd:\t" + found["CapBnd"]) == ("0", "0", bound)
    # 32 and 33 are the C library's own, and nobody else may change them: posix_spawn(3) leaves one of them ignored.
    assert not int(found["SigIgn"], 16) & ~(0b11 << 31)
    assert text.split("\n")[-1] == "0"


def test_kill_9_of_the_daemon(machine: Machine) -> None:
    job = machine.start_job("web", COUNT)
    keeper, daemon = machine.pids()
    machine.kill(daemon)
    until(lambda: machine.pids()[1] != daemon, "the next daemon answers")
    assert machine.pids()[0] == keeper
    machine.goes_on("web")
    assert (machine.property("web", "MainPID"), machine.show("NRestarts")) == (job, "0")


def test_kill_9_of_the_keeper(machine: Machine) -> None:
    job = machine.start_job("web", COUNT)
    restarts = int(machine.show("NRestarts"))
    for i in range(2):
        keeper, daemon = machine.pids()
        machine.kill(keeper)
        until(lambda: machine.pids()[0] not in (keeper, None), "the next keeper's daemon answers")  # noqa: B023
        assert machine.pids()[1] != daemon
        machine.goes_on("web")
        assert (machine.property("web", "MainPID"), int(machine.show("NRestarts"))) == (job, restarts + i + 1)
    machine.jobctl("stop", "web")
    assert machine.property("web", "Result") == "success"


def test_kill_9_of_both(machine: Machine) -> None:
    silent = machine.start_job("silent", "echo once >> /tmp/once; exec sleep 100000")
    until(lambda: machine.path("/tmp/once").exists(), "the job runs")
    machine.jobctl("run", "-u", "done", "--wait", "--", "true")
    machine.kill(*machine.pids())
    # The first client after it gets the right answer, as late as may be.
    history = json.loads(machine.jobctl("history", "-o", "json", "silent"))
    assert [(run["state"], run["result"]) for run in history] == [("finished", "lost")]
    assert machine.property("done", "Result") == "success"
    assert machine.path("/tmp/once").read_text() == "once\n"
    assert not machine.gone(silent)  # nobody has ended it …
    machine.run("systemctl", "stop", "jobd.socket", "jobd.service")
    assert machine.gone(silent)  # … before jobd was told to end
    assert machine.show("Result") == "success"


def test_runs_have_controllers_under_every_keeper(machine: Machine) -> None:
    offered = machine.path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    if not {"memory", "pids"} <= set(offered):
        pytest.skip("the host keeps its controllers (memory, pids) in cgroup v1")
    machine.start_job("web", COUNT)
    unit = machine.path("/sys/fs/cgroup/system.slice/jobd.service")
    [base] = unit.glob("jobd-*")
    for _ in range(3):
        until(lambda: {"memory", "pids"} <= set((base / "cgroup.subtree_control").read_text().split()), "controllers")
        assert (unit / "cgroup.procs").read_text() == ""
        keeper, _ = machine.pids()
        machine.kill(keeper)
        until(lambda: machine.pids()[0] not in (keeper, None), "the next keeper's daemon answers")  # noqa: B023
        machine.goes_on("web")


def test_a_stop_waits_for_each_job_as_long_as_the_job_wants(machine: Machine) -> None:
    with machine.drop_in("TimeoutStopSec=1"):
        machine.run("systemctl", "restart", "jobd.service")
        machine.start_job("slow", "trap 'sleep 2; echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
        until(lambda: machine.jobctl("logs", "-o", "cat", "slow") == "up", "the job is up")
        machine.run("systemctl", "stop", "jobd.socket", "jobd.service")
        assert machine.show("Result") == "success"
        machine.run("systemctl", "start", "jobd.service")
        assert machine.jobctl("logs", "--stdout", "slow") == "up\nbye"
        assert machine.property("slow", "Result") == "success"


def test_a_restart_refuses_nobody(machine: Machine) -> None:
    machine.start_job("web", COUNT)
    asking = subprocess.Popen(
        machine.command("sh", "-c", "for i in $(seq 40); do jobctl --system list -o json || exit; done", user="alice"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    machine.run("systemctl", "restart", "jobd.service")
    machine.run("systemctl", "restart", "jobd.service")
    _, said = asking.communicate(timeout=60)
    assert (asking.returncode, said) == (0, "")
    [run] = json.loads(machine.jobctl("history", "-o", "json", "web"))
    assert (run["state"], run["result"]) == ("finished", "stopped")


def test_a_reload_is_a_new_daemon_and_no_job_notices(machine: Machine) -> None:
    job = machine.start_job("web", COUNT)
    keeper, daemon = machine.pids()
    machine.run("systemctl", "reload", "jobd.service")
    assert machine.show("ActiveState") == "active"
    assert machine.pids()[0] == keeper
    assert machine.pids()[1] != daemon
    machine.goes_on("web")
    assert machine.property("web", "MainPID") == job
    machine.run("jobctl", "--system", "daemon-reexec", "--keeper")  # systemd sees the same process
    until(lambda: "re-executed" in machine.run("journalctl", "-u", "jobd.service").stdout, "the keeper has new code")
    machine.goes_on("web")
    assert (machine.pids()[0], machine.show("NRestarts")) == (keeper, "0")


def test_the_log_is_in_the_journal_with_priorities(machine: Machine) -> None:
    file = machine.path("/etc/jobd/jobd.toml")
    file.write_text("[limits]\nrunnin = 1\n")
    try:
        assert machine.run("jobctl", "--system", "daemon-reload", check=False).returncode == 6
        assert machine.run("jobctl", "--system", "is-system-running", check=False).stdout == "degraded\n"
    finally:
        file.unlink()
    machine.run("jobctl", "--system", "daemon-reload")
    assert machine.run("jobctl", "--system", "is-system-running").stdout == "running\n"
    journal = ("journalctl", "-u", "jobd.service", "-o", "cat")
    wrong = '/etc/jobd/jobd.toml:2: unknown key "runnin"; did you mean "running"?'
    until(lambda: wrong in machine.run(*journal, "-p", "err").stdout.split("\n"), "an error in the journal")
    said = machine.run(*journal, "-p", "info..info").stdout.split("\n")
    assert any(line.startswith("ready: ") for line in said)  # the daemon's
    assert any(line.startswith("listening on ") for line in said)  # the keeper's
    assert not [line for line in machine.run(*journal).stdout.split("\n") if line.startswith("<")]


def test_who_connects_starts_it_and_a_shutdown_is_meant(machine: Machine) -> None:
    keeper, _ = machine.pids()
    socket = machine.path("/run/jobd/jobd.sock").stat().st_ino
    machine.jobctl("shutdown", user="root")
    assert machine.gone(keeper)
    until(lambda: machine.show("ActiveState") == "inactive", "systemd has seen it")
    time.sleep(0.8)  # longer than RestartSec=
    assert machine.show("ActiveState") == "inactive"
    assert machine.path("/run/jobd/jobd.sock").stat().st_ino == socket
    machine.jobctl("list")
    until(lambda: machine.show("ActiveState") == "active", "systemd has heard that it is ready")
    machine.run("systemctl", "stop", "jobd.socket", "jobd.service")
    assert not machine.path("/run/jobd/jobd.sock").exists()
    assert "cannot connect to jobd" in machine.run("jobctl", "--system", "list", check=False).stderr


def test_without_its_socket_unit_it_listens_itself(machine: Machine) -> None:
    machine.run("systemctl", "stop", "jobd.socket", "jobd.service")
    machine.run("systemctl", "mask", "--quiet", "--runtime", "jobd.socket")
    try:
        machine.run("systemctl", "start", "jobd.service")
        machine.jobctl("run", "--wait", "--", "true")
        machine.run("systemctl", "stop", "jobd.service")
        assert not machine.path("/run/jobd/jobd.sock").exists()
    finally:
        machine.run("systemctl", "unmask", "--quiet", "--runtime", "jobd.socket")


def test_a_keeper_that_hangs_is_replaced_and_no_job_notices(machine: Machine) -> None:
    with machine.drop_in("WatchdogSec=1s"):
        machine.run("systemctl", "restart", "jobd.service")
        job = machine.start_job("web", COUNT)
        keeper, _ = machine.pids()
        time.sleep(1.5)  # longer than WatchdogSec=
        assert machine.pids()[0] == keeper
        machine.kill(keeper, sig="STOP")
        until(lambda: machine.show("MainPID") not in (str(keeper), "0"), "systemd starts another keeper")
        machine.goes_on("web")
        assert machine.property("web", "MainPID") == job
        assert "Watchdog timeout" in machine.run("journalctl", "-u", "jobd.service").stdout


def test_a_daemon_that_never_comes_up(machine: Machine) -> None:
    [site] = machine.path(f"{LIB}/lib").glob("python3*/site-packages")
    with machine.drop_in("TimeoutStartSec=1s\nRestart=no"):
        machine.run("systemctl", "stop", "jobd.socket", "jobd.service")
        (site / SITE).write_text(HURT.format("os._exit(1)"))
        try:
            done = machine.run("systemctl", "start", "jobd.service", check=False)
            assert (done.returncode, machine.show("Result")) == (1, "timeout")
        finally:
            (site / SITE).unlink()


def test_a_slow_daemon_costs_no_job(machine: Machine) -> None:
    """A keeper that has taken runs over is not given up for the slowness of the daemon that it starts."""
    [site] = machine.path(f"{LIB}/lib").glob("python3*/site-packages")
    with machine.drop_in("TimeoutStartSec=2s"):
        machine.run("systemctl", "restart", "jobd.service")
        job = machine.start_job("web", COUNT)
        keeper, _ = machine.pids()
        (site / SITE).write_text(HURT.format("time.sleep(1.5)"))
        try:
            machine.kill(keeper)
            until(lambda: machine.show("ActiveState") == "activating", "a keeper has been started")
            until(lambda: machine.show("ActiveState") == "active", "it has a daemon")
        finally:
            (site / SITE).unlink()
        machine.goes_on("web")
        assert machine.property("web", "MainPID") == job


def test_a_second_one_by_hand_is_refused_and_left_alone(machine: Machine) -> None:
    keeper, _ = machine.pids()
    done = machine.run("jobd", "--system", check=False)
    assert done.returncode == 3
    assert f"already running (process {keeper}, state in /var/lib/jobd)" in done.stderr


def test_a_socket_beside_one_by_hand_gives_up(machine: Machine) -> None:
    machine.run("systemctl", "stop", "jobd.socket", "jobd.service")
    properties = [f"--property={words}" for words in ("Type=notify", "Delegate=yes", "KillMode=process")]
    machine.run("systemd-run", "--quiet", "--collect", "--unit=byhand", *properties, "jobd", "--system")
    try:
        machine.run("systemctl", "start", "jobd.socket")  # takes the path away
        client = subprocess.Popen(machine.command("timeout", "2", "jobctl", "--system", "list"), stderr=subprocess.PIPE)
        until(lambda: machine.show("Result", "jobd.socket") == "trigger-limit-hit", "systemd starts it no more")
        assert machine.show("ExecMainStatus") == "3"
        client.communicate(timeout=30)  # whatever it says
    finally:
        machine.run("systemctl", "stop", "byhand.service")


def test_the_users_own_unit(machine: Machine) -> None:
    uid = machine.run("id", "-u", "alice").stdout.strip()
    env = {"XDG_RUNTIME_DIR": f"/run/user/{uid}", "HOME": "/home/alice", "USER": "alice", "LOGNAME": "alice"}

    def own(*words: str, check: bool = True) -> str:
        return machine.run(*words, user="alice", env=env, check=check).stdout.strip()

    machine.run("loginctl", "enable-linger", "alice")
    try:
        until(lambda: own("systemctl", "--user", "is-system-running", check=False) == "running", "a user manager", 20)
    except AssertionError:
        pytest.skip("logind starts no user managers here")
    verified = machine.run("systemd-analyze", "--user", "verify", f"{UNITS}/user/jobd.service", user="alice", env=env)
    assert verified.stdout + verified.stderr == ""
    own("systemctl", "--user", "start", "jobd")
    own("jobctl", "--user", "run", "-u", "web", "--shell", COUNT)
    job = own("jobctl", "--user", "show", "--value", "-p", "MainPID", "web")
    assert "/jobd.service/jobd-" in machine.run("cat", f"/proc/{job}/cgroup").stdout
    keeper = own("systemctl", "--user", "show", "--value", "-p", "MainPID", "jobd")
    machine.kill(int(keeper))
    until(lambda: own("systemctl", "--user", "show", "--value", "-p", "NRestarts", "jobd") == "1", "the next keeper")
    own("systemctl", "--user", "reload", "jobd")
    assert own("jobctl", "--user", "show", "--value", "-p", "MainPID", "web") == job
    own("systemctl", "--user", "stop", "jobd")
    assert machine.gone(job)
    # jobctl's own is on the same state: the unit says so, and does not try for ever.
    own("jobctl", "--user", "run", "-u", "web", "--shell", COUNT)
    assert machine.run("systemctl", "--user", "start", "jobd", user="alice", env=env, check=False).returncode == 1
    assert own("systemctl", "--user", "show", "--value", "-p", "ExecMainStatus", "jobd") == "3"
    assert own("systemctl", "--user", "is-active", "jobd", check=False) == "failed"
    own("jobctl", "--user", "shutdown")
    own("systemctl", "--user", "start", "jobd")
    own("systemctl", "--user", "stop", "jobd")


def test_uninstall_takes_away_all_but_state_and_configuration(machine: Machine) -> None:
    machine.jobctl("run", "--wait", "-u", "kept", "--", "true")
    said = machine.run("make", "-s", "-C", str(ROOT), "uninstall-system").stdout
    assert "What is yours is kept: /etc/jobd" in said
    assert machine.show("LoadState") == "not-found"
    left = machine.run("find", "/usr/local", "-name", "*job[dc]*", "-not", "-path", f"{ROOT}/*").stdout
    assert left == ""
    assert machine.path("/var/lib/jobd/state.db").exists()
    assert machine.path("/etc/jobd/jobs").is_dir()
    assert machine.run("pgrep", "-f", "jobd.daemon", check=False).stdout == ""
