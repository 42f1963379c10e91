"""add, revert and rm of jobs from files: what is written where, what is sent, and what is refused."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from jobctl import jobfiles
from jobd.core import joblayers
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, table, view
from tests.jobctl.test_verbs import STATUS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

slow = pytest.mark.slow
ME = os.geteuid()
GOOD = 'command = ["true"]\n'
BAD = 'comand = ["true"]\nrestart = "sometimes"\n'
ADDED = m.Plan(changes=[m.Planned(job="web", owner=ME, change="added")])


def _give(body: m.AnyBody | m.Fault, _: m.Request) -> m.AnyBody | m.Fault:
    return body


class Daemon:
    """A daemon whose job files are below `tmp_path`, or that keeps them in its database."""

    def __init__(self, make: Make, config: Path | None, plan: m.Plan | m.Fault = ADDED, **fields: object) -> None:
        uid, directory = (ME, str(config)) if config is not None else (ME + 1, "/")
        mode = "user" if config is not None else "system"
        status = replace(STATUS, mode=mode, uid=uid, config_dir="" if config is None and not ME else directory)
        done = lambda request: [m.Done(job=name) for name in request.names]  # noqa: E731
        rows = {"daemon_reload": plan, "define": plan, "revert": plan, "get": m.Jobs(jobs=[view("web", **fields)])}
        answers = {name: partial(_give, body) for name, body in rows.items()}
        self.fake = make(table(daemon_status=lambda _: status, enable=done, start=done, remove=done, **answers))

    def __call__(self, *args: str, text: str = "", cwd: Path | None = None) -> tuple[int, str, str]:
        done = jobctl(self.fake.path, *args, input=text.encode(), cwd=cwd)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    @property
    def asked(self) -> list[m.Request]:
        return [each for each in self.fake.requests if not isinstance(each, m.DaemonStatus | m.Get)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
def web(tmp_path: Path) -> Path:
    path = tmp_path / "web.toml"
    path.write_text(GOOD)
    return path


# --- as files -------------------------------------------------------------------------------------------------------
@slow
def test_a_file_is_put_in_its_place_and_jobd_told(daemon: Make, config: Path, web: Path) -> None:
    add = Daemon(daemon, config)
    assert add("add", str(web)) == (0, "added web\n", "")
    there = config / "jobs" / "web.toml"
    assert (there.read_text(), oct(there.stat().st_mode & 0o777)) == (GOOD, "0o644")
    assert os.listdir(there.parent) == ["web.toml"]
    assert add.asked == [m.DaemonReload(id=2, names=["web"])]
    assert add("add", str(web)) == (0, "added web\n", "")  # once more is no mistake


@slow
def test_another_one_is_kept_unless_it_is_to_be_replaced(daemon: Make, config: Path, web: Path) -> None:
    add = Daemon(daemon, config)
    there = config / "jobs" / "web.toml"
    there.parent.mkdir(parents=True)
    there.write_text("# mine\n")
    said = f"jobctl: cannot add web: {there} is there already; --replace replaces it\n"
    assert add("add", str(web)) == (1, "", said)
    assert (there.read_text(), add.asked) == ("# mine\n", [])
    assert add("add", "--replace", str(web))[0] == 0
    assert there.read_text() == GOOD


@slow
def test_a_broken_file_is_refused_with_all_its_errors_before_anything_is_written(
    daemon: Make, config: Path, web: Path
) -> None:
    add = Daemon(daemon, config)
    web.write_text(BAD)
    status, out, err = add("add", "web.toml", cwd=web.parent)
    assert (status, out, config.exists(), add.asked) == (6, "", False, [])
    first, second = err.splitlines()
    assert first.startswith('jobctl: web.toml:1:1: unknown key "comand"')
    assert second.startswith("jobctl: web.toml:2:")


@slow
def test_enable_and_now_and_standard_input(daemon: Make, config: Path) -> None:
    add = Daemon(daemon, config)
    assert add("add", "--enable", "--now", "-u", "web", "-", text=GOOD)[0] == 0
    assert (config / "jobs" / "web.toml").read_text() == GOOD
    assert [type(each) for each in add.asked] == [m.DaemonReload, m.Enable, m.Start]


@slow
def test_a_template_is_added_and_not_enabled(daemon: Make, config: Path) -> None:
    add = Daemon(daemon, config)
    assert add("add", "--enable", "-u", "web@", "-", text='command = ["echo", "%i"]\n')[0] == 0
    assert [type(each) for each in add.asked] == [m.DaemonReload]


@slow
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-"], "a job file from standard input needs a name: --name NAME"),
        (["sleep 5"], "cannot add 'sleep 5': there is no such file; a command is run by jobctl run"),
        (["/dev/null"], "cannot add '/dev/null': a job file is called NAME.toml; --name gives another name"),
        (["-u", "a b", "web.toml"], "cannot add 'web.toml': job name 'a b' has ' '; letters, digits and _ . @ - are"),
        (["-u", "web", "a.toml", "b.toml"], "--name is for one file"),
    ],
)
def test_what_makes_no_sense(daemon: Make, config: Path, args: list[str], said: str) -> None:
    add = Daemon(daemon, config)
    status, _, err = add("add", *args)
    assert status == 2
    assert err.startswith(f"jobctl: {said}")
    assert not add.asked


@slow
def test_files_that_are_not_there_not_text_or_too_long(daemon: Make, config: Path, web: Path) -> None:
    add = Daemon(daemon, config)
    assert add("add", "/nonexistent/web.toml") == (
        1, "", "jobctl: cannot read /nonexistent/web.toml: No such file or directory\n",
    )  # fmt: skip
    web.write_bytes(b"# \xff\n")
    status, _, err = add("add", str(web))
    assert (status, "not UTF-8" in err) == (6, True)
    web.write_text("#" * (jobfiles.MAX_BYTES + 1))
    for word in (str(web), "/dev/zero"):
        assert add("add", "-u", "web", word)[2].endswith("a job file has at most 256 KiB\n")
    assert not add.asked


@slow
def test_relative_paths_are_meant_from_elsewhere_then_and_that_is_said(daemon: Make, config: Path, web: Path) -> None:
    web.write_text(GOOD + 'environment_file = ["-web.env"]\n')
    status, _, err = Daemon(daemon, config)("add", str(web))
    assert status == 0
    assert err == f"jobctl: paths in {web} that do not begin with / are meant from {config}/jobs now\n"


# --- in the database ------------------------------------------------------------------------------------------------
@slow
def test_to_the_systems_jobd_it_is_sent(daemon: Make, web: Path) -> None:
    add = Daemon(daemon, None)
    assert add("add", "--replace", "web.toml", cwd=web.parent) == (0, "added web\n", "")
    base = os.fsencode(web.parent)
    assert add.asked == [m.Define(id=2, name="web", text=GOOD, base=base, replace=True)]


@slow
def test_what_jobd_refuses_is_told_a_line_each(daemon: Make, web: Path) -> None:
    refused = m.Fault(code=errors.BAD_SETTING, message="web.toml:1:1: one\nweb.toml:2:1: two")
    assert Daemon(daemon, None, refused)("add", str(web)) == (
        6, "", "jobctl: web.toml:1:1: one\njobctl: web.toml:2:1: two\n",
    )  # fmt: skip
    there = m.Fault(code=errors.EXISTS, message="web is there already")
    assert Daemon(daemon, None, there)("add", str(web)) == (1, "", "jobctl: web is there already\n")


# --- rm, revert -----------------------------------------------------------------------------------------------------
def made(config: Path) -> Path:
    """A job file and two drop-ins."""
    path = config / "jobs" / "web.toml"
    dropins = config / "jobs" / "web.toml.d"
    dropins.mkdir(parents=True)
    path.write_text(GOOD)
    for name in ("a.toml", "override.toml"):
        (dropins / name).write_text("")
    return path


@slow
def test_rm_takes_the_files_away_first(daemon: Make, config: Path) -> None:
    path = made(config)
    rm = Daemon(daemon, config, active="inactive", sub="dead", transient=False, file=str(path))
    assert rm("rm", "web") == (0, "", "")
    assert os.listdir(path.parent) == []
    (asked,) = rm.asked
    assert isinstance(asked, m.Remove)
    assert (asked.names, asked.stop) == (["web"], False)


@slow
def test_rm_of_what_runs_or_is_a_packages_leaves_the_files(daemon: Make, config: Path) -> None:
    path = made(config)
    rm = Daemon(daemon, config, transient=False, file=str(path))
    assert rm("rm", "web") == (1, "", "jobctl: cannot remove web: it is running; stop it first, or use --now\n")
    assert (path.exists(), rm.asked) == (True, [])
    assert rm("rm", "--now", "web")[0] == 0
    assert not path.exists()
    theirs = Daemon(daemon, config, active="inactive", sub="dead", transient=False, file="/usr/lib/jobd/jobs/web.toml")
    said = "jobctl: cannot remove web: /usr/lib/jobd/jobs/web.toml is a package's; mask keeps it from being started\n"
    assert theirs("rm", "web") == (4, "", said)
    instance = Daemon(daemon, config, transient=False, file=str(path).replace("web.toml", "w@.toml"))
    said = "jobctl: cannot remove web: it is made from the template w@; disable --now ends it\n"
    assert instance("rm", "--now", "web") == (1, "", said)


@slow
def test_revert_takes_the_drop_ins_away(daemon: Make, config: Path) -> None:
    path = made(config)
    changed = m.Plan(changes=[m.Planned(job="web", owner=ME, change="changed", keys=["environment"])])
    revert = Daemon(daemon, config, changed, transient=False, file=str(path))
    assert revert("revert", "web") == (0, "changed web: environment\n", "")
    assert os.listdir(path.parent) == ["web.toml"]
    assert revert.asked == [m.DaemonReload(id=3, names=["web"])]
    stored = Daemon(daemon, None, changed)
    assert stored("revert", "web") == (0, "changed web: environment\n", "")
    assert stored.asked == [m.Revert(id=2, names=["web"])]


# --- the places -----------------------------------------------------------------------------------------------------
def test_the_words_are_those_of_the_parser_and_the_protocol() -> None:
    assert (jobfiles.SUFFIX, jobfiles.DROPIN_DIR) == (joblayers.SUFFIX, joblayers.DROPIN_DIR)
    assert jobfiles.MAX_BYTES == m.MAX_FILE_BYTES
    assert {jobfiles.FAILED} <= set(errors.CODES)


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    from jobctl.exits import Fault

    target = tmp_path / "jobs" / "web.toml"
    (target / "in the way").mkdir(parents=True)
    with pytest.raises(Fault, match=r"cannot write .*web\.toml: Is a directory"):
        jobfiles.write(str(target), GOOD)
    assert os.listdir(target.parent) == ["web.toml"]
