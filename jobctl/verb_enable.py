"""enable, disable, mask, unmask: whether jobs start with jobd, and whether they start at all; is-enabled tells."""

from __future__ import annotations

from jobctl import logout, names, terminal
from jobctl.escape import escape
from jobctl.exits import UsageError
from jobctl.verb_act import act, start, stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import Jobs, JsonOutput, NoBlockNow, Patterns, Quiet, StartNow, StopNow

GOES_ON = "the change may have been made"
NOT_ENABLED, NO_SUCH_JOB = 1, 4  # systemctl is-enabled
ENABLED = ("enabled", "static", "transient")  # the words with which it exits with 0, as far as jobs have them


def enable(client: Client, jobs: Jobs, *, now: StartNow = False, no_block: NoBlockNow = False) -> int:
    """Have jobs started with jobd.

    A job that runs already is left as it is; one that does not is not started, unless --now says so.
    """
    refuse_templates("enable", jobs)
    found = names.expand(client, jobs)
    status = act(client, {"type": "enable", "names": found, "enabled": True}, GOES_ON)
    if not status:
        logout.tell(client)
    if status or not now or not found:
        return status
    return start(client, tuple(found), no_block=no_block)


def disable(client: Client, jobs: Jobs, *, now: StopNow = False, no_block: NoBlockNow = False) -> int:
    """Have jobs not started with jobd any more.

    What runs goes on, unless --now says so.
    """
    refuse_templates("disable", jobs)
    return _off(client, {"type": "enable", "enabled": False}, jobs, now, no_block)


def mask(client: Client, jobs: Jobs, *, now: StopNow = False, no_block: NoBlockNow = False) -> int:
    """Have jobs not be started by anybody or anything.

    A name that no job has can be masked, too. What runs goes on, unless --now says so.
    """
    return _off(client, {"type": "mask", "masked": True}, jobs, now, no_block)


def unmask(client: Client, jobs: Jobs) -> int:
    """Let jobs be started again."""
    return act(client, {"type": "mask", "names": names.expand(client, jobs), "masked": False}, GOES_ON)


def _off(client: Client, request: dict[str, object], jobs: tuple[str, ...], now: bool, no_block: bool) -> int:
    found = names.expand(client, jobs)
    status = act(client, {**request, "names": found}, GOES_ON)
    if status or not now:
        return status
    running = [name for name in found if _may_be_stopped(client, name)]
    return stop(client, tuple(running), no_block=no_block) if running else 0


def _may_be_stopped(client: Client, name: str) -> bool:
    """Whether there is anything to stop: a mask of a name that no job has is done."""
    return any(view.get("active", "inactive") not in ("inactive", "failed") for view in names.views(client, [name]))


def refuse_templates(verb: str, jobs: tuple[str, ...]) -> None:
    """Raises UsageError about a template: what is started is an instance of it."""
    for job in jobs:
        if job.endswith("@"):
            raise UsageError(f"cannot {verb} {job}: it is a template; name an instance of it, such as {job}1")


def is_enabled(client: Client, jobs: Patterns, *, quiet: Quiet = False, output: JsonOutput = None) -> int:
    """Say whether jobs are started with jobd: 0 if at least one is, 1 if none is, 4 if none exists."""
    as_json = False
    if output is not None:
        from jobctl import rows

        as_json = rows.is_json(output)
    views = names.views(client, jobs)
    states = [names.file_state(view) for view in views]
    if as_json and not quiet:
        rows.print_json([rows.job_row(view) for view in views], output or "")
    elif not quiet:
        terminal.say("".join(f"{escape(state)}\n" for state in states))
    if any(state in ENABLED for state in states):
        return 0
    return NO_SUCH_JOB if states and all(state == names.NO_FILE for state in states) else NOT_ENABLED
