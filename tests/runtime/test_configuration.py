"""The configuration in force: what a reload changes, when, and what a name service that does not answer holds up."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from jobd.core.configfile import ConfigError
from jobd.runtime import configuration, daemonlog
from jobd.runtime.configuration import LOOKUP_SEC, RETRY_SEC, Configuration
from jobd.runtime.lastgood import NAME, LastGood

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trio.testing import MockClock

    from jobd.core.policy import Policy

RULE = '[[allow]]\nusers = ["alice"]\nactions = ["@read"]\n'


class Keeper:
    """Opens files for a daemon, as long as it is alive."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shared = False
        self.alive = True
        self.sent: list[tuple[str, dict[str, object]]] = []

    async def open_config(self, path: str) -> int:
        await trio.lowlevel.checkpoint()
        if not self.alive:
            raise OSError(errno.ECONNRESET, "no keeper")
        return os.open(self.directory / path, os.O_RDONLY)

    def send(self, op: str, **fields: object) -> None:
        self.sent.append((op, fields))


class Names:
    """A name service that answers when it is let."""

    answers = threading.Event()

    def uid(self, _: str) -> int | None:
        self.answers.wait()
        return 1000

    def gid(self, _: str) -> int | None:
        return None


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    Names.answers = threading.Event()
    Names.answers.set()
    monkeypatch.setattr(configuration, "Accounts", Names)
    yield Names.answers
    Names.answers.set()


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(daemonlog, "set_level", told.append)
    return told


def made(path: Path, log_level: str = "") -> tuple[Configuration, Keeper, list[Policy]]:
    keeper = Keeper(path)
    found = Configuration(str(path), keeper, LastGood(str(path), "k"), log_level)  # type: ignore[arg-type]  # a double
    told: list[Policy] = []
    found.on_change = told.append
    return found, keeper, told


@pytest.mark.usefixtures("names", "levels")
async def test_a_good_file_is_told_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    found, keeper, told = made(tmp_path)
    await found.load()
    (tmp_path / "jobd.toml").write_text(RULE)
    keeper.alive = False  # the file is opened all the same
    await found.load()
    assert [len(policy.allow) for policy in told] == [0, 1]
    (tmp_path / "jobd.toml").write_text("x")
    with pytest.raises(ConfigError):
        await found.load()
    assert len(told) == 2
    assert found.policy is told[1]
    assert found.error.startswith(f"{tmp_path}/jobd.toml:1:2: ")
    (tmp_path / "jobd.toml").unlink()
    await found.load()
    assert (found.error, found.policy.allow) == ("", ())


@pytest.mark.usefixtures("names", "levels")
@pytest.mark.parametrize(("shared", "most"), [(False, None), (True, 4 << 30)])
async def test_a_daemon_of_one_user_limits_what_its_file_says(tmp_path: Path, shared: bool, most: int | None) -> None:
    found, keeper, _ = made(tmp_path)
    keeper.shared = shared
    found = Configuration(str(tmp_path), keeper, LastGood(str(tmp_path), "k"))  # type: ignore[arg-type]
    assert found.policy.limits.log_bytes == most  # before there is a file, and so if it is broken
    (tmp_path / "jobd.toml").write_text("[limits]\nrunning = 7\n")
    await found.load()
    assert (found.policy.limits.running, found.policy.limits.log_bytes) == (7, most)


@pytest.mark.usefixtures("levels")
async def test_who_reloads_second_waits_and_sees_the_newest(tmp_path: Path, names: threading.Event) -> None:
    found, _, told = made(tmp_path)
    (tmp_path / "jobd.toml").write_text(RULE)
    names.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.load)
        await trio.testing.wait_all_tasks_blocked()
        (tmp_path / "jobd.toml").write_text(RULE * 2)
        nursery.start_soon(found.load)
        await trio.testing.wait_all_tasks_blocked()
        names.set()
    assert [len(policy.allow) for policy in told] == [1, 2]


@pytest.mark.usefixtures("levels")
async def test_a_name_service_that_does_not_answer_is_asked_again(
    tmp_path: Path, names: threading.Event, autojump_clock: MockClock
) -> None:
    found, _, told = made(tmp_path)
    (tmp_path / "jobd.toml").write_text(RULE)
    names.clear()
    await found.load_first()
    assert trio.current_time() == pytest.approx(LOOKUP_SEC)
    assert "could not be looked up" in found.error
    names.set()
    autojump_clock.autojump_threshold = 0.05  # a thread is at work
    await found.catch_up()
    assert trio.current_time() >= LOOKUP_SEC + RETRY_SEC
    assert (found.error, len(told)) == ("", 1)
    await found.catch_up()  # once is enough


@pytest.mark.usefixtures("names")
async def test_the_level_of_the_log_is_the_files_unless_the_command_line_has_one(
    tmp_path: Path, levels: list[str]
) -> None:
    (tmp_path / "jobd.toml").write_text('log_level = "debug"')
    found, keeper, _ = made(tmp_path)
    await found.load()
    await found.load()
    (tmp_path / "jobd.toml").write_text("")
    await found.load()
    assert levels == ["debug", "debug", ""]
    assert keeper.sent == [("log-level", {"level": "debug"}), ("log-level", {"level": ""})]
    with_option, keeper, _ = made(tmp_path, "error")
    await with_option.load()
    assert (len(levels), keeper.sent) == (3, [])


@pytest.mark.usefixtures("names", "levels")
async def test_a_broken_file_is_no_end_of_the_rules_for_the_next_daemon(tmp_path: Path) -> None:
    first, _, _ = made(tmp_path)
    (tmp_path / "jobd.toml").write_text(RULE)
    await first.load_first()
    (tmp_path / "jobd.toml").write_text("x")
    second, _, told = made(tmp_path)
    await second.load_first()
    assert told == [second.policy]
    assert second.policy.allow == first.policy.allow
    assert second.error.endswith(':1:2: a key needs a "=" and a value')
    (tmp_path / "jobd.toml").write_text("")  # an empty one is a good one
    await second.load()
    (tmp_path / "jobd.toml").write_text("x")
    third, _, _ = made(tmp_path)
    await third.load_first()
    assert third.policy.allow == ()


@pytest.mark.usefixtures("names", "levels")
async def test_a_disk_that_is_full_is_no_reason_to_refuse_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _, told = made(tmp_path)
    await found.load()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(LastGood, "save", full)
    (tmp_path / "jobd.toml").write_text(RULE)
    await found.load()
    assert len(told[-1].allow) == 1


def test_what_is_kept_is_for_the_same_keeper_and_of_nobody_elses_hand(tmp_path: Path) -> None:
    text = "a = 1\r\n# \u202e\n"
    kept, path = LastGood(str(tmp_path), "k"), tmp_path / NAME
    assert kept.load() is None
    kept.save(text)
    kept.save(text)
    assert kept.load() == text
    assert path.stat().st_mode & 0o777 == 0o600
    assert LastGood(str(tmp_path), "k2").load() is None
    path.chmod(0o620)
    assert kept.load() is None
    path.unlink()
    plants: list[Callable[[], None]] = [
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.symlink_to("/dev/zero"),
    ]
    for plant in plants:
        plant()
        assert kept.load() is None
        if path.is_dir():
            with pytest.raises(OSError, match="directory"):
                kept.save(text)
            path.rmdir()
        else:
            kept.save(text)
            assert kept.load() == text
            path.unlink()
