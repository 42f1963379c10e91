"""The state directory changes hands when the daemon's user does, and nothing is given away that was planted there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.keeper.sockets import StartError
from jobd.keeper.statedir import settle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
UID, GID, NEXT = 61999, 61998, 61997


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """As a daemon of root's leaves it."""
    directory = tmp_path / "state"
    (directory / "logs" / "0" / "ab").mkdir(parents=True)
    for name in ("state.db", "lock", "grants", "jobd.log", "last-exits", "logs/0/ab/out"):
        (directory / name).write_text(name)
    directory.chmod(0o700)
    return directory


def owners(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_uid for path in sorted(directory.rglob("*"))}


OWN = {"grants": 0, "jobd.log": 0, "last-exits": 0, "lock": 0}
TREE = ("logs", "logs/0", "logs/0/ab", "logs/0/ab/out", "state.db")


def test_to_a_daemon_and_back(state: Path) -> None:
    assert settle(str(state), UID, GID)
    assert owners(state) == {**OWN, **dict.fromkeys(TREE, UID)}
    info = state.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (0, GID, 0o1770)
    assert not settle(str(state), UID, GID)
    assert settle(str(state), NEXT, GID)
    assert owners(state) == {**OWN, **dict.fromkeys(TREE, NEXT)}
    assert settle(str(state), 0, 0)
    assert owners(state) == dict.fromkeys((*OWN, *TREE), 0)
    assert (state.stat().st_gid, state.stat().st_mode & 0o7777) == (0, 0o700)
    assert not settle(str(state), 0, 0)


def test_an_interrupted_change_goes_on(state: Path) -> None:
    os.chown(state / "logs", UID, GID)
    assert settle(str(state), UID, GID)
    assert set(owners(state).values()) == {0, UID}
    os.chmod(state, 0o700)  # killed between
    os.chown(state / "state.db", NEXT, GID)
    assert settle(str(state), NEXT, GID)
    assert owners(state) == {**OWN, **dict.fromkeys(TREE, NEXT)}


def test_what_root_had_in_a_tree_of_the_daemons_stays_roots(state: Path, tmp_path: Path) -> None:
    settle(str(state), UID, GID)
    victim = tmp_path / "victim"
    victim.write_text("secret")
    (state / "logs" / "mine").hardlink_to(victim)
    victim.unlink()  # its only name is there now
    settle(str(state), NEXT, GID)
    assert owners(state)["logs/mine"] == 0


@pytest.mark.parametrize("kind", ["symlink", "fifo", "hard link"])
def test_what_was_planted_is_refused_and_left_alone(state: Path, tmp_path: Path, kind: str) -> None:
    settle(str(state), UID, GID)
    victim = tmp_path / "victim"
    victim.write_text("secret")
    os.chown(victim, NEXT, NEXT)
    planted = state / "logs" / "planted"
    if kind == "symlink":
        planted.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(planted)
    else:
        planted.hardlink_to(victim)
    if kind != "hard link":
        os.chown(planted, UID, GID, follow_symlinks=False)
    with pytest.raises(StartError, match="planted"):
        settle(str(state), 0, 0)
    assert victim.stat().st_uid == NEXT


def test_a_directory_that_others_write_to_is_not_trusted(state: Path) -> None:
    state.chmod(0o777)
    with pytest.raises(StartError, match="write to"):
        settle(str(state), UID, GID)
    state.chmod(0o700)
    os.chown(state, UID, UID)
    with pytest.raises(StartError, match="belongs to"):
        settle(str(state), UID, GID)
