"""root, where the daemon is not: what root submits runs as root, and clients know whom they speak to."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import trio

from jobd import client as api
from tests.system.people import ALICE, EVE, GAMES, ROOT, People, many_users, why_not
from tests.system.program import DEADLINE_SEC
from tests.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
KEEPS = 61199  # the daemon's own user


def can_map_itself() -> bool:
    """Whether a user may make a user namespace."""
    command = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups", "unshare", "--user", "true"]
    return not why_not() and not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users(options=("--daemon-user", str(KEEPS))) as made:
        yield made


def test_the_daemon_is_not_root_and_its_socket_is(people: People) -> None:
    """The keeper listens: so nobody has to trust the daemon's uid, and EVE's own check passes."""
    assert people.daemon_status().uid == KEEPS
    assert os.stat(f"/proc/{people.daemon_pid()}").st_uid == KEEPS
    for uid in (ROOT, ALICE, EVE):
        assert people.ask(uid, "list").returncode == 0
    listener = people.socket.parent / "squatted"
    command = ["setpriv", f"--reuid={EVE}", f"--regid={EVE}", "--clear-groups", people.python or "", "-I", "-c"]
    script = f"""import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind({str(people.place / "squatted")!r}); s.listen()
os.chmod({str(people.place / "squatted")!r}, 0o777); print("up", flush=True); sys.stdin.read()"""
    assert not listener.exists()
    with subprocess.Popen(
        [*command, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=people.env
    ) as squatter:
        assert squatter.stdout is not None
        assert squatter.stdout.readline() == b"up\n"
        done = people.ask(ALICE, "--socket", str(people.place / "squatted"), "run", "true", env={"MY_SECRET": "1"})
        squatter.communicate()
    assert done.returncode == 1
    assert f"it belongs to user {EVE}" in done.stderr


@pytest.mark.parametrize(
    "line",
    ["run -f -- id -u", "run -f --shell id -u", "run -P -- id -u", "run -f -C / -E A=b --env none -- id -u"],
)
def test_what_root_runs_is_roots(people: People, line: str) -> None:
    done = people.ask(ROOT, *line.split())
    assert (done.returncode, done.stdout) == (0, "0\n"), done


def test_each_element_of_an_array_of_roots_is_as_he_has_granted_it(people: People) -> None:
    script = "echo %i $JOBD_ARRAY_INDEX $(id -u)"
    people.said(ROOT, "run", "-u", "array", "--array", "2-3", "--wait", "--shell", "--", script)
    people.said(ROOT, "start", "array@3")
    people.said(ROOT, "wait", "array")
    assert sorted(people.said(ROOT, "logs", "-o", "cat", "array").splitlines()) == ["2 2 0", "3 3 0"]
    people.said(ALICE, "run", "-u", "array", "--array", "7", "--wait", "--shell", "--", script)
    assert people.said(ALICE, "logs", "-o", "cat", "array") == f"7 7 {ALICE}\n"
    assert people.ask(ALICE, "stop", "root/array").returncode == 5
    assert "root/array" not in people.said(ALICE, "list", "-a")


def test_on_a_terminal_too(people: People) -> None:
    with Terminal() as terminal:
        client = terminal.start([*people.command_as(ROOT, "run", "-t", "--", "id", "-u")], env=people.env)
        terminal.read(b"\r\n", terminal.read(b"\n0"))
        assert client.wait(DEADLINE_SEC) == 0


def test_again_needs_no_grant(people: People) -> None:
    people.said(ROOT, "run", "-u", "once", "--shell", "--wait", "--", "id -u")
    for act in (["rerun", "--wait"], ["start"], ["restart"]):
        people.said(ROOT, *act, "once")
        people.said(ROOT, "wait", "once")
        assert people.said(ROOT, "logs", "-o", "cat", "once") == "0\n"


def test_what_root_has_not_let_be_fed_is_not_fed(people: People) -> None:
    people.said(ROOT, "run", "-u", "fed", "-P", "--", "cat")
    people.said(ROOT, "rerun", "--wait", "fed")
    people.said(ROOT, "run", "-u", "unfed", "--wait", "--", "cat", "-")
    for option in ("-P", "-t"):
        refused = people.ask(ROOT, "rerun", option, "unfed")
        assert refused.returncode != 0
        assert "root has not allowed this command" in refused.stderr
    people.said(ROOT, "rerun", "--wait", "unfed#1")


def test_the_python_api(people: People) -> None:
    with api.connect_blocking(str(people.socket)) as jobs:
        run = jobs.run(["id", "-u"])
        assert run.wait().exit_code == 0
        assert b"".join(chunk.data for chunk in run.logs()) == b"0\n"
        other = jobs.run(["id", "-un"], settings={"user": GAMES}, cwd="/")
        assert other.wait().exit_code == 0
        assert b"".join(chunk.data for chunk in other.logs()) == f"{GAMES}\n".encode()

    async def main() -> None:
        async with api.connect(str(people.socket)) as jobs:
            run = await jobs.run("id -u", shell=True)
            assert (await run.wait()).exit_code == 0

    trio.run(main)


def test_a_user_needs_none(people: People) -> None:
    assert people.said(ALICE, "run", "-f", "--", "id", "-u") == f"{ALICE}\n"


def test_it_says_as_whom_the_daemon_runs(people: People) -> None:
    assert f"       User: {KEEPS}\n" in people.said(ALICE, "daemon-status")
    assert people.said(ALICE, "show", "--value", "-P", "UID") == f"{KEEPS}\n"


@pytest.mark.skipif(not can_map_itself(), reason="no user namespaces for users here")
def test_who_is_root_to_himself_alone_is_himself_to_jobd(people: People) -> None:
    """As in a rootless container: uid 0 there, and a map of one."""
    command = people.command_as(ALICE, "run", "-f", "--", "id", "-u")
    at = command.index("--") + 1
    command = [*command[:at], "unshare", "--user", "--map-root-user", *command[at:]]

    def ask(*line: str) -> str:
        whole = [*command[: command.index("run")], *line]
        done = subprocess.run(
            whole, env=people.env, cwd=people.place, capture_output=True, text=True, timeout=DEADLINE_SEC, check=True
        )
        return done.stdout

    assert ask("run", "-f", "--", "id", "-u") == f"{ALICE}\n"
    assert ask("run", "-u", "slow", "--", "sleep", "0.3") == "slow\n"
    assert ask("list", "-o", "name") == "slow\n"
    assert ask("__complete", "jobs", "live", "") == "slow\trunning\n"
    ask("wait")
    assert ask("list", "-o", "name") == ""


def test_what_a_service_of_roots_has_besides_its_program_was_granted_with_it(people: People) -> None:
    place = people.place / "service"
    place.mkdir()
    (place / "env").write_text("WORD=granted\n")
    settings = {
        "environment_file": place / "env",
        "reload.command": 'sh -c "echo reload $(id -u) $WORD >&2"',
        "stop.command": 'sh -c "echo stop $(id -u) $WORD"',
        "ready.unix": place / "sock",
    }
    words = [word for key, value in settings.items() for word in ("-p", f"{key}={value}")]
    script = f"""import os, socket, time
