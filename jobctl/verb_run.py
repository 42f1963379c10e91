"""run: a command as a job, with the caller's directory, environment, umask and limits. rerun: an earlier one again."""

from __future__ import annotations

import os

from jobctl import logout, names, terminal
from jobctl.connect import grant, needs_grant
from jobctl.exits import INTERRUPTED, NOT_THE_JOBS, Fault, UsageError, start_failure
from jobd.core.ids import new_run_id
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.client import Client
    from jobctl.options import (
        Command,
        Env,
        FollowRun,
        JsonOutput,
        Name,
        OneRun,
        Pipe,
        Pty,
        QuietRun,
        Setenv,
        Settings,
        Shell,
        WaitForEnd,
        WorkingDirectory,
    )
    from jobctl.remote import Words
    from jobctl.shapes import Body

MAX_ARGV_ENV_BYTES = 768 << 10  # messages.MAX_ARGV_ENV_BYTES, and the next messages.MAX_ARG_BYTES; a test compares
MAX_ARG_BYTES = (128 << 10) - 1
# What login gives where nothing else says (Debian's login.defs, ENV_PATH and ENV_SUPATH).
DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
ROOT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INFINITY = -1
# Keys of systemd-run -p, and of job files, that are options of run.
NO_KEYS = {
    "WorkingDirectory": "-C", "working_directory": "-C", "Environment": "-E", "environment": "-E",
    "ExecStart": "the command itself", "command": "the command itself",
}  # fmt: skip
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
    output: JsonOutput = None,
) -> int:
    """Run a command as a job, and print the job's name.

    The job has this shell's directory, environment, umask and limits, with -H those of a command that ssh runs there;
    its stdin is /dev/null, but for -P and -t.
    """
    _check_output(output, pipe or pty)
    request = _request(command, name, shell, settings)
    far = _far(client, request) if client.target.host else None
    request["env"] = _environment(env, setenv, pty, _is_for_another(request), far)
    _check_sizes(command, request)
    request["cwd"] = _directory(working_directory, far)
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
        failure = start_status(body, request)
        if failure == NOT_THE_JOBS and not (wait or follow):
            return FAILED
        if failure is not None:
            return failure
        return _stay(client, told, body, follow) if wait or follow else 0
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
        "umask": umask(),
        "rlimits": rlimits(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "settings": read_settings(settings, NO_KEYS),
    }
    if name is not None:
        from jobd.core.names import split_owner, valid_job_name, why_invalid

        if not valid_job_name(split_owner(name)[1]):
            raise UsageError(why_invalid(split_owner(name)[1]))
        request["name"] = name
    return request


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


def _environment(
    env: str | None, setenv: tuple[str, ...], at_terminal: bool, other: bool, far: Words | None = None
) -> list[bytes]:
    """The job's environment, from --env and -E; at a terminal it knows which kind that is.

    `other`: the job is another user's. Nothing of ours goes along then unless it is asked for, and HOME and its like
    are left to jobd, which looks them up. `far`: what a login on the other host has.
    """
    mine = dict(os.environb)
    if _coerced(mine.get(b"LC_CTYPE")):
        del mine[b"LC_CTYPE"]
    if env == "all" or (env is None and not other and far is None):
        made = dict(mine)
    else:
        usual = {} if other else least() if far is None else _pairs(far["env" if env is None else "least"])
        made = dict(usual)
        wanted = [] if env in ("none", None) else os.fsencode(env).split(b",")
        for key in [b"TERM", *wanted] if at_terminal else wanted:
            if key in mine:
                made[key] = mine[key]
    for word in setenv:
        key, equals, value = os.fsencode(word).partition(b"=")
        if not key:
            raise UsageError(f"cannot set {word!r}: write NAME=VALUE, or NAME to take it from this environment")
        if equals:
            made[key] = value
        elif key in mine:
            made[key] = mine[key]
        else:
            terminal.warn(f"{word} is not set here, and so not for the job")
    return entries(made)


def entries(environment: dict[bytes, bytes]) -> list[bytes]:
    """As execve(2) takes it."""
    return [key + b"=" + value for key, value in environment.items()]


def _pairs(words: object) -> dict[bytes, bytes]:
    assert isinstance(words, list)
    return dict(word.split(b"=", 1) for word in words)


