"""Services of many users, under a daemon that is none of them: who may speak for one, and as whom checks are made."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, BOB, DAEMON, People, many_users, why_not
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

SAY = """
import os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.connect(sys.argv[1] if len(sys.argv) > 1 else os.environ["NOTIFY_SOCKET"])
    s.send(b"READY=1")
signal.alarm(300)
signal.pause()
"""
LISTEN = """
import os, signal, socket, sys
os.mkdir(sys.argv[1], 0o700)
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + "/sock")
s.listen()
signal.alarm(300)
signal.pause()
"""


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users(options=("--daemon-user", DAEMON)) as made:
        yield made


def shown(people: People, uid: int, job: str, name: str) -> str:
    return people.said(uid, "show", "-p", name, "--value", job).strip()


def test_only_its_own_user_may_speak_for_a_service(people: People) -> None:
    python = str(people.python)
    script = f"echo $NOTIFY_SOCKET; read line < {people.place}/gate; exec {python} -c '{SAY}'"
    subprocess.run(["mkfifo", "-m", "666", f"{people.place}/gate"], check=True)
    people.said(ALICE, "run", "-u", "speaker", "-p", "type=notify", "--shell", "--", script)
    path = until(lambda: people.said(ALICE, "logs", "-o", "cat", "speaker").strip(), "it says where its socket is")
    other = subprocess.run(
        ["setpriv", f"--reuid={BOB}", f"--regid={BOB}", "--clear-groups", "--", python, "-c", SAY, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in other.stderr
    assert shown(people, ALICE, "speaker", "SubState") == "start"
    with open(people.place / "gate", "w") as gate:
        gate.write("go\n")
    until(lambda: shown(people, ALICE, "speaker", "SubState") == "running", "it is heard")
    people.said(ALICE, "stop", "speaker")


def test_checks_are_made_as_the_user_of_the_job(people: People) -> None:
    python, directory = str(people.python), f"{people.place}/private"
    people.said(ALICE, "run", "-u", "db", "-p", f"ready.unix={directory}/sock", "--", python, "-c", LISTEN, directory)
    until(lambda: shown(people, ALICE, "db", "SubState") == "running", "it is ready")
    people.said(BOB, "run", "-u", "nosy", "-p", f"ready.unix={directory}/sock", "--", "sleep", "300")
    until(lambda: "Permission denied" in people.ask(BOB, "status", "nosy").stdout, "he is not let in")
    check = f'ready.command=["/bin/sh", "-c", "test $(id -u) = {ALICE}"]'
    people.said(ALICE, "run", "-u", "asked", "-p", check, "--", "sleep", "300")
    until(lambda: shown(people, ALICE, "asked", "SubState") == "running", "it is asked as alice")
    people.said(ALICE, "stop", "db", "asked")
    people.said(BOB, "stop", "nosy")
