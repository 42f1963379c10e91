"""Output: every byte, apart, in order, from the first, however the job treats its streams."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC, Gate, is_alive, until

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow
PYTHON = (sys.executable, "-I", "-c")
BIG_BYTES = 256 << 20
# A block of a megabyte that is different each time, so that a lost, doubled or moved one is noticed.
BIG_WRITER = """
import hashlib, os, sys
for number in range(int(sys.argv[1]) >> 20):
    block = hashlib.shake_128(number.to_bytes(4, "big")).digest(4096) * 256
    view = memoryview(block)
    while view:
        view = view[os.write(1, view):]
"""


def run(program: Program, name: str, *command: str, status: int = 0) -> None:
    done = program.jobctl("run", "--wait", "--name", name, "--", *command, timeout=4 * DEADLINE_SEC)
    assert done.returncode == status, done


def log_files(program: Program, name: str) -> list[Path]:
    run_id = str(program.history(name)[0]["run"]).replace("-", "")
    return sorted(program.state_dir.glob(f"logs/**/{run_id}/*"))


def test_streams_are_kept_apart_and_exact(shared: Program, name: str) -> None:
    run(shared, name, "/bin/sh", "-c", r"printf 'a\0\377\r\n'; printf '\033[31mb' >&2; printf c")
    assert shared.output(name) == b"a\0\xff\r\nc"
    assert shared.output(name, "stderr") == b"\x1b[31mb"


def test_files_hold_the_bytes_as_written(shared: Program, name: str) -> None:
    run(shared, name, "/bin/sh", "-c", "echo out; echo err >&2")
    files = {path.name.partition(".")[0]: path.read_bytes() for path in log_files(shared, name)}
    assert files.keys() == {"out", "err", "idx"}
    assert (files["out"], files["err"]) == (b"out\n", b"err\n")


def test_job_that_writes_nothing_leaves_no_files(shared: Program, name: str) -> None:
    run(shared, name, "true")
    assert shared.output(name) == b""
    assert log_files(shared, name) == []


def test_job_that_lives_a_millisecond_keeps_its_output(shared: Program, name: str) -> None:
    for number in range(20):
        run(shared, name, "/bin/echo", str(number))
        assert shared.output(name) == f"{number}\n".encode()


def test_job_that_closes_its_stdout_runs_on(shared: Program, name: str) -> None:
    run(shared, name, "/bin/sh", "-c", "echo before; exec >&-; sleep 0.1; echo after >&2; exit 3", status=3)
    assert shared.output(name) == b"before\n"
    assert shared.output(name, "stderr") == b"after\n"


def test_job_that_exits_222_has_run(shared: Program, name: str) -> None:
    run(shared, name, "/bin/sh", "-c", "echo ran; exit 222", status=222)
    assert shared.output(name) == b"ran\n"
    assert shared.history(name)[0]["result"] == "exit-code"


def test_exit_is_recorded_although_a_grandchild_holds_the_output(shared: Program, name: str) -> None:
    script = "sleep 600 & echo $!; exit 4"
    done = shared.jobctl("run", "--wait", "--name", name, "--", "/bin/sh", "-c", script)
    assert done.returncode == 4
    pid = int(shared.output(name).split()[0])
    # The rest of the tree is stopped with the main process.
    until(lambda: not is_alive(pid), "the grandchild is gone")


def test_grandchild_of_a_process_mode_job_writes_on(shared: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"({gate.wait}; echo late) & echo early"
    options = ("-p", "stop.kill_mode=process", "--name", name)
    shared.jobctl("run", "--wait", *options, "--", "/bin/sh", "-c", script, check=True)
    assert shared.output(name) == b"early\n"
    gate.open("now")
    until(lambda: shared.output(name) == b"early\nlate\n", "the grandchild's line is kept")


def test_merged_output_is_one_stream_in_exact_order(shared: Program, name: str) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    options = ("-p", "logs.merge_output=true", "--name", name)
    shared.jobctl("run", "--wait", *options, "--", "/bin/sh", "-c", script, check=True)
    expected = "".join(f"out {i}\nerr {i}\n" for i in range(1, 10))
    assert shared.output(name).decode() == expected


def test_combined_view_changes_stream_only_after_a_newline(shared: Program, name: str) -> None:
    script = "printf begin; sleep 0.05; echo other >&2; sleep 0.05; echo ' end'"
    run(shared, name, "/bin/sh", "-c", script)
    text = shared.jobctl("logs", "-o", "cat", name, check=True).stdout
    assert sorted(text.splitlines()) == ["begin end", "other"]


def test_big_output_is_exact(shared: Program, name: str) -> None:
    run(shared, name, *PYTHON, BIG_WRITER, str(BIG_BYTES))
    expected = hashlib.sha256()
    for number in range(BIG_BYTES >> 20):
        expected.update(hashlib.shake_128(number.to_bytes(4, "big")).digest(4096) * 256)
    kept = hashlib.sha256()
    for path in log_files(shared, name):
        if path.name.startswith("out."):
            with path.open("rb") as f:
                while block := f.read(1 << 20):
                    kept.update(block)
    assert kept.hexdigest() == expected.hexdigest()
    reader = shared.start_jobctl("logs", "-o", "cat", name)
    assert reader.stdout is not None
    read = hashlib.sha256()
    while block := reader.stdout.read(1 << 20):
        read.update(block)
    assert reader.wait(DEADLINE_SEC) == 0
    reader.communicate()
    assert read.hexdigest() == expected.hexdigest()


def test_follow_gets_what_was_there_and_what_comes(shared: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f'echo first; {gate.wait}; echo "$line"; exit 2'
    shared.jobctl("run", "--name", name, "--", "/bin/sh", "-c", script, check=True)
    reader = shared.start_jobctl("logs", "-f", "-o", "cat", name)
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"first\n"
    gate.open("second")
    assert reader.stdout.readline() == b"second\n"
    assert reader.stdout.read() == b""
    assert reader.wait(DEADLINE_SEC) == 0
    reader.communicate()


def test_run_follow_shows_the_output_and_ends_with_the_status(shared: Program, name: str) -> None:
    done = shared.jobctl("run", "-f", "--name", name, "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 6")
    assert done.returncode == 6
    assert sorted(done.stdout.split()) == ["err", "out"]
    assert name in done.stderr


def test_result_holds_both_streams(shared: Program, name: str) -> None:
    run(shared, name, "/bin/sh", "-c", r"echo text; printf '\377' >&2; exit 1", status=1)
    result = json.loads(shared.jobctl("result", "-o", "json", name).stdout)
    assert (result["result"], result["exit_code"]) == ("exit-code", 1)
    assert result["stdout"] == "text\n"
    assert (result["stderr"], result["stderr_encoding"]) == ("/w==", "base64")


def test_last_lines_and_times(shared: Program, name: str) -> None:
    run(shared, name, "/bin/sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done")
    assert shared.output(name, "stdout", "-n", "2") == b"line 4\nline 5\n"
    assert shared.output(name, "stdout", "-S", "-1h") == b"".join(b"line %d\n" % i for i in range(1, 6))
    assert shared.output(name, "stdout", "-U", "-1h") == b""


def test_unread_follower_costs_the_daemon_no_memory(shared: Program, name: str) -> None:
    def rss() -> int:
        status = Path(f"/proc/{shared.daemon_pid()}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    run(shared, name, *PYTHON, BIG_WRITER, str(32 << 20))
    before = rss()
    readers = [shared.start_jobctl("logs", "-f", "-o", "cat", name) for _ in range(5)]
    for reader in readers:
        assert reader.stdout is not None
        assert len(reader.stdout.read(4096)) == 4096
    grown = rss() - before
    for reader in readers:
        reader.kill()
        reader.communicate()
    assert grown < 16 << 10, f"{grown} KiB for five readers that do not read"
