"""start, stop, kill, freeze and their like: acts on jobs. They end when it is done, and say what they wait for."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.connect import grant, needs_grant
from jobctl.exits import GOOD_RESULTS, INTERRUPTED, ConnectionLostError, UsageError
from jobd.core.ids import new_run_id
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import Jobs, KillWhom, NoBlock, OptionalJobs, Signal, StartWait


PARTS = ("all", "main", "control")  # of a job, as processes

SHOWN_FAILED = 5  # in a hint
STARTING = ("start", "restart", "reload", "enable")  # requests after which an instance of a template may run
DOING = {  # until jobd says more
    "start": "starting", "stop": "stopping", "restart": "restarting", "kill": "signaling", "freeze": "freezing",
    "thaw": "thawing", "reload": "reloading", "remove": "removing", "enable": "changing", "mask": "changing",
}  # fmt: skip


def start(client: Client, jobs: Jobs, *, no_block: NoBlock = False, wait: StartWait = False) -> int:
    """Start jobs: run the last submission of each again.

    Returns when each job is ready, or has failed to be. A job that runs already is left as it is.
    """
    if wait and no_block:
        raise UsageError("--wait and --no-block exclude each other")
    found = _startable(client, jobs)
    request = {"type": "start", "names": found, "runs": _ids(found), "no_block": no_block}
    if not wait:
        return act(client, request, "the job goes on")
    begun: list[bytes] = []
    status = act(client, request, "the job goes on", begun)
    return status or _until_ended(client, begun)


def _until_ended(client: Client, runs: list[bytes]) -> int:
    """Wait for runs; 1 if one of them has failed, as systemctl has it."""
    from jobctl.verb_wait import await_runs

    try:
        outcome = await_runs(client, {run: run for run in runs}, False, None)
    except KeyboardInterrupt:
        terminal.warn("interrupted; the job goes on")
        return INTERRUPTED
    outcome.status()  # says why where a run has none of its own
    return int(any(run.get("result") not in GOOD_RESULTS for run in outcome.runs))


def stop(client: Client, jobs: Jobs, *, no_block: NoBlock = False) -> int:
    """Stop jobs.

    Returns when no process of theirs is left. A job that is queued is canceled.
    """
    found = names.expand(client, jobs)
    return act(client, {"type": "stop", "names": found, "no_block": no_block}, "the stop goes on")


def restart(client: Client, jobs: Jobs, *, no_block: NoBlock = False) -> int:
    """Stop jobs, and start them again."""
    found = _startable(client, jobs)
    return act(
        client, {"type": "restart", "names": found, "runs": _ids(found), "no_block": no_block}, "the restart goes on"
    )


def try_restart(client: Client, jobs: Jobs, *, no_block: NoBlock = False) -> int:
    """Stop jobs that are active, and start them again. Others are left as they are."""
    found = names.expand(client, jobs)
    request = {"type": "restart", "names": found, "runs": _ids(found), "no_block": no_block, "running_only": True}
    return act(client, request, "the restart goes on")


def reload(client: Client, jobs: Jobs, *, no_block: NoBlock = False) -> int:
    """Have running jobs read their configuration again, by reload.signal or reload.command.

    Returns when they have, or could not.
    """
    found = names.expand(client, jobs)
    request = {"type": "reload", "names": found, "runs": _ids(found), "no_block": no_block}
    return act(client, request, "the reload goes on")


def reload_or_restart(client: Client, jobs: Jobs, *, no_block: NoBlock = False) -> int:
    """Reload jobs that have a way to, restart others that are active, and start the rest."""
    found = _startable(client, jobs)
    request = {"type": "reload", "names": found, "runs": _ids(found), "no_block": no_block, "or_restart": True}
    return act(client, request, "it goes on")


def kill(client: Client, jobs: Jobs, *, signal: Signal = "SIGTERM", kill_whom: KillWhom = "all") -> int:
    """Send a signal to the processes of jobs."""
    from jobctl.signals import signal_number

    if kill_whom not in PARTS:
        from jobctl.mistakes import unknown_word

        raise unknown_word("part of a job", kill_whom, PARTS)
    number = signal_number(signal)
    found = names.expand(client, jobs)
    once = new_run_id().hex()  # asked again under it, because an answer was lost, nobody is signaled twice
    request = {"type": "kill", "names": found, "signal": number, "whom": kill_whom, "once": once}
    return act(client, request, "the signal may have been sent")


def freeze(client: Client, jobs: Jobs) -> int:
    """Hold running jobs where they are.

    Returns when all of their processes are held. Time limits go on.
    """
    return act(client, {"type": "freeze", "names": names.expand(client, jobs)}, "the freeze goes on")


def thaw(client: Client, jobs: Jobs) -> int:
    """Let frozen jobs go on."""
    return act(client, {"type": "thaw", "names": names.expand(client, jobs)}, "the thaw goes on")


def reset_failed(client: Client, jobs: OptionalJobs = ()) -> int:
    """Make failed jobs inactive.

    Without a job: all of the caller's that have failed. A job that has not is left as it is.
    """
    found = names.expand(client, jobs)
    request: dict[str, object] = {"type": "reset-failed", "names": found}
    return (act if jobs else _ask)(client, request, "the reset goes on")


def _startable(client: Client, jobs: tuple[str, ...]) -> list[str]:
    """The jobs that are meant; by globs no templates, of which nothing can be started."""
    return [name for name in names.expand(client, jobs) if name in jobs or not name.endswith("@")]


def _ids(found: list[str]) -> list[bytes]:
    """A run id for each name. Made once: asked again under them, the daemon starts nothing twice."""
    return [new_run_id() for _ in found]


def act(client: Client, request: dict[str, object], goes_on: str, begun: list[bytes] | None = None) -> int:
    """Ask for an act on jobs, over as many connections as it takes; the status. Without a name nothing is asked.

    The runs that it is about are added to `begun`.
    """
    found, runs = request["names"], request.get("runs", [])
    assert isinstance(found, list)
    assert isinstance(runs, list)
    status = 0
    if request["type"] in STARTING:
        _let_start(client, found)
    for at in range(0, len(found), names.AT_ONCE):
        part = {"names": found[at : at + names.AT_ONCE], **({"runs": runs[at : at + names.AT_ONCE]} if runs else {})}
        this = _ask(client, {**request, **part}, goes_on, begun)
        status = status or this
        if this == INTERRUPTED:
            break
    return status


def _let_start(client: Client, found: list[str]) -> None:
    """Root says which instances of his templates may be root's, where the daemon is not: see jobd.wire.granting."""
    instances = [name for name in found if "@" in name[1:-1] and "/" not in name]
    if instances and needs_grant(client.connect()):
        grant(client.path, {"instances": instances})


