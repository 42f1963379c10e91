"""jobd.toml of a real jobd: read at the start, read again when asked, and not believed from just anybody."""

from __future__ import annotations

import json
import os
import pwd
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, BOB, DAEMON, EVE, ROOT, many_users, why_not
from tests.system.program import DEADLINE_SEC, Program, open_fds, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

STRANGER = 61_077
RULES = '[[allow]]\nusers = ["61077"]\nactions = ["@read"]\n'
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("reloaded")) as program:
        yield program


@pytest.fixture
def file(reloaded: Program) -> Iterator[Path]:
    """The configuration, which is not there before and after a test."""
    path = reloaded.config_dir / "jobd.toml"
    yield path
    path.unlink(missing_ok=True)
    reloaded.jobctl("daemon-reload", check=True)


def lines(jobd: Program) -> list[int]:
    """The lines of the rules in force."""
    return [rule["line"] for rule in json.loads(jobd.jobctl("auth", "rules", "-o", "json", check=True).stdout)["rules"]]


def test_a_file_is_in_force_when_the_reload_returns(reloaded: Program, file: Path) -> None:
    assert lines(reloaded) == []
    file.write_text(RULES)
    done = reloaded.jobctl("daemon-reload", check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert lines(reloaded) == [1]
    file.unlink()
    reloaded.jobctl("daemon-reload", check=True)
    assert lines(reloaded) == []
    assert reloaded.daemon_status().state == "running"


def test_a_broken_file_changes_nothing_and_everybody_is_told_why(reloaded: Program, file: Path) -> None:
    file.write_text(RULES)
    reloaded.jobctl("daemon-reload", check=True)
    file.write_text("\n\n[limits]\nrunnin = 1\n" + RULES)
    why = f'{file}:4: unknown key "runnin"; did you mean "running"?'
    done = reloaded.jobctl("daemon-reload")
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == f"jobctl: cannot reload, and what was in force still is: {why}\n"
    status = reloaded.daemon_status()
    assert (status.state, status.reasons) == ("degraded", [why])
    assert why in reloaded.jobctl("auth", "rules").stderr
    assert lines(reloaded) == [1]
    assert why in reloaded.log_text()
    file.write_text(RULES)
    reloaded.jobctl("daemon-reload", check=True)
    assert reloaded.daemon_status().state == "running"
    acts = json.loads(reloaded.jobctl("history", "--audit", "-n", "3", "-o", "json", check=True).stdout)
    assert [act["reason"] for act in acts] == ["1 rule", f"refused: {why}", "1 rule"]
    asked = f"daemon-reload by uid {os.geteuid()}"
    assert f"info: {asked}: 1 rule\n" in reloaded.log_text()
    assert f"warning: {asked} is refused: what was in force still is" in reloaded.log_text()


def test_what_is_odd_is_told_and_no_error(reloaded: Program, file: Path) -> None:
    file.write_text('[[allow]]\nusers = ["no-such-user"]\nactions = ["@read"]\n')
    done = reloaded.jobctl("daemon-reload", check=True)
    said = f'{file}:2: warning: there is no user "no-such-user"; daemon-reload looks again'
    assert done.stderr == f"jobctl: {said}\n"
    assert reloaded.daemon_status().state == "running"


@pytest.mark.parametrize(
    ("mode", "why"),
    [(0o646, "everybody may write to it (mode 0646)"), (0o600, ""), (0o444, "")],
)
def test_a_file_that_others_may_write_is_not_believed(reloaded: Program, file: Path, mode: int, why: str) -> None:
    file.write_text(RULES)
    file.chmod(mode)
    done = reloaded.jobctl("daemon-reload")
    assert (f"{file}: {why}" in done.stderr) if why else not done.stderr


@root_only
def test_a_file_of_somebody_else_is_not_believed(reloaded: Program, file: Path) -> None:
    file.write_text(RULES)
    os.chown(file, STRANGER, STRANGER)
    done = reloaded.jobctl("daemon-reload")
    assert (done.returncode, f"{file}: it belongs to uid {STRANGER}, not to root" in done.stderr) == (6, True)
    os.chown(file, 0, STRANGER)
    file.chmod(0o664)
    assert f"group {STRANGER} may write to it" in reloaded.jobctl("daemon-reload").stderr


def test_a_rule_holds_from_the_reload_on_and_only_administrators_may_ask_for_it() -> None:
    if why := why_not():
        pytest.skip(why)
    with many_users() as people:

        def may_look(uid: int) -> bool:
            return people.ask(uid, "auth", "can-i", "status", f"{ALICE}/web").returncode == 0

        assert not may_look(EVE)
        people.toml.write_text(f'[[allow]]\nusers = ["{EVE}"]\nactions = ["@read"]\nowners = ["{ALICE}"]\n')
        done = people.ask(EVE, "daemon-reload")
        assert (done.returncode, done.stdout) == (4, "")
        assert not may_look(EVE)
        people.ask(ROOT, "daemon-reload", check=True)
        assert (may_look(EVE), may_look(BOB)) == (True, False)
        people.toml.unlink()
        people.ask(ROOT, "daemon-reload", check=True)
        assert not may_look(EVE)


def test_a_daemon_with_a_user_of_its_own_has_the_file_opened_by_the_keeper() -> None:
    if why := why_not():
        pytest.skip(why)
    with many_users(RULES, options=["--daemon-user", DAEMON]) as people:
        people.toml.chmod(0o600)
        people.config_dir.chmod(0o700)
        people.ask(ROOT, "daemon-reload", check=True)
        assert lines(people) == [1]
        people.toml.write_text("x")
        done = people.ask(ROOT, "daemon-reload")
        assert (done.returncode, f"{people.toml}:1:2: " in done.stderr) == (6, True)
        os.chown(people.toml, pwd.getpwnam(DAEMON).pw_uid, -1)  # who could change his own rules
        assert "it belongs to uid" in people.ask(ROOT, "daemon-reload").stderr


def test_things_that_are_no_files_hold_nobody_up(reloaded: Program, file: Path) -> None:
    def refused(why: str) -> None:
        begun = time.monotonic()
        done = reloaded.jobctl("daemon-reload")
        assert (done.returncode, f"{file}: {why}" in done.stderr) == (6, True), done.stderr
        assert time.monotonic() - begun < DEADLINE_SEC / 2
        assert reloaded.daemon_status().state == "degraded"
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()

    os.mkfifo(file)
    refused("it is not a regular file")
    file.mkdir()
    refused("it is not a regular file")
    file.symlink_to("/etc/passwd")
    refused("it is a symbolic link")
    file.symlink_to("/dev/zero")
    refused("it is a symbolic link")
    with file.open("wb") as sparse:
        sparse.truncate(10 << 30)
    refused("it is larger than 1 MiB")
    file.write_bytes(b"# \xff\n")
    assert f"{file}:1: not UTF-8: byte 0xff" in reloaded.jobctl("daemon-reload").stderr
    file.write_bytes(b"a = \0\n")
    assert f"{file}:1:5: " in reloaded.jobctl("daemon-reload").stderr


def test_a_new_daemon_reads_anew_and_goes_on_with_the_rules_of_before_when_it_cannot(
    reloaded: Program, file: Path
) -> None:
    def replaced() -> None:
        old = reloaded.daemon_pid()
        os.kill(reloaded.keeper_pid, signal.SIGHUP)
        until(lambda: reloaded.daemon_pid() != old, "the next daemon")

    file.write_text(RULES)
    replaced()
    assert lines(reloaded) == [1]
    file.write_text("[broken\n")
    assert reloaded.jobctl("daemon-reload").returncode == 6
    replaced()
    assert lines(reloaded) == [1]
    reloaded.replace_daemon()
    assert lines(reloaded) == [1]
    status = reloaded.daemon_status()
    assert (status.state, len(status.reasons)) == ("degraded", 1)
    assert status.reasons[0].startswith(f"{file}:1:8: ")


def test_a_jobd_that_starts_with_a_broken_file_has_no_rules(tmp_path: Path) -> None:
    program = Program(tmp_path)
    file = program.config_dir / "jobd.toml"
    try:
        file.write_text(RULES)
        program.start()
        assert lines(program) == [1]
        program.jobctl("shutdown", check=True)
        program.keeper.wait(DEADLINE_SEC)
        file.write_text("[broken\n")
        program.start()
        assert lines(program) == []
        assert program.daemon_status().state == "degraded"
        assert program.jobctl("run", "--wait", "true").returncode == 0  # owners need no rule
        file.write_text(RULES)
        program.jobctl("daemon-reload", check=True)
        assert lines(program) == [1]
    finally:
        program.close()


def test_a_reload_without_a_keeper_waits_for_the_next_one(jobd: Program) -> None:
    (jobd.config_dir / "jobs").mkdir(exist_ok=True)
    (jobd.config_dir / "jobs" / "web.toml").write_text('command = "true"\n')
    daemon = jobd.kill_daemon(signal.SIGSTOP)
    jobd.keeper.kill()
    jobd.keeper.wait()
    client = jobd.start_jobctl("daemon-reload")  # who opens the files is dead when it is served
    until(lambda: any(link.startswith("socket:") for link in open_fds(client.pid).values()), "it is connected")
    os.kill(daemon, signal.SIGCONT)
    assert client.communicate(timeout=DEADLINE_SEC)[1] == b""
    assert client.returncode == 0
    assert "web" in jobd.jobctl("list-job-files", check=True).stdout
