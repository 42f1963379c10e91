"""Definitions from the command line: root's as files, a user's in jobd's database; and why a job is as it is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.system.people import ALICE, BOB, ROOT, many_users, why_not
from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.people import People

pytestmark = pytest.mark.slow
WEB = 'description = "Web front end"\ncommand = ["sleep", "1000"]\n'
several = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A jobd whose configuration is ours to write."""
    with Program(tmp_path_factory.mktemp("definitions")) as program:
        yield program


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users() as made:
        yield made


def said(program: Program, *args: str) -> str:
    return program.jobctl(*args, check=True).stdout


def test_a_definition_from_its_file_to_its_end(own: Program, tmp_path: Path) -> None:
    source = tmp_path / "web.toml"
    source.write_text(WEB)
    assert said(own, "add", "--enable", "--now", str(source)) == "added web\n"
    kept = own.config_dir / "jobs" / "web.toml"
    assert kept.read_text() == WEB
    assert said(own, "is-enabled", "web") == "enabled\n"
    assert said(own, "is-active", "web") == "active\n"
    assert said(own, "cat", "web") == f"# {kept}\n{WEB}"
    assert said(own, "daemon-reload") == ""

    kept.write_text(WEB.replace("1000", "2000"))
    assert "Warning: the definition has changed on disk" in said(own, "status", "-n0", "web")
    assert own.show("web", "NeedDaemonReload") == "yes"
    wanted = "changed web: command (needs restart)\n"
    assert said(own, "daemon-reload", "--dry-run") == wanted
    assert own.show("web", "NeedDaemonReload") == "yes"
    assert said(own, "daemon-reload") == wanted
    assert own.show("web", "NeedDaemonReload") == "no"
    said(own, "restart", "web")
    assert own.show("web", "ExecStart") == "sleep 2000"

    (row,) = json.loads(said(own, "list-job-files", "web", "-o", "json"))
    assert (row["job"], row["file"], row["state"], row["drop_ins"]) == ("web", str(kept), "enabled", [])
    assert own.jobctl("rm", "web").returncode == 1
    assert kept.exists()
    said(own, "rm", "--now", "web")
    assert not kept.exists()
    assert own.show("web", "LoadState") == "not-found"
    assert said(own, "daemon-reload") == ""


def test_a_drop_in_comes_and_goes(own: Program, tmp_path: Path) -> None:
    source = tmp_path / "api.toml"
    source.write_text(WEB)
    said(own, "add", str(source))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'3i description = "API"\' "$1"\n')
    editor.chmod(0o755)
    done = own.jobctl("edit", "api", env={"JOBD_EDITOR": str(editor)}, check=True)
    assert done.stdout == "changed api: description\n"
    assert own.show("api", "Description") == "API"
    assert own.show("api", "DropInPaths") == str(own.config_dir / "jobs" / "api.toml.d" / "override.toml")
    assert said(own, "revert", "api") == "changed api: description\n"
    assert own.show("api", "Description") == "Web front end"
    said(own, "rm", "api")


def test_a_broken_file_leaves_what_runs_and_says_all(own: Program, tmp_path: Path) -> None:
    source = tmp_path / "frail.toml"
    source.write_text(WEB)
    said(own, "add", "--now", str(source))
    kept = own.config_dir / "jobs" / "frail.toml"
    kept.write_text('comand = "x"\nrestart = "sometimes"\n')
    done = own.jobctl("daemon-reload")
    assert done.returncode == 6
    first, *errors = done.stdout.splitlines()
    assert first == "broken frail:"
    assert [line.split(" ")[2] for line in errors] == [f"{kept}:1:1:", f"{kept}:2:1:"]
    assert (own.show("frail", "ActiveState"), own.show("frail", "LoadState")) == ("active", "bad-setting")
    assert own.jobctl("start", "frail").returncode in (0, 6)  # it runs
    said(own, "stop", "frail")
    assert own.jobctl("start", "frail").returncode == 6
    why = said(own, "why", "frail").splitlines()
    assert why[0] == "frail cannot be started: its definition has errors"
    assert why[1].startswith(f"{kept}:1:1: unknown key")
    said(own, "rm", "frail")


def test_what_was_never_started_has_no_log(own: Program, tmp_path: Path) -> None:
    for name in ("quiet-a", "quiet-b"):
        (tmp_path / f"{name}.toml").write_text('shell = "echo here"\ntype = "oneshot"\n')
        said(own, "add", str(tmp_path / f"{name}.toml"))
    said(own, "start", "quiet-a")
    assert said(own, "logs", "quiet-*") == "here\n"
    done = own.jobctl("logs", "quiet-b")
    assert (done.returncode, done.stderr) == (4, "jobctl: cannot find run 0 of quiet-b: it was never started\n")


