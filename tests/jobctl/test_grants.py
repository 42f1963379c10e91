"""What root submits is granted to the keeper before it is sent, where a keeper asks for that."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import pytest
import trio

from jobd import client as api
from jobd.wire import granting, grants, plainpack
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, jobctl, run_view, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's submissions are granted")
STRANGER = 61001


class FakeKeeper:
    """Listens on root.sock, and keeps the hashes that it was given."""

    def __init__(self, directory: Path, answer: dict[str, object]) -> None:
        self.hashes: list[bytes] = []
        self.instances: list[str] = []
        self.answer = answer
        self.path = directory / "root.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                asked = plainpack.unpackb(connection.recv(4096))
                assert isinstance(asked, dict)
                if asked["op"] == "grant-instance":
                    self.instances.append(asked["name"])
                else:
                    assert asked["op"] == "grant"
                    self.hashes.append(asked["hash"])
                connection.send(plainpack.packb(self.answer))


STARTED = m.Started(job="sleep-1", owner=0, run=RUN_ID, number=1)


@pytest.fixture
def fake(daemon: Make) -> FakeDaemon:
    return daemon(table(run=lambda _: STARTED, rerun=lambda _: STARTED, resolve=lambda _: m.Runs(runs=[run_view()])))


@pytest.fixture
def keeper(fake: FakeDaemon) -> Iterator[FakeKeeper]:
    made = FakeKeeper(Path(fake.path).parent, {"op": "granted"})
    yield made
    made.close()


def hash_of(run: m.Request, stdin: str = "null") -> bytes:
    assert isinstance(run, m.Run)
    argv = [b"/bin/sh", b"-c", *run.argv] if run.shell else run.argv
    umask = int(run.settings.get("limits.umask", oct(run.umask)), 8)
    return grants.digest(argv, run.env, run.cwd, run.settings.get("user", ""), umask, stdin)


@pytest.mark.parametrize(
    "line",
    [
        ("run", "--", "sleep", "1"),
        ("run", "--shell", "--", "sleep 1"),
        ("run", "-p", "user=bob", "-E", "A=b", "true"),
        ("run", "-p", "limits.umask=0o077", "true"),
    ],
    ids=" ".join,
)
def test_a_run_is_granted_before_it_is_sent(fake: FakeDaemon, keeper: FakeKeeper, line: tuple[str, ...]) -> None:
    seen_at: list[int] = []
    usual = fake.script

    def script(request: m.Request) -> Answer:
        seen_at.append(len(keeper.hashes))
        return usual(request)

    fake.script = script
    assert jobctl(fake.path, *line).returncode == 0
    assert keeper.hashes == [hash_of(fake.requests[0])]
    assert seen_at == [1]


def test_the_python_api_grants_too(fake: FakeDaemon, keeper: FakeKeeper) -> None:
    with api.connect_blocking(fake.path) as jobs:
        jobs.run(["sleep", "1"], env={"A": "b"})
        jobs.run(["sleep", "1"], settings={"user": "bob"})

    async def main() -> None:
        async with api.connect(fake.path) as jobs:
            await jobs.run("sleep 1", shell=True, cwd="/")

    trio.run(main)
    assert keeper.hashes == [hash_of(run) for run in fake.requests]
    assert [getattr(run, "env", []) for run in fake.requests[:2]] == [[b"A=b"], []]


@pytest.mark.parametrize("stdin", ["pipe", "pty"])
def test_what_may_be_fed_may_run_again_without(stdin: Literal["pipe", "pty"]) -> None:
    run = m.Run(id=1, run=RUN_ID, argv=[b"cat"], env=[b"A=b"], cwd=b"/", stdin=stdin)
    assert granting.hashes(msgspec.structs.asdict(run)) == [hash_of(run, stdin), hash_of(run)]


def test_what_is_refused_is_not_sent(fake: FakeDaemon, keeper: FakeKeeper) -> None:
    keeper.answer = {"op": "refused", "why": "no\x1b more"}
    done = jobctl(fake.path, "run", "true")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"jobctl: cannot let root run this: the keeper refuses: no\\x1b more\n"
    with api.connect_blocking(fake.path) as jobs, pytest.raises(api.JobdError, match="the keeper refuses"):
        jobs.run(["true"])
    assert fake.requests == []


def test_what_has_run_before_is_granted_already(fake: FakeDaemon, keeper: FakeKeeper) -> None:
    assert jobctl(fake.path, "rerun", "web").returncode == 0
    assert keeper.hashes == []


def test_a_keeper_that_is_being_replaced_is_waited_for(fake: FakeDaemon) -> None:
    directory = Path(fake.path).parent
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dead.bind(str(directory / "root.sock"))
    dead.close()
    back: list[FakeKeeper] = []

    def come_back() -> None:
        time.sleep(0.3)
        (directory / "root.sock").unlink()
        back.append(FakeKeeper(directory, {"op": "granted"}))

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        assert jobctl(fake.path, "run", "true").returncode == 0
    finally:
        thread.join()
        back[0].close()
    assert len(back[0].hashes) == 1


def test_somebody_elses_socket_of_that_name_is_not_waited_for(fake: FakeDaemon) -> None:
    path = str(Path(fake.path).parent / "root.sock")
    ready, leave = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(path)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            listener.listen()
            os.write(ready[1], b"x")
            os.close(leave[1])
            os.read(leave[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        assert os.read(ready[0], 1) == b"x"
        assert jobctl(fake.path, "run", "true").returncode == 0
    finally:
        for fd in (*leave, ready[0]):
            os.close(fd)
        os.waitpid(child, 0)
    assert len(fake.requests) == 1


def test_without_such_a_keeper_nothing_is_asked_or_loaded(fake: FakeDaemon) -> None:
    assert jobctl(fake.path, "run", "true").returncode == 0
    assert not (Path(fake.path).parent / "root.sock").exists()


def test_instances_of_templates_are_named_ahead_of_their_start(fake: FakeDaemon, keeper: FakeKeeper) -> None:
    fake.script = table(start=lambda _: [m.Done(job="web")], enable=lambda _: [m.Done(job="web")])
    for line in (["start", "web@1", "web", "api@"], ["start", "web"], ["enable", "db@x"]):
        jobctl(fake.path, *line)
    assert keeper.instances == ["web@1", "db@x"]
    with api.connect_blocking(fake.path) as jobs:
        jobs.start("api@7", "web")
        jobs.enable("api@8")
    assert keeper.instances[2:] == ["api@7", "api@8"]

    async def main() -> None:
        async with api.connect(fake.path) as jobs:
            await jobs.start("api@9")

    trio.run(main)
    assert keeper.instances[4:] == ["api@9"]
    assert keeper.hashes == []


def test_what_settings_make_of_a_submission_is_granted_with_it() -> None:
    argv, env, cwd = [b"web"], [b"A=1"], b"/srv"
    settings = {"environment_file": "one -/etc/two", "stop.command": "stop now", "ready.command": '["ready"]'}
    run = {"argv": argv, "shell": False, "env": env, "cwd": cwd, "settings": settings}
    files = ((b"/srv/one", False), (b"/etc/two", True))
    commands = ([b"web"], [b"stop", b"now"], [b"ready"])
    assert granting.hashes(run) == [grants.digest(command, env, cwd, "", 0o22, "null", files) for command in commands]
    assert granting.hashes({**run, "settings": {"stop.command": "[", "limits.memory": "x"}})  # the daemon will refuse
