"""What goes on during a soak: everything that jobd does, a little of it all the time.

Each actor is a thread that does one thing over and over. Nothing of it is bounded by how well jobd does: every command
has a time, every output a size, and what has ended is taken away by retention (`CONFIG`), so that all is level.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jobd.core.ids import new_run_id
from jobd.keeper.daemonproc import LINK_FD
from jobd.wire import messages as m
from tests.soak.samples import LOST
from tests.system.program import DEADLINE_SEC, Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CONFIG: Final = '[retention]\nkeep_runs = 10\nkeep_for = "20s"\n'
# The keeper's daemon, whose retention looks after 5 s and then every 10 s, not after a minute and every ten.
BRISK: Final = (
    "from jobd.runtime import upkeep; upkeep.FIRST_SEC, upkeep.EVERY_SEC = 5.0, 10.0; "
    "from jobd.daemon import main; main()"
)
MAX_ERRORS: Final = 100  # that are kept
SERVICES: Final[dict[str, str]] = {
    "steady": 'command = ["sleep", "100000"]\nhealth = { command = ["true"], interval = "1s" }\n',
    "crashes": 'command = ["sh", "-c", "sleep 1; exit 3"]\nrestart = "always"\nrestart_delay = "500ms"\n'
    'restart_max_delay = "1s"\nstart_limit = "infinity"\non_failure = ["told@%n"]\n',
    "told@": 'command = ["true"]\nstart_limit = "infinity"\n',
    "chatty": 'command = ["sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; echo e >&2; '
    'sleep 0.02; done"]\nlogs = { max_size = "16K", on_full = "drop" }\n',
    "needs": 'command = ["sh", "-c", "echo up; exec sleep 100000"]\nrequires = ["chatty"]\nafter = ["chatty"]\n'
    'ready = { log = "up" }\nreload = { signal = "SIGURG" }\n',
    "tick": 'command = ["sh", "-c", "echo tick"]\nschedule = "*:*:0/2"\n',
}
LOOKS: Final = (
    ("list", "-a"), ("status", "chatty"), ("history",), ("logs", "-n", "20", "chatty"), ("show", "steady"),
    ("list-timers",), ("queue",), ("why", "crashes"), ("history", "--stats"), ("list-dependencies", "needs"),
)  # fmt: skip
ACTS: Final = (
    ("restart", "needs"), ("reload", "needs"), ("stop", "needs"), ("start", "needs"), ("freeze", "steady"),
    ("thaw", "steady"), ("daemon-reload",), ("restart", "crashes"), ("kill", "-s", "KILL", "steady"),
    ("start", "steady"), ("set-property", "steady", "limits.nice=5"), ("reset-failed",),
)  # fmt: skip
FINE: Final = (0, 1, 3, 5)  # not running, not applicable just now: the services are acted upon by several


class Brisk(Program):
    """A jobd with little patience for what has ended."""

    daemon = (sys.executable, "-I", "-c", BRISK, str(LINK_FD))
    changes = f"from jobd.keeper import loop; loop.default_argv = lambda: {daemon!r}"

    def prepare(self) -> None:
        """Write the configuration and the services' files."""
        (self.config_dir / "jobd.toml").write_text(CONFIG)
        jobs: Path = self.config_dir / "jobs"
        jobs.mkdir()
        for name, text in SERVICES.items():
            (jobs / f"{name}.toml").write_text(f'{text}environment = {{ JOBD_TEST_MARK = "{self.mark}" }}\n')


class Actor(threading.Thread):
    """Does `step` until it is told to end, `pause` seconds apart on an average."""

    def __init__(self, load: Load, step: Callable[[random.Random], None], pause: float) -> None:
        super().__init__(name=step.__name__, daemon=True)
        self._load, self._step, self._pause = load, step, pause

    def run(self) -> None:
        dice = random.Random(f"{self._load.seed} {self.name}")
        while not self._load.over.wait(dice.uniform(0, 2 * self._pause)):
            try:
                self._step(dice)
                self._load.done[self.name] += 1
            except LOST:
                continue  # the daemon was killed: the next one is asked in a moment
            except Exception as error:
                self._load.fail(f"{self.name}: {error!r}")


