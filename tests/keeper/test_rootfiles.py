"""What root's job files allow, found by the program that the keeper runs for it: for root alone to try."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jobd import filegrants
from jobd.core.jobfile import Source, parse
from jobd.keeper.grants import Grants
from jobd.keeper.rootfiles import FileGrants
from jobd.runtime.homes import Homes
from jobd.runtime.jobfiles import JobFiles
from jobd.wire.grants import DIGEST_BYTES, digest

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has job files of root's")

HOME = b"/"


def put(directory: Path, **texts: str) -> Path:
    """Job files; `web_` is web@."""
    jobs = directory / "config" / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (jobs / f"{name.replace('_', '@')}.toml").write_text(text)
    return jobs


def allowed(directory: Path, *instances: str) -> set[bytes]:
    words = ["socket", str(directory / "config"), *instances]
    done = subprocess.run(
        [sys.executable, "-I", "-m", "jobd.filegrants", *words], stdout=subprocess.PIPE, timeout=60, check=True
    )
    return {done.stdout[at : at + DIGEST_BYTES] for at in range(0, len(done.stdout), DIGEST_BYTES)}


def one(*argv: bytes, env: tuple[bytes, ...] = (), user: str = "", **fields: object) -> bytes:
    return digest(argv, env, HOME, user, 0o22, "null", **fields)  # type: ignore[arg-type]  # a test's own words


def test_each_command_of_each_job_is_allowed_and_nothing_else(tmp_path: Path) -> None:
    put(
        tmp_path,
        web='command = ["web"]\nuser = "daemon"\nenvironment = {A = "1"}\n[stop]\ncommand = ["stop"]\n'
        '[reload]\ncommand = ["reload"]\n[ready]\ncommand = ["ready"]\n[health]\ncommand = ["health"]\n',
        files='command = ["files"]\nenvironment_file = ["/etc/one", "-/etc/two"]\n',
        broken='comand = ["broken"]\n',
    )
    names = (b"web", b"stop", b"reload", b"ready", b"health")
    web = {one(name, env=(b"A=1",), user="daemon") for name in names}
    assert allowed(tmp_path) == {*web, one(b"files", env_files=((b"/etc/one", False), (b"/etc/two", True)))}


def test_a_dropin_counts_as_it_does_for_the_daemon(tmp_path: Path) -> None:
    jobs = put(tmp_path, web='command = ["web"]\n')
    (jobs / "web.toml.d").mkdir()
    (jobs / "web.toml.d" / "more.toml").write_text('command = ["other"]\n')
    assert allowed(tmp_path) == {one(b"other")}


def test_of_a_template_those_instances_that_root_or_his_files_name(tmp_path: Path) -> None:
    put(
        tmp_path,
        worker_='command = ["work", "%i"]\nafter = ["deep@%i"]\n', deep_='command = ["deep", "%i"]\n',
        web='command = ["web"]\nwants = ["worker@1"]\n',
    )  # fmt: skip
    files = {one(b"web"), one(b"work", b"1"), one(b"deep", b"1")}
    assert allowed(tmp_path) == files
    assert allowed(tmp_path, "worker@x", "nobody@7") == files | {one(b"work", b"x"), one(b"deep", b"x")}


def test_what_others_can_write_to_allows_nothing(tmp_path: Path) -> None:
    jobs = put(tmp_path, web='command = ["web"]\n', other='command = ["other"]\n', linked='command = ["linked"]\n')
    os.chown(jobs / "web.toml", 61001, 61001)
    os.chmod(jobs / "other.toml", 0o666)
    os.rename(jobs / "linked.toml", tmp_path / "elsewhere.toml")
    os.symlink(tmp_path / "elsewhere.toml", jobs / "linked.toml")
    assert allowed(tmp_path) == set()
    os.chown(jobs / "web.toml", 0, 0)
    assert allowed(tmp_path) == {one(b"web")}
    for directory in (jobs, tmp_path):
        before = os.stat(directory)
        os.chown(directory, 61001, 61001)
        assert allowed(tmp_path) == set(), directory
        os.chown(directory, before.st_uid, before.st_gid)
        os.chmod(directory, 0o777)
        assert allowed(tmp_path) == set(), directory
        os.chmod(directory, 0o1777)  # what others put there is theirs
        assert allowed(tmp_path) == {one(b"web")}, directory
        os.chmod(directory, before.st_mode & 0o7777)


def test_a_link_that_others_could_turn_elsewhere_allows_nothing(tmp_path: Path) -> None:
    put(tmp_path / "real", web='command = ["web"]\n')
    (tmp_path / "way").mkdir()
    os.symlink(tmp_path / "real" / "config", tmp_path / "way" / "config")
    assert allowed(tmp_path / "way") == {one(b"web")}
    os.chown(tmp_path / "way", 61001, 61001)
    assert allowed(tmp_path / "way") == set()
    os.chown(tmp_path / "way", 0, 0)
    os.chmod(tmp_path / "way", 0o1777)
    os.chown(tmp_path / "way" / "config", 61001, 61001, follow_symlinks=False)
    assert allowed(tmp_path / "way") == set()


def test_no_directory_at_all_allows_nothing(tmp_path: Path) -> None:
    assert allowed(tmp_path) == set()


def test_root_is_the_same_owner_for_both() -> None:
    homes = Homes(shared=True)
    assert filegrants.root() == homes._owner(0, homes._home(0))


def test_the_readers_find_the_same(tmp_path: Path) -> None:
    put(tmp_path, web='command = ["web", "%h", "%t"]\n')
    config = str(tmp_path / "config")
    reader = JobFiles(filegrants.Roots("socket", config), "socket", config)  # type: ignore[arg-type]  # as it is used
    found = filegrants.at_once(reader.find())
    definition = parse([Source(f"{config}/jobs/web.toml", 'command = ["web", "%h", "%t"]\n')], "web", filegrants.root())
    assert filegrants.granted(reader, found, (), filegrants.root()) == set(filegrants.commands(definition))


@pytest.mark.slow
def test_a_daemon_that_lies_gets_nothing_else(tmp_path: Path) -> None:
    """The keeper asks the files, whatever the daemon says; what it starts is theirs to the last word."""
    put(tmp_path, web='command = ["/bin/sleep", "0"]\nenvironment = {A = "1"}\n')
    said: list[Message] = []
    keeper: Any = SimpleNamespace(
        config=SimpleNamespace(mode="socket", config_dir=str(tmp_path / "config"), state_dir=str(tmp_path)),
        log=lambda text, _: pytest.fail(text), send=said.append, watch=lambda *_: None, unwatch=lambda _: None,
        ends=SimpleNamespace(readers={}),
    )  # fmt: skip
    grants = Grants(str(tmp_path), keeper.log)
    reader = FileGrants(keeper, grants)
    for tag in (1, 2):
        reader.ask({"tag": tag, "all": tag == 2}, {})
    for _ in range(2):  # the second one came when the first had begun
        ((pid, ended),) = keeper.ends.readers.items()
        keeper.ends.readers.clear()
        ended(os.waitpid(pid, 0)[1])
    assert said == [{"op": "files-granted", "tag": tag, "count": 1} for tag in (1, 2)]
    command: Message = {
        "user": 0, "argv": [b"/bin/sleep", b"0"], "env": [b"A=1", b"JOBD_RUN=1"], "cwd": b"/", "umask": 0o22,
        "stdin": "null",
    }  # fmt: skip
    assert grants.has(command)
    lies: list[Message] = [
        {"argv": [b"/bin/sh"]}, {"env": [b"A=1", b"LD_PRELOAD=/tmp/x"]}, {"env": []}, {"cwd": b"/tmp"}, {"umask": 0},
        {"stdin": "pty"}, {"user": "root"}, {"executable": b"/bin/sh"}, {"env_files": [[b"/tmp/x", False]]},
    ]  # fmt: skip
    for lie in lies:
        assert not grants.has({**command, **lie}), lie
    reader.add_instance("web@1", lambda: None)
    assert FileGrants(keeper, grants)._instances == {"web@1": None}, "kept for the next keeper"
    os.waitpid(next(iter(keeper.ends.readers)), 0)
