"""10,000 queued runs: how fast they are taken, how fast a queue runs empty, and what they cost who comes besides."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import codec, frames
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.bench.throughput import through_spawn
from tests.system.program import Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MANY = measure.quick(10_000, 2000)
FEW = 100  # as many as `list` shows of a queue: what it costs to draw them is in both
DRAINED = measure.quick(1500, 300)
ROUNDS = measure.quick(5, 3)
LOOP = measure.quick(200, 40)  # calls of a shell loop
CALLS = measure.quick(30, 10)
WINDOW = 256  # submissions that wait for their answer
SLOTS = 16  # of the queue that runs empty: as many as may be between fork and exec of one owner
FULL, WIDE = "full", "wide"  # a queue that starts nothing, and one that starts what it can


def request(raw: Raw, queue: str) -> m.Run:
    """One `/bin/true` for a queue."""
    return m.Run(
        id=raw.next_id(), run=new_run_id(), argv=[b"/bin/true"], env=[b"A=1"], cwd=b"/", exec_wait=False,
        settings={"queue": queue},
    )  # fmt: skip


def submit(raw: Raw, requests: list[m.Run]) -> None:
    """Submit all, WINDOW at a time under way; back when all are accepted durably."""
    packed = [codec.encode(one) for one in requests]
    buffer, sent, answered = frames.FrameBuffer(), 0, 0
    while answered < len(packed):
        until = min(len(packed), answered + WINDOW)
        if until > sent:
            raw.sock.sendall(b"".join(packed[sent:until]))
            sent = until
        buffer.feed(raw.sock.recv(1 << 18))
        while (body := buffer.next()) is not None:
            answer = codec.decode_daemon(body)
            assert isinstance(answer, m.Reply), answer
            answered += 1


def make_queues(raw: Raw) -> None:
    for name, slots in ((FULL, 1), (WIDE, SLOTS)):
        assert isinstance(raw.ask(m.QueueAdd(id=raw.next_id(), name=name, slots=slots)), m.Reply)
    set_queue(raw, FULL, "paused")


def set_queue(raw: Raw, name: str, state: str) -> None:
    assert isinstance(raw.ask(m.QueueSet(id=raw.next_id(), name=name, state=state)), m.Reply)


@contextmanager
def fresh(root: Path, name: str) -> Iterator[Program]:
    """A jobd with both queues."""
    (root / name).mkdir()
    with Program(root / name) as jobd:
        with Raw(jobd.socket) as raw:
            make_queues(raw)
        yield jobd


def taken(root: Path, round_: int) -> float:
    """Queued runs a second through one connection, accepted durably."""
    with fresh(root, f"taken-{round_}") as jobd, Raw(jobd.socket) as raw:
        requests = [request(raw, FULL) for _ in range(MANY)]
        return MANY / measure.timed(lambda: submit(raw, requests))


def synced(root: Path) -> float:
    """Lines a second that a loop appends and syncs, one at a time."""
    count = measure.quick(1000, 200)
    fd = os.open(root / "synced", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(count):
            os.write(fd, b"x" * 1000)
            os.fdatasync(fd)
        return count / (time.perf_counter() - began)
    finally:
        os.close(fd)


def drained(jobd: Program) -> float:
    """Runs a second of a queue that was full when it began."""
    with Raw(jobd.socket) as raw:
        set_queue(raw, WIDE, "paused")
        requests = [request(raw, WIDE) for _ in range(DRAINED)]
        submit(raw, requests)

        def drain() -> None:
            set_queue(raw, WIDE, "open")
            ended = raw.wait(*(one.run for one in requests))
            assert {view.exit_code for view in ended.values()} == {0}

        return DRAINED / measure.timed(drain)


def shell_loop(jobd: Program, *command: str) -> float:
    """Calls a second of a command in a loop of /bin/sh."""
    script = 'i=0; while [ $i -lt "$0" ]; do "$@" >/dev/null || exit; i=$((i + 1)); done'
    took = measure.timed(
        lambda: subprocess.run(["/bin/sh", "-c", script, str(LOOP), *command], env=jobd.env, check=True)
    )
    return LOOP / took


def beside(jobd: Program) -> dict[str, float]:
    """Seconds of what people do meanwhile."""

    def verb(*args: str) -> float:
        return measure.timed_process([measure.JOBCTL, *args], jobd.env)

    return measure.medians(
        CALLS,
        {
            "run": lambda: verb("run", "true"),
            "run --queue": lambda: verb("run", "--queue", FULL, "true"),
            "list on a terminal": lambda: on_terminal(jobd, "list", "--no-pager"),
        },
    )


def on_terminal(jobd: Program, *args: str) -> float:
    """Seconds of a verb whose output goes to a terminal, as a person sees it."""
    master, slave = os.openpty()
    try:
        began = time.perf_counter()
        verb = subprocess.Popen(
            [measure.JOBCTL, *args], env=jobd.env, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave
        )
        os.close(slave)
        with suppress(OSError):  # EIO: nobody has it open any more
            while os.read(master, 1 << 16):
                pass
        assert verb.wait() == 0
        return time.perf_counter() - began
    finally:
        os.close(master)


def measure_all(root: Path) -> list[Figure]:
    rates = [taken(root, number) for number in range(ROUNDS)]
    rate, bare = sorted(rates)[ROUNDS // 2], synced(root)
    with fresh(root, "jobd") as jobd:
        found = measure.medians(ROUNDS, {"drained": lambda: drained(jobd), "spawn": through_spawn})
        nothing = (measure.PYTHON, "-I", "-S", "-c", "pass")
        loops = measure.medians(
            ROUNDS,
            {
                "run": lambda: shell_loop(jobd, measure.JOBCTL, "run", "true"),
                "python": lambda: shell_loop(jobd, *nothing),
            },
        )
        with Raw(jobd.socket) as raw:
            submit(raw, [request(raw, FULL) for _ in range(FEW)])
            few = beside(jobd)
            submit(raw, [request(raw, FULL) for _ in range(MANY)])
            many = beside(jobd)
    return [
        Figure(
            f"{MANY} queued runs through one connection, durable", rate, "/s", 3000, True,
            f"{1e6 / rate:.0f} µs each", f"appending and syncing one line: {bare:.0f}/s",
        ),
        Figure(
            f"a queue of {SLOTS} slots runs empty", found["drained"] / found["spawn"], "x posix_spawn and wait", 0.4,
            True, f"{found['drained']:.0f} runs/s, {os.cpu_count()} cores", f"{found['spawn']:.0f}/s",
        ),
        Figure(
            "jobctl run in a shell loop", loops["run"], "/s", 60, True,
            measure.milliseconds(1 / loops["run"]), f"python -I -S -c pass: {loops['python']:.0f}/s",
        ),
        *(
            Figure(
                f"{name} with {MANY} queued", many[name] / few[name], f"x with {FEW}", 1.15,
                ours=measure.milliseconds(many[name]), yardstick=measure.milliseconds(few[name]),
            )
            for name in few
        ),
    ]  # fmt: skip
