"""The completion files: as new as the command line, sound in their shells, and what a TAB offers in each of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl import completions
from jobctl.argv import load
from jobctl.completions import generate, kinds
from jobctl.spellings import GLOBALS, OPERANDS, OPTIONS, VERBS
from tests.jobctl import shells
from tests.jobctl.fakes import run_view
from tests.jobctl.test_complete import BAD, DONE, HELD, LIVE, OTHER, QUEUED, of
from tests.system.program import BIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import FakeDaemon, Script

SHELLS = tuple(completions.FILES)
GLOBAL = ["--host", "--no-pager", "--socket", "--system", "--user"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_file_is_up_to_date(shell: str) -> None:
    have = Path(completions.path(shell)).read_text()
    assert have == generate.fresh(shell), "run python -m jobctl.completions.generate"


def types_used() -> set[str]:
    """The types of all operands and valued options."""
    found = {"AtSocket", "OnHost"}
    for verb in VERBS:
        function = load(verb)
        defaults = function.__kwdefaults__ or {}
        switches = {name for name, default in defaults.items() if default is False}
        found |= {type_ for name, type_ in function.__annotations__.items() if name not in switches}
    return found - {"Client", "int"}


def test_all_that_takes_a_value_says_what_that_is() -> None:
    assert types_used() - {*kinds.OPERANDS, *kinds.VALUES} == set(), "jobctl/completions/kinds.py wants a line on each"
    assert {*kinds.OPERANDS, *kinds.VALUES} - types_used() == set(), "of no use in jobctl/completions/kinds.py"
    assert set(kinds.OPERANDS) == set(OPERANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_of_every_verb_is_in_the_file(shell: str) -> None:
    text = Path(completions.path(shell)).read_text()
    spelled = {spelling for verb in VERBS for name in load(verb).__kwdefaults__ or {} for spelling in OPTIONS[name]}
    ways = {
        "bash": (" {}", "'{}"),
        "zsh": ("{}[", "{}=[", "{}+["),
        "fish": (" -l {} ", " -s {} "),
    }[shell]
    words = {spelling: spelling.lstrip("-") if shell == "fish" else spelling for spelling in spelled}
    assert [each for each, word in words.items() if not any(way.format(word) in text for way in ways)] == []


# --- sound --------------------------------------------------------------------------------------------------------
CHECKS = [
    ("bash", ["bash", "-n"]),
    ("zsh", ["zsh", "-n"]),
    ("fish", ["fish", "--no-execute"]),
    ("bash", ["shellcheck", "--norc"]),
]


@pytest.mark.parametrize(("shell", "check"), CHECKS, ids=lambda value: value[0] if isinstance(value, list) else value)
def test_its_shell_finds_nothing_wrong(shell: str, check: list[str]) -> None:
    if not shutil.which(check[0]):
        pytest.skip(shells.missing(check[0]))
    done = subprocess.run([*check, completions.path(shell)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# --- what a TAB offers --------------------------------------------------------------------------------------------
VERBS_ST = ["start", "status", "stop"]
FORMATS = ["short", *(f"short-{word}" for word in ("full", "iso", "iso-precise", "monotonic", "precise", "unix"))]
# A line, and what it offers; what bash and zsh leave off, because it stands already, is before the |.
LINES: list[tuple[str, list[str]]] = [
    ("jobctl st", VERBS_ST),
    ("jobctl --user st", VERBS_ST),
    ("jobctl help st", VERBS_ST),
    ("jobctl --s", ["--socket", "--system"]),
    ("jobctl is-active --", ["--help", "--output", "--quiet", *GLOBAL]),
    ("jobctl kill --k", ["--kill-whom"]),
    ("jobctl kill --kill-whom ", ["all", "control", "main"]),
    ("jobctl kill --kill-whom=m", ["--kill-whom=|main"]),
    ("jobctl kill -s SIGTS", ["SIGTSTP"]),
    ("jobctl logs -o sh", FORMATS),
    ("jobctl logs --output=sh", [f"--output=|{word}" for word in FORMATS]),
    ("jobctl logs web -fn 20 -o short-m", ["short-monotonic"]),
    ("jobctl logs web -fn20 -o short-m", ["short-monotonic"]),
    ("jobctl list --state fai", ["failed"]),
    ("jobctl list --state=failed,deac", ["--state=|failed,|deactivating"]),
    ("jobctl history --state cance", ["canceled"]),
    ("jobctl show -p MainP", ["MainPID"]),
    ("jobctl show -p Id,MainP", ["Id,|MainPID"]),
    ("jobctl completion ", ["bash", "fish", "zsh"]),
    ("jobctl status -n ", []),
    ("jobctl auth ", ["can-i", "rules", "whoami"]),
    ("jobctl auth can-i st", VERBS_ST),
    ("jobctl auth can-i stop ic", ["ice"]),
    ("jobctl auth can-i -q stop games/we", ["games/web"]),
    ("jobctl auth rules st", []),
    ("jobctl queue ", ["add", "drain", "list", "pause", "resume", "rm", "set", "show", "switch"]),
    ("jobctl queue pause ", ["batch", "build", "shared/build"]),
    ("jobctl queue rm batch bui", ["build"]),
    ("jobctl queue set bui", ["build"]),
    ("jobctl queue set build ", ["slots="]),
    ("jobctl queue add bui", []),
    ("jobctl queue add night s", ["slots="]),
    ("jobctl queue switch la", ["late", "later"]),
    ("jobctl run --queue ba", ["batch"]),
    ("jobctl release ", ["later"]),
    # jobs that fit the verb
    ("jobctl start ", ["bad", "done"]),
    ("jobctl stop ", ["games/web", "ice", "late", "later", "web", "web@1"]),
    ("jobctl kill ", ["games/web", "ice", "late", "later", "web", "web@1"]),
    ("jobctl status ", ["bad", "done", "games/web", "ice", "late", "later", "web", "web@1"]),
    ("jobctl stop ic", ["ice"]),
    ("jobctl stop ga", ["games/web"]),
    ("jobctl stop games/", ["games/web"]),
    ("jobctl stop -- ic", ["ice"]),
    ("jobctl stop web ic", ["ice"]),
    ('jobctl stop "ic', ["ice"]),
    ("jobctl stop nothing", []),
    ("jobctl logs -u ic", ["ice"]),
    ("jobctl logs --unit=ic", ["--unit=|ice"]),
    # runs
    ("jobctl logs web#", ["web#12", "web#2"]),
    ("jobctl result web#1", ["web#12"]),
    ("jobctl stop web#", []),
    ("jobctl logs web --run ", ["-1", "0", "12", "2", "all"]),
    ("jobctl logs web --run=1", ["--run=|12"]),
    ("jobctl logs --run ", ["-1", "0", "all"]),
    # files, directories, commands
    ("jobctl run -C ", ["dir"]),
    ("jobctl logs --cursor-file fi", ["file"]),
    ("jobctl logs --cursor-file=fi", ["--cursor-file=|file"]),
    ("jobctl run -p stop.kill_mode=mi", ["stop.kill_mode=|mixed"]),
    ("jobctl run -p stop.ti", ["stop.timeout="]),
    ("jobctl run --property=stop.ti", ["--property=|stop.timeout="]),
    ("jobctl run --env=PATH,JOBD_SO", ["--env=|PATH,|JOBD_SOCKET"]),
    ("jobctl run --env al", ["all"]),
    ("jobctl run jobct", ["jobctl"]),
    ("jobctl run -- jobct", ["jobctl"]),
    ("jobctl run -u x jobct", ["jobctl"]),
    ("jobctl run cat fi", ["file"]),
    ("jobctl run -- cat fi", ["file"]),
    ("jobctl run --wait cat fi", ["file"]),
    ("jobctl run cat --wai", []),
    ("jobctl run -- --wai", []),
    ("jobctl run --wai", ["--wait"]),
]


def offered(shell: str, words: list[str]) -> list[str]:
    """What is offered, as this shell gives it: without what stands before."""
    if shell == "bash":
        words = [word.partition("=|")[2] or word for word in words]
    if shell == "zsh":
        words = [word if "kill_mode" in word else word.rpartition("|")[2] for word in words]
    return sorted(word.replace("|", "") for word in words)


def make_shell(which: str, root: Path, socket: str) -> shells.Typed | shells.Fish:
    shell, _, library = which.partition("+")
    if reason := shells.missing(shell):
        pytest.skip(reason)
    if library and not shells.BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed (make tools)")
    env = {"PATH": f"{BIN}:/usr/bin:/bin", "JOBD_SOCKET": socket}
    if shell == "fish":
        return shells.Fish(root, env)
    return shells.zsh(root, env) if shell == "zsh" else shells.bash(root, env, library=bool(library))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["bash", "bash+bash-completion", "zsh", "fish"])
def test_what_a_tab_offers(which: str, daemon: Callable[[Script], FakeDaemon], tmp_path: Path) -> None:
    fake = daemon(of(*LIVE, BAD, DONE, OTHER, QUEUED, HELD, runs=[run_view(number=12), run_view(number=2)]))
    shell = which.partition("+")[0]
    with make_shell(which, tmp_path, fake.path) as typed:
        (typed.cwd / "dir").mkdir()
        (typed.cwd / "file").touch()
        offers = typed.each_offers([line for line, _ in LINES])
    found = {line: [word.rstrip("/") for word in words] for line, words in offers.items()}
    assert found == {line: offered(shell, words) for line, words in LINES}


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_the_daemon_that_the_line_names_is_asked(
    shell: str, daemon: Callable[[Script], FakeDaemon], tmp_path: Path
) -> None:
    fake = daemon(of(*LIVE))
    with make_shell(shell, tmp_path, "/nonexistent/socket") as typed:
        assert typed.offers("jobctl stop ") == []
        for line in ("--socket {} stop ic", "--socket={} stop ic", "stop --socket={} ic", "stop --socket '{}' ic"):
            assert typed.offers(f"jobctl {line.format(fake.path)}") == ["ice"], line
        assert typed.offers(f"jobctl stop -- --socket={fake.path} ic") == []
        assert typed.offers(f"jobctl --socket=$(touch {tmp_path}/ran) stop ic") == []
        assert typed.offers(f"jobctl --socket `touch {tmp_path}/ran` stop ic") == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_hosts_are_those_that_ssh_knows_and_no_job_of_theirs_is_asked_for(
    shell: str, daemon: Callable[[Script], FakeDaemon], tmp_path: Path
) -> None:
    fake = daemon(of(*LIVE))
    with make_shell(shell, tmp_path, fake.path) as typed:
        ssh = tmp_path / ".ssh"
        ssh.mkdir()
        (ssh / "config").write_text("Host buildone build* !buildno\n  Port 7\n")
        (ssh / "known_hosts").write_text("buildtwo,192.0.2.7 ssh-ed25519 AAAA\n|1|x=|y= ssh-ed25519 AAAA\n")
        # zsh and fish bring their own lists of hosts, which differ in what they read.
        wanted = ["buildone", "buildtwo"] if shell == "bash" else ["buildtwo"]
        for line in ("-H build", "--host build", "-H x,build", "-H me@build", "list -H build"):
            found = {word.rpartition(",")[2].rpartition("@")[2] for word in typed.offers(f"jobctl {line}")}
            assert found >= set(wanted), (line, found)
        for line in ("-H build stop ic", "--host=build stop ic", "stop --host build ic"):
            assert typed.offers(f"jobctl {line}") == [], line
    assert fake.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_users_are_those_of_this_machine(shell: str, daemon: Callable[[Script], FakeDaemon], tmp_path: Path) -> None:
    fake = daemon(of(*LIVE))
    with make_shell(shell, tmp_path, fake.path) as typed:
        assert "daemon" in typed.offers("jobctl auth can-i --as daem")


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_a_program_that_prints_what_is_no_name_gets_nothing_into_the_line(shell: str, tmp_path: Path) -> None:
    hostile = tmp_path / "bin"
    hostile.mkdir()
    lines = [
        "fine\tok",
        "$(touch ran)\tx",
        "`touch ran`\tx",
        "a b\tx",
        "\x1b[31mred\tx",
        ";touch ran\tx",
        "web\t\x1b[31m",
    ]
    (hostile / "jobctl").write_text("#!/bin/sh\ncat <<'end'\n" + "\n".join(lines) + "\nend\n")
    (hostile / "jobctl").chmod(0o755)
    with make_shell(shell, tmp_path, "/nonexistent/socket") as typed:
        assert set(typed.offers(f"{hostile}/jobctl stop ")) <= {"fine", "web"}
        assert not (typed.cwd / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_what_is_offered_alone_is_inserted(shell: str, daemon: Callable[[Script], FakeDaemon], tmp_path: Path) -> None:
    fake = daemon(of(*LIVE))
    with make_shell(shell, tmp_path, fake.path) as typed:
        assert isinstance(typed, shells.Typed)
        for line, whole in (
            ("jobctl stop web@", "jobctl stop web@1 "),
            ("jobctl logs --unit=ic", "jobctl logs --unit=ice "),
            ("jobctl run -p stop.ti", "jobctl run -p stop.timeout="),
            ("jobctl run --property=stop.kill_mode=mi", "jobctl run --property=stop.kill_mode=mixed "),
            ("jobctl run -E JOBD_S", "jobctl run -E JOBD_SOCKET="),
        ):
            assert typed.completed(line) == whole


@pytest.mark.slow
def test_evaluating_the_printed_file_is_enough_for_zsh(daemon: Callable[[Script], FakeDaemon], tmp_path: Path) -> None:
    """As `jobctl completion` says. The bash of these tests knows jobctl in this way."""
    if reason := shells.missing("zsh"):
        pytest.skip(reason)
    env = {"PATH": f"{BIN}:/usr/bin:/bin", "JOBD_SOCKET": daemon(of(*LIVE)).path}
    with shells.zsh(tmp_path, env, evaluated=True) as typed:
        assert typed.offers("jobctl stop ic") == ["ice"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_file_is_printed_as_it_is(shell: str) -> None:
    printed = subprocess.run([BIN / "jobctl", "completion", f"/bin/{shell}"], capture_output=True, check=True).stdout
    assert printed == Path(completions.path(shell)).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["bash", "bash+bash-completion", "fish"])
def test_what_run_runs_is_completed_by_its_own_completion(
    which: str, daemon: Callable[[Script], FakeDaemon], tmp_path: Path
) -> None:
    with make_shell(which, tmp_path, daemon(of()).path) as typed:
        if isinstance(typed, shells.Typed):
            typed.run(
                "_foo() { COMPREPLY=($(compgen -W 'bar=1 bar=2' -- \"${COMP_WORDS[*]:1}\")); }; complete -F _foo foo"
            )
        else:
            typed.prepare("function foo; end; complete -c foo -f -a 'bar=1 bar=2 other'")
        for line in ("jobctl run foo bar", "jobctl run -u x --wait -- foo bar", "jobctl --user run -fu x foo bar"):
            assert typed.offers(line) == ["bar=1", "bar=2"], line


def test_there_is_a_line_on_each_shell_in_the_help() -> None:
    text = load("completion").__doc__ or ""
    assert all(f"jobctl completion {shell}" in text for shell in SHELLS)


def test_every_global_option_is_offered() -> None:
    offered_ = {spelling for each in generate.global_options() for spelling in each.spellings}
    assert offered_ == {spelling for spellings in GLOBALS.values() for spelling in spellings}
