"""One jobd with callers of every kind connected to it, each with a job, and what an answer comes to."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.system.callers import CallerAs
from tests.system.matrix import ADMINS, CALLERS, OPERATORS, READERS, RULES, I
from tests.system.people import People, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@functools.cache
def why_no_namespace() -> str:
    """Why the daemon cannot have its own /etc/group; "" if it can."""
    if why := why_not():
        return why
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        return "no mount namespaces here"
    return ""


class Crowd:
    """One jobd with all the callers connected, each with a job `web` that has ended; alice has `live` besides."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.callers = {
            name: CallerAs(people.socket, uid, gid=gid, groups=groups) for name, (uid, gid, groups) in CALLERS.items()
        }
        self.newest: dict[str, bytes] = {}
        for name in self.callers:
            self.make_web(name)
        self.live = new_run_id()
        self.live_pid = 0
        self.run("owner", b"exec sleep 1000", "live", self.live)
        self.callers["owner"].body(m.QueueAdd(id=I, name="build"))

    def run(self, caller: str, script: bytes, name: str, run: bytes) -> m.Started:
        request = m.Run(id=I, run=run, argv=[script], env=[], cwd=b"/", shell=True, name=name)
        started = self.callers[caller].body(request)
        assert isinstance(started, m.Started)
        if run == self.__dict__.get("live"):
            self.live_pid = started.pid or 0
        return started

    def make_web(self, caller: str) -> None:
        """Have this one's `web` there, ended."""
        run = new_run_id()
        self.run(caller, b"echo secret", "web", run)
        self.settle(caller, run)
        self.newest[caller] = run

    def settle(self, caller: str, run: bytes) -> None:
        """Wait for the end of the run."""
        list(self.callers[caller].ask(m.Wait(id=I, runs=[run])))

    def seen_newest(self, caller: str) -> bytes:
        """Its newest run, settled, as its owner sees it."""
        owner = self.callers[caller]
        jobs = owner.body(m.Get(id=I, names=[f"{owner.uid}/web"]))
        assert isinstance(jobs, m.Jobs)
        run = jobs.jobs[0].run
        if run is None:
            self.make_web(caller)
            return self.newest[caller]
        self.settle(caller, run)
        self.newest[caller] = run
        return run

    def close(self) -> None:
        for caller in self.callers.values():
            caller.close()


@contextmanager
def matrix_crowd() -> Iterator[Crowd]:
    """A jobd whose daemon has an /etc/group of its own; ended without a trace."""
    root = Path(tempfile.mkdtemp(prefix="jobd-matrix-"))
    root.chmod(0o755)
    people = People(root, RULES)
    group = root / "group"
    shutil.copy("/etc/group", group)
    with group.open("a") as file:
        file.write(f"jobd-admin:x:{ADMINS}:\noperators:x:{OPERATORS}:\nreaders:x:{READERS}:\n")
    mount = 'mount --bind "$0" /etc/group && exec "$@"'
    made = None
    try:
        people.start(wrapper=["unshare", "-m", "sh", "-c", mount, str(group)])
        made = Crowd(people)
        yield made
    finally:
        if made is not None:
            made.close()
        people.close()
        shutil.rmtree(root)


def cell(answers: list[m.FromDaemon]) -> str:
    """What an answer comes to: + it was served, - denied, . there is no such job; else its code."""
    for answer in answers:
        body = answer.body if isinstance(answer, m.Reply | m.Item) else None
        code = answer.code if isinstance(answer, m.Fault) else body.code if isinstance(body, m.Done) else ""
        if code in (errors.DENIED, errors.NOT_FOUND):
            return "-" if code == errors.DENIED else "."
        if code and code != errors.NOT_APPLICABLE:  # it may, and the job is in no state for it
            return code
        rows = getattr(body, "jobs", getattr(body, "definitions", []))
        if any(row.load == "not-found" for row in rows):
            return "."
    return "+"