class Load:
    """All actors."""

    def __init__(self, program: Program, seed: int) -> None:
        self.program, self.seed = program, seed
        self.over = threading.Event()
        self.errors: list[str] = []
        self.kills = 0
        self.kills_until = 0.0  # of time.monotonic
        steps = (
            (self.runs, 0.1), (self.queued, 1.0), (self.arrays, 3.0), (self.looks, 0.3), (self.acts, 0.7),
            (self.follows, 1.0), (self.waits, 1.0), (self.feeds, 2.0), (self.terminals, 2.0), (self.removes, 2.0),
            (self.connects, 0.2), (self.kills_daemons, 7.0),
        )  # fmt: skip
        self.actors = [Actor(self, step, pause) for step, pause in steps]
        self.done = dict.fromkeys((actor.name for actor in self.actors), 0)

    def start(self) -> None:
        self.jobctl("queue", "add", "soak", "slots=3")
        self.jobctl("start", "steady", "crashes", "needs")
        self.jobctl("enable", "tick")
        for actor in self.actors:
            actor.start()

    def stop(self) -> None:
        self.over.set()
        for actor in self.actors:
            actor.join(2 * DEADLINE_SEC)
            assert not actor.is_alive(), f"{actor.name} does not end"

    def never_done(self) -> list[str]:
        """What has not come about once: a soak without it says nothing of it."""
        return [f"{name}: never done" for name, count in self.done.items() if not count]

    def fail(self, text: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(text)

    def jobctl(self, *words: str, fine: Sequence[int] = (0,)) -> None:
        done = self.program.jobctl(*words)
        if done.returncode not in fine:
            self.fail(f"{' '.join(words)}: {done.returncode}: {done.stderr[:300]}")

    def submit(self, raw: Raw, script: str, **fields: object) -> bytes:
        """Submit a shell's script; the run's id."""
        run = new_run_id()
        env = [b"PATH=/usr/bin:/bin", b"JOBD_TEST_MARK=" + self.program.mark.encode()]
        request = m.Run(
            id=raw.next_id(), run=run, argv=[b"/bin/sh", b"-c", script.encode()], env=env, cwd=b"/", **fields  # type: ignore[arg-type]  # the callers' own
        )  # fmt: skip
        answer = raw.ask(request)
        assert isinstance(answer, m.Reply), answer
        return run

    # --- what is done ---------------------------------------------------------------------------------------------
    def runs(self, dice: random.Random) -> None:
        """A job that writes a little and ends somehow."""
        with Raw(self.program.socket) as raw:
            size = dice.choice((0, 1, 100, 4000, 20_000))  # few: the daemon keeps 4,096 definitions that it has seen
            self.submit(raw, f"head -c {size} /dev/zero; echo e >&2; exit {dice.choice((0, 0, 1))}")

    def queued(self, dice: random.Random) -> None:
        """A few in a queue, one of them held, another behind it; sometimes they are canceled."""
        with Raw(self.program.socket) as raw:
            settings = {"queue": "soak", "priority": str(dice.randrange(3))}
            name = f"held-{dice.randrange(10**9)}"
            held = self.submit(raw, "true", name=name, hold=True, exec_wait=False, settings=settings)
            runs = [self.submit(raw, "sleep 0.1", exec_wait=False, settings=settings) for _ in range(5)]
            runs.append(self.submit(raw, "true", exec_wait=False, after=[f"{name}:any"]))
            list(raw.items(m.Release(id=raw.next_id(), names=[name])))
            if dice.random() < 0.2:
                list(raw.items(m.CancelQueued(id=raw.next_id(), names=[name])))
            raw.wait(held, *runs)

    def arrays(self, dice: random.Random) -> None:
        """An array, waited for."""
        name = f"array-{dice.randrange(10**9)}"
        self.jobctl("run", "--name", name, "--array", "0-7%3", "--", "true")
        self.jobctl("wait", name)

    def looks(self, dice: random.Random) -> None:
        """What a person looks at."""
        self.jobctl(*dice.choice(LOOKS), fine=FINE)

    def acts(self, dice: random.Random) -> None:
        """What a person does to services."""
        self.jobctl(*dice.choice(ACTS), fine=FINE)

    def follows(self, dice: random.Random) -> None:
        """A reader of what is written, or happens, who goes away in the middle."""
        words = dice.choice((("logs", "-f", "chatty"), ("events", "-f"), ("logs", "-f", "crashes")))
        self._for_a_while(dice, *words)

    def waits(self, dice: random.Random) -> None:
        """Somebody waits for what does not end, and gives up."""
        self._for_a_while(dice, "wait", "steady")

    def _for_a_while(self, dice: random.Random, *words: str) -> None:
        client = subprocess.Popen(
            self.program.jobctl_command(*words), env=self.program.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.over.wait(dice.uniform(0.1, 5))
        client.send_signal(dice.choice((signal.SIGKILL, signal.SIGINT)))
        client.wait(DEADLINE_SEC)

    def feeds(self, dice: random.Random) -> None:
        """A job in a pipeline."""
        data = dice.randbytes(dice.randrange(1 << 18))
        done = subprocess.run(
            self.program.jobctl_command("run", "-P", "--", "cat"), env=self.program.env, input=data,
            capture_output=True, timeout=2 * DEADLINE_SEC, check=False,
        )  # fmt: skip
        if done.returncode or done.stdout != data:
            self.fail(f"run -P: {done.returncode}, {len(done.stdout)} of {len(data)} bytes: {done.stderr[:300]!r}")

    def terminals(self, dice: random.Random) -> None:
        """A job with a terminal, to which nobody is attached."""
        with Raw(self.program.socket) as raw:
            raw.wait(self.submit(raw, f"echo on a terminal; exit {dice.randrange(2)}", stdin="pty"))

    def removes(self, dice: random.Random) -> None:
        """A job that is taken away with all it has left."""
        name = f"gone-{dice.randrange(10**9)}"
        self.jobctl("run", "--name", name, "--", "sleep", "100000")
        self.jobctl("rm", "--now", "--purge", name)

    def connects(self, dice: random.Random) -> None:
        """Clients that go away at once, in the middle of a word, or while they wait for an answer."""
        with Raw(self.program.socket, hello=dice.random() < 0.7) as raw:
            word = dice.randrange(3)
            if word == 1:
                raw.sock.sendall(b"\0\0\0\x40half")
            elif word == 2:
                raw.send(m.Logs(id=1, jobs=["chatty"], follow=True))

    def kills_daemons(self, _: random.Random) -> None:
        """kill -9, in the first part of a soak."""
        if time.monotonic() < self.kills_until:
            with suppress(ProcessLookupError):
                os.kill(self.program.daemon_pid(), signal.SIGKILL)
                self.kills += 1
