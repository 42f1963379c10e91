"""run: a command as a job, with the caller's directory, environment, umask and limits. rerun: an earlier one again."""

from __future__ import annotations

import os
import time

from jobctl import logout, names, surroundings, terminal
from jobctl.connect import grant, needs_grant
from jobctl.exits import INTERRUPTED, NOT_THE_JOBS, UsageError, start_failure
from jobd.core.ids import new_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.client import Client
    from jobctl.options import (
        AfterRuns,
        ArrayOfRuns,
        Command,
        Env,
        FollowRun,
        HoldRun,
        JsonOutput,
        Name,
        OneRun,
        Pipe,
        Priority,
        Pty,
        Queue,
        QuietRun,
        Setenv,
        Settings,
        Shell,
        Singleton,
        StartAt,
        StartIn,
        WaitForEnd,
        WorkingDirectory,
    )
    from jobctl.remote import Words
    from jobctl.shapes import Body, Json

# Keys of systemd-run -p, and of job files, that are options of run.
NO_KEYS = {
    "WorkingDirectory": "-C", "working_directory": "-C", "Environment": "-E", "environment": "-E",
    "ExecStart": "the command itself", "command": "the command itself",
}  # fmt: skip
CONDITIONS = ("ok", "failed", "any")  # jobd.core.after.CONDITIONS; a test compares
FOR_ITS_TIME = "for its time"  # what jobd says of a run that is to begin later
FAILED = 1  # of a plain `run`, an action: 125 is for those that end with the job's own status


def run(
    client: Client,
    command: Command,
    *,
    name: Name = None,
    wait: WaitForEnd = False,
    follow: FollowRun = False,
    pipe: Pipe = False,
    pty: Pty = False,
    quiet: QuietRun = False,
    setenv: Setenv = (),
    env: Env = None,
    working_directory: WorkingDirectory = None,
    shell: Shell = False,
    settings: Settings = (),
    queue: Queue = None,
    priority: Priority = None,
    hold: HoldRun = False,
    after: AfterRuns = (),
    singleton: Singleton = False,
    start_at: StartAt = None,
    start_in: StartIn = None,
    array: ArrayOfRuns = None,
    output: JsonOutput = None,
) -> int:
    """Run a command as a job, and print the job's name.

    The job has this shell's directory, environment, umask and limits, with -H those of a command that ssh runs there;
    its stdin is /dev/null, but for -P and -t.
    """
    _check_output(output, pipe or pty)
    request = _request(command, name, shell, settings)
    _wait_in_line(request, queue, priority, hold)
    _order(request, after, singleton)
    if start_at is not None or start_in is not None:
        _later(request, start_at, start_in)
    if array is not None:
        _check_array(request, array, "-P" if pipe else "-t" if pty else "-f" if follow else "")
    far = _far(client, request) if client.target.host else None
    request["env"] = surroundings.environment(env, setenv, pty, _is_for_another(request), far)
    surroundings.check_sizes(command, request)
    request["cwd"] = surroundings.directory(working_directory, far)
    if pipe or pty:
        from jobctl import foreground_begin

        return foreground_begin.submit(client, request, pipe, pty, quiet)
    return _submit(client, request, wait, follow, output, quiet)


def rerun(
    client: Client,
    job: OneRun,
    *,
    wait: WaitForEnd = False,
    follow: FollowRun = False,
    pipe: Pipe = False,
    pty: Pty = False,
    quiet: QuietRun = False,
    output: JsonOutput = None,
) -> int:
    """Run again what a job, or one run of it, was: the same command, environment and directory.

    It is the job's next run. Prints the job's name.
    """
    _check_output(output, pipe or pty)
    found = names.expand(client, job)
    if not found:
        return 0
    if len(found) > 1:
        raise UsageError(f"cannot rerun more than one job at a time: {', '.join(found)}")
    row = names.resolve(client, found[0])
    owner = "" if row["owner"] == client.uid else names.shown_name(row["job"], row["owner"], client.uid)
    request: dict[str, object] = {"type": "rerun", "new": new_run_id(), "job": owner, "run": row["run"].hex()}
    if pipe or pty:
        from jobctl import foreground_begin

        client.close()
        return foreground_begin.submit(client, request, pipe, pty, quiet)
    return _submit(client, request, wait, follow, output, quiet)


