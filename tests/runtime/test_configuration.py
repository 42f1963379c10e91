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

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    found = Configuration(str(path), keeper, log_level)  # type: ignore[arg-type]  # what is used of it
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
