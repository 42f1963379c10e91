"""Jobs that depend on each other, by the real programs: order, downfall, hooks, and a daemon killed in between."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.keeper.test_pid1 import UNSHARE, can_unshare
from tests.system.program import Gate, Program, is_alive, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
COUNT = 20


@pytest.fixture
def place(request: pytest.FixtureRequest, killed: bool) -> Program:
    """One for all tests, or one of its own for a test that kills its daemon: the keeper forks the next ones slowly."""
    found = request.getfixturevalue("mortal" if killed else "jobd")
    assert isinstance(found, Program)
    return found


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path / "jobd")
    try:
        program.start()
        yield program
    finally:
        program.close()


@pytest.fixture(scope="module")
def jobd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("dependencies")) as program:
        yield program


def make(jobd: Program, name: str, script: str, *settings: str) -> None:
    """A job that has been made by running it once."""
    argv = [b"/bin/sh", b"-c", script.encode()]
    keys = dict(setting.split("=", 1) for setting in settings)
    env = [f"{key}={value}".encode() for key, value in jobd.env.items()]
    with Raw(jobd.socket) as raw:
        run = m.Run(id=1, run=new_run_id(), argv=argv, env=env, cwd=b"/", name=name, settings=keys)
        assert isinstance(answer := raw.ask(run), m.Reply), answer


def service(log: Path) -> str:
    """A script that tells of its start and its end."""
    down = f'echo "$JOBD_JOB down" >> "{log}"; exit 0'
    return f"trap '{down}' TERM; echo \"$JOBD_JOB up\" >> '{log}'; echo here; while :; do sleep 0.02; done"


def serve(jobd: Program, log: Path, name: str, *settings: str) -> None:
    """A service that is ready when it has told of its start."""
    make(jobd, name, service(log), "ready.log=here", *settings)


def settle(jobd: Program, log: Path, *names: str) -> None:
    """Bring jobs to rest and forget what they told."""
    jobd.jobctl("stop", *names, check=True)
    log.write_text("")


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def sub(jobd: Program, name: str) -> str:
    return jobd.show(name, "SubState")


# --- order --------------------------------------------------------------------------------------------------------
def test_what_comes_after_waits_until_it_is_ready(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    make(jobd, "o-db", gate.wait, "type=oneshot", "remain_after_exit=true")
    make(jobd, "o-web", "sleep 1000", "after=o-db", "requires=o-db")
    assert sub(jobd, "o-web") == "queued"
    with Raw(jobd.socket) as raw:
        answer = raw.ask(m.Get(id=1, names=["o-web"]))
        assert isinstance(answer, m.Reply)
        assert isinstance(answer.body, m.Jobs)
        assert answer.body.jobs[0].waits == "for o-db (start)"
        assert m.Link(job="o-web", kind="requires", other="o-db") in answer.body.jobs[0].links
    starting = jobd.start_jobctl("start", "o-web")
    gate.open()
    assert starting.wait(60) == 0, "it waits for what it comes after"
    assert (sub(jobd, "o-db"), sub(jobd, "o-web")) == ("exited", "running")
    jobd.jobctl("stop", "o-db", check=True)
    assert (sub(jobd, "o-db"), sub(jobd, "o-web")) == ("dead", "dead")


def test_a_run_that_waits_can_be_stopped(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    make(jobd, "q-db", gate.wait, "type=oneshot")
    make(jobd, "q-web", "sleep 1000", "after=q-db", "wants=q-db")
    assert sub(jobd, "q-web") == "queued"
    jobd.jobctl("stop", "q-web", check=True)
    assert (sub(jobd, "q-web"), sub(jobd, "q-db")) == ("dead", "start")
    gate.open()
    jobd.jobctl("wait", "q-db")


def test_a_requirement_that_fails_is_told(jobd: Program) -> None:
    make(jobd, "f-db", "exit 3", "type=oneshot")
    make(jobd, "f-web", "sleep 1000", "after=f-db", "requires=f-db")
    result = jobd.jobctl("start", "f-web")
    assert (result.returncode, result.stderr.splitlines()[0]) == (
        1,
        "jobctl: Job f-web canceled: it requires f-db, which has failed (exit-code)",
    )
    assert jobd.show("f-web", "Result") == "dependency"


def test_what_cannot_be_had_is_refused(jobd: Program) -> None:
    result = jobd.jobctl("run", "--name", "r-web", "-p", "requires=r-gone", "--", "true")
    text = "jobctl: cannot start r-web: it requires r-gone, which does not exist"
    assert (result.returncode, result.stderr.splitlines()[0]) == (5, text)
    assert jobd.show("r-web", "LoadState") == "not-found"
    make(jobd, "r-a", "sleep 1000", "after=r-b")
    result = jobd.jobctl("run", "--name", "r-b", "-p", "after=r-a", "--", "true")
    text = "jobctl: cannot start r-b: it comes after itself (r-a after r-b after r-a)"
    assert (result.returncode, result.stderr.splitlines()[0]) == (6, text)
    jobd.jobctl("stop", "r-a", check=True)


# --- a chain, and a daemon that dies ------------------------------------------------------------------------------
@pytest.mark.parametrize("killed", [False, True])
def test_a_chain_starts_and_stops_in_order_whatever_happens_to_the_daemon(
    place: Program, tmp_path: Path, killed: bool
) -> None:
    log = tmp_path / "log"
    names = [f"c{int(killed)}-{at:02}" for at in range(COUNT)]
    for at, name in enumerate(names):
        needs = [f"requires={names[at - 1]}", f"after={names[at - 1]}"] if at else []
        serve(place, log, name, *needs)
    settle(place, log, names[0])
    with Raw(place.socket) as raw:
        raw.send(m.Start(id=1, names=[names[-1]], runs=[run := new_run_id()]))
        if killed:
            until(lambda: len(lines(log)) > 3, "some have started")
            place.replace_daemon()
    again = m.Start(id=1, names=[names[-1]], runs=[run])
    for _ in range(2):  # asked for again, nothing is done twice
        with Raw(place.socket) as raw:
            assert [body.run for body in raw.items(again) if isinstance(body, m.Done)] == [run]
    until(lambda: len(lines(log)) >= COUNT, "all have said that they are there")
    assert lines(log) == [f"{name} up" for name in names]
    log.write_text("")
    with Raw(place.socket) as raw:
        raw.send(m.Stop(id=1, names=[names[0]]))
        until(lambda: len(lines(log)) > 3, "some have stopped")
        if killed:
            place.replace_daemon()
    until(lambda: sub(place, names[0]) == "dead", "all are stopped")
    assert lines(log) == [f"{name} down" for name in reversed(names)]
    assert {len(place.history(name)) for name in (names[0], names[7], names[-1])} == {2}


@pytest.mark.parametrize("killed", [False, True])
def test_a_restart_takes_along_what_requires_it(place: Program, tmp_path: Path, killed: bool) -> None:
    log = tmp_path / "log"
    db, web, side, rest = (f"t{int(killed)}-{name}" for name in ("db", "web", "side", "rest"))
    serve(place, log, db)
    serve(place, log, web, f"requires={db}", f"after={db}")
    serve(place, log, side, f"part_of={web}", f"after={web}")
    serve(place, log, rest, f"requires={db}", f"after={db}")
    place.jobctl("stop", rest, check=True)
    until(lambda: len(lines(log)) == 5, "all have started")
    log.write_text("")
    place.jobctl("restart", "--no-block", db, check=True)
    if killed:
        place.replace_daemon()
    until(lambda: len(lines(log)) == 6, "all have been restarted")
    assert lines(log) == [f"{side} down", f"{web} down", f"{db} down", f"{db} up", f"{web} up", f"{side} up"]
    assert sub(place, rest) == "dead"
    place.jobctl("stop", db, check=True)


def test_what_conflicts_is_stopped_first(jobd: Program, tmp_path: Path) -> None:
    log = tmp_path / "log"
    serve(jobd, log, "k-a")
    serve(jobd, log, "k-c", "requires=k-a")
    until(lambda: len(lines(log)) == 2, "both run")
    serve(jobd, log, "k-b", "conflicts=k-a")
    until(lambda: "k-b up" in lines(log), "it has taken the place")
    assert lines(log).index("k-b up") > lines(log).index("k-a down")
    until(lambda: "k-c down" in lines(log), "what required it is down")
    jobd.jobctl("start", "k-a", check=True)
    assert sub(jobd, "k-b") == "dead"
    jobd.jobctl("stop", "k-a", check=True)


def test_what_is_bound_goes_and_comes_with_it(jobd: Program, tmp_path: Path) -> None:
    log = tmp_path / "log"
    serve(jobd, log, "b-db", "restart=on-failure", "restart_delay=50ms")
    serve(jobd, log, "b-web", "binds_to=b-db", "after=b-db")
    until(lambda: len(lines(log)) == 2, "both run")
    os.kill(int(jobd.show("b-db", "MainPID")), signal.SIGKILL)
    until(lambda: lines(log).count("b-web up") == 2, "both have come back")
    assert lines(log) == ["b-db up", "b-web up", "b-web down", "b-db up", "b-web up"]
    jobd.jobctl("stop", "b-db", check=True)
    assert sub(jobd, "b-web") == "dead"


# --- hooks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("killed", [False, True])
def test_a_hook_is_told_of_the_failure_once(place: Program, tmp_path: Path, killed: bool) -> None:
    gate = Gate(tmp_path / "gate")
    hook, web = f"h{int(killed)}-alert", f"h{int(killed)}-web"
    make(place, hook, "env | grep ^MONITOR_ | sort; true", "type=oneshot")
    place.jobctl("wait", hook)  # what is there already is not started
    make(place, web, f"{gate.wait}; exit 7", f"on_failure={hook}")
    main = int(place.show(web, "MainPID"))
    if killed:
        os.kill(daemon := place.daemon_pid(), signal.SIGSTOP)
        gate.open()
        until(lambda: not is_alive(main), "it has ended")
        os.kill(daemon, signal.SIGKILL)
    else:
        gate.open()
    until(lambda: len(place.history(hook)) == 2, "the hook was started")
    place.jobctl("wait", hook)
    run = str(place.history(web)[0]["run"]).replace("-", "")
    assert place.output(hook).decode().splitlines() == [
        "MONITOR_EXIT_CODE=exited",
        "MONITOR_EXIT_STATUS=7",
        f"MONITOR_INVOCATION_ID={run}",
        "MONITOR_SERVICE_RESULT=exit-code",
        f"MONITOR_UNIT={web}",
    ]
    assert place.history(hook)[0]["cause"] == f"on failure of {web}"
    assert len(place.history(hook)) == 2


def test_hooks_of_each_other_come_to_an_end(jobd: Program) -> None:
    make(jobd, "e-a", "sleep 0.01; exit 1", "on_failure=e-b")
    make(jobd, "e-b", "sleep 0.01; exit 1", "on_failure=e-a")
    until(lambda: len(jobd.history("e-a")) > 4, "they have called each other")
    until(lambda: all(sub(jobd, name) == "failed" for name in ("e-a", "e-b")), "they rest")
    assert len(jobd.history("e-a")) < 10


# --- essential jobs -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_end_of_an_essential_job_ends_jobd_with_its_status(tmp_path: Path, script: str, status: int) -> None:
    gate = Gate(tmp_path / "gate")
    program = Program(tmp_path)
    try:
        program.start()
        make(program, "other", "sleep 1000")
        make(program, "web", f"{gate.wait}; {script}", "essential=true")
        gate.open()
        assert program.keeper.wait(30) == status
    finally:
        program.close()


@pytest.mark.skipif(not can_unshare(), reason="no pid namespaces here")
def test_a_container_ends_with_the_status_of_the_service_that_it_is_there_for(tmp_path: Path) -> None:
    """As jobd(8) says: enabled once, with a jobd that is not in it."""
    program = Program(tmp_path)
    jobs = program.config_dir / "jobs"
    jobs.mkdir(parents=True)
    (jobs / "db.toml").write_text('command = ["sleep", "600"]\n')
    (jobs / "web.toml").write_text('shell = "exit 42"\nessential = true\nrequires = ["db"]\nafter = ["db"]\n')
    try:
        program.start()
        program.jobctl("enable", "web", check=True)
        program.jobctl("shutdown", check=True)
        assert program.keeper.wait(30) == 0
        program.start(wrapper=UNSHARE, answering=False)
        assert program.keeper.wait(30) == 42
        assert "[1]: info: leaving" in program.log_text()
    finally:
        program.close()


# --- a shutdown ---------------------------------------------------------------------------------------------------
def test_a_shutdown_is_in_order_and_what_waits_finds_what_it_requires(tmp_path: Path) -> None:
    log, gate = tmp_path / "log", Gate(tmp_path / "gate")
    program = Program(tmp_path)
    try:
        program.start()
        serve(program, log, "db")
        serve(program, log, "web", "after=db", "requires=db")
        make(program, "slow", gate.wait, "type=oneshot")
        serve(program, log, "late", 'after=["slow", "db"]', "requires=db", "wants=slow")
        until(lambda: lines(log) == ["db up", "web up"], "two are up")
        program.keeper.terminate()
        program.keeper.wait(30)
        assert lines(log)[2:] == ["web down", "db down"]
        program.start()
        until(lambda: "late up" in lines(log), "what waited has begun")
        assert lines(log)[4:] == ["db up", "late up"]
    finally:
        program.close()


def test_a_hook_of_a_job_that_was_lost_with_its_keeper_is_started_by_the_next_one(mortal: Program) -> None:
    jobs, told = mortal.config_dir / "jobs", mortal.root / "told"
    jobs.mkdir()
    (jobs / "alert@.toml").write_text(f"shell = 'echo %i $MONITOR_SERVICE_RESULT >> \"{told}\"'\n")
    (jobs / "web.toml").write_text('command = ["sleep", "600"]\non_failure = ["alert@%n"]\n')
    mortal.jobctl("daemon-reload", check=True)
    mortal.jobctl("start", "web", check=True)
    main, daemon = int(mortal.show("web", "MainPID")), mortal.kill_daemon(signal.SIGSTOP)
    mortal.keeper.kill()
    os.kill(daemon, signal.SIGKILL)
    mortal.keeper.wait()
    os.kill(main, signal.SIGKILL)
    mortal.start()
    until(lambda: told.exists() and told.read_text() == "web resources\n", "its hook was started")
