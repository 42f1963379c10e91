"""The entry: the light parser first, typer for all it does not take, and the one place that ends the process.

Nothing of the hot path imports typer, msgspec, typing, re, enum or socket; a test looks at sys.modules.
"""

from __future__ import annotations

import os
import sys

from jobctl import terminal
from jobctl.exits import INTERRUPTED, NOT_THE_JOBS, USAGE, ConnectionLostError, Fault, UsageError
from jobctl.terminal import OutputError, ReaderGoneError, complain, keep_standard_descriptors, let_sigpipe_end_us, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.argv import Call, Value
    from jobctl.client import Client
    from jobctl.connect import Target

FAILURE = 1
ACTION, LOOK, JOB = 0, 1, 2  # of jobd.wire.errors, which is imported when something went wrong
PAGED = (
    "list", "status", "show", "cat", "logs", "result", "history", "events", "list-job-files",
    "list-dependencies", "list-timers", "daemon-status", "auth", "queue",
)  # fmt: skip
LOCAL = ("completion", "verify")  # no other host has to do with it
NO_JOBS = ("run", "add", "whoami", "auth", "completion", "verify", "queue")  # their operands name something else
LOOKS = (
    "status", "logs", "events", "result", "history", "show", "cat", "why", "list", "is-active", "is-failed",
    "is-enabled", "list-job-files", "list-dependencies", "list-timers", "whoami", "auth", "daemon-status",
    "is-system-running",
)  # fmt: skip
QUEUE_LOOKS = ("list", "show")  # verbs of `queue`; the first is the one without a word


def main() -> None:
    """Run jobctl with sys.argv, and exit."""
    import_nothing_strange()
    keep_standard_descriptors()
    let_sigpipe_end_us()  # a reader of our output that went away ends us as it ends cat, without a word
    try:
        status = dispatch(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def import_nothing_strange() -> None:
    """Take the current directory, the script's and PYTHONPATH off sys.path, where a typing.py or jobd.py may lie.

    Unless one of them is where jobctl itself comes from. What was imported until here came from this package or was
    loaded already; installers strip the -I from a script's first line, which would do the same.
    """
    strange = [] if sys.flags.safe_path else [os.path.abspath(sys.path[0])]
    if not sys.flags.ignore_environment and "PYTHONPATH" in os.environ:
        strange += map(os.path.abspath, os.environ["PYTHONPATH"].split(os.pathsep))
    if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) not in strange:
        sys.path[:] = [each for each in sys.path if os.path.abspath(each) not in strange]


def dispatch(args: list[str]) -> int:
    """Do what the command line says; the exit status."""
    from jobctl.argv import parse

    call = parse(args)
    if call is None:
        status = _without_verb(args)
        if status is None:
            from jobctl import cli

            return cli.main(args)
    else:
        status = invoke(call)
    # Nothing is buffered and nothing is left to close: taking the interpreter apart would be a tenth of the time.
    os._exit(status)


def _without_verb(args: list[str]) -> int | None:
    """Help, the version, the names for a TAB; None when it is none of these."""
    from jobctl import early

    try:
        return early.answer(args)
    except OutputError as e:
        warn(str(e))
        return FAILURE


def invoke(call: Call) -> int:
    """Call a verb, with a pager where a person looks at its output, and answer its exit status."""
    try:
        host = host_of(call.target)
        if "," in host and call.verb not in LOCAL:
            from jobctl import fanout

            return fanout.run(call, host)
        if call.verb in PAGED and terminal.is_terminal() and not call.target.get("no_pager"):
            _page(call.options)
        return _status(call)
    finally:
        terminal.end_paging()
        end_remote()


def host_of(wanted: Mapping[str, Value]) -> str:
    """What -H says, or $JOBCTL_HOST; "" for this host. A socket that is named without a host is here."""
    host = wanted.get("host")
    if host is None and wanted.get("socket") is None:
        host = os.environ.get("JOBCTL_HOST", "") or None
    return "" if host is None else str(host) or ","  # an empty word is a mistake, which the reader of hosts names


