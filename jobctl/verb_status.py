"""status: one job in full, line for line as systemctl shows a unit, and the end of its log."""

from __future__ import annotations

import time

from jobctl import names, terminal
from jobctl.exits import Fault, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import FullLines, OptionalJobs, StatusLines, StatusOutput
    from jobctl.shapes import Body, JobView

    Answer = tuple[JobView, list[Body] | Fault | None]

NOT_ACTIVE, NO_SUCH_JOB = 3, 4  # as systemctl
DEFAULT_LINES = "10"  # systemctl -n
AT_ONCE = 16  # jobs that are asked for with their logs in one write; of more, one after the other
GLOB = frozenset("*?[")  # names.is_glob, without the import
SHOWN_TROUBLED = 3
HINT = "Hint: Some lines were ellipsized, use -l to show in full.\n"


def status(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    lines: StatusLines = DEFAULT_LINES,
    full: FullLines = False,
    output: StatusOutput = None,
) -> int:
    """Show the state of jobs, their processes and the last lines of their output.

    A number is taken as the id of a process of the job. Without a job: the state of jobd. Exits with 0 if all are
    active, 3 if one is not, 4 if one does not exist.
    """
    count = names.check_count(lines, "-n")
    if count is None:
        raise UsageError("cannot show all lines in status: use logs")
    if not jobs:
        from jobctl.verb_daemon import daemon_status

        return daemon_status(client, output=output)
    if output is not None:
        from jobctl.logs_lines import FORMATS
        from jobctl.rows import is_json, job_row, print_json

        if is_json(output, *FORMATS):
            views = _views(client, jobs)
            print_json([job_row(view) for view in views], output)
            return _first_bad(views)
    answers = _together(client, jobs, count)
    return _show_all(client, answers or [(view, None) for view in _views(client, jobs)], count, full, output or "")


def _together(client: Client, jobs: tuple[str, ...], lines: int) -> list[Answer]:
    """The jobs and the ends of their logs in one round trip; nothing when they are not named one by one."""
    if len(jobs) > AT_ONCE or any(job.isdecimal() or not GLOB.isdisjoint(job) for job in jobs):
        return []
    requests: list[dict[str, object]] = [{"type": "get", "names": list(jobs), "tree": True}]
    if lines:
        requests += [
            {"type": "logs", "jobs": [job], "run": "0", "lines": lines, "split": True, "one_run": True} for job in jobs
        ]
    got, *logs = client.gather(requests, _load)
    if isinstance(got, Fault):
        raise got
    views = got[0]["jobs"]
    if len(views) != len(jobs):
        return []  # the same one twice
    return list(zip(views, logs, strict=True)) if logs else [(view, None) for view in views]


def _load() -> None:
    """Load what shows the answers."""
    from jobctl import logs_tail, status_text  # noqa: F401


def _views(client: Client, jobs: tuple[str, ...]) -> list[JobView]:
    if not any(job.isdecimal() for job in jobs):
        return names.views(client, jobs, tree=True)
    views: list[JobView] = []
    for job in jobs:
        found = names.views(client, [job], tree=True)
        if job.isdecimal() and found and names.is_missing(found[0]):
            found = [_owner_of(client, int(job))]
        views += found
    return views


def _owner_of(client: Client, pid: int) -> JobView:
    """The job to which a process belongs."""
    from jobctl.verb_whoami import MAX_PID

    member = client.call({"type": "whoami", "pids": [pid]})["members"][0] if 0 < pid <= MAX_PID else {"pid": pid}
    if not member.get("job"):
        raise Fault("not-found", f"cannot find the job of process {pid}: it belongs to none")
    job = f"{member.get('owner')}/{member.get('job')}"
    return client.call({"type": "get", "names": [job], "tree": True})["jobs"][0]


def _status_of(view: JobView) -> int:
    if names.is_missing(view):
        return NO_SUCH_JOB
    return 0 if view.get("active", "inactive") in names.ACTIVE_STATES else NOT_ACTIVE


def _first_bad(views: list[JobView]) -> int:
    """The exit status: that of the first job which is not active, as systemctl."""
    return next((status for view in views if (status := _status_of(view))), 0)


def _show_all(client: Client, answers: list[Answer], lines: int, full: bool, output: str) -> int:
    status = _first_bad([view for view, _ in answers])
    try:
        _show(client, answers, lines, full, output)
    except terminal.ReaderGoneError:  # which changes nothing about the jobs
        return status
    return status


def _show(client: Client, answers: list[Answer], lines: int, full: bool, output: str) -> None:
    from jobctl import status_text

    screen = status_text.Screen(full)
    shown = False
    for view, log in answers:
        if names.is_missing(view):
            _say_missing(client, view["job"], log)
            continue
        terminal.say(("\n" if shown else "") + status_text.text(client, view, time.time_ns(), screen))
        shown = True
        run = view.get("run")
        if lines and run is not None and not view.get("array"):
            from jobctl import logs_tail

            logs_tail.show(client, run, lines, output, screen, log)
    troubled = [names.view_name(view, client) for view, _ in answers if _is_troubled(view)]
    if troubled and terminal.is_terminal():
        terminal.say(f"Hint: {client.target.program} why {' '.join(troubled[:SHOWN_TROUBLED])} says more.\n")
    if screen.cut:
        terminal.say(HINT)


def _is_troubled(view: JobView) -> bool:
    """Whether a person will ask why."""
    stuck = view.get("load", "loaded") == "bad-setting" or bool(view.get("waits"))
    return stuck or view.get("active", "inactive") == "failed" or view.get("sub") == "auto-restart"


def _say_missing(client: Client, job: str, log: list[Body] | Fault | None) -> None:
    """That a job is not there, and what was probably meant: a request for its log has said so already."""
    meant = log.details.get("meant", "") if isinstance(log, Fault) else names.meant(client, job)
    hint = f" Did you mean {meant}?" if meant else ""
    if "#" in job:
        hint = f" A run is shown by jobctl result '{job}'."
    terminal.note(f"Job {job} could not be found.{hint}")
