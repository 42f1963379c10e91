"""Root's job files, where the daemon is not root: they run as root, and nothing else does that they do not say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, GAMES, ROOT, People, many_users, why_not
from tests.system.program import DEADLINE_SEC, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
KEEPS = 61198  # the daemon's own user
IDS = 'shell = "id -u; nice; echo $WHAT %i; exec sleep 1000"\nenvironment = {WHAT = "this"}\n'


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users(options=("--daemon-user", str(KEEPS))) as made:
        yield made


def put(people: People, name: str, text: str) -> Path:
    path = people.config_dir / "jobs" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(text)
    path.chmod(0o644)
    return path


def wrote(people: People, name: str, lines: int) -> list[str]:
    """What the newest run of a job has written, when it has so many lines."""

    def look() -> list[str]:
        found = people.said(ROOT, "logs", "-o", "cat", name).splitlines()
        return found if len(found) >= lines else []

    return until(look, f"{name} has written {lines} lines")


def test_it_runs_as_root_after_a_reload_and_no_jobctl_has_granted_it(people: People) -> None:
    put(people, "web", IDS.replace(" %i", "") + "[limits]\nnice = -3\n")
    assert "added web" in people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "web")
    assert wrote(people, "web", 3) == ["0", "-3", "this"]


def test_the_commands_beside_it_are_roots_too(people: People) -> None:
    mark = people.place / "stopped by"
    put(
        people,
        "besides",
        'command = ["sleep", "1000"]\nenvironment_file = ["besides.env"]\n'
        f'[stop]\ncommand = ["sh", "-c", "echo $(id -u) $MORE > \'{mark}\'"]\n'
        f'[ready]\ncommand = ["sh", "-c", "test $(id -u) = 0"]\n',
    )
    (people.config_dir / "jobs" / "besides.env").write_text("MORE='than that'\n")
    people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "besides")
    people.said(ROOT, "stop", "besides")
    assert mark.read_text() == "0 than that\n"


def test_a_file_for_another_user(people: People) -> None:
    put(people, "game", IDS.replace(" %i", "") + f'user = "{GAMES}"\n[limits]\nnice = -2\n')
    people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "game")
    uid, nice, _ = wrote(people, "game", 3)
    assert uid != "0"
    assert nice == "-2"


def test_an_instance_is_roots_when_root_names_it(people: People) -> None:
    put(people, "worker@", IDS)
    people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "worker@7")
    assert wrote(people, "worker@7", 3) == ["0", "0", "this 7"]
    put(people, "needs", 'command = ["sleep", "1000"]\nwants = ["worker@8"]\n')
    people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "needs")
    assert wrote(people, "worker@8", 3) == ["0", "0", "this 8"]


@pytest.mark.parametrize("how", ["owner", "mode"])
def test_a_file_that_others_can_write_to_starts_nothing(people: People, how: str) -> None:
    path = put(people, f"open-{how}", 'command = ["id"]\n')
    if how == "owner":
        os.chown(path, ALICE, ALICE)
    else:
        path.chmod(0o666)
    people.ask(ROOT, "daemon-reload")
    done = people.ask(ROOT, "start", f"open-{how}")
    assert done.returncode != 0
    path.unlink()


def test_what_was_changed_counts_from_the_next_reload(people: People) -> None:
    put(people, "changing", 'shell = "echo one"\ntype = "oneshot"\n')
    people.said(ROOT, "daemon-reload")
    put(people, "changing", 'shell = "echo two"\ntype = "oneshot"\n')
    people.said(ROOT, "start", "changing")
    assert wrote(people, "changing", 1) == ["one"]
    people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "changing")
    assert wrote(people, "changing", 1)[-1] == "two"


def test_a_fresh_start_starts_what_is_enabled(people: People) -> None:
    people.said(ROOT, "enable", "web", "worker@7")
    people.keeper.terminate()
    people.keeper.wait(DEADLINE_SEC)
    people.start()
    assert wrote(people, "web", 3) == ["0", "-3", "this"]
    assert wrote(people, "worker@7", 3) == ["0", "0", "this 7"]


def test_a_keeper_that_takes_over_asks_the_files_again(people: People) -> None:
    people.said(ROOT, "stop", "web", "worker@*", "needs", "game")
    old = people.keeper_pid
    people.keeper.kill()
    people.keeper.wait(DEADLINE_SEC)
    people.start(answering=False)
    until(lambda: people.daemon_status().keeper_pid not in (None, old), "a new keeper has taken over")
    people.said(ROOT, "start", "web")
    assert wrote(people, "web", 3) == ["0", "-3", "this"]


def test_what_waits_to_begin_is_allowed_before_the_next_jobd_takes_it_up(people: People) -> None:
    gate = people.place / "opens"
    put(people, "slow", f'shell = "until test -e {gate}; do sleep 0.02; done"\ntype = "oneshot"\n')
    put(people, "later", 'shell = "id -u"\nafter = ["slow"]\nwants = ["slow"]\n')
    people.said(ROOT, "daemon-reload")
    people.said(ROOT, "start", "--no-block", "later")
    until(lambda: people.said(ROOT, "show", "-p", "SubState", "--value", "slow").strip() == "start", "it waits for it")
    people.keeper.terminate()
    people.keeper.wait(DEADLINE_SEC)
    gate.touch()
    people.start()
    assert wrote(people, "later", 1) == ["0"]
