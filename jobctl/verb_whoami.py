"""whoami: the jobs that processes belong to; auth whoami: whom jobd takes us for."""

from __future__ import annotations

import os

from jobctl import names, terminal
from jobctl.connect import FAR
from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import JsonOutput, OptionalPids

BELONGS_TO_NONE = 1  # systemctl whoami
MAX_PID = 2**31 - 1  # messages.Pids
MAX_DIGITS = 10  # … has


def whoami(client: Client, pids: OptionalPids = (), *, output: JsonOutput = None) -> int:
    """Show the job that each process belongs to, one a line.

    Without a PID: the job in which jobctl itself runs. Exits with 1 if one belongs to none.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    wanted = [_pid(word) for word in pids]
    client.start = False
    members = client.call({"type": "whoami", "pids": wanted})["members"]
    status = 0
    for member in members:
        if member.get("job"):
            if not as_json:
                terminal.say(f"{names.shown_name(member['job'], member['owner'] or 0, client.uid)}\n")
            continue
        status = BELONGS_TO_NONE
        pid = member["pid"]
        if not wanted:
            terminal.warn("cannot find the job of this process: it belongs to none")
        elif FAR.remote is not None:
            terminal.warn(f"cannot find the job of process {pid} there: it belongs to none, or is not there")
        elif os.path.exists(f"/proc/{pid}"):
            terminal.warn(f"cannot find the job of process {pid}: it belongs to none")
        else:
            terminal.warn(f"cannot find the job of process {pid}: there is no such process")
    if as_json:
        from jobctl.rows import member_row, print_json

        assert output is not None
        print_json([member_row(member) for member in members], output)
    return status


def _pid(word: str) -> int:
    if not (word.isascii() and word.isdecimal()) or len(word) > MAX_DIGITS or not 0 < int(word) <= MAX_PID:
        raise UsageError(f"cannot read {word!r}: the id of a process is a number")
    return int(word)
