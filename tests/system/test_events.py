"""events, with real daemons that are killed: every change once, in order, to every reader."""

from __future__ import annotations

import getpass
import json
import os
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.client import Change, Missed, connect, connect_blocking
from tests.system.program import DEADLINE_SEC, Gate, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow

LIFE = ["accepted", "started", "finished"]


def rows(program: Program, *options: str) -> list[dict[str, object]]:
    done = program.jobctl("events", "-o", "json", *options, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_until(reader: subprocess.Popen[bytes], count: int) -> list[dict[str, object]]:
    """So many rows from a follower."""
    assert reader.stdout is not None
    return [json.loads(reader.stdout.readline()) for _ in range(count)]


def end(reader: subprocess.Popen[bytes]) -> None:
    with reader:
        reader.send_signal(signal.SIGINT)
        assert reader.wait(20) == 130


def test_a_run_from_its_acceptance_to_its_end(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "sh", "-c", "exit 3")
    told = rows(shared, name)
    assert [row["event"] for row in told if row["event"] in LIFE] == LIFE
    assert {(row["job"], row["number"]) for row in told} == {(name, 1)}
    assert told[0]["by"] == "root"
    assert told[0]["by_pid"]
    last = next(row for row in told if row["event"] == "finished")
    assert (last["result"], last["exit_code"], last["active"], last["state"]) == ("exit-code", 3, "failed", "finished")
    text = shared.jobctl("events", name, check=True).stdout
    assert f" {name}#1: accepted by root: activating (start)\n" in text
    assert f" {name}#1: finished: failed (Result: exit-code), code=exited, status=3\n" in text


def test_who_asks_is_told(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    shared.jobctl("stop", name, check=True)
    asked = next(row for row in rows(shared, name) if row["event"] == "stop-requested")
    assert (asked["by"], asked["active"], asked["sub"]) == ("root", "deactivating", "stop-sigterm")


def test_an_unknown_job_is_4_with_what_was_meant(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "true", check=True)
    done = shared.jobctl("events", f"{name[:-1]}~")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"did you mean {name!r}" in done.stderr


def test_cursors_meet_without_a_gap_across_kills(jobd: Program, tmp_path: Path) -> None:
    kept = str(tmp_path / "cursor")
    told: list[dict[str, object]] = []
    for n in range(6):
        jobd.jobctl("run", "--wait", "--name", "web", "--", "true", check=True)
        jobd.replace_daemon()
        told += rows(jobd, "--cursor-file", kept)
        assert [row["event"] for row in told].count("finished") == n + 1
    assert told == rows(jobd)
    assert [row["cursor"] for row in told] == sorted({row["cursor"] for row in told})  # type: ignore[type-var]  # numbers
    assert rows(jobd, "--cursor-file", kept) == []


def test_a_follower_sees_everything_once_while_the_daemon_is_killed(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    jobd.jobctl("run", "--name", "first", "--", "true", check=True)
    jobd.jobctl("wait", "first", check=True)
    reader = jobd.start_jobctl("events", "-f", "-n", "1", "-o", "json")
    late = jobd.start_jobctl("events", "-f", "-n", "all", "-o", "json")
    (last,), _ = read_until(reader, 1), read_until(late, 1)  # both follow
    jobd.jobctl("run", "--name", "web", "--shell", gate.wait, check=True)
    for _ in range(3):
        jobd.replace_daemon()
    gate.open()
    jobd.jobctl("wait", "web", check=True)
    jobd.replace_daemon()
    for n in range(20):
        jobd.jobctl("run", "--name", f"job-{n}", "--", "true", check=True)
        if n % 7 == 6:
            jobd.kill_daemon()
    jobd.jobctl("wait", *(f"job-{n}" for n in range(20)), check=True)
    until(lambda: jobd.daemon_status().running == 0, "all is written")
    expected = rows(jobd, "--after-cursor", str(last["cursor"]))
    assert read_until(reader, len(expected)) == expected
    end(reader)
    end(late)


def test_a_reader_who_was_away_too_long_is_told(jobd: Program) -> None:
    for _ in range(3):
        jobd.jobctl("run", "--wait", "--name", "web", "--", "true", check=True)
    told = rows(jobd, "web")
    pid = jobd.daemon_pid()
    os.kill(pid, signal.SIGSTOP)  # retention is for the daemon's writer; here its work is done by hand
    conn = sqlite3.connect(jobd.state_dir / "state.db", timeout=30)
    with conn:
        run = conn.execute("SELECT run FROM runs ORDER BY seq LIMIT 1").fetchone()[0]
        gone = conn.execute("SELECT max(seq) FROM events WHERE run = ?", (run,)).fetchone()[0]
        conn.execute("DELETE FROM events WHERE run = ?", (run,))
        conn.execute("INSERT INTO meta VALUES ('removed ' || ?, ?)", (os.geteuid(), str(gone)))
    conn.close()
    os.kill(pid, signal.SIGCONT)
    late = rows(jobd, "--after-cursor", "1", "web")
    assert late[0] == {"missed": {"after": 1, "before": gone + 1}}
    assert late[1:] == [row for row in told if row["run"] != told[0]["run"]]
    text = jobd.jobctl("events", "--after-cursor", "1", check=True).stdout
    assert text.startswith(f"-- changes missed: some between cursors 1 and {gone + 1} are gone --\n")


def test_a_closed_pipe_ends_a_follower(jobd: Program) -> None:
    reader = jobd.start_jobctl("events", "-f")
    until(lambda: jobd.daemon_status().connections >= 2, "it follows")
    assert reader.stdout is not None
    reader.stdout.close()
    assert reader.wait(20) == -signal.SIGPIPE


async def test_the_python_client_sees_what_comes_across_kills(jobd: Program) -> None:
    with trio.fail_after(DEADLINE_SEC):
        async with connect(str(jobd.socket)) as jobs:
            changes = jobs.events("web", follow=True, after=0)
            found: list[Change | Missed] = []
            for n in range(3):
                await (await jobs.run(["true"], name="web", env={"JOBD_TEST_MARK": jobd.mark})).wait()
                await trio.to_thread.run_sync(jobd.kill_daemon)
                while [change.kind for change in found if isinstance(change, Change)].count("finished") <= n:
                    found.append(await anext(changes))
            cursor = changes.cursor
            await changes.aclose()
    with connect_blocking(str(jobd.socket)) as blocking:
        every = [*blocking.events("web")]
        assert every[: len(found)] == found
        assert [*blocking.events("web", after=cursor)] == every[len(found) :]


def test_what_becomes_of_queues_and_of_what_waits_is_told(shared: Program, name: str) -> None:
    """With words for each, to who follows all; to who follows one job only what is of it."""
    queue = f"q-{name[-40:]}"
    shared.jobctl("queue", "add", queue, "slots=2", check=True)
    shared.jobctl("run", "--hold", "--queue", queue, "--priority", "3", "--name", name, "--", "true", check=True)
    shared.jobctl("release", name, check=True)
    shared.jobctl("wait", name, check=True)
    shared.jobctl("queue", "rm", queue, check=True)
    who = getpass.getuser()
    told = shared.jobctl("events", "-o", "cat").stdout.splitlines()
    every = [line for line in told if queue in line]
    assert every[0] == f"queue {queue}: queue-added by {who}: 2 slots"
    assert every[1].startswith(f"{name}#1: accepted")
    assert every[1].endswith(f"queue {queue}, priority 3, held")
    assert every[-1] == f"queue {queue}: queue-removed by {who}"
    own = shared.jobctl("events", "-o", "cat", name).stdout
    assert f"{name}#1: released by {who}" in own
    assert "queue-added" not in own
