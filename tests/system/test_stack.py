"""The stack of examples/stack, as README's second example has it: a store, a worker that needs it, a web server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.own import Own
from tests.system.program import is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "stack"
PROGRAMS = ("redis-server", "redis-cli", "/usr/sbin/nginx")
PATH = "/usr/local/bin:/usr/bin:/bin"  # what a user has whose shell has set nothing
MISSING = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Stack(Own):
    """A user's own jobd, and a copy of the example in his home with ports that nobody has."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, env={"PATH": PATH})
        self.store_port, self.web_port = str(free_port()), str(free_port())
        self.place = self.home / "stack"
        self.place.mkdir()
        for path in EXAMPLES.iterdir():
            text = path.read_text().replace("7379", self.store_port).replace("7380", self.web_port)
            (self.place / path.name).write_text(text)

    def said(self, *args: str) -> str:
        return str(self.jobctl(*args, check=True).stdout)

    def redis(self, *args: str) -> str:
        command = ["redis-cli", "-e", "-p", self.store_port, *args]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout.strip()

    def fetch(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/", timeout=10) as answer:
            return str(answer.read().decode())

    def states(self, *jobs: str) -> list[str]:
        return self.jobctl("is-active", *jobs).stdout.split()

    def main_pid(self, job: str) -> int:
        return int(self.show(job, "MainPID"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    program = Stack(tmp_path_factory.mktemp("stack"))
    try:
        files = sorted(str(path) for path in program.place.glob("*.toml"))
        program.jobctl("add", *files, check=True)
        program.jobctl("start", "front", check=True)
        yield program
    finally:
        program.close()


def test_the_front_end_brings_all_that_it_needs_in_order(stack: Stack) -> None:
    assert stack.fetch() == "front\n"
    assert stack.states("store", "worker", "front") == ["active"] * 3
    ready = {job: int(stack.show(job, "ActiveEnterTimestampMonotonic") or 0) for job in ("store", "worker", "front")}
    assert ready == dict(sorted(ready.items(), key=lambda item: item[1])) or not any(ready.values())
    tree = stack.said("list-dependencies", "--plain", "front")
    assert re.findall(r"\w+", tree) == ["front", "worker", "store"]


def test_work_goes_on_though_the_daemon_is_killed(stack: Stack) -> None:
    pids = {job: stack.main_pid(job) for job in ("store", "worker", "front")}
    done = int(stack.redis("get", "done") or 0)
    stack.redis("lpush", "work", "one")
    stack.kill_daemon()
    stack.redis("lpush", "work", "two")
    until(lambda: int(stack.redis("get", "done") or 0) == done + 2, "the worker has done both")
    assert {job: stack.main_pid(job) for job in pids} == pids
    assert stack.output("worker").splitlines()[-2:] == [b"did one", b"did two"]


def test_a_store_that_dies_comes_back_and_takes_its_worker_along(stack: Stack) -> None:
    before = {job: stack.main_pid(job) for job in ("store", "worker")}
    os.kill(before["store"], signal.SIGKILL)
    until(lambda: all(stack.main_pid(job) not in (0, pid) for job, pid in before.items()), "both are new")
    until(lambda: stack.states("store", "worker") == ["active"] * 2, "both are active again")
    stack.redis("lpush", "work", "three")
    until(lambda: stack.redis("get", "done") == "1", "the new worker takes from the new store")
    assert stack.show("store", "NRestarts") == "1"


def test_the_front_end_reloads(stack: Stack) -> None:
    if stack.jobctl("is-active", "-q", "front").returncode:
        stack.jobctl("start", "front", check=True)
    pid = stack.main_pid("front")
    config = stack.place / "nginx.conf"
    config.write_text(config.read_text().replace('"front\\n"', '"changed\\n"'))
    stack.jobctl("reload", "front", check=True)
    until(lambda: stack.fetch() == "changed\n", "nginx has read its configuration again")
    assert stack.main_pid("front") == pid


def test_a_front_end_that_cannot_start_is_told_and_somebody_is(stack: Stack) -> None:
    stack.jobctl("stop", "front", check=True)
    config = stack.place / "nginx.conf"
    good = config.read_text()
    config.write_text(good.replace("listen", "lisen"))
    try:
        failed = stack.jobctl("start", "front")
        assert failed.returncode == 1
        assert "front" in failed.stderr
        until(lambda: "alert@front" in stack.said("history", "-o", "json"), "the hook ran")
        stack.jobctl("wait", "alert@front", check=True)
        assert (
            stack.output("alert@front") == b"front: start-limit-hit (exited, 1)\n"
        )  # restart = on-failure, five times
    finally:
        config.write_text(good)
        stack.jobctl("start", "front", check=True)


def test_stopping_the_store_stops_all(stack: Stack) -> None:
    pids = [stack.main_pid(job) for job in ("store", "worker", "front")]
    stack.jobctl("stop", "store", check=True)
    assert not any(map(is_alive, pids))
    assert stack.states("store", "worker", "front") == ["inactive"] * 3


def test_readme_shows_lines_of_these_files() -> None:
    readme = (EXAMPLES.parents[1] / "README.md").read_text()
    shown = re.search(r"^## Services\n.*?```toml\n(.*?)```", readme, re.MULTILINE | re.DOTALL)
    assert shown
    for part in re.split(r"^# (?=\w+\.toml\n)", shown[1], flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        kept = (EXAMPLES / name).read_text()
        for line in text.splitlines():
            assert line.partition("  #")[0].rstrip() in kept, (name, line)
