"""The pager: which one, how it is set up, and that it changes nothing about jobctl's own end."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from jobctl import pager
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl_command, table, view
from tests.jobctl.logfakes import OUT, head, piece, writes
from tests.jobctl.terminals import Terminal, on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]
    Open = Callable[..., Terminal]

JOBS = table(
    list=lambda _: m.Jobs(jobs=[view(f"job-{n}", active="failed", sub="failed") for n in range(60)]),
    get=lambda _: m.Jobs(jobs=[view("web", active="failed", sub="failed")]),
)
slow = pytest.mark.slow
needs_less = pytest.mark.skipif(not shutil.which("less"), reason="less is not installed")


# --- which ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("environment", "chosen", "expected"),
    [
        ({}, None, [["pager"], ["less"], ["more"]]),
        ({}, "most", [["most"], ["pager"], ["less"], ["more"]]),
        ({}, "less -R", [["less", "-R"], ["pager"], ["less"], ["more"]]),
        ({}, "sed 's/a/b/' | less", [["/bin/sh", "-c", "sed 's/a/b/' | less"], ["pager"], ["less"], ["more"]]),
        ({"SUDO_UID": "1000"}, "most", [["less"]]),
        ({"PKEXEC_UID": "1000"}, None, [["less"]]),
        ({"SUDO_UID": "1000", "JOBCTL_PAGERSECURE": "0"}, "most", [["most"], ["pager"], ["less"], ["more"]]),
        ({"JOBCTL_PAGERSECURE": "1"}, "most", [["most"], ["less"]]),
    ],
)
def test_commands(environment: dict[str, str], chosen: str | None, expected: list[list[str]]) -> None:
    assert pager.commands(environment, chosen) == expected


@pytest.mark.parametrize(
    ("given", "full", "at_end", "less"),
    [
        ({}, False, False, "FRSXMK"),
        ({"LESS": "-i"}, False, False, "FRSXMK"),
        ({}, True, False, "FRXMK"),
        ({"JOBCTL_LESS": "RS"}, True, True, "RS +G"),
        ({}, False, True, "FRSXMK +G"),
    ],
)
def test_less(given: dict[str, str], full: bool, at_end: bool, less: str) -> None:
    assert pager.pager_environment(given, full, at_end)["LESS"] == less


def test_the_rest_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 61001)
    monkeypatch.setattr(os, "getuid", lambda: 61001)
    monkeypatch.setattr(pager, "_session_owner", lambda: None)
    assert pager.pager_environment({"A": "b", "LESSCHARSET": "latin1"}, False, False) == {
        "A": "b",
        "LESS": "FRSXMK",
        "LESSCHARSET": "utf-8",
    }
    assert pager.pager_environment({"JOBCTL_LESSCHARSET": "latin1"}, False, False)["LESSCHARSET"] == "latin1"
    assert pager.pager_environment({"SUDO_UID": "7"}, False, False)["LESSSECURE"] == "1"
    assert pager.pager_environment({"JOBCTL_PAGERSECURE": "yes"}, False, False)["LESSSECURE"] == "1"
    allowed = pager.pager_environment({"SUDO_UID": "7", "LESSSECURE_ALLOW": "shell"}, False, False)
    assert "LESSSECURE_ALLOW" not in allowed
    assert "LESSSECURE" not in pager.pager_environment({"LESSSECURE": "1", "JOBCTL_PAGERSECURE": "0"}, False, False)


def test_root_has_a_less_that_runs_nothing_however_he_came_to_be_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert pager.pager_environment({}, False, False)["LESSSECURE"] == "1"
    assert "LESSSECURE" not in pager.pager_environment({"JOBCTL_PAGERSECURE": "no"}, False, False)
    monkeypatch.setattr(os, "getuid", lambda: 61001)  # a program that is set-uid
    assert pager.commands({}, "most") == [["less"]]


@pytest.mark.parametrize(
    ("said", "secure"), [("1", True), ("true", True), ("nonsense", True), ("0", False), ("", False)]
)
def test_who_says_so_decides(said: str, secure: bool) -> None:
    assert pager.is_secure({"JOBCTL_PAGERSECURE": said, "SUDO_UID": "7"}) == secure


def test_another_users_session_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, elevated in ((None, False), (os.geteuid(), False), (os.geteuid() + 1, True)):
        monkeypatch.setattr(pager, "_session_owner", lambda owner=owner: owner)
        assert pager.is_elevated({}) == elevated


# --- on a terminal ------------------------------------------------------------------------------------------------
@pytest.fixture
def opened() -> Iterator[Open]:
    made: list[Terminal] = []

    def make(path: str, *args: str, **options: object) -> Terminal:
        made.append(Terminal(jobctl_command(path, *args), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def a_pager(directory: Path, script: str) -> str:
    """A program that is a pager."""
    path = directory / "a-pager"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@slow
def test_output_goes_through_the_pager_and_looks_as_without(daemon: Make, tmp_path: Path, opened: Open) -> None:
    fake = daemon(JOBS)
    program = a_pager(tmp_path, "cat; echo end of page")
    without = on_terminal(fake.path, "list", columns=60)
    for name in ("JOBCTL_PAGER", "PAGER"):
        assert opened(fake.path, "list", columns=60, **{name: program}).end() == without + b"end of page\r\n"
    assert b"\x1b[0;1;31m" in without


@slow
@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["--no-pager"], {}),
        ([], {"JOBCTL_PAGER": ""}),
        ([], {"JOBCTL_PAGER": "cat"}),
        ([], {"TERM": "dumb"}),
    ],
)
def test_no_pager(daemon: Make, tmp_path: Path, opened: Open, args: list[str], env: dict[str, str]) -> None:
    given = {"PAGER": a_pager(tmp_path, "echo it was started; cat"), **env}
    shown = opened(daemon(JOBS).path, "list", *args, **given).end()
    assert b"job-59" in shown
    assert b"it was started" not in shown


@slow
def test_what_fails_before_it_writes_needs_no_pager(daemon: Make, tmp_path: Path, opened: Open) -> None:
    program = a_pager(tmp_path, "echo it was started; cat")
    refused = daemon(table(list=lambda _: m.Fault(code="limit", message="cannot do this")))
    terminal = opened(refused.path, "list", PAGER=program)
    assert terminal.end() == b"jobctl: cannot do this\r\n"
    assert terminal.status == 1


@slow
def test_the_status_is_the_verbs_when_the_pager_quits_at_once(daemon: Make, tmp_path: Path, opened: Open) -> None:
    program = a_pager(tmp_path, "exec 0<&-; exit 7")
    fake = daemon(JOBS)
    for args, status in ((("list",), 0), (("status", "-n0", "web"), 3)):
        terminal = opened(fake.path, *args, PAGER=program)
        assert (terminal.end(), terminal.status) == (b"", status)


@slow
def test_a_pager_that_quits_early_ends_endless_output(daemon: Make, tmp_path: Path, opened: Open) -> None:
    def endless(request: m.Request) -> Iterator[m.FromDaemon | bytes]:
        assert isinstance(request, m.Logs)
        yield head(request)
        block = b"line\n" * 10_000
        for offset in itertools.count(0, len(block)):
            yield piece(request, OUT, offset, block)
            yield m.Item(id=request.id, body=m.Progress(job="web", text="on and on"))

    terminal = opened(daemon(endless).path, "logs", "-o", "cat", "web", PAGER=a_pager(tmp_path, "head -n 3"))
    assert terminal.end() == b"line\r\n" * 3
    assert terminal.status == 0


@slow
def test_one_that_cannot_be_executed_is_passed_over(daemon: Make, tmp_path: Path, opened: Open) -> None:
    os.rename(a_pager(tmp_path, "echo this is less; PATH=/bin:/usr/bin cat"), tmp_path / "less")
    fake = daemon(JOBS)
    shown = opened(fake.path, "list", PAGER="/nonexistent/pager", PATH=str(tmp_path)).end()
    assert shown.startswith(b"this is less\r\n")
    assert b"job-59" in shown
    (tmp_path / "less").unlink()
    alone = opened(fake.path, "list", PATH=str(tmp_path)).end()  # neither pager nor less nor more
    assert alone == on_terminal(fake.path, "list")


@slow
def test_errors_of_a_verb_are_not_written_over_the_pager(daemon: Make, tmp_path: Path, opened: Open) -> None:
    jobs = [view("web"), m.JobView(job="no", owner=0, load="not-found")]
    fake = daemon(table(get=lambda _: m.Jobs(jobs=jobs), resolve=lambda _: m.Fault(code="not-found", message="no")))
    terminal = opened(fake.path, "status", "-n0", "web", "no", PAGER=a_pager(tmp_path, "sed 's/^/> /'"))
    assert b"> Job no could not be found." in terminal.end()
    assert terminal.status == 4


@slow
def test_logs_that_go_on_or_are_raw_get_none(daemon: Make, tmp_path: Path, opened: Open) -> None:
    program = a_pager(tmp_path, "sed 's/^/> /'")
    fake = daemon(writes((1, 0, b"x\n", 0)))
    assert b"> x" in opened(fake.path, "logs", "-o", "cat", "web", PAGER=program).end()
    assert opened(fake.path, "logs", "-f", "-o", "cat", "web", PAGER=program).end() == b"x\r\n"
    assert opened(fake.path, "logs", "--raw", "web", PAGER=program).end() == b"x\r\n"


@slow
def test_pager_end_jumps_there_and_reads_no_more_than_is_read(daemon: Make, tmp_path: Path, opened: Open) -> None:
    fake = daemon(writes((1, 0, b"x\n", 0)))
    for args, lines in (("-e", 1000), ("-en5", 5)):
        shown = opened(fake.path, "logs", args, "web", PAGER=a_pager(tmp_path, 'echo "$LESS"')).end()
        assert shown == b"FRSXMK +G\r\n"
        request = fake.of(m.Logs)[-1]
        assert isinstance(request, m.Logs)
        assert request.lines == lines


@slow
@needs_less
def test_less_itself(daemon: Make, opened: Open) -> None:
    fake = daemon(JOBS)
    few = opened(fake.path, "list", rows=100)
    few.end()  # all fits: less shows it and ends
    assert few.status == 0
    many = opened(fake.path, "list", rows=20, PAGER="less")
    many.read(b"lines 1-19")
    many.type(b"G")
    many.read(b"(END)")
    many.type(b"q")
    many.end()
    assert many.status == 0


@slow
@needs_less
def test_ctrl_c_in_less_leaves_the_status_alone(daemon: Make, opened: Open) -> None:
    fake = daemon(JOBS)
    terminal = opened(fake.path, "list", rows=20, PAGER="less")
    terminal.read(b"lines 1-19")
    terminal.type_until_it_ends(b"\x03")
    assert terminal.status == 0
    stays = opened(fake.path, "list", rows=20, PAGER="less", JOBCTL_LESS="FRSXM")
    stays.read(b"lines 1-19")
    stays.shown = b""
    stays.type_until(b"\x03", b"lines 1-19")  # drawn again: less has taken the Ctrl-C, and jobctl has not
    stays.type_until(b"G", b"(END)")
    stays.type_until_it_ends(b"q")
    assert stays.status == 0


@slow
@needs_less
@pytest.mark.parametrize("elevated", ["SUDO_UID", "PKEXEC_UID"])
def test_under_sudo_no_command_comes_out_of_less(daemon: Make, opened: Open, tmp_path: Path, elevated: str) -> None:
    many = opened(daemon(JOBS).path, "list", rows=20, PAGER="less", **{elevated: "61001"})
    many.read(b"lines 1-19")
    many.type_until(b"!", b"Command not available")
    many.type(f"touch {tmp_path}/came-out\n".encode())
    many.type_until_it_ends(b"q")
    assert not (tmp_path / "came-out").exists()
