"""Job files on a machine with systemd: root's where they are installed, and the users' own, from boot to boot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.machine import Machine

pytestmark = pytest.mark.slow

ORDER = "/tmp/order"
BASE = f"""
type = "oneshot"
remain_after_exit = true
environment_file = ["secret.env"]
shell = "echo base $(id -un) $SECRET >> {ORDER}; sleep 0.2; echo ready >> {ORDER}"
stop.command = ["sh", "-c", "echo unbase >> {ORDER}"]
"""
TEMPLATE = f"""
requires = ["base"]
after = ["base"]
user = "alice"
shell = "echo %i $(id -un) >> {ORDER}; exec sleep 10000"
stop.command = ["sh", "-c", "echo un%i $(id -un) >> {ORDER}; kill $MAINPID"]
"""
NAMES = ("base", "w@1", "w@2", "alice/own", "alice/db")


@pytest.fixture
def services(machine: Machine) -> Iterator[Machine]:
    """Files of root's, one of a package's and one for this boot, and two definitions of alice's; all are enabled."""
    alice = "/home/alice/svc"
    files = {
        "/etc/jobd/jobs/secret.env": "SECRET=tiger\n", "/root/base.toml": BASE, "/usr/lib/jobd/jobs/w@.toml": TEMPLATE,
        "/run/jobd/jobs/once.toml": 'command = "sleep 10000"\n',
        f"{alice}/db.toml": 'command = ["sleep", "10000"]\n',
        f"{alice}/own.toml": 'command = ["sleep", "10000"]\nrequires = ["db"]\nafter = ["db"]\n',
    }  # fmt: skip
    for name, text in files.items():
        path = machine.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    machine.path("/etc/jobd/jobs/secret.env").chmod(0o600)
    machine.run("chown", "-R", "alice:alice", alice)
    machine.run("chmod", "700", "/home/alice")
    machine.run("install", "-m", "666", "/dev/null", ORDER)
    machine.run("jobctl", "--system", "add", "/root/base.toml", "--enable")
    machine.run("jobctl", "--system", "daemon-reload")
    machine.run("jobctl", "--system", "enable", "w@1", "w@2", "--now")
    machine.jobctl("add", f"{alice}/own.toml", f"{alice}/db.toml", "--enable", "--now")
    yield machine
    machine.run("systemctl", "stop", "jobd.service", check=False)
    machine.run("rm", "-rf", "/etc/jobd/jobs", "/usr/lib/jobd", "/run/jobd/jobs")
    machine.path("/etc/jobd/jobs").mkdir()


def pids(machine: Machine) -> dict[str, int]:
    """The processes of the jobs that have one, once all are there."""

    def rows() -> dict[str, str]:
        listed = json.loads(machine.jobctl("list", "-o", "json", user="root"))
        return {row["job"] if row["owner"] == "root" else f"alice/{row['job']}": row["sub"] for row in listed}

    wanted = {name: "exited" if name == "base" else "running" for name in NAMES}
    until(lambda: wanted.items() <= rows().items(), "all services run", 20)
    found = {}
    for name in NAMES[1:]:
        found[name] = int(machine.run("jobctl", "--system", "show", "--value", "-p", "MainPID", name).stdout)
    return found


def test_they_go_down_and_up_in_order_with_jobd(services: Machine) -> None:
    before = pids(services)
    assert services.path(ORDER).read_text().split("\n")[:2] == ["base root tiger", "ready"]
    services.run("systemctl", "reload", "jobd.service")
    assert pids(services) == before
    services.run("install", "-m", "666", "/dev/null", ORDER)
    # What is masked stays where it is, and a unit of systemd's can wait for a job that is not up yet.
    services.run("jobctl", "--system", "mask", "w@2")
    services.run("systemctl", "restart", "jobd.service")
    waits = ("--property=After=jobd.service", "--property=ExecStartPre=/usr/local/bin/jobctl --system start w@1")
    services.run("systemd-run", "--quiet", "--wait", *waits, "cp", ORDER, "/tmp/seen")
    down, up = services.path("/tmp/seen").read_text().split("base root tiger\n")
    assert sorted(down.split("\n")[:2]) == ["un1 alice", "un2 alice"]
    assert down.split("\n")[2:] == ["unbase", ""]
    assert up == "ready\n1 alice\n"
    until(lambda: services.property("own", "SubState") == "running", "alice's are up")
    assert services.run("jobctl", "--system", "is-active", "w@2", check=False).stdout == "inactive\n"
    assert services.run("jobctl", "--system", "is-system-running").stdout == "running\n"
    journal = services.run("journalctl", "-u", "jobd.service", "-o", "cat").stdout.split("\n")
    assert "ready: 0 runs taken up, 4 enabled jobs started" in journal
    assert "daemon-reload of base by uid 0: 1 added" in journal


def test_after_a_kill_of_keeper_and_daemon_none_is_there_twice(services: Machine) -> None:
    before = pids(services)
    services.kill(*services.pids())
    until(lambda: not [pid for pid in before.values() if not services.gone(pid)], "what was there is ended")
    after = pids(services)
    assert not set(before.values()) & set(after.values())
    assert services.run("pgrep", "-xc", "sleep").stdout.strip() == str(len(after))
    history = json.loads(services.jobctl("history", "-o", "json", "own"))
    assert [run["result"] for run in history] == [None, "lost"]
    restarts = services.show("NRestarts")
    keeper, _ = services.pids()
    services.kill(keeper)
    until(lambda: services.pids()[0] not in (keeper, None), "the next keeper's daemon answers")
    assert (pids(services), int(services.show("NRestarts"))) == (after, int(restarts) + 1)


def test_a_machine_that_goes_down_hard(services: Machine) -> None:
    pids(services)
    services.jobctl("mask", "db")
    with services.drop_in("Restart=no"):
        services.run("systemctl", "kill", "--signal=KILL", "--kill-whom=all", "jobd.service")
        until(lambda: services.show("ActiveState") == "failed", "nothing of it is left")
        services.run("systemctl", "stop", "jobd.socket")
        services.run("rm", "-rf", "/run/jobd")
        boot = services.path("/run/boot_id")
        boot.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
        services.run("mount", "--bind", "/run/boot_id", "/proc/sys/kernel/random/boot_id")
        try:
            services.run("systemctl", "start", "jobd.service")
            active = ("jobctl", "--system", "is-active", "w@2")
            until(lambda: services.run(*active, check=False).stdout == "active\n", "what is enabled runs", 20)
            [_, lost] = json.loads(services.run("jobctl", "--system", "history", "-o", "json", "w@2").stdout)
            assert (lost["result"], lost["reason"]) == ("lost", "the machine was restarted while it ran")
            assert services.property("db", "UnitFileState") == "masked"
            assert services.property("own", "Result") == "lost"  # and is not started: it needs that one
            listed = services.run("jobctl", "--system", "list-job-files", "-o", "json").stdout
            assert "once" not in {row["job"] for row in json.loads(listed)}  # it was for that boot
        finally:
            services.run("umount", "/proc/sys/kernel/random/boot_id")
