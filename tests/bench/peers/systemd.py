"""systemd as PID 1 of a machine of its own, with journald; commands are timed inside by a helper there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import measure
from tests.bench.measure import CannotMeasureError
from tests.bench.peers.supervisor import Service, Supervisor, _comm, kill_some
from tests.system.container import Container, Unable, missing
from tests.system.machine import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNIT = """[Service]
ExecStart={command}
Restart=always
"""
BINARY = "/usr/local/bin/peers-service"
STAMP = "/usr/local/bin/peers-stamp"
PLACE = "/run/peers"  # of the stamps, a tmpfs
JOURNALS = ("/run/log/journal", "/var/log/journal")


class Systemd(Supervisor):
    title = "systemd"
    settings = "Restart=always; PID 1 and journald of a machine of its own"

    def __init__(self, root: Path, binary: Path) -> None:
        if why := missing():
            raise CannotMeasureError(why)
        super().__init__(root, binary)
        stage = root / "stage"
        (stage / BINARY[1:]).parent.mkdir(parents=True)
        shutil.copy(binary, stage / BINARY[1:])
        shutil.copy(binary.with_name("stamp"), stage / STAMP[1:])
        try:
            self._machine = Container(stage, ROOT)
        except Unable as e:
            raise CannotMeasureError(str(e)) from e
        self.stamps_folder = self._machine.path(PLACE)
        self.stamps_folder.mkdir()
        self.proc = self._machine.path("/proc")
        self._agent = subprocess.Popen(
            self._machine.command(measure.PYTHON, "-I", str(Path(__file__).with_name("agent.py"))),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.timed(["true"])

    def open(self, services: Sequence[Service]) -> None:
        for each in services:
            self._machine.path(f"/run/systemd/system/{each.name}.service").write_text(
                UNIT.format(command=" ".join([BINARY, *self.argv(each)[1:]]))
            )
        self.run("systemctl", "daemon-reload")
        if up := [each.name for each in services if each.up]:
            self.run("systemctl", "start", *up, timeout=300)

    def inside(self, path: Path) -> str:
        return f"{PLACE}/{path.name}"

    def stamp_command(self, file: Path) -> str:
        return f"{STAMP} {self.inside(file)}"

    def run(self, *words: str, check: bool = True, timeout: float = 60.0) -> str:
        return self._machine.run(*words, check=check, timeout=timeout).stdout

    def timed(self, words: list[str]) -> float:
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write(json.dumps(words) + "\n")
        self._agent.stdin.flush()
        answer = json.loads(self._agent.stdout.readline())
        assert isinstance(answer, float), answer
        return answer

    def command(self, verb: str, name: str) -> list[str]:
        return ["systemctl", verb, name]

    def kill_service(self, pid: int) -> None:
        self.run("kill", "-KILL", str(pid))

    def log(self, name: str) -> bytes:
        self.run("journalctl", "--sync")
        words = self._machine.command("journalctl", "-o", "cat", "_COMM=peers-service", "-u", name)
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=300).stdout

    def log_folder(self, name: str) -> Path:
        return next(path for path in map(self._machine.path, JOURNALS) if path.exists())

    def processes(self) -> list[int]:
        """PID 1 and journald, which take care of services and output."""
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text().split()
        return [self._machine.pid, *(pid for pid in map(int, children) if _comm(pid) == "systemd-journal")]

    def targets(self, names: Sequence[str]) -> dict[str, Callable[[], None]]:
        return {
            "systemd-journald": lambda: kill_some(self.processes()[1:]),
            "PID 1, from within": lambda: self.kill_service(1),
        }

    def revive(self) -> None:
        """PID 1 starts journald again by itself."""

    def exit_told(self, name: str, pid: int) -> str:
        told = self.run("journalctl", "-o", "cat", "-u", name)
        return "the journal" if "code=exited, status=7" in told else ""

    def version(self) -> str:
        return self.run("systemctl", "--version").splitlines()[0]

    def close(self) -> None:
        assert self._agent.stdin is not None
        self._agent.stdin.close()
        self._agent.wait()
        assert self._agent.stdout is not None
        self._agent.stdout.close()
        self._machine.close()
