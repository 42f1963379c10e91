"""s6 and runit: a directory for each service, a supervising process for each, and a logger beside it."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import TYPE_CHECKING, ClassVar

from tests.bench.peers.supervisor import Service, Supervisor, kill_some
from tests.system.program import marked_processes, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class _Folders(Supervisor):
    """What both do alike: DIR/run and DIR/log/run, and DIR/down for what does not start by itself."""

    logger: ClassVar[str]
    one: ClassVar[str]  # the process that supervises one service
    all: ClassVar[str]  # the process that sees to those

    @property
    def scanned(self) -> Path:
        return self.root / "services"

    def open(self, services: Sequence[Service]) -> None:
        self.scanned.mkdir()
        for each in services:
            folder = self.scanned / each.name
            (folder / "log").mkdir(parents=True)
            self._script(folder / "run", " ".join(self.argv(each)))
            logs = self.log_folder(each.name)
            logs.mkdir(parents=True)
            self._script(folder / "log" / "run", f"{self.logger} {logs}")
            if not each.up:
                (folder / "down").touch()
            self.set_up(folder)
        self.revive()
        for each in services:
            until(lambda name=each.name: self.supervised(self.scanned / name), f"{self.title} has {each.name}")  # type: ignore[misc]

    def _script(self, path: Path, command: str) -> None:
        path.write_text(f"#!/bin/sh\nexec {command}\n")
        path.chmod(0o755)

    def set_up(self, folder: Path) -> None:
        """What else a service's directory has."""

    def supervised(self, folder: Path) -> bool:
        """Whether commands for a service are taken."""
        raise NotImplementedError

    def log_folder(self, name: str) -> Path:
        return self.root / "logs" / name

    def log(self, name: str) -> bytes:
        folder = self.log_folder(name)
        old = sorted(path for path in folder.iterdir() if path.name.startswith("@"))
        current = folder / "current"
        return b"".join(path.read_bytes() for path in [*old, *([current] if current.exists() else [])])

    def targets(self, names: Sequence[str]) -> dict[str, Callable[[], None]]:
        return {
            self.one: lambda: kill_some(pid for name in names for pid in self._supervising(name)),
            self.all: lambda: kill_some(self.named(self.all)),
        }

    def _supervising(self, name: str) -> list[int]:
        """The process whose last word is the service's directory."""
        commands = ((pid, line.split()) for pid, line in marked_processes(self.mark).items())
        return [pid for pid, words in commands if words[0] == self.one and words[-1].rstrip("/").endswith(name)]


class S6(_Folders):
    title = "s6"
    needs = ("s6-svscan", "s6-svc", "s6-svstat", "s6-log", "s6-svdt")
    logger, one, all = "s6-log", "s6-supervise", "s6-svscan"
    settings = "s6-log for each service; s6-svscan -c raised where its default of 500 does not hold the services; -w"

    def revive(self) -> None:
        if not self.named("s6-svscan"):
            self.spawn("s6-svscan", "-c", "4000", str(self.scanned))
        until(lambda: self.named("s6-svscan"), "s6-svscan is there")

    def supervised(self, folder: Path) -> bool:
        return subprocess.run(["s6-svok", str(folder)], check=False).returncode == 0

    def command(self, verb: str, name: str) -> list[str]:
        folder = str(self.scanned / name)
        if verb == "status":
            return ["s6-svstat", folder]
        return ["s6-svc", *{"start": ("-wu", "-u"), "stop": ("-wD", "-d"), "restart": ("-wr", "-r")}[verb], folder]

    def exit_told(self, name: str, pid: int) -> str:
        return "s6-svdt" if re.search(r"exitcode 7\b", self.run("s6-svdt", str(self.scanned / name))) else ""

    def version(self) -> str:
        return f"s6 {_debian('s6')}"


class Runit(_Folders):
    title = "runit"
    needs = ("runsvdir", "sv", "svlogd")
    polite = signal.SIGHUP
    logger, one, all = "svlogd", "runsv", "runsvdir"
    settings = "svlogd for each service"

    def set_up(self, folder: Path) -> None:
        self._script(folder / "finish", f'sh -c \'echo "$0 $1" >> {self.root}/finished\' "$1" "$2"')

    def revive(self) -> None:
        if not self.named("runsvdir"):
            self.spawn("runsvdir", "-P", str(self.scanned))
        until(lambda: self.named("runsvdir"), "runsvdir is there")

    def supervised(self, folder: Path) -> bool:
        return subprocess.run(["sv", "status", str(folder)], check=False, capture_output=True).returncode == 0

    def command(self, verb: str, name: str) -> list[str]:
        return ["sv", verb, str(self.scanned / name)]

    def exit_told(self, name: str, pid: int) -> str:
        finished = self.root / "finished"
        return "its finish script" if finished.exists() and "7 " in finished.read_text() else ""

    def version(self) -> str:
        return f"runit {_debian('runit')}"


def _debian(package: str) -> str:
    """Its version, where Debian's package manager knows it; the programs have no option for that."""
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