def _coerced(lc_ctype: bytes | None) -> bool:
    """Whether Python set LC_CTYPE itself, as it does in the C locale (PEP 538); jobs shall not have it then."""
    if lc_ctype not in (b"C.UTF-8", b"C.utf8", b"UTF-8"):
        return False
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:  # as execve(2) was given it
            given = file.readall()
    except OSError:
        return False
    return b"\0LC_CTYPE=" not in b"\0" + given


def least() -> dict[bytes, bytes]:
    """What a job has with --env none."""
    from pwd import getpwuid

    made = {b"PATH": DEFAULT_PATH if os.geteuid() else ROOT_PATH}
    try:
        user = getpwuid(os.geteuid())
    except KeyError:
        made.update({b"HOME": b"/", b"SHELL": b"/bin/sh"})
    else:
        name = os.fsencode(user.pw_name)
        made.update({b"USER": name, b"LOGNAME": name})
        made.update({b"HOME": os.fsencode(user.pw_dir), b"SHELL": os.fsencode(user.pw_shell or "/bin/sh")})
    for key in (b"HOME", b"USER", b"LOGNAME", b"SHELL"):
        if key in os.environb:
            made[key] = os.environb[key]
    return made


def _check_sizes(command: tuple[str, ...], request: dict[str, object]) -> None:
    """Refuse what execve(2) would, before it is sent: the frame might not hold it."""
    argv, env = request["argv"], request["env"]
    assert isinstance(argv, list)
    assert isinstance(env, list)
    parts: list[bytes] = [*argv, *env]
    total = sum(len(part) + 1 for part in parts)
    if total > MAX_ARGV_ENV_BYTES:
        text = f"arguments and environment take {total} bytes, and {MAX_ARGV_ENV_BYTES} are allowed"
        raise Fault(errors.TOO_LARGE, f"cannot run {command[0]}: {text}")
    for part in parts:
        if len(part) > MAX_ARG_BYTES:
            start = part[:20].decode("utf-8", "replace")
            text = f"{start}… takes {len(part)} bytes, and {MAX_ARG_BYTES} are allowed for one"
            raise Fault(errors.TOO_LARGE, f"cannot run {command[0]}: the argument or variable {text}")


def _directory(wanted: str | None, far: Words | None) -> bytes:
    try:
        here = os.getcwdb() if far is None else far["cwd"]
        assert isinstance(here, bytes)
    except FileNotFoundError:
        here = os.environb.get(b"PWD", b"/")  # gone: let the job's start say so, by its name
    return here if wanted is None else os.path.join(here, os.fsencode(wanted))


def umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def rlimits() -> dict[str, object]:
    import resource

    found: dict[str, object] = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE":  # BSD's name of NOFILE
            limits = resource.getrlimit(getattr(resource, name))
            pair = [INFINITY if limit == resource.RLIM_INFINITY else limit for limit in limits]
            found[name.removeprefix("RLIMIT_").lower()] = pair
    return found


def _tell(client: Client, body: Body, output: str | None, follow: bool, quiet: bool) -> str:
    """Say the job's name: on stdout, unless that is the job's own."""
    shown = names.shown_name(body["job"], body["owner"], client.uid)
    try:
        if output is not None or not quiet:
            _print_name(body, shown, output, follow)
    except terminal.OutputError as e:
        raise terminal.OutputError(f"{e}; {shown} was accepted all the same") from e
    return shown


def _print_name(body: Body, shown: str, output: str | None, follow: bool) -> None:
    if follow:
        terminal.note(shown)
    elif output is not None:
        from jobctl.rows import print_json

        run = names.full_id(body["run"])
        owner = names.owner_name(body["owner"])
        print_json({"job": body["job"], "run": run, "number": body["number"], "owner": owner}, output)
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
    from jobctl.verb_wait import await_runs

    try:
        if follow:
            from jobctl import logs_raw
            from jobctl.logs_source import Query, Source

            client.watch_stdout = True
            query = Query("", body["run"].hex())
            query.follow = True
            logs_raw.copy(Source(client, query), terminal.Progress())  # its bytes, as if it ran here
            client.watch_stdout = False
        return await_runs(client, [body["run"]], any_one=False, deadline=None).status()
    except KeyboardInterrupt:
        terminal.warn(f"interrupted; {shown} goes on")
        return INTERRUPTED
