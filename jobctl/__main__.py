"""The entry: the light parser first, typer for all it does not take, and the one place that ends the process.

Nothing of the hot path imports typer, msgspec, typing, re, enum or socket; a test looks at sys.modules.
"""

from __future__ import annotations

import os
import sys

from jobctl.exits import INTERRUPTED, NOT_THE_JOBS, USAGE, ConnectionLostError, Fault, UsageError
from jobctl.terminal import OutputError, let_sigpipe_end_us, warn
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.argv import Call
    from jobctl.connect import Target

FAILURE = 1
LOOKS = ("status", "logs", "result", "history", "show", "list", "is-active", "is-failed", "daemon-status")


def main() -> None:
    """Run jobctl with sys.argv, and exit."""
    let_sigpipe_end_us()  # a reader of our output that went away ends us as it ends cat, without a word
    try:
        status = dispatch(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def dispatch(args: list[str]) -> int:
    """Do what the command line says; the exit status."""
    from jobctl.argv import parse

    call = parse(args)
    if call is None:
        from jobctl import cli

        return cli.main(args)
    return invoke(call)


def invoke(call: Call) -> int:
    """Call a verb, and turn what it raises into a line on stderr and a status."""
    from jobctl.argv import load
    from jobctl.client import Client

    kind = _kind(call)
    try:
        client = Client(_target(call))
        operands = () if call.operands is None else (call.operands,)
        return load(call.verb)(client, *operands, **call.options)
    except UsageError as e:
        warn(str(e))
        return NOT_THE_JOBS if kind == errors.JOB else USAGE
    except Fault as e:
        warn(e.message)
        return errors.exit_status(e.code, kind)
    except ConnectionLostError:
        warn("the connection to jobd was lost")
        return errors.exit_status(errors.UNAVAILABLE, kind)
    except OutputError as e:
        warn(str(e))
        return NOT_THE_JOBS if kind == errors.JOB else FAILURE


def _kind(call: Call) -> int:
    """Whose status a failure is: see jobd.wire.errors."""
    if call.verb == "wait" or (call.verb == "run" and (call.options.get("wait") or call.options.get("follow"))):
        return errors.JOB
    return errors.LOOK if call.verb in LOOKS else errors.ACTION


def _target(call: Call) -> Target:
    from jobctl.connect import Target

    wanted = call.target
    chosen = [name for name in ("user", "system") if wanted.get(name)]
    if len(chosen) + (wanted.get("socket") is not None) > 1:
        raise UsageError("only one of --user, --system and --socket can be given")
    path = wanted.get("socket")
    if path == "":
        raise UsageError("--socket needs a path")
    return Target(chosen[0] if chosen else "", os.path.abspath(path) if isinstance(path, str) else "")


if __name__ == "__main__":
    main()