def test_what_closes_a_ring_is_not_left_behind(own: Program, tmp_path: Path) -> None:
    for name, other in (("ring-a", "ring-b"), ("ring-b", "ring-a")):
        (tmp_path / f"{name}.toml").write_text(f'command = "true"\nafter = ["{other}"]\n')
    said(own, "add", str(tmp_path / "ring-a.toml"))
    done = own.jobctl("add", str(tmp_path / "ring-b.toml"))
    assert (done.returncode, "cannot be ordered: ring-" in done.stdout) == (6, True)
    assert own.jobctl("status", "ring-b").returncode == 4
    assert not (own.config_dir / "jobs" / "ring-b.toml").exists()
    (tmp_path / "ring-b.toml").write_text('command = "true"\n')
    said(own, "add", str(tmp_path / "ring-b.toml"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'1i after = ["ring-a"]\' "$1"\n')
    editor.chmod(0o755)
    done = own.jobctl("edit", "ring-b", env={**own.env, "JOBD_EDITOR": str(editor)})
    assert (done.returncode, "nothing is changed" in done.stderr) == (6, True)
    assert (own.show("ring-b", "LoadState"), own.show("ring-b", "DropInPaths")) == ("loaded", "")


def test_a_masked_job_is_started_by_nobody(own: Program, tmp_path: Path) -> None:
    source = tmp_path / "shut.toml"
    source.write_text(WEB)
    said(own, "add", "--now", str(source))
    said(own, "mask", "--now", "shut", "never-heard-of")
    assert own.jobctl("start", "shut").returncode == 1
    assert own.jobctl("is-enabled", "shut", "never-heard-of").stdout == "masked\nmasked\n"
    assert said(own, "why", "shut").startswith(f"shut is masked, by uid {os.geteuid()} (")
    said(own, "unmask", "shut", "never-heard-of")
    said(own, "start", "shut")
    said(own, "rm", "--now", "shut")


def test_why_says_who_stopped_it_and_what_it_waits_for(own: Program) -> None:
    said(own, "run", "--name", "gone", "--", "sleep", "1000")
    said(own, "stop", "gone")
    assert said(own, "why", "gone").startswith(f"gone is not running: uid {os.geteuid()} (")
    said(own, "run", "--name", "again", "-p", "restart=always", "-p", "restart_delay=1h", "--", "false")
    own.jobctl("wait", "again")
    sentence = said(own, "why", "again")
    assert sentence.startswith("again is not running: run 1 ended with exit code 1 on ")
    assert "; next start in " in sentence
    said(own, "rm", "--now", "again", "gone")


def test_why_leads_to_the_job_that_is_to_blame(own: Program, tmp_path: Path) -> None:
    texts = {
        "db": 'command = ["false"]\ntype = "oneshot"\n',
        "slow": 'command = ["sleep", "1000"]\n[ready]\nunix = "/nonexistent/socket"\n',
        "web": f'{WEB}requires = ["db"]\nafter = ["db"]\n',
        "api": f'{WEB}requires = ["slow"]\nafter = ["slow"]\n',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    said(own, "add", *(str(tmp_path / f"{name}.toml") for name in texts))
    assert own.jobctl("start", "web").returncode != 0
    first, second = said(own, "why", "web").splitlines()
    assert first.startswith("web was not started: it requires db")
    assert second.startswith("db failed: run 1 ended with exit code 1 on ")
    said(own, "start", "--no-block", "api")
    first, second = said(own, "why", "api").splitlines()
    assert first.startswith("api waits for slow, which ")
    assert second.startswith(("slow is starting", "slow waits"))
    said(own, "stop", "slow")
    said(own, "rm", "--now", *texts)


# --- many users -----------------------------------------------------------------------------------------------------
@several
def test_a_users_definitions_are_in_the_database(people: People) -> None:
    source = people.place / "mine.toml"
    source.write_text('command = ["sleep", "1000"]\nenvironment_file = ["-mine.env"]\n')
    assert people.said(ALICE, "add", "--enable", "--now", str(source)) == "added mine\n"
    assert people.said(ALICE, "cat", "mine") == f"# stored: mine\n{source.read_text()}"
    assert people.said(ROOT, "cat", f"{ALICE}/mine").startswith(f"# stored: {ALICE}/mine\n")
    assert people.said(ALICE, "is-active", "mine") == "active\n"
    assert not (people.config_dir / "jobs").exists()
    for verb in ("cat", "why", "edit", "rm", "is-enabled"):
        assert people.ask(BOB, verb, f"{ALICE}/mine").returncode in (4, 5), verb
    done = people.ask(ALICE, "add", "--name", "bad", "--replace", "/dev/null")
    assert done.returncode == 6
    assert people.said(ALICE, "list-job-files", "-o", "name") == "mine\n"
    people.said(ALICE, "rm", "--now", "mine")
    assert people.ask(ALICE, "is-enabled", "mine").returncode == 4


@several
def test_roots_file_may_say_as_whom(people: People) -> None:
    source, bad = people.place / "games.toml", people.place / "bad.toml"
    source.write_text(f'{WEB}user = "games"\nessential = false\n')
    bad.write_text("comand = 1\n")
    done = people.ask(ROOT, "add", "--enable", "--now", str(source), str(bad))
    assert (done.returncode, done.stdout) == (6, "added games\n")
    assert done.stderr.endswith("jobctl: not enabled and started, as not all could be added: games\n")
    assert people.said(ROOT, "add", "--now", str(source)) == ""
    assert people.said(ROOT, "show", "-P", "User", "games") == "games\n"
    people.said(ROOT, "rm", "--now", "games")


def test_roots_are_files(people: People) -> None:
    source = people.place / "system.toml"
    source.write_text(WEB)
    assert people.said(ROOT, "add", "--now", str(source)) == "added system\n"
    assert people.said(ROOT, "is-active", "system") == "active\n"
    assert (people.config_dir / "jobs" / "system.toml").read_text() == WEB
    assert people.ask(ALICE, "cat", "root/system").returncode == 4
    people.said(ROOT, "rm", "--now", "system")
