"""edit: in an editor or from standard input, as a file or in the database; what goes wrong loses no text."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from jobctl import jobfiles
from jobctl.client import Client
from jobctl.connect import Target
from jobd.core import paths
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl
from tests.jobctl.test_verbs import STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
ME = os.geteuid()
MAIN = 'command = ["true"]\ndescription = "Web"\n'
OVER = 'description = "Web front end"\n'
PLAN = m.Plan(changes=[m.Planned(job="web", owner=ME, change="changed", keys=["description"])])


class Daemon:
    """A daemon with a job `web`, and an editor made of a shell script."""

    def __init__(self, make: Make, directory: Path, stored: bool) -> None:
        self.directory = directory
        self.jobs = directory / "jobs"
        self.main = "web.toml" if stored else str(self.jobs / "web.toml")
        self.stored = stored
        self.files = [m.SourceFile(path=self.main, text=MAIN, base=b"/srv" if stored else b"")]
        self.transient = False
        (directory / "tmp").mkdir()
        if not stored:
            self.jobs.mkdir()
            (self.jobs / "web.toml").write_text(MAIN)
        self.fake = make(self.script)

    def script(self, request: m.Request) -> Answer:
        match request:
            case m.DaemonStatus():
                uid, config = (ME + 1, "") if self.stored else (ME, str(self.directory))
                body: m.AnyBody = replace(STATUS, mode="system" if self.stored else "user", uid=uid, config_dir=config)
            case m.Cat(names=["web"]):
                files = [] if self.transient else self.files
                found = m.Definition(job="web", owner=ME, transient=self.transient, files=files)
                body = m.Definitions(definitions=[found])
            case m.Cat(names=[job]):
                body = m.Definitions(definitions=[m.Definition(job=job, owner=ME, load="not-found")])
            case m.Resolve():
                yield m.Fault(id=request.id, code="not-found", message="no", details={"meant": "web"})
                return
            case m.Define() | m.DaemonReload():
                body = PLAN
            case _:
                raise AssertionError(request)
        yield m.Reply(id=request.id, body=body)

    def __call__(self, *args: str, editor: str = "exit 9", text: str = "") -> tuple[int, str, str]:
        script = self.directory / "editor"
        script.write_text(f"#!/bin/sh\nset -e\n{editor}\n")
        script.chmod(0o755)
        env = {**os.environ, "JOBD_EDITOR": f"{script} -x", "EDITOR": "false", "TMPDIR": str(self.directory / "tmp")}
        done = jobctl(self.fake.path, "edit", *args, input=text.encode(), env=env)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    @property
    def asked(self) -> list[m.Request]:
        return [each for each in self.fake.requests if isinstance(each, m.Define | m.DaemonReload)]

    @property
    def left(self) -> list[str]:
        """What is left in the directory of temporary files."""
        return os.listdir(self.directory / "tmp")


@pytest.fixture(params=["files", "stored"])
def both(request: pytest.FixtureRequest, daemon: Make, tmp_path: Path) -> Daemon:
    return Daemon(daemon, tmp_path, request.param == "stored")


@pytest.fixture
def files(daemon: Make, tmp_path: Path) -> Iterator[Daemon]:
    yield Daemon(daemon, tmp_path, stored=False)
    shutil.rmtree(tmp_path / "tmp")


def taken(edit: Daemon, dropin: str) -> str:
    """The text that was put in place."""
    if edit.stored:
        (asked,) = edit.asked
        assert isinstance(asked, m.Define)
        assert (asked.name, asked.dropin, asked.base, asked.replace) == ("web", dropin, b"/srv", True)
        return asked.text
    assert edit.asked == [m.DaemonReload(id=edit.asked[0].id, names=["web"])]
    return (edit.jobs / (f"web.toml.d/{dropin}" if dropin else "web.toml")).read_text()


def test_a_drop_in_is_what_stands_above_the_present_definition(both: Daemon) -> None:
    insert = f"""cp "$2" {both.directory}/seen; sed -i '3i description = "Web front end"' "$2" """
    assert both("web", editor=insert) == (0, "changed web: description\n", "")
    assert taken(both, "override.toml") == OVER
    seen = (both.directory / "seen").read_text().splitlines()
    assert seen[0].startswith("### Editing ")
    assert f"### {both.main}" in seen
    assert '# command = ["true"]' in seen
    assert both.left == []


def test_the_whole_file(both: Daemon) -> None:
    assert both("--full", "web", editor="""sed -i 's/"Web"/"All"/' "$2" """)[0] == 0
    assert taken(both, "") == MAIN.replace("Web", "All")


@pytest.mark.parametrize("name", ["more", "more.toml"])
def test_a_drop_in_from_standard_input(both: Daemon, name: str) -> None:
    assert both("--drop-in", name, "--stdin", "web", text=OVER)[0] == 0
    assert taken(both, "more.toml") == OVER


def test_an_editor_that_changes_nothing_changes_nothing(both: Daemon) -> None:
    said = "jobctl: cannot edit web: the text is empty, and nothing is changed\n"
    assert both("web", editor="true") == (1, "", said)
    assert both("--full", "web", editor="true") == (0, "", "")
    assert (both.asked, both.left) == ([], [])


def test_an_empty_text_takes_the_drop_in_away(files: Daemon) -> None:
    dropin = files.jobs / "web.toml.d" / "override.toml"
    dropin.parent.mkdir()
    dropin.write_text(OVER)
    assert files("web", editor=""": > "$2" """)[0] == 0
    assert not dropin.parent.exists()


def test_a_text_with_errors_is_kept_and_its_file_named(files: Daemon) -> None:
    status, out, err = files("web", editor="""sed -i '3i descripton = "Web"' "$2" """)
    assert (status, out, files.asked) == (6, "", [])
    first, second, third = err.splitlines()
    assert re.search(r'override\.toml:1:1: unknown key "descripton"', first)
    kept = second.removeprefix("jobctl: nothing is changed; your text is in ")
    assert Path(kept).read_text() == 'descripton = "Web"\n'  # with the lines that are told
    assert third == f"jobctl: jobctl edit --stdin web < {kept} takes it when it is mended"
    assert files("--stdin", "web", text=Path(kept).read_text().replace("pton", "ption"))[0] == 0
    assert (files.jobs / "web.toml.d" / "override.toml").read_text() == 'description = "Web"\n'


def test_an_editor_that_fails_changes_nothing(files: Daemon) -> None:
    status, _, err = files("web", editor="""echo 'a = 1' > "$2"; exit 3""")
    assert (status, "the editor " in err, "your text is in " in err, files.asked) == (1, True, True, [])


def test_a_definition_that_has_changed_meanwhile_is_left_alone(files: Daemon) -> None:
    meanwhile = f"""sed -i 's/Web/Mine/' "$2"; echo '# theirs' >> {files.jobs}/web.toml"""
    status, _, err = files("--full", "web", editor=meanwhile)
    assert status == 1
    first, second, third = err.splitlines()
    assert " edit --full --stdin web < " in third
    assert first == "jobctl: cannot take the edit of web: its definition has changed meanwhile"
    assert "Mine" in Path(second.removeprefix("jobctl: nothing is changed; your text is in ")).read_text()
    assert (files.jobs / "web.toml").read_text() == MAIN + "# theirs\n"
    assert files.asked == []


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["wbe"], 5, "cannot find job 'wbe'; did you mean 'web'?"),
        (["--full", "--drop-in", "x", "web"], 2, "only one of --full and --drop-in can be given"),
        (["--drop-in", "../x", "web"], 2, "cannot edit a drop-in called '../x': it is the name of a file"),
        (["--stdin", "web", "db"], 2, "--stdin is for one job"),
    ],
)
def test_mistakes(files: Daemon, args: list[str], status: int, said: str) -> None:
    assert files(*args) == (status, "", f"jobctl: {said}\n")


def test_a_transient_job_has_nothing_to_edit(files: Daemon) -> None:
    files.transient = True
    status, _, err = files("web")
    assert (status, "it has no file, it was made by jobctl run; jobctl cat web > web.toml" in err) == (3, True)


def test_without_an_editor_that_is_said(files: Daemon) -> None:
    env = {"PATH": "/nonexistent", "TMPDIR": str(files.directory / "tmp")}
    done = jobctl(files.fake.path, "edit", "web", env=env)
    why = b"there is no terminal for an editor; --stdin takes the text from a pipe"
    assert (done.returncode, done.stderr) == (1, b"jobctl: cannot edit: " + why + b"\n")
    done = jobctl(files.fake.path, "edit", "web", env={**env, "EDITOR": "no-such-editor -x"})
    assert done.returncode == 1
    assert (
        done.stderr == b"jobctl: cannot edit: no editor was found (tried: no-such-editor); set JOBD_EDITOR or EDITOR\n"
    )
    assert files.left == []


def test_the_whole_file_of_an_instance_is_its_templates(daemon: Make, tmp_path: Path) -> None:
    edit = Daemon(daemon, tmp_path, stored=False)
    (edit.jobs / "web.toml").rename(edit.jobs / "w@.toml")
    place = jobfiles.Place(str(edit.jobs), "user")
    assert place.beneath("w@1") == str(edit.jobs / "w@.toml")
    assert (place.beneath("w@"), place.beneath("w")) == ("", "")


def test_where_the_systems_files_are_its_daemon_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(Target())
    client.path = paths.SYSTEM_SOCKET
    said: dict[str, object] = {"type": "daemon", "mode": "socket", "config_dir": "/root/elsewhere", "uid": ME}
    monkeypatch.setattr(client, "call", lambda _: said)
    monkeypatch.setattr(jobfiles, "_is_ours", lambda *_: True)
    assert jobfiles.find(client, "edit jobs").directory == "/etc/jobd/jobs"
