"""Makes a state directory as a crash leaves it, by jobd's own programs: `python -m tests.store.data.keep`.

Run it once for each new version of the schema, before that is released, and commit the file; never make an old one
again. tests/system/test_old_state.py starts the present jobd on each of them. (state-vN.db beside them have rows that
no jobd has written.) For an older version it was run in a checkout of that.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from jobd.store.schema import VERSION
from tests.system.program import Program, is_alive, until

HERE: Final = Path(__file__).parent
NOT_KEPT: Final = ("ballast", "lock", "state.db-wal", "state.db-shm", "relay", "settings.last", "boot.done")
# Limits that every machine grants: those of the submitting shell are kept with its jobs.
LIMITS: Final = {"NOFILE": 256, "NPROC": 1000, "MEMLOCK": 0, "MSGQUEUE": 0, "SIGPENDING": 100, "CORE": 0}
SLEEP: Final = "exec sleep 600"
FILES: Final = {
    "web": 'description = "a service"\ncommand = ["sleep", "600"]\nrestart = "always"\n',
    "once": 'command = ["/bin/sh", "-c", "echo once"]\ntype = "oneshot"\nremain_after_exit = true\n',
    "nightly": 'command = ["/bin/sh", "-c", "echo nightly"]\nschedule = "2099-01-01 03:00"\n',
}


def submit(program: Program, name: str, script: str, *options: str, wait: bool = False) -> None:
    words = ("run", "--env", "none", "-C", "/", "--name", name, *options, "--", "/bin/sh", "-c", script)
    program.jobctl(*words, check=True)
    if wait:
        program.jobctl("wait", name)


def fill_v1(program: Program) -> list[str]:
    """Jobs in every way to end, and one that runs; the names of those that run."""
    submit(program, "ok", "echo out; echo err >&2; printf 'no end'", wait=True)
    submit(program, "bad", "echo bad; exit 3", wait=True)
    submit(program, "killed", "echo before; kill -9 $$", wait=True)
    submit(program, "stopped", f"echo begun; {SLEEP}")
    until(lambda: program.output("stopped") == b"begun\n", "it has begun")
    program.jobctl("stop", "stopped", check=True)
    submit(program, "again", "echo 1", wait=True)
    submit(program, "again", "echo 2; exit 2", wait=True)
    program.jobctl("run", "--env", "none", "-C", "/", "--name", "missing", "--", "/nonexistent/program")
    submit(program, "busy", f"echo busy; {SLEEP}")
    until(lambda: program.output("busy") == b"busy\n", "it has begun")
    return ["busy"]


def fill_v2(program: Program) -> list[str]:
    """Services: one that is enabled, one that remains after its exit, one between two runs; a masked name."""
    program.jobctl("enable", "web", check=True)
    program.jobctl("start", "web", "once", check=True)
    program.jobctl("mask", "never", check=True)
    submit(program, "retry", "echo try; exit 4", "-p", "restart=on-failure", "-p", "restart_delay=1h")
    until(lambda: program.show("retry", "SubState") == "auto-restart", "it waits for its next run")
    return ["web"]


def fill_v3(program: Program) -> list[str]:
    """What waits: in a queue, held, for its time, for another run, in line; an array; queues; a schedule."""
    program.jobctl("enable", "nightly", check=True)
    for words in (("add", "build", "slots=1"), ("add", "idle", "slots=7"), ("pause", "idle")):
        program.jobctl("queue", *words, check=True)
    submit(program, "head", SLEEP, "--queue", "build")
    submit(program, "low", "echo low", "--queue", "build")
    submit(program, "high", "echo high", "--queue", "build", "--priority", "5")
    submit(program, "held", "echo held", "--queue", "build", "--hold")
    submit(program, "many", "echo %i", "--array", "1-3%1", "--queue", "build")
    submit(program, "later", "echo later", "--in", "8760h")
    submit(program, "then", "echo then", "--after", "low")
    submit(program, "line", SLEEP)
    submit(program, "line", "echo line", "--singleton")
    return ["head", "line"]


def crash(program: Program, live: list[str]) -> None:
    """End keeper, daemon and jobs at once, and fold the log of the database into it."""
    daemon = program.daemon_pid()
    pids = [daemon, *(int(program.show(name, "MainPID")) for name in live)]
    for pid in (daemon, program.keeper.pid):
        os.kill(pid, signal.SIGSTOP)  # so that nobody sees the others end
    for pid in (program.keeper.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    program.keeper.wait()
    until(lambda: not any(map(is_alive, pids)), "all have ended")
    db = sqlite3.connect(program.state_dir / "state.db")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def main() -> None:
    """Write kept-vN.tar.xz."""
    target = HERE / f"kept-v{VERSION}.tar.xz"
    if target.exists():
        raise SystemExit(f"cannot make {target}: it is there")
    for name, value in LIMITS.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    root = Path(tempfile.mkdtemp(prefix="kept-"))
    program = Program(root)
    jobs = program.config_dir / "jobs"
    jobs.mkdir()
    for name, text in FILES.items() if VERSION > 1 else ():
        if VERSION > 2 or name != "nightly":
            (jobs / f"{name}.toml").write_text(text)
    program.start()
    live = []
    for fill in (fill_v1, fill_v2, fill_v3)[:VERSION]:
        live += fill(program)
    crash(program, live)
    kept = [path for path in root.glob("*/**/*") if path.is_file() and path.name not in NOT_KEPT]
    with tarfile.open(target, "w:xz") as archive:
        for path in sorted(kept):
            archive.add(path, str(path.relative_to(root)), filter=without_owner)
    for group in program.cgroups():
        for path in [*group.rglob("*/"), group]:
            with suppress(OSError):
                path.rmdir()
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
