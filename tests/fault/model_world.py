"""The real jobd as the subject of the model's machine: the blocking client, gates of the jobs, and kills."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

import trio

from jobd.client import JobdError, NotFound, StartFailed, Unavailable, connect, connect_blocking
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fault.model_machine import QueueSeen, Told
from tests.fault.model_program import command, file_text, plan_in, settings
from tests.fault.model_rows import GATE, Ending, Plan, Run, RunSeen, Seen
from tests.system.program import DEADLINE_SEC, POLL_SEC, Gate, Program, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

KILLS: Final = 3  # an example, at most
PATIENCE_SEC: Final = 30.0  # a wrong state may be one that is not right yet, on a busy machine


class World:
    """One jobd for many examples; each has names of its own."""

    def __init__(self, program: Program, *, keeper: bool) -> None:
        self.program = program
        self.files = program.config_dir / "jobs"
        self.files.mkdir(exist_ok=True)
        self.keeper = keeper  # may be killed: this kernel tells exits to others than the parent
        self.jobs = connect_blocking(str(program.socket))
        self.env = {"JOBD_TEST_MARK": program.mark, "PATH": "/usr/bin:/bin"}
        self.examples = 0
        self.acts = 0
        self.disturbed = 0
        self.kills_left = 0
        self.boots = False  # whether jobd may be shut down and started: once an example, as it takes as long
        self.prefix = ""
        self.gates: dict[str, Gate] = {}
        self.follower = Follower(str(program.socket))
        self.killer: threading.Thread | None = None

    # --- an example ---------------------------------------------------------------------------------------------
    def begin(self) -> None:
        self.examples += 1
        self.kills_left = KILLS
        self.boots = True
        self.prefix = f"e{self.examples}-"
        self.gates = {}

    def finish(self) -> None:
        """Nothing of the example stays; the jobs end however far things went."""
        self._undisturbed()
        for path in self.files.iterdir():
            path.unlink()
        self.jobs.daemon_reload()
        names = [view.job for view in self.jobs.list(f"{self.prefix}*", all=True)]
        if names:
            self.jobs.remove(*names, stop=True, purge=True)
        for view in self.jobs.queues(f"{self.prefix}*"):
            self.jobs.queue_remove(view.name)
        for gate in self.gates.values():
            gate.path.unlink()

    @property
    def kills(self) -> bool:
        """Whether a kill may come: each takes as long as a hundred acts."""
        return self.kills_left > 0

    @property
    def dying(self) -> bool:
        """Whether a kill is still to come: quick acts are done before it."""
        return self.killer is not None and self.killer.is_alive()

    def close(self) -> None:
        self.follower.end()
        self.jobs.close()

    def full(self, name: str) -> str:
        return self.prefix + name

    def short(self, name: str) -> str:
        return name.removeprefix(self.prefix)

    # --- acts ---------------------------------------------------------------------------------------------------
    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str:
        self.acts += 1
        queue = self.full(plan.queue) if plan.queue else None
        return self.code_of(
            lambda: self.jobs.run(
                self._command(name, plan.kind),
                name=self.full(name),
                run_id=run,
                env=self.env,
                settings=settings(plan),
                queue=queue,
                priority=plan.priority,
                hold=hold,
            )
        )

    def _command(self, name: str, kind: str) -> list[str]:
        path = self.program.root / self.full(name)
        if kind == GATE and name not in self.gates:
            self.gates[name] = Gate(path)
        return command(kind, path)

    def rerun(self, name: str, run: str) -> str:
        self.acts += 1
        return self.code_of(lambda: self.jobs.rerun(self.full(name), run_id=run))

    def code_of(self, act: Callable[[], object]) -> str:
        try:
            act()
        except StartFailed:
            return errors.FAILED
        except JobdError as e:
            return e.code
        return ""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        self.acts += 1
        full = self.full(name)
        if verb == "set_priority":
            return self.code_of(lambda: self.jobs.set_property(full, {"priority": str(how["priority"])})), ""
        try:
            done = getattr(self.jobs, verb)(full, **how)
        except JobdError as e:
            code, done = e.code, e.results
        else:
            code = ""
        run = next((each.run.hex() for each in done if each.run), "")
        if verb == "start" and code == errors.FAILED and not run:
            run = (self.jobs.get(full)[0].run or b"").hex()
        return code, run

    def queue_act(self, verb: str, name: str, slots: int | None) -> str:
        self.acts += 1
        full = self.full(name)
        if verb in ("add", "slots"):
            return self.code_of(lambda: getattr(self.jobs, f"queue_{verb}")(full, slots))
        return self.code_of(lambda: getattr(self.jobs, f"queue_{verb}")(full))

    # --- job files ----------------------------------------------------------------------------------------------
    def define(self, name: str, plan: Plan | None) -> None:
        words = self._command(name, plan.kind) if plan else []
        queue = self.full(plan.queue) if plan and plan.queue else ""
        (self.files / f"{self.full(name)}.toml").write_text(file_text(plan, words, self.env, queue))

    def undefine(self, name: str) -> None:
        (self.files / f"{self.full(name)}.toml").unlink()

    def daemon_reload(self) -> dict[str, str]:
        self.acts += 1
        found = self.jobs.daemon_reload().changes
        return {self.short(each.job): each.change for each in found if each.change != "unchanged"}

    def cat(self, name: str) -> str:
        found = self.jobs.definition(self.full(name))
        return plan_in(found.files[0].text) if found.files else ""

    # --- what the jobs do ---------------------------------------------------------------------------------------
    def tell_text(self, name: str, out: bytes, err: bytes) -> None:
        self.gates[name].open(f"printf '{octal(out)}'; printf '{octal(err)}' >&2")

    def tell_end(self, name: str, ending: Ending) -> None:
        self.gates[name].open(f"kill -{ending.signal} $$" if ending.signal else f"exit {ending.code}")

    # --- questions ----------------------------------------------------------------------------------------------
    def until(self, look: Callable[[], T], wanted: T) -> T:
        """What `look` gives, when it is what is wanted, or after a long time."""
        end = time.monotonic() + PATIENCE_SEC
        while (found := look()) != wanted and time.monotonic() < end:
            time.sleep(POLL_SEC)
        return found

    def until_seen(self, wanted: dict[str, Seen]) -> dict[str, Seen]:
        names = [self.full(name) for name in wanted]
        return self.until(lambda: {self.short(view.job): seen(view, self) for view in self.jobs.get(*names)}, wanted)

    def until_output(self, run: Run) -> tuple[bytes, bytes]:
        return self.until(lambda: self.output(run.job, run.id), (run.out, run.err))

    def output(self, name: str, run: str) -> tuple[bytes, bytes]:
        there = self.jobs.get(self.full(name))[0].load == "loaded"
        found = {"stdout": b"", "stderr": b""}
        for chunk in self.jobs.logs(self.full(name) if there else "", run=run):
            assert chunk.offset == len(found[chunk.stream]), "a gap in the logs"
            found[chunk.stream] += chunk.data
        return found["stdout"], found["stderr"]

    def listed(self) -> set[str]:
        return {self.short(view.job) for view in self.jobs.list(f"{self.prefix}*")}

    def queues(self) -> dict[str, QueueSeen]:
        found = {}
        for view in self.jobs.queues(f"{self.prefix}*"):
            runs = self.jobs.queue(view.name).runs
            waiting = [run for run in runs if run.state == "queued"]
            found[self.short(view.name)] = QueueSeen(
                view.slots,
                view.state,
                view.used,
                tuple(sorted(self._numbered(run) for run in runs if run.state != "queued")),
                tuple(self._numbered(run) for run in waiting),
            )
        return found

    def _numbered(self, run: m.RunView) -> str:
        return f"{self.short(run.job)}#{run.number}"

    def wait(self, runs: Sequence[str]) -> dict[str, RunSeen]:
        found = self.jobs.wait(runs=runs, timeout=DEADLINE_SEC)
        return {end.id: self._run_seen(end.view) for end in found}

    def history(self, name: str) -> list[RunSeen] | None:
        try:
            return [self._run_seen(view) for view in self.jobs.history(self.full(name))]
        except NotFound:
            return None

    def _run_seen(self, view: m.RunView) -> RunSeen:
        name = self.short(view.job)
        return RunSeen(view.run.hex(), name, view.number, view.state, view.result or "", view.exit_code, view.signal)

    def events(self) -> tuple[list[Told], list[Told]]:
        told = [self._told(each) for each in self.jobs.events(f"{self.prefix}*") if isinstance(each, m.Change)]
        last = max((each.seq for each in told), default=0)
        changes = self.follower.until(last, self.prefix)
        return [self._told(each) for each in changes], told

    def _told(self, each: m.Change) -> Told:
        return Told(
            seq=each.seq,
            kind=each.kind,
            job=self.short(each.job),
            run=(each.run or b"").hex(),
            number=each.number,
            active=each.active,
            sub=each.sub,
            state=each.state,
            result=each.result,
            code=each.exit_code,
            signal=each.signal,
        )

    # --- disturbance --------------------------------------------------------------------------------------------
    def disturb(self, how: str, after: float) -> None:
        self._undisturbed()
        self.disturbed += 1
        self.kills_left -= 1
        if how == "keeper" and self.keeper:
            self.program.kill_keeper()
        elif how == "reexec":
            before = self.program.daemon_pid()
            with contextlib.suppress(Unavailable):  # as documented, when its daemon has died over it
                self.jobs.daemon_reexec()
            # A keeper that is killed now would be killed together with its daemon, and that loses what runs.
            until(lambda: self.program.daemon_pid() != before, "the daemon is replaced")
        else:
            pid = self.program.daemon_pid()
            self.killer = threading.Thread(target=_kill, args=(pid, after))
            self.killer.start()
            if not after:
                self._undisturbed()

    def boot(self, newest: Mapping[str, str]) -> dict[str, str]:
        """Shut jobd down and start it; the runs that follow these, by their jobs."""
        self._undisturbed()
        self.boots = False
        self.disturbed += 1
        keeper = self.program.keeper_pid
        self.jobs.shutdown()
        until(lambda: not is_alive(keeper), "jobd ends")
        self.program.start()
        found: dict[str, str] = {}
        end = time.monotonic() + PATIENCE_SEC
        while newest.keys() != found.keys() and time.monotonic() < end:
            runs = {name: (self.jobs.get(self.full(name))[0].run or b"").hex() for name in newest}
            found = {name: run for name, run in runs.items() if run not in ("", newest[name])}
        return found

    def _undisturbed(self) -> None:
        """No kill is under way any more."""
        if self.killer is not None:
            self.killer.join()
            self.killer = None


def _kill(pid: int, after: float) -> None:
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Follower:
    """Reads all events as they come, over the death of any daemon: one for all examples.

    With the client of trio, as its reading can be ended; a thread that is left would be in the way of every test that
    comes after, the more so of one that forks.
    """

    def __init__(self, socket: str) -> None:
        self.changes: list[m.Change] = []
        self.error = ""
        self._socket = socket
        self._last = 0
        self._scope = trio.CancelScope()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._follow,), name="follower")
        self._thread.start()
        self._begun.wait(DEADLINE_SEC)

    def end(self) -> None:
        trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)
        self._thread.join()

    async def _follow(self) -> None:
        """Also when there is no jobd for a while, as between its end and its next start."""
        self._token = trio.lowlevel.current_trio_token()
        self._begun.set()
        with self._scope:
            while True:
                with contextlib.suppress(Unavailable):
                    await self._read()
                await trio.sleep(POLL_SEC)

    async def _read(self) -> None:
        try:
            async with connect(self._socket) as jobs:
                async for each in jobs.events(after=self._last, follow=True):
                    if isinstance(each, m.Change):
                        self._last = each.seq
                        self.changes.append(each)
                    elif each.before < each.after:  # else a purge took what it had not been told yet
                        self.error = f"the cursor {each.after} is not of this database, which begins at {each.before}"
        except Unavailable:
            raise
        except JobdError as e:
            self.error = repr(e)

    def until(self, last: int, prefix: str) -> list[m.Change]:
        """What it was told of jobs with this prefix, once it has got so far."""
        until(lambda: self.error or not last or (self.changes and self.changes[-1].seq >= last), "the follower is told")
        assert not self.error, self.error
        found, self.changes = self.changes, []
        return [each for each in found if each.job.startswith(prefix)]


def seen(view: m.JobView, world: World) -> Seen:
    return Seen(
        load=view.load,
        active=view.active,
        sub=view.sub,
        result=view.result,
        number=view.number,
        code=view.exit_code,
        signal=view.signal,
        queue=world.short(view.queue),
        held=view.held,
        frozen=view.frozen,
        enabled=view.enabled,
    )


def octal(data: bytes) -> str:
    """As printf(1) reads it."""
    return "".join(f"\\{byte:03o}" for byte in data)