s = socket.socket(socket.AF_UNIX); s.bind({str(place / "sock")!r}); s.listen(); time.sleep(300)"""
    python = people.python or ""
    done = people.ask(ROOT, "run", *words, "--name", "service", "--", python, "-I", "-c", script)
    assert done.returncode == 0, done
    for verb in ("reload", "stop"):
        done = people.ask(ROOT, verb, "service")
        assert done.returncode == 0, done
    assert people.ask(ROOT, "logs", "-o", "cat", "service").stdout == "reload 0 granted\nstop 0 granted\n"


def test_a_users_service_says_how_it_does_and_has_his_files_read_by_himself(people: People) -> None:
    place = people.place / "hers"
    place.mkdir()
    os.chown(place, ALICE, ALICE)
    place.chmod(0o700)
    (place / "env").write_text("WORD=hers\n")
    os.chown(place / "env", ALICE, ALICE)
    script = """import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1\\nSTATUS=" + os.environ["WORD"].encode()); time.sleep(300)"""
    words = ["-p", "type=notify", "-p", f"environment_file={place}/env", "-p", "reload.command=id -u", "--name", "hers"]
    done = people.ask(ALICE, "run", *words, "--", people.python or "", "-I", "-c", script)
    assert done.returncode == 0, done
    done = people.ask(ALICE, "reload", "hers")
    assert done.returncode == 0, done
    assert people.ask(ALICE, "show", "hers", "-p", "StatusText").stdout == "StatusText=hers\n"
    assert people.ask(ALICE, "stop", "hers").returncode == 0
    assert people.ask(ALICE, "logs", "-o", "cat", "hers").stdout == f"{ALICE}\n"
    done = people.ask(EVE, "run", *words[2:4], "--name", "theirs", "--", "true")
    assert done.returncode == 1
    assert f"reading {place}/env: Permission denied" in done.stderr
