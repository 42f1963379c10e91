"""How a job comes to the foreground: by `run -P` or `-t` from its first byte, by `attach` from where it is.

Here the parts are put together; what they do is in `foreground`.
"""

from __future__ import annotations

import os

from jobctl import foreground_stdin, terminal
from jobctl.foreground import Screen, Session
from jobctl.foreground_control import Control
from jobctl.foreground_feed import Feed
from jobctl.foreground_output import Stream
from jobctl.foreground_pages import PassingFeed
from jobctl.foreground_sink import Sink
from jobctl.foreground_stdin import Stdin
from jobctl.logs_raw import is_fifo
from jobctl.logs_source import ERR, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.connect import Target

PIPE, PTY = "pipe", "pty"  # JobSpec.stdin
# Keys are read however far the job is behind with them, as one of them may be the one that leaves it.
KEYS_AHEAD_BYTES = 1 << 20


class Start:
    """Where output begins, for who comes later than the job."""

    def __init__(self, out: int = 0, err: int = 0, live: int = 0, known_from: int = 0) -> None:
        """What there is of stdout (all offsets).

        Args:
            out, err: the first bytes that are shown.
            live: the first byte of stdout that was not there yet when we came.
            known_from: where to begin to look for what the job has done to its terminal; not behind `out`.
        """
        self.out = out
        self.err = err
        self.live = live
        self.known_from = known_from


def submit(client: Client, request: dict[str, object], pipe: bool, pty: bool, quiet: bool = False) -> int:
    """Send a Run or a Rerun, and stay with the job until its end; the exit status.

    Args:
        client: names the daemon; its connection is not used.
        request: complete but for `stdin`.
        pipe, pty: what was asked for; with both it is a terminal where we have one, as with systemd-run.
        quiet: do not say the job's name.

    Raises:
        Fault: the daemon refused, or there is none.
    """
    kind = PTY if pty and (not pipe or (os.isatty(foreground_stdin.STDIN) and terminal.is_terminal())) else PIPE
    run = request["run"] if request["type"] == "run" else request["new"]
    assert isinstance(run, bytes)
    control = Control(run, make_feed(kind, follow=False), takes_input=True)
    control.request = {**request, "stdin": kind}
    session = make_session(client.target, control, kind, Start())
    session.quiet = quiet
    if control.window is not None:
        control.request["window"] = control.window
    return session.run()


def make_feed(kind: str, follow: bool) -> Feed:
    """The input of a run; `follow`: it begins behind what the run has had."""
    keys = kind == PTY and os.isatty(foreground_stdin.STDIN)
    if kind != PTY and is_fifo(foreground_stdin.STDIN):
        return PassingFeed(follow=follow)
    return Feed(ahead=KEYS_AHEAD_BYTES if keys else 0, follow=follow, says_end=kind != PTY)


def make_session(target: Target, control: Control, kind: str, start: Start, again: bool = False) -> Session:
    """The parts of a job of this kind, ready to run. Without `control.takes_input` stdin is left alone.

    `again`: stdin is all of the job's input once more.
    """
    if kind == PTY:
        return _terminal_session(target, control, start)
    screen = Screen()
    streams = [
        Stream(OUT, Sink(terminal.STDOUT), start.out, screen.warn),
        Stream(ERR, Sink(terminal.STDERR), start.err, screen.warn),
    ]
    stdin = Stdin(control.feed, screen.warn, again) if control.takes_input else None
    return Session(target, control, streams, stdin, screen)


def _terminal_session(target: Target, control: Control, start: Start) -> Session:
    from jobctl import pty_terminal
    from jobctl.foreground_stdin import Keys

    if terminal.is_terminal():
        sink: Sink = pty_terminal.TerminalSink(terminal.STDOUT, show_from=start.out, live_from=start.live)
        begin = start.known_from
    else:
        sink, begin = Sink(terminal.STDOUT), start.out
    shown = sink if isinstance(sink, pty_terminal.TerminalSink) else None
    if control.takes_input:
        control.window = pty_terminal.window()
        raw = pty_terminal.RawTerminal() if os.isatty(foreground_stdin.STDIN) else None
        screen = Screen(raw, shown, sized=True)
        stdin = Keys(control.feed, screen.warn, pty_terminal.DetachKey())
    else:
        screen, stdin = Screen(None, shown), None
    return Session(target, control, [Stream(OUT, sink, begin, screen.warn)], stdin, screen)
