"""circus: one process for all, commands over ZeroMQ. From PyPI, in an environment of its own (`make peers`)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measure import CannotMeasureError
from tests.bench.peers.supervisor import Service, Supervisor, kill_some
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INSTALLED = Path(__file__).parents[3] / "build" / "peers" / "bin"  # by make peers
CONFIG = """[circus]
endpoint = ipc://{root}/endpoint
pubsub_endpoint = ipc://{root}/pubsub
stats_endpoint = ipc://{root}/stats
loglevel = INFO

[env]
JOBD_TEST_MARK = {mark}
"""
WATCHER = """
[watcher:{name}]
cmd = {command}
autostart = {up}
stdout_stream.class = FileStream
stdout_stream.filename = {root}/logs/{name}.out
"""


class Circus(Supervisor):
    title = "circus"
    settings = "FileStream for the output, which is discarded without; --waiting"

    def __init__(self, root: Path, binary: Path) -> None:
        found = shutil.which("circusd", path=f"{INSTALLED}{os.pathsep}{os.environ.get('PATH', '')}")
        if found is None:
            raise CannotMeasureError("not installed: circus (make peers)")
        super().__init__(root, binary)
        self._bin = Path(found).parent

    def open(self, services: Sequence[Service]) -> None:
        (self.root / "logs").mkdir()
        text = CONFIG.format(root=self.root, mark=self.mark) + "".join(
            WATCHER.format(root=self.root, name=each.name, command=" ".join(self.argv(each)), up=each.up)
            for each in services
        )
        (self.root / "circus.ini").write_text(text)
        self.revive()

    def revive(self) -> None:
        self.spawn(str(self._bin / "circusd"), str(self.root / "circus.ini"))
        until(lambda: "timed out" not in self._ctl("--timeout", "1", "status"), "circusd answers")

    def _ctl(self, *words: str) -> str:
        return self.run(str(self._bin / "circusctl"), "--endpoint", self._endpoint, *words, check=False)

    @property
    def _endpoint(self) -> str:
        return f"ipc://{self.root}/endpoint"

    def command(self, verb: str, name: str) -> list[str]:
        wait = [] if verb == "status" else ["--waiting"]
        return [str(self._bin / "circusctl"), "--timeout", "30", "--endpoint", self._endpoint, verb, name, *wait]

    def log_folder(self, name: str) -> Path:
        return self.root / "logs"

    def log(self, name: str) -> bytes:
        return (self.root / "logs" / f"{name}.out").read_bytes()

    def targets(self, names: Sequence[str]) -> dict[str, Callable[[], None]]:
        return {"circusd": lambda: kill_some([self.started[-1].pid])}

    def exit_told(self, name: str, pid: int) -> str:
        return ""  # an event for who listens at that moment

    def version(self) -> str:
        return "circus " + self.run(str(self._bin / "circusd"), "--version").strip()
