"""why: the reason for the state that a job is in, in sentences."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.escape import escape
from jobctl.exits import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import JsonOutput, Patterns
    from jobctl.shapes import Reason

NO_SUCH_JOB = 4
NOT_FOUND = "not-found"  # of jobd.wire.errors


def why(client: Client, jobs: Patterns, *, output: JsonOutput = None) -> int:
    """Say why jobs are in the state they are in: why one does not run, why it was restarted, what it waits for.

    Where another job is behind it, that one's reasons follow.
    """
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    status = 0
    found: list[Reason] = []
    for word in names.expand(client, jobs):
        try:
            reasons: list[Reason] = client.call({"type": "why", "names": [word]})["reasons"]  # type: ignore[assignment]
        except Fault as e:
            if e.code != NOT_FOUND:
                raise
            from jobctl.mistakes import next_step

            terminal.warn(next_step(e.code, e.message))
            status = NO_SUCH_JOB
            continue
        if not as_json:
            lines = "".join(f"{escape(reason['text'])}\n" for reason in reasons)
            terminal.say(f"\n{lines}" if found else lines)
        found += reasons
    if as_json:
        from jobctl.rows import print_json, reason_row

        assert output is not None
        print_json([reason_row(reason) for reason in found], output)
    return status
