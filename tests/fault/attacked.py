"""F7: what one user feels while another holds all the connections he can, sends bytes one by one, and reads nothing.

B works, on a connection for each thing he does: he asks for a job's status, reads its output, and has a command run.
How long each takes is measured in turns with and without A's attack, so that whatever else the machine does is in
both, and without the time in which B or the daemon stood in line for a processor (tests/fault/probing.py).
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from jobd.wire import messages as m
from tests.fault.probing import pids, quantile, settle, timed
from tests.fault.report import CannotRunError, Problem, Report, details, tally
from tests.system.attacks import HELLO, connect, push, slow_clients, stalled_readers
from tests.system.crowd import ALICE, BOB, User, for_everybody, users
from tests.system.program import until
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    import socket
    from pathlib import Path


CONNECTIONS: Final = 2000  # security.md, C.5, as are the slow clients and the readers
STALLED: Final = 50
MOST_TIMES: Final = 5.0  # of a quiet p99
# A p99 of less is nothing that anybody feels, and five times a fraction of a millisecond is a matter of luck.
FELT_SEC: Final = 0.01
ENOUGH: Final = 300  # acts of a kind, without which nobody knows a p99: it is the third of the slowest then
TURN_SEC: Final = 3.0
PAUSE_SEC: Final = 0.003
KINDS: Final = ("slower", "errors", "deaths")
Times = dict[str, list[float]]  # seconds, by what was done


# --- A --------------------------------------------------------------------------------------------------------------
def hold_connections(path: str) -> None:
    """Have two thousand, or as many as there are to be had, and try for more all the time."""
    held: list[socket.socket] = []
    while True:
        for _ in range(100):
            sock = connect(path)
            if sock is not None:
                push(sock, HELLO)
                held.append(sock)
        while len(held) > CONNECTIONS:
            held.pop(0).close()
        time.sleep(0.01)


# --- B --------------------------------------------------------------------------------------------------------------
def ask_status(path: str) -> None:
    with Raw(path) as raw:
        answer = raw.ask(m.Get(id=1, names=["quiet"]))
        assert isinstance(answer, m.Reply), answer


def read_logs(path: str) -> None:
    with Raw(path) as raw:
        found = b"".join(body.data for body in raw.items(m.Logs(id=1, jobs=["quiet"])) if isinstance(body, m.Output))
        assert found == b"here\n", found


def run_command(path: str) -> None:
    with Raw(path) as raw:
        run = started(raw.run([b"true"], name="work", exec_wait=False)).run
        assert raw.wait(run)[run].exit_code == 0


# In how many turns each is done once. A run takes as long as ten questions; were there fewer, a minute would not have
# as many as it takes to judge them.
ACTS: Final = {"status": ask_status, "logs": read_logs, "run": run_command}
EVERY: Final = {"status": 1, "logs": 1, "run": 2}


def work(path: str, pid: int, sec: float) -> list[object]:
    """Do all of it, over and over; how long each took, and what went wrong."""
    times: Times = {name: [] for name in ACTS}
    errors: list[str] = []
    end = time.monotonic() + sec
    turn = 0
    while time.monotonic() < end:
        turn += 1
        for name, act in ACTS.items():
            if turn % EVERY[name] == 0:
                try:
                    times[name].append(timed(partial(act, path), (os.getpid(), pid)))
                except (OSError, EOFError, AssertionError) as e:
                    errors.append(f"{name}: {e!r:.300}")
        time.sleep(PAUSE_SEC)
    return [times, errors]


def begin_job(path: str, name: str, script: bytes) -> None:
    with Raw(path) as raw:
        started(raw.run([b"sh", b"-c", script], name=name))


# --- the campaign ---------------------------------------------------------------------------------------------------
def is_judged(name: str, quiet: Times, busy: Times) -> bool:
    return min(len(quiet[name]), len(busy[name])) >= ENOUGH


def judge(quiet: Times, busy: Times) -> list[Problem]:
    """What B feels more than he may."""
    problems = []
    for name in ACTS:
        if not is_judged(name, quiet, busy):
            continue
        before, now = quantile(quiet[name], 0.99), quantile(busy[name], 0.99)
        if now > max(MOST_TIMES * before, FELT_SEC):
            problems.append(Problem("slower", name, f"p99 {before * 1000:.2f} ms quiet, {now * 1000:.2f} ms attacked"))
    return problems


def turn(path: str, pid: int, sec: float, into: Times) -> list[str]:
    """Have B work for a while; what went wrong."""
    found = User(BOB, partial(work, path, pid, sec)).result()
    assert isinstance(found, list)
    for name, values in found[0].items():
        into[name] += values
    return [str(error) for error in found[1]]


def run_attacked(_root: Path, size: int, seed: int) -> Report:
    """F7: for so many seconds, half of them under attack."""
    if os.geteuid() != 0:
        raise CannotRunError("only root can be several users")
    quiet: Times = {name: [] for name in ACTS}
    busy: Times = {name: [] for name in ACTS}
    errors: list[str] = []
    held = 0
    with for_everybody("F7") as jobd:
        path, before = str(jobd.socket), pids(jobd)
        os.environ["JOBD_TEST_MARK"] = jobd.mark  # of what the users start
        User(BOB, partial(begin_job, path, "quiet", b"echo here; exec sleep 600")).result()
        chatty = b"yes 0123456789 | head -c 4000000; exec sleep 600"
        User(ALICE, partial(begin_job, path, "chatty", chatty)).result()
        for _ in range(max(1, round(size / 2 / TURN_SEC))):
            sec = min(TURN_SEC, size / 2)
            errors += turn(path, before[0], sec, quiet)
            with (
                users(ALICE, partial(hold_connections, path)),
                users(ALICE, partial(slow_clients, path)),
                users(ALICE, partial(stalled_readers, path, count=STALLED)),
            ):
                until(lambda: jobd.daemon_status().connections > STALLED, "the attack has begun")
                errors += turn(path, before[0], sec, busy)
                held = max(held, jobd.daemon_status().connections)
            settle(jobd, ours=1)
        after = pids(jobd)
    problems = judge(quiet, busy) + [Problem("errors", "B", error) for error in errors]
    if before != after:
        problems.append(Problem("deaths", "daemon, keeper", f"were {before}, are {after}"))
    return Report(seed, words(size, held, quiet, busy), tally(KINDS, problems), details(problems))


def words(size: int, held: int, quiet: Times, busy: Times) -> str:
    """What was done, and what it took."""
    told = [
        f"{name} p99 {quantile(quiet[name], 0.99) * 1000:.1f} → {quantile(busy[name], 0.99) * 1000:.1f} ms"
        for name in ACTS
    ]
    judged = [name for name in ACTS if is_judged(name, quiet, busy)]
    return f"{size} s, {held} connections at a time, {', '.join(told)}; judged: {', '.join(judged) or 'too few acts'}"
