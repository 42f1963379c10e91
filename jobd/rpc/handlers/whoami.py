"""`whoami`: the jobs that processes belong to."""

from __future__ import annotations

from typing import Final

import trio

from jobd.rpc.context import Context, Refused
from jobd.wire import errors
from jobd.wire import messages as m

TURN: Final = 16  # processes looked at before others get their turn: about a millisecond


async def whoami(context: Context, request: m.Whoami) -> None:
    """Answer for each process, or for the caller's."""
    pids = request.pids or [context.caller.pid]
    if pids == [0]:
        text = "cannot tell which process you are: it is not to be seen from jobd's pid namespace"
        raise Refused(errors.FAILED, text)
    found = await context.world.keeper.runs_of(pids)
    members = []
    for at, (pid, run_id) in enumerate(zip(pids, found, strict=True), 1):
        run = None if run_id is None else context.find_live(run_id)
        if run is None:
            members.append(m.Member(pid=pid))
        else:
            row = run.row
            members.append(m.Member(pid=pid, job=row.job, owner=row.owner, run=row.run, number=row.number))
        if at % TURN == 0:
            await trio.lowlevel.checkpoint()
    await context.connection.reply(request.id, m.Members(members=members))
