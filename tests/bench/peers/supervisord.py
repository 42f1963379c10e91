"""supervisord: one configuration file, one process for all, XML-RPC over a socket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.bench.peers.supervisor import Service, Supervisor, kill_some
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CONFIG = """[unix_http_server]
file={root}/sock
[supervisord]
logfile={root}/supervisord.log
pidfile={root}/pid
childlogdir={root}/logs
minfds={minfds}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{root}/sock
"""
PROGRAM = """[program:{name}]
command={command}
autostart={up}
"""
MINFDS = 1024  # the default
FDS_OF_A_SERVICE = 5


class Supervisord(Supervisor):
    title = "supervisord"
    needs = ("supervisord", "supervisorctl")
    settings = "minfds raised where the default of 1024 does not hold the services"

    def open(self, services: Sequence[Service]) -> None:
        (self.root / "logs").mkdir()
        minfds = max(MINFDS, 100 + FDS_OF_A_SERVICE * len(services))
        text = CONFIG.format(root=self.root, minfds=minfds) + "".join(
            PROGRAM.format(name=each.name, command=" ".join(self.argv(each)), up=str(each.up).lower())
            for each in services
        )
        self._config.write_text(text)
        self.revive()

    @property
    def _config(self) -> Path:
        return self.root / "supervisord.conf"

    def revive(self) -> None:
        self.spawn("supervisord", "-n", "-c", str(self._config))
        until(lambda: self._ctl("pid").strip().isdigit(), "supervisord answers")

    def _ctl(self, *words: str) -> str:
        return self.run("supervisorctl", "-c", str(self._config), *words, check=False)

    def command(self, verb: str, name: str) -> list[str]:
        return ["supervisorctl", "-c", str(self._config), verb, name]

    def log_folder(self, name: str) -> Path:
        return self.root / "logs"

    def log(self, name: str) -> bytes:
        files = [path for path in (self.root / "logs").iterdir() if path.name.startswith(f"{name}-stdout")]
        # The newest part has no number behind its name; .1 is the one before it.
        parts = sorted(files, key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 1)
        return b"".join(path.read_bytes() for path in parts)

    def targets(self, names: Sequence[str]) -> dict[str, Callable[[], None]]:
        return {"supervisord": lambda: kill_some([self.started[-1].pid])}

    def exit_told(self, name: str, pid: int) -> str:
        text = (self.root / "supervisord.log").read_text()
        spawned = f"'{name}' with pid {pid}"
        told = text.partition(spawned)[2]
        return "its log" if re.search(rf"exited: {name} \(exit status 7", told.partition("spawned:")[0]) else ""

    def version(self) -> str:
        return "supervisord " + self.run("supervisord", "--version").strip()
