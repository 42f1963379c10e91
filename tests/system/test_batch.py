"""The batch of examples/batch, as README has it, in short: files converted by queued jobs, and the daemon killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.jobctl.terminals import Terminal
from tests.system.own import Own
from tests.system.program import BIN, DEADLINE_SEC, until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "batch"
README = EXAMPLES.parents[1] / "README.md"
FILES = 16  # of README's 300
SLOTS = 4
BROKEN = "in/station-008.csv"
WORK = "0.05"  # seconds for a file, of README's 0.2

pytestmark = pytest.mark.slow


class Batch(Own):
    """A user's own jobd, and a copy of the example in his home."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, env={"WORK": WORK, "PATH": os.pathsep.join((str(BIN), os.environ["PATH"]))})
        self.place = self.home / "batch"
        self.place.mkdir()
        for path in EXAMPLES.iterdir():
            copy = self.place / path.name
            copy.write_bytes(path.read_bytes())
            copy.chmod(path.stat().st_mode)

    def said(self, *args: str) -> str:
        return str(self.jobctl(*args, cwd=self.place, check=True).stdout)

    def shell(self, script: str) -> None:
        """What a person types, who has jobctl in his PATH and no socket to name."""
        env = {**self.env, "JOBD_SOCKET": str(self.socket)}
        subprocess.run(["sh", "-ec", script], cwd=self.place, env=env, check=True, timeout=DEADLINE_SEC)

    def rows(self, *args: str) -> list[dict[str, object]]:
        return list(json.loads(self.said(*args, "-o", "json")))


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    program = Batch(tmp_path_factory.mktemp("batch"))
    try:
        subprocess.run(["./make-files", str(FILES)], cwd=program.place, check=True)
        yield program
    finally:
        program.close()


def shown_in_readme(word: str) -> str:
    """The one command of README's batch with this in it, without its comment."""
    section = README.read_text().partition("## A batch\n")[2].partition("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("$ ") and word in line]
    return line.removeprefix("$ ").partition("  #")[0].strip()


def test_the_whole_of_it(batch: Batch) -> None:
    """In the order in which README tells it; each step needs the one before."""
    batch.said(*shown_in_readme("queue add").split()[1:])
    batch.said("queue", "pause", "convert")  # so that there is still something to be watched
    batch.shell(shown_in_readme("for f in"))
    files = sorted(f"in/{path.name}" for path in (batch.place / "in").iterdir())
    jobs = [f"csv2json-{number}" for number in range(1, FILES + 1)]
    broken = jobs[files.index(BROKEN)]
    shown = watched(batch)
    assert f"{broken}#1 has failed: exit-code, code=exited, status=65\r\n" in shown
    assert re.search(rf"{FILES} ended in \d+s, 1 failed\r\n$", shown)
    made = {path.name for path in (batch.place / "out").iterdir()}
    assert made == {Path(file).stem + ".json" for file in files if file != BROKEN}
    runs = sorted(batch.rows("history"), key=lambda row: str(row["started_at"]))
    assert sorted(str(row["job"]) for row in runs) == sorted(jobs)  # each once …
    assert all(abs(jobs.index(str(row["job"])) - at) < SLOTS for at, row in enumerate(runs))  # … and in order
    assert [row["job"] for row in runs if row["result"] != "success"] == [broken]
    look_back(batch, broken)
    again(batch, broken)
    every_night(batch)


def watched(batch: Batch) -> str:
    """What a person sees who waits for all of it, while the daemon is killed."""
    command = [*batch.command_line, "--user", *shown_in_readme("wait --queue").split()[1:]]
    terminal = Terminal(command, columns=80, **batch.env)  # type: ignore[arg-type]  # no names of its own are among them
    try:
        terminal.read(b"waiting for csv2json-1, csv2json-2, csv2json-3 \xe2\x80\xa6: ")
        batch.said("queue", "resume", "convert")
        until(lambda: any((batch.place / "out").glob("*.json")), "the first is converted")
        batch.kill_daemon()
        shown = terminal.end().decode()
        assert terminal.status == 65
        return shown
    finally:
        terminal.close()


def look_back(batch: Batch, broken: str) -> None:
    (stats,) = batch.rows(*shown_in_readme("--stats").split()[1:])
    assert (stats["job"], stats["runs"], stats["failed"]) == ("csv2json-*", FILES, 1)
    assert batch.said("logs", broken) == f"{BROKEN}:9: no number: n/a\n"
    assert broken in batch.said("list", "--failed")


def again(batch: Batch, broken: str) -> None:
    """The same command in the same directory, once the file is as it should be."""
    batch.shell(shown_in_readme("sed ").replace("150", "008"))
    batch.said("rerun", "--wait", broken)
    assert (batch.place / "out" / "station-008.json").exists()
    assert broken not in batch.said("list", "--failed")


def every_night(batch: Batch) -> None:
    batch.said(*shown_in_readme("nightly.toml").split()[1:])
    (timer,) = batch.rows(*shown_in_readme("list-timers").split()[1:])
    assert timer["job"] == "nightly"
    (batch.place / "in/station-900.csv").write_text("hour,celsius\n0,4\n")
    batch.said("start", "--wait", "nightly")
    assert json.loads((batch.place / "out/station-900.json").read_text()) == [{"hour": 0, "celsius": 4}]
