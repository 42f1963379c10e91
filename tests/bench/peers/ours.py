"""jobd, as the others: job files, commands, and what it says of itself afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.bench import measure
from tests.bench.peers.supervisor import Service, Supervisor, kill_some
from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

JOB = """command = {command}
restart = "always"
environment = {{ JOBD_TEST_MARK = "{mark}" }}
"""


class Jobd(Supervisor):
    title = "jobd"
    settings = 'restart = "always"'

    def __init__(self, root: Path, binary: Path) -> None:
        super().__init__(root, binary)
        self.program = Program(root / "jobd")
        self.mark, self.env = self.program.mark, self.program.env

    def open(self, services: Sequence[Service]) -> None:
        jobs = self.program.config_dir / "jobs"
        jobs.mkdir()
        for each in services:
            text = JOB.format(command=json.dumps(self.argv(each)), mark=self.mark)
            (jobs / f"{each.name}.toml").write_text(text)
        self.program.start()
        if up := [each.name for each in services if each.up]:
            self.run(measure.JOBCTL, "enable", *up)
            self.run(measure.JOBCTL, "start", *up, timeout=300)

    def command(self, verb: str, name: str) -> list[str]:
        return [measure.JOBCTL, verb, name]

    def log(self, name: str) -> bytes:
        return self.program.output(name, "stdout", "--run", "all")

    def log_folder(self, name: str) -> Path:
        return self.program.state_dir / "logs"

    def processes(self) -> list[int]:
        return [self.program.keeper_pid, self.program.daemon_pid()]

    def targets(self, names: Sequence[str]) -> dict[str, Callable[[], None]]:
        return {
            "its daemon": lambda: kill_some([self.program.daemon_pid()]),
            "its keeper": lambda: kill_some([self.program.keeper_pid]),
            "both": lambda: kill_some(self.processes()),
        }

    def revive(self) -> None:
        try:
            self.program.daemon_pid()
        except (ConnectionRefusedError, FileNotFoundError):
            self.program.start()

    def exit_told(self, name: str, pid: int) -> str:
        rows = self.program.history(name)
        if any(row.get("exit_code") == 7 for row in rows):
            return "history"
        return 'history: "lost"' if any(row.get("result") == "lost" for row in rows) else ""

    def version(self) -> str:
        return self.run(measure.JOBCTL, "--version").strip()

    def close(self) -> None:
        self.program.close()