def _check_output(output: str | None, in_foreground: bool) -> None:
    if output is None:
        return
    if in_foreground:
        raise UsageError("cannot print JSON as well: with -P and -t, stdout is the job's")
    from jobctl.rows import is_json

    is_json(output)


def _submit(
    client: Client, request: dict[str, object], wait: bool, follow: bool, output: str | None, quiet: bool
) -> int:
    """Ask for a run, say the job's name, and stay with it as long as was asked."""
    try:
        if request["type"] == "run" and needs_grant(client.connect()):
            grant(client.path, request)
        body = client.call(request)
        told = _tell(client, body, output, follow, quiet)
        if not quiet:
            logout.tell(client)
            tell_wait(told, body.get("waits", ""), request)
        stays = wait or follow
        failure = None if stays and _never_begins(body) else start_status(body, request)
        if failure == NOT_THE_JOBS and not stays:
            return FAILED
        if failure is not None:
            return failure
        return _stay(client, told, body, follow) if stays else 0
    except KeyboardInterrupt:
        terminal.warn("interrupted; the job goes on, if it was accepted")
        return INTERRUPTED


def _request(command: tuple[str, ...], name: str | None, shell: bool, settings: tuple[str, ...]) -> dict[str, object]:
    argv = [os.fsencode(word) for word in command]
    if shell:
        argv = [b" ".join(argv)]
    request: dict[str, object] = {
        "type": "run",
        "run": new_run_id(),
        "argv": argv,
        "shell": shell,
        "umask": surroundings.umask(),
        "rlimits": surroundings.rlimits(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "settings": read_settings(settings, NO_KEYS),
    }
    if name is not None:
        from jobd.core.names import split_owner, valid_job_name, why_invalid

        if not valid_job_name(split_owner(name)[1]):
            raise UsageError(why_invalid(split_owner(name)[1]))
        request["name"] = name
    return request


def _wait_in_line(request: dict[str, object], queue: str | None, priority: str | None, hold: bool) -> None:
    """What --queue, --priority and --hold say. The first two are keys of a job file with options of their own."""
    settings = request["settings"]
    assert isinstance(settings, dict)
    for key, value in (("queue", queue), ("priority", priority)):
        if value is None:
            continue
        if key in settings:
            raise UsageError(f"cannot set {key} twice: --{key} and -p {key}= say the same")
        settings[key] = value
    if hold:
        request["hold"] = True


def _never_begins(body: Body) -> bool:
    """Whether a run has ended already without having begun. Who waits for its end is told why with that."""
    return not (body.get("step") or body.get("pid") or body.get("waits"))


def _order(request: dict[str, object], after: tuple[str, ...], singleton: bool) -> None:
    """What --after and --singleton say."""
    for word in after:
        job, colon, condition = word.partition(":")
        if not job or (colon and condition not in CONDITIONS):
            raise UsageError(f"cannot wait for {word!r}: write JOB, JOB:ok, JOB:failed or JOB:any")
    if after:
        request["after"] = list(after)
    if singleton:
        if "name" not in request:
            raise UsageError("cannot wait for the job of this name: --singleton needs --name")
        request["singleton"] = True


def _later(request: dict[str, object], start_at: str | None, start_in: str | None) -> None:
    """What --at and --in say."""
    from jobctl.timespec import parse_delay, parse_start

    if start_at is not None and start_in is not None:
        raise UsageError("cannot begin both --at a time and --in a while")
    if start_in is not None:
        request["delay_usec"] = parse_delay(start_in)
    elif start_at is not None:
        request["not_before"] = parse_start(start_at, time.time_ns())


def _check_array(request: dict[str, object], array: str, stays: str) -> None:
    """What --array says, which is for many runs at once. Raises UsageError for what goes with one alone."""
    from jobd.core.arrays import ArrayError, parse

    if stays:
        raise UsageError(f"cannot run an array with {stays}, which is for one run; jobctl logs -f JOB follows them all")
    if "singleton" in request:
        raise UsageError("cannot run an array as a singleton: its name has to be free")
    try:
        parse(array)
    except ArrayError as e:
        raise UsageError(str(e)) from None
    request["array"] = array


def read_settings(words: tuple[str, ...], options: Mapping[str, str]) -> dict[str, str]:
    """The settings that KEY=VALUE words are. Raises UsageError, also for keys that `options` has words about."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"cannot set {word!r}: write KEY=VALUE")
        if key in options:
            raise UsageError(f"unknown key {key!r}; did you mean {options[key]}?")
        try:
            found[key] = os.fsencode(value).decode()  # the bytes that were typed, in whichever locale
        except UnicodeDecodeError:
            raise UsageError(f"cannot set {key}: the value is not valid UTF-8") from None
    return found


def _is_for_another(request: dict[str, object]) -> bool:
    """Whether root lets the job run as another user."""
    settings = request["settings"]
    assert isinstance(settings, dict)
    return "user" in settings


def _far(client: Client, request: dict[str, object]) -> Words:
    """What a command has that ssh starts on the other host; its umask and limits go into the request."""
    from jobctl.remote import session

    far = session(client.target)
    request.update({key: far[key] for key in ("umask", "rlimits", "nice")})
    return far


def _tell(client: Client, body: Body, output: str | None, follow: bool, quiet: bool) -> str:
    """Say the job's name: on stdout, unless that is the job's own."""
    shown = names.shown_name(body["job"], body["owner"], client.uid)
    try:
        if output is not None or not quiet:
            _print_name(body, shown, output, follow)
    except terminal.OutputError as e:
        raise terminal.OutputError(f"{e}; {shown} was accepted all the same") from e
    return shown


def tell_wait(shown: str, waits: str, request: dict[str, object]) -> None:
    """Say to a person what a run waits for that has not begun."""
    at, delay = request.get("not_before"), request.get("delay_usec")
    if waits == FOR_ITS_TIME and (isinstance(at, int) or isinstance(delay, int)):
        from jobctl.times import timestamp

        waits = f"until {timestamp(at if isinstance(at, int) else time.time_ns() + int(str(delay)) * 1000)}"
    if waits and terminal.is_terminal(terminal.STDERR):
        terminal.note(f"{shown} waits {waits}")


def _print_name(body: Body, shown: str, output: str | None, follow: bool) -> None:
    if follow:
        terminal.note(shown)
    elif output is not None:
        from jobctl.rows import print_json

        run = names.full_id(body["run"])
        owner = names.owner_name(body["owner"])
        row: dict[str, Json] = {"job": body["job"], "run": run, "number": body["number"] or None, "owner": owner}
        if body.get("elements"):
            row["elements"] = body["elements"]
        print_json(row, output)
    else:
        terminal.say(f"{shown}\n")


def start_status(body: Body, request: dict[str, object] | None) -> int | None:
    """The status when the command could not be executed; says why, or what it runs without."""
    step = body.get("step", "")
    if not step:
        for line in body.get("text", "").splitlines():
            terminal.warn(line)
        return None
    text = body.get("text") or f"cannot start {body['job']}: {step}: {os.strerror(body.get('errno', 0))}"
    terminal.warn(text + _script_hint(step, request or {}))
    return start_failure(step, body.get("errno", 0))


def _script_hint(step: str, request: dict[str, object]) -> str:
    """What to do when a whole line was given as the name of the program."""
    argv = request.get("argv")
    is_line = step == "exec" and isinstance(argv, list) and len(argv) == 1 and b" " in argv[0].strip()
    return "; a line for the shell takes --shell" if is_line and not request["shell"] else ""


def _stay(client: Client, shown: str, body: Body, follow: bool) -> int:
    """Stay until the run has ended, for --wait and -f; its status."""
    from jobctl.verb_wait import accepted, await_runs

    try:
        if follow:
            from jobctl import logs_raw
            from jobctl.logs_source import Query, Source

            client.watch_stdout = True
            query = Query("", body["run"].hex())
            query.follow = True
            logs_raw.copy(Source(client, query), terminal.Progress())  # its bytes, as if it ran here
            client.watch_stdout = False
        return await_runs(client, accepted(body), any_one=False, deadline=None).status()
    except KeyboardInterrupt:
        terminal.warn(f"interrupted; {shown} goes on")
        return INTERRUPTED