def _ask(client: Client, request: dict[str, object], goes_on: str, begun: list[bytes] | None = None) -> int:
    try:
        while True:
            try:
                return _done(client, request, begun)
            except ConnectionLostError:
                client.reconnect(lasting=True)  # it lasts as long as the jobs take to start or to stop
    except KeyboardInterrupt:
        terminal.warn(f"interrupted; {goes_on}")
        return INTERRUPTED


def _done(client: Client, request: dict[str, object], begun: list[bytes] | None = None) -> int:
    """Ask, show progress, and answer the status: that of the first job with which it did not work."""
    act, jobs = request["type"], request["names"]
    assert isinstance(jobs, list)
    progress = terminal.Progress(client, f"{DOING.get(str(act), act)} {', '.join(jobs)}")
    status = done = 0
    failed: list[str] = []
    try:
        for body in client.stream(request):
            if body["type"] == "progress":
                progress.show(f"{done} of {len(jobs)} done; {body['text']}" if done else body["text"])
            elif body["type"] == "done":
                done += 1
                if not body.get("code"):
                    _warn(progress, body.get("text", ""))
                if begun is not None and body.get("run"):
                    begun.append(body["run"])
            if body["type"] == "done" and body.get("code"):
                progress.clear()
                text = body.get("text") or f"cannot {act} {body['job']}: {body['code']}"
                _refused(body["code"], text)
                status = status or errors.exit_status(body["code"], errors.ACTION)
                failed += [body["job"]] if body["code"] == errors.FAILED and body.get("run") else []
    finally:
        progress.end()
    if failed and terminal.is_terminal(terminal.STDERR):  # as systemctl; where no person reads, why is enough
        shown, program = " ".join(failed[:SHOWN_FAILED]), client.target.program
        terminal.note(f"Hint: {program} why {shown} and {program} logs {shown} say more.")
    return status


def _warn(progress: terminal.Progress, text: str) -> None:
    for line in text.splitlines():
        progress.clear()
        terminal.warn(line)


def _refused(code: str, text: str) -> None:
    from jobctl.mistakes import next_step

    terminal.complain(next_step(code, text))