def end_remote() -> None:
    """Drop the connection to another host, if there is one."""
    from jobctl.connect import FAR

    if FAR.remote is not None:
        FAR.remote.end()


def _page(options: dict[str, Value]) -> None:
    """Have the first write start a pager. What goes on for ever, or is to be exact, gets none."""
    from jobctl import pager

    if not options.get("follow") and not options.get("raw"):
        terminal.SCREEN.pager = pager.wanted(os.environ, bool(options.get("full")), bool(options.get("pager_end")))


def _status(call: Call) -> int:
    """Call a verb, and turn what it raises into a line on stderr and a status."""
    from jobctl.argv import load
    from jobctl.client import Client

    try:
        client = Client(target_of(call.target))
    except UsageError as e:
        warn(str(e))
        return usage_status(call)
    try:
        operands = () if call.operands is None else (call.operands,)
        if call.operands and "" in call.operands and call.verb not in NO_JOBS:  # "$j" of a j that was never set
            raise UsageError(f"{call.verb} needs the name of a job, and '' is none")
        return load(call.verb)(client, *operands, **call.options)
    except UsageError as e:
        warn(str(e))
        return usage_status(call)
    except Fault as e:
        from jobctl.mistakes import next_step

        complain(next_step(e.code, e.message, client.target.software))
        return _fault_status(e.code, call)
    except ConnectionLostError:
        warn("the connection to jobd was lost")
        return _fault_status("unavailable", call)
    except ReaderGoneError:
        return 0
    except OutputError as e:
        warn(str(e))
        return NOT_THE_JOBS if _kind(call) == JOB else FAILURE
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as e:
        return _not_understood(e, call, client)


def _not_understood(error: Exception, call: Call, client: Client) -> int:
    """Say whose words make no sense. Those of a daemon of our own version do, and then the mistake is ours.

    To be called while the error is handled, which is raised again then.
    """
    from jobctl.connect import FAR
    from jobctl.versions import other_software

    software = client.target.software
    hint = other_software(software)
    if FAR.remote is not None:
        who = FAR.remote.host.word
    elif client.has_heard and (hint or not software):
        who = software or f"what answers at {client.path}"
    else:
        raise  # as the docstring says
    from jobd.core.logline import brief

    warn(f"cannot understand {who}: {brief(error)}{hint}")
    return _fault_status("internal", call)


def usage_status(call: Call) -> int:
    """The exit status of a line that means nothing."""
    return NOT_THE_JOBS if _kind(call) == JOB else USAGE


def _kind(call: Call) -> int:
    """Whose status a failure is: see jobd.wire.errors."""
    from jobctl.spellings import STAYING

    stays = any(call.options.get(name) for name in STAYING)
    if call.verb in ("wait", "attach") or (call.verb in ("run", "rerun") and stays):
        return JOB
    looks = call.verb in LOOKS or (call.verb == "queue" and (call.operands or QUEUE_LOOKS)[0] in QUEUE_LOOKS)
    return LOOK if looks else ACTION


def _fault_status(code: str, call: Call) -> int:
    from jobd.wire.errors import exit_status

    return exit_status(code, _kind(call))


def target_of(wanted: Mapping[str, Value]) -> Target:
    """Which daemon the options name. Raises UsageError."""
    from jobctl.connect import Target

    chosen = [name for name in ("user", "system") if wanted.get(name)]
    if len(chosen) + (wanted.get("socket") is not None) > 1:
        raise UsageError("only one of --user, --system and --socket can be given")
    path = wanted.get("socket")
    if path == "":
        raise UsageError("--socket needs a path")
    mode, host = chosen[0] if chosen else "", host_of(wanted)
    if not isinstance(path, str):
        return Target(mode, "", host, bool(wanted.get("batch")))
    if host and not path.startswith("/"):
        raise UsageError("--socket needs an absolute path with -H: it is one on that host")
    return Target(mode, path if host else os.path.abspath(path), host, bool(wanted.get("batch")))


if __name__ == "__main__":
    main()
