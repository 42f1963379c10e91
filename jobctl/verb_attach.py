"""attach: a job that runs, in the foreground again: its terminal, or its stdin and both streams."""

from __future__ import annotations

from jobctl import foreground_stdin, names
from jobctl.exits import INTERRUPTED, ConnectionLostError, Fault, UsageError
from jobctl.foreground_begin import PTY, Start, make_feed, make_session
from jobctl.foreground_control import Control
from jobctl.logs_source import Query
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import InputMode, OneRun, SeenLines
    from jobctl.shapes import Body, RunView

AUTO, SAME, MORE, NONE = "auto", "same", "more", "none"
FINISHED = "finished"  # RunView.state
NULL = "null"  # JobSpec.stdin
DEFAULT_ROWS = 24  # shown again where our terminal does not say how many it has
MODES_BYTES = 256 << 10  # looked at for what the job has done to its terminal; more than a screen takes to be drawn


def attach(client: Client, job: OneRun, *, input_mode: InputMode = AUTO, lines: SeenLines = None) -> int:
    """Bring a job that runs to the foreground: with its terminal, or with its stdin, stdout and stderr.

    Ends with the job, and with its exit status. On a terminal ^] three times within a second leaves the job.
    """
    if len(job) != 1:
        raise UsageError(f"cannot attach to more than one job at a time: {' '.join(job)}")
    if input_mode not in (AUTO, SAME, MORE, NONE):
        raise UsageError(f"cannot read --input {input_mode!r}: it is same, more or none")
    count = names.check_count(lines, "-n") if lines is not None else -1
    try:
        seen = _look(client, names.resolve(client, job[0]))
        start = _start(client, seen, count)
    except KeyboardInterrupt:
        return INTERRUPTED
    client.close()
    kind = seen.get("stdin", NULL)
    # The end of a stdin that was never meant would end the job's for good.
    feeds = kind != NULL and input_mode != NONE and not (input_mode == AUTO and foreground_stdin.is_null())
    again = input_mode == SAME or (input_mode == AUTO and foreground_stdin.is_file())
    control = Control(seen["run"], make_feed(kind, follow=True), feeds)
    control.name_job(seen["job"], seen["owner"])
    session = make_session(client.target, control, kind, start, again)
    session.shown = names.shown_name(seen["job"], seen["owner"], client.uid)
    return session.run()


def _look(client: Client, row: RunView) -> Body:
    """What there is to attach to.

    Raises:
        Fault: nothing any more.
    """
    job, number = names.shown_name(row["job"], row["owner"], client.uid), row["number"]
    if row["state"] == FINISHED:
        run = f"{job}#{number}"
        text = f"it has ended; jobctl logs '{run}' shows what it wrote, jobctl result '{run}' how it ended"
        raise Fault(errors.NOT_APPLICABLE, f"cannot attach to {run}: {text}")
    while True:
        try:
            for body in client.stream({"type": "attach", "run": row["run"], "input": False}):
                if body["type"] == "attached":
                    return body
            raise Fault(errors.INTERNAL, f"cannot attach to {job}: jobd said nothing of it")
        except ConnectionLostError:
            client.reconnect()


def _start(client: Client, seen: Body, count: int | None) -> Start:
    """Where output begins. `count`: the last so many lines, None for all; -1 if the user did not say.

    A terminal's screen is shown again; what goes to pipes goes on from now, as nobody knows what was read of it.
    """
    run, is_terminal = seen["run"], seen.get("stdin") == PTY
    end, end_err = _offsets(client, run, 0)
    if count is None:
        return Start(live=end)
    if count < 0 and not is_terminal:
        return Start(end, end_err, end, end)
    known_from = max(0, end - MODES_BYTES)
    if count >= 0:
        out, err = _offsets(client, run, count)
        return Start(out, err, end, min(known_from, out))
    from jobctl.pty_terminal import window

    out, err = _offsets(client, run, (window() or (DEFAULT_ROWS, 0))[0])
    return Start(max(out, known_from), err, end, known_from)  # a program may draw for ever without a newline


def _offsets(client: Client, run: bytes, lines: int) -> tuple[int, int]:
    """Where in both streams of a run its last `lines` lines begin."""
    query = Query("", run.hex())
    query.lines = lines
    while True:
        try:
            for body in client.stream(query.request()):
                if body["type"] == "log-run":
                    client.close()  # and with it the answer, of which the rest is not wanted
                    return body.get("out_from", 0), body.get("err_from", 0)
            return 0, 0
        except ConnectionLostError:
            client.reconnect()
