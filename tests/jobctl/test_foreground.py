"""`run -P` against a daemon that is a script: lost connections, signals, readers and writers that go away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import DEADLINE_SEC, HangupError, frame, jobctl, jobctl_command
from tests.jobctl.foreground_fakes import ERR, JOB, Client, FakeRun, RunDaemon
from tests.jobctl.test_imports import HEAVY, PROBE
from tests.system.program import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.jobctl.fakes import Answer

    Serve = Callable[[FakeRun], RunDaemon]
    Start = Callable[..., "Client"]

pytestmark = pytest.mark.slow

NAME = f"{JOB}\n".encode()


@pytest.fixture
def start(serve: Serve) -> Iterator[Start]:
    """Starts jobctl; what is left is killed before its daemon goes."""
    del serve
    made: list[Client] = []

    def begin(path: str, *args: str, ignoring: int = 0) -> Client:
        made.append(Client(path, *args, ignoring=ignoring))
        return made[-1]

    yield begin
    for client in made:
        client.close()


def test_a_person_is_told_what_it_waits_for(serve: Serve) -> None:
    run = FakeRun()
    run.waits = "for queue build, which is full"
    path, (ours, theirs) = serve(run).path, os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as shown, os.fdopen(theirs, "wb") as stderr:
        jobctl(path, "run", "-P", "cat", input=b"", capture_output=False, stdout=subprocess.PIPE, stderr=stderr)
        assert shown.read(1000).split(b"\r\n")[1] == f"{JOB} waits {run.waits}".encode()


def test_stdin_and_both_streams_are_exact(serve: Serve) -> None:
    run = FakeRun()
    run.write(b"\x00\xff\x1b[31m no newline", ERR)
    data = random.Random(1).randbytes(3_000_000)
    result = jobctl(serve(run).path, "run", "-P", "cat", input=data)
    assert (result.returncode, result.stdout) == (0, data)
    assert result.stderr == NAME + b"\x00\xff\x1b[31m no newline"
    assert bytes(run.received) == data


@pytest.mark.parametrize("size", [0, 1, 262_144, 1_000_000])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_any_stdin_is_taken_to_its_end(serve: Serve, tmp_path: Path, size: int, kind: str) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "in").write_bytes(data)
    fake = serve(FakeRun(credit=100_000)).path
    with open(tmp_path / "in", "rb") as file, open(tmp_path / "out", "wb") as out:
        options: dict[str, object] = {"stdin": file} if kind == "file" else {"input": data}
        result = jobctl(fake, "run", "-P", "cat", capture_output=False, stdout=out, stderr=subprocess.PIPE, **options)
    assert (result.returncode, result.stderr) == (0, NAME)
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_doubled_over_lost_connections(serve: Serve, seed: int) -> None:
    rng = random.Random(seed)
    run = FakeRun(credit=rng.choice((10_000, 300_000)))
    run.cut_in, run.cut_out = rng.randint(1, 400_000), rng.randint(1, 400_000)
    data = rng.randbytes(2_000_000)
    fake = serve(run)
    result = jobctl(fake.path, "run", "-P", "cat", input=data)
    assert (result.returncode, result.stderr) == (0, NAME)
    assert result.stdout == data
    assert bytes(run.received) == data
    assert len(fake.of(m.Run)) == 1
    assert len(fake.of(m.Attach)) > 3


def test_a_connection_lost_before_the_reply_asks_again_for_the_same_run(serve: Serve) -> None:
    times = iter(range(100))

    def hook(request: m.Request) -> None:
        if isinstance(request, m.Run) and next(times) < 3:
            raise HangupError

    fake = serve(FakeRun(hook=hook))
    assert jobctl(fake.path, "run", "-P", "cat", input=b"x").stdout == b"x"
    runs = fake.of(m.Run)
    assert len(runs) == 4
    assert len({request.run for request in runs if isinstance(request, m.Run)}) == 1


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_status_is_the_jobs(serve: Serve, status: int) -> None:
    run = FakeRun(cat=False)
    run.end(exit_code=status)
    assert jobctl(serve(run).path, "run", "-P", "x", stdin=subprocess.DEVNULL).returncode == status


def test_what_cannot_be_executed_has_a_shells_status(serve: Serve) -> None:
    run = FakeRun()
    run.step = "exec"
    result = jobctl(serve(run).path, "run", "-P", "nope", stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (127, b"")
    assert b"No such file" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_go_on_to_the_job_once(serve: Serve, start: Start, number: signal.Signals) -> None:
    """The daemon is killed over the first Kill: it is asked again under the same name."""
    kills: list[m.Kill] = []

    def hook(request: m.Request) -> None:
        if isinstance(request, m.Kill):
            kills.append(request)
            if len(kills) == 1:
                raise HangupError

    run = FakeRun(cat=False, hook=hook)
    client = start(serve(run).path, "run", "-P", "cat")
    run.write(b"ready")
    assert client.stdout.read(5) == b"ready"
    client.signal(number)
    assert client.status() == 128 + number
    assert [kill.signal for kill in kills] == [number, number]
    assert [kill.runs for kill in kills] == [[run.run]] * 2
    assert kills[0].whom == "all"
    assert kills[0].once
    assert kills[0].once == kills[1].once


def test_a_signal_that_was_ignored_stays_ignored(serve: Serve, start: Start) -> None:
    run = FakeRun(cat=False)
    fake = serve(run)
    client = start(fake.path, "run", "-P", "cat", ignoring=signal.SIGINT)
    run.write(b"ready")
    assert client.stdout.read(5) == b"ready"
    client.signal(signal.SIGINT)
    client.signal(signal.SIGTERM)
    assert client.status() == 128 + signal.SIGTERM
    assert len(fake.of(m.Kill)) == 1


def test_a_hangup_leaves_the_job_and_its_input_open(serve: Serve, start: Start) -> None:
    run = FakeRun(cat=False)
    fake = serve(run)
    client = start(fake.path, "run", "-P", "cat")
    run.write(b"ready")
    assert client.stdout.read(5) == b"ready"
    # Who closes a terminal ends the writer as well: both come at once.
    client.signal(signal.SIGSTOP)
    client.stdin.close()
    client.signal(signal.SIGHUP)
    client.signal(signal.SIGCONT)
    assert client.status() == 129
    assert client.stderr.read() == NAME + b"jobctl: hangup; cat-1 goes on: jobctl attach cat-1\n"
    assert not run.eof
    assert not fake.of(m.Kill)


def test_a_reader_who_goes_breaks_the_jobs_pipe(serve: Serve, start: Start) -> None:
    run = FakeRun(cat=False)
    fake = serve(run)
    client = start(fake.path, "run", "-P", "yes")
    run.write(b"ready")
    assert client.stdout.read(5) == b"ready"
    client.stdout.close()
    assert client.status() == 141
    assert [request.run for request in fake.of(m.CloseOutput) if isinstance(request, m.CloseOutput)] == [run.run]


def test_a_reader_of_stderr_who_goes_is_nobodys_trouble(serve: Serve, start: Start) -> None:
    run = FakeRun(cat=False)
    fake = serve(run)
    client = start(fake.path, "run", "-P", "x")
    assert client.stderr.read(6) == NAME
    client.stderr.close()
    run.write(b"lost", ERR)
    run.write(b"kept")
    assert client.stdout.read(4) == b"kept"
    run.write(b"lost" * 1_000, ERR)
    run.end()
    assert client.stdout.read() == b""
    assert client.status() == 0
    assert not fake.of(m.CloseOutput)


def test_a_stream_that_nobody_reads_holds_up_no_other(serve: Serve, start: Start) -> None:
    run = FakeRun(cat=False)
    client = start(serve(run).path, "run", "-P", "x")
    assert client.stderr.read(6) == NAME
    run.write(bytes(5_000_000))  # more than a pipe and two sockets hold
    for n in range(20):
        run.write(b"%04d" % n, ERR)
        assert client.stderr.read(4) == b"%04d" % n
    run.end()
    assert len(client.stdout.read()) == 5_000_000
    assert client.status() == 0


def test_a_run_that_reads_no_more_lets_the_writer_go(serve: Serve, start: Start) -> None:
    run = FakeRun(cat=False)
    run.is_open = False
    client = start(serve(run).path, "run", "-P", "true")
    with pytest.raises(BrokenPipeError):
        client.stdin.writelines(bytes(65_536) for _ in range(1_000))
    run.end()
    assert (client.stdout.read(), client.stderr.read()) == (b"", NAME)
    assert client.status() == 0


class Taken(FakeRun):
    """Somebody else feeds it as soon as anybody has; then the daemon dies."""

    def __init__(self) -> None:
        super().__init__(cat=False)
        self.taken = False

    def _input(self, request: m.Input) -> Answer:
        assert not self.taken
        self.taken = True
        for received in (0, 9):
            yield m.Item(id=request.request, body=m.Fed(received=received, limit=10, open=False, taken=True))
        raise HangupError


def test_another_who_feeds_takes_over_for_good(serve: Serve, start: Start) -> None:
    """Told so, it feeds no more, says so once, and does not take the run back after a loss."""
    run = Taken()
    fake = serve(run)
    client = start(fake.path, "run", "-P", "cat")
    client.stdin.write(b"mine")
    text = b"jobctl: another jobctl feeds cat-1 now; what it had from here ends at byte 0\n"
    assert client.stderr.read(len(NAME)) + client.stderr.read(len(text)) == NAME + text
    run.write(b"theirs")
    assert client.stdout.read(6) == b"theirs"
    run.end()
    assert client.status() == 0
    assert client.stderr.read() == b""
    attaches = [request.input for request in fake.of(m.Attach) if isinstance(request, m.Attach)]
    assert attaches == [True, False]


def test_a_full_disk_detaches(serve: Serve) -> None:
    run = FakeRun(cat=False)
    run.write(b"x" * 100)
    fake = serve(run)
    with open("/dev/full", "wb") as full:
        result = jobctl(
            fake.path, "run", "-P", "x", stdin=subprocess.DEVNULL, capture_output=False, stdout=full,
            stderr=subprocess.PIPE,
        )  # fmt: skip
    assert result.returncode == 125
    text = b"cannot write to standard output: No space left on device; cat-1 goes on: jobctl attach cat-1"
    assert result.stderr == NAME + b"jobctl: " + text + b"\n"
    assert not fake.of(m.Kill)
    assert not fake.of(m.CloseOutput)


def test_a_closed_stdin_is_an_empty_one(serve: Serve) -> None:
    run = FakeRun()
    command = jobctl_command(serve(run).path, "run", "-P", "cat")
    closed = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, timeout=DEADLINE_SEC, check=False
    )
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", NAME)
    assert run.eof


class Full(RunDaemon):
    """Has room for two connections."""

    served = 0

    def _serve(self, connection: socket.socket) -> None:
        self.served += 1
        if self.served > 2:
            connection.sendall(frame(m.Fault(code=errors.LIMIT, message="cannot serve more connections")))
            connection.close()
            return
        super()._serve(connection)


def test_a_connection_that_is_refused_leaves_no_job(tmp_path: Path) -> None:
    fake = Full(tmp_path, FakeRun())
    result = jobctl(fake.path, "run", "-P", "cat", stdin=subprocess.DEVNULL)
    fake.close()
    assert (result.returncode, result.stdout) == (125, b"")
    assert result.stderr == b"jobctl: cannot serve more connections\n"
    assert not fake.requests


class Gone(FakeRun):
    """The daemon dies when it is asked to attach, and no other comes."""

    path = ""

    def __call__(self, request: m.Request) -> Answer:
        if isinstance(request, m.Attach):
            os.unlink(self.path)
            raise HangupError
        yield from super().__call__(request)


def pending_signals(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("ShdPnd:")), 16)


PATIENT = """
import sys
from jobctl import connect
connect.PATIENCE_SEC = 0.2
from jobctl.__main__ import main
main()
"""


def test_a_daemon_that_stays_away_is_given_up(serve: Serve) -> None:
    """With the patience of a test."""
    run = Gone()
    run.path = serve(run).path
    command = [sys.executable, "-I", "-c", PATIENT, "--socket", run.path, "run", "-P", "cat"]
    result = subprocess.run(command, input=b"", capture_output=True, timeout=DEADLINE_SEC, check=False)
    assert result.returncode == 125
    assert b"cannot connect to jobd" in result.stderr
    assert result.stderr.endswith(b"; when it is back: jobctl attach cat-1\n")


def test_a_second_interrupt_ends_the_wait_for_a_daemon_that_is_away(serve: Serve, start: Start) -> None:
    run = Gone()
    run.path = serve(run).path
    client = start(run.path, "run", "-P", "cat")
    assert client.stderr.read(6) == NAME
    client.signal(signal.SIGINT)
    until(lambda: pending_signals(client.process.pid) == 0, "the first is seen to")
    client.signal(signal.SIGINT)
    assert client.status() == 130
    assert client.stderr.read() == b"jobctl: interrupted; cat-1 goes on: jobctl attach cat-1\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["run", "-P", "-o", "json", "true"], b"with -P and -t, stdout is the job's"),
        (["run", "-P"], b"run needs COMMAND"),
        (["attach", "--input", "less", "web"], b"same, more or none"),
        (["attach", "a", "b"], b"more than one job"),
    ],
)
def test_usage_is_not_the_jobs_status(serve: Serve, line: list[str], said: bytes) -> None:
    fake = serve(FakeRun())
    result = jobctl(fake.path, *line)
    assert result.returncode == 125
    assert said in result.stderr
    assert not fake.requests


def test_follow_and_wait_are_implied(serve: Serve) -> None:
    result = jobctl(serve(FakeRun()).path, "run", "-P", "-f", "--wait", "cat", input=b"x")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"x", NAME)


def test_it_loads_nothing_heavy(serve: Serve) -> None:
    command = [sys.executable, "-I", "-c", PROBE, "--socket", serve(FakeRun()).path, "run", "-P", "cat"]
    result = subprocess.run(command, input=b"", capture_output=True, timeout=DEADLINE_SEC, check=False)
    loaded = result.stderr.decode().split()
    assert "jobctl.foreground" in loaded
    assert [name for name in loaded if name in (*HEAVY, "json") or name.startswith("jobctl.pty")] == []


def test_without_terminals_both_kinds_are_a_pipe(serve: Serve) -> None:
    fake = serve(FakeRun())
    assert jobctl(fake.path, "run", "-Pt", "cat", input=b"x").stdout == b"x"
    (request,) = fake.of(m.Run)
    assert isinstance(request, m.Run)
    assert request.stdin == "pipe"
