"""A job in the foreground: one loop over its stdin, its output, our signals, and the connections that carry them.

The rules: nothing waits for anything but in poll(2), so a reader who does not read stops his own stream alone. The
daemon may go at any moment: all connections are then made anew, and each part goes on from its own offset. Connections
are there before a job is asked for, so that one that is refused leaves no job behind.
"""

from __future__ import annotations

import os
import time
from select import POLLIN, POLLOUT, poll

from jobctl import names, terminal
from jobctl.client import MAX_LOSSES, RETRY_SEC
from jobctl.exits import NOT_THE_JOBS, SIGNALED, ConnectionLostError, Fault, NoDaemonError
from jobctl.foreground_feed import TAKEN, InputLostError
from jobctl.foreground_link import Link
from jobctl.foreground_signals import FORWARDED, SIGCONT, SIGHUP, SIGWINCH, Signals
from jobctl.foreground_sink import GoneError, HangupError
from jobctl.logs_source import OUT
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.connect import Target
    from jobctl.foreground_control import Control
    from jobctl.foreground_output import Stream
    from jobctl.foreground_stdin import Stdin
    from jobctl.pty_terminal import RawTerminal, TerminalSink
    from jobctl.shapes import Body

# Refusals of a connection that pass: others' connections end, and a daemon that is stopping is followed by the next.
PASSING = (errors.LIMIT, errors.UNAVAILABLE)
AWAY, GREETING, UP = range(3)  # no connection; made, and not accepted yet; good


class DetachedError(Exception):
    """We end and the job does not: the reason, and our exit status."""

    def __init__(self, reason: str, status: int = NOT_THE_JOBS) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Screen:
    """What there is to do about our own terminal; for a job with a pipe, nothing."""

    def __init__(self, raw: RawTerminal | None = None, sink: TerminalSink | None = None, sized: bool = False) -> None:
        self.raw = raw
        self.sink = sink
        self.sized = sized  # the job's terminal has the size of ours

    def warn(self, text: str) -> None:
        """A line on stderr that begins and ends as lines do, whatever state the terminal is in."""
        is_raw = self.raw is not None and self.raw.is_raw
        if is_raw and self.sink is not None and self.sink.in_line:
            _put(b"\r\n")
        terminal.warn(text)
        if is_raw:
            _put(b"\r")

    def enter(self) -> None:
        """The job has the terminal now."""
        if self.raw is not None and not self.raw.is_raw:
            self.raw.enter()

    def again(self) -> None:
        """We were stopped, and a shell had it."""
        if self.raw is not None and self.raw.is_raw and self.raw.is_ours():
            self.raw.enter()

    def leave(self, new_line: bool) -> None:
        """Give it back as it was; `new_line`: a line of ours follows."""
        try:
            if self.sink is not None:
                self.sink.restore(new_line)
        finally:
            if self.raw is not None:
                self.raw.leave()


def _put(data: bytes) -> None:
    try:
        os.write(terminal.STDERR, data)
    except OSError:
        return


class Session:
    """One job in the foreground, from the first connection to its end or ours."""

    def __init__(
        self, target: Target, control: Control, streams: list[Stream], stdin: Stdin | None, screen: Screen
    ) -> None:
        self.control = control
        self.shown = ""  # the job's name for people, once it is known
        self.quiet = False  # nobody wants to read that
        self._target = target
        self._streams = streams
        self._stdin = stdin
        self._screen = screen
        self._phase = AWAY
        self._greeting: list[tuple[Stream | None, Link]] = []  # whose each will be; None: for control
        self._refusal: Fault | None = None  # why the last connections were not accepted
        self._is_first = True
        self._retry_at = 0.0
        self._away_since = 0.0
        self._good_at = 0.0  # when the daemon last answered anything
        self._losses = 0
        self._answers = 0
        self._waiting_signal = False  # one has come that the daemon has not heard of

    # --- the whole ------------------------------------------------------------------------------------------------
    def run(self) -> int:
        """Stay until the job has ended and all of its output is written; the exit status.

        Raises:
            Fault: the daemon refused, or there is none any more.
        """
        numbers = (SIGHUP, *FORWARDED) + ((SIGWINCH, SIGCONT) if self._screen.sized else ())
        detached: DetachedError | None = None
        with Signals(*numbers) as signals:
            try:
                self._good_at = time.monotonic()
                self._connect(start=True)
                while not self._is_over():
                    self._step(signals)
            except DetachedError as e:
                detached = e
            except InputLostError as e:
                raise Fault(errors.INTERNAL, str(e)) from e
            except NoDaemonError as e:
                if not self.shown:
                    raise
                again = f"when it is back: {self._target.program} attach {self.shown}"
                raise Fault(errors.UNAVAILABLE, f"cannot go on with {self.shown}: {e.message}; {again}") from e
            finally:
                self._close()
                self._screen.leave(new_line=self.control.ended is None)
            return self._status() if detached is None else self._say_goodbye(detached)

    def _is_over(self) -> bool:
        control = self.control
        if control.started is not None and control.started.get("step"):
            return True
        return control.ended is not None and all(stream.done for stream in self._streams)

    def _status(self) -> int:
        if self.control.started is not None:
            from jobctl.verb_run import start_status

            failure = start_status(self.control.started, self.control.request)
            if failure is not None:
                return failure
        from jobctl.verb_wait import Outcome

        assert self.control.ended is not None
        return Outcome([self.control.ended], self.control.uid).status()

    def _say_goodbye(self, detached: DetachedError) -> int:
        if self.control.ended is not None:
            terminal.warn(detached.reason)
        elif self.shown:
            terminal.warn(f"{detached.reason}; {self.shown} goes on: {self._target.program} attach {self.shown}")
        else:
            terminal.warn(f"{detached.reason}; the job goes on, if it was accepted")
        return detached.status

    # --- one turn -------------------------------------------------------------------------------------------------
    def _step(self, signals: Signals) -> None:
        """Wait for something to happen, and see to it."""
        ready = self._poll(signals)
        try:
            if signals.fileno() in ready:
                self._signals(signals)
            self._serve_links(ready)
            for stream in self._streams:
                self._serve_stream(stream, ready)
            if self._stdin is not None:
                self._serve_stdin(self._stdin, ready, signals)
            self.control.send_input()
        except ConnectionLostError:
            self._lost()
        except HangupError:
            raise DetachedError("the terminal has gone", SIGNALED + SIGHUP) from None
        except terminal.OutputError as e:
            raise DetachedError(str(e)) from e

    def _poll(self, signals: Signals) -> dict[int, int]:
        wanted = {signals.fileno(): POLLIN}
        timeout_ms = None
        if self._phase == AWAY:
            timeout_ms = max(0.0, self._retry_at - time.monotonic()) * 1000
        elif self._phase == GREETING:
            wanted.update((link.fileno(), POLLIN) for _, link in self._greeting if not link.greeted)
        elif (link := self.control.link) is not None:
            wanted[link.fileno()] = POLLIN if link.idle else POLLIN | POLLOUT
        for stream in self._streams:
            if stream.goes_on:
                timeout_ms = 0.0
            if stream.rests_until and (rest := stream.rest(time.monotonic())):
                timeout_ms = min(rest * 1000, timeout_ms) if timeout_ms is not None else rest * 1000
            stream.wants(wanted)
        if self._stdin is not None:
            self._stdin.wants(wanted)
        poller = poll()
        for fd, events in wanted.items():
            poller.register(fd, events)
        return dict(poller.poll(timeout_ms))

    def _serve_stream(self, stream: Stream, ready: dict[int, int]) -> None:
        try:
            stream.polled(ready)
        except GoneError:
            stream.give_up()
            if stream.number == OUT:
                self.control.close_output()

    def _serve_stdin(self, stdin: Stdin, ready: dict[int, int], signals: Signals) -> None:
        if 0 in ready and stdin.polled(ready[0]):
            # Who closes a terminal ends what writes to us as well: that is no end of the job's input.
            self._signals(signals)
            stdin.finish()
        if stdin.detached:
            raise DetachedError("detached")
        stdin.settle()

    # --- signals --------------------------------------------------------------------------------------------------
    def _signals(self, signals: Signals) -> None:
        for number in signals.take():
            if number == SIGHUP:
                raise DetachedError("hangup", SIGNALED + SIGHUP)
            if number in FORWARDED:
                self._forward(number)
            elif number in (SIGWINCH, SIGCONT):
                self._screen.again()
                self._resize()

    def _forward(self, number: int) -> None:
        """A signal is the job's, unless there is nobody to tell, a second time, or the job is not ours to end."""
        is_heard = self._phase == UP and self.control.attached is not None
        if self.control.ended is not None or self._stdin is None or (self._waiting_signal and not is_heard):
            raise DetachedError("interrupted", SIGNALED + number)
        self._waiting_signal = not is_heard
        self.control.kill(number)

    def _resize(self) -> None:
        from jobctl.pty_terminal import window

        size = window()
        if size is not None and size != self.control.window:
            self.control.resize(size)

    # --- connections ----------------------------------------------------------------------------------------------
    def _connect(self, start: bool) -> None:
        """Make all connections. Raises NoDaemonError."""
        self._greeting = []
        try:
            self._greeting.append((None, Link(self._target, start)))
            for stream in self._streams:
                if stream.needs_link:
                    self._greeting.append((stream, Link(self._target, False)))
        except NoDaemonError:
            self._close()
            raise
        self._phase = GREETING

    def _serve_links(self, ready: dict[int, int]) -> None:
        if self._phase == AWAY:
            if time.monotonic() >= self._retry_at:
                self._try_again()
        elif self._phase == GREETING:
            self._greet(ready)
        elif self.control.link is not None and self.control.link.fileno() in ready:
            self._hear()

    def _try_again(self) -> None:
        try:
            self._connect(start=False)
        except NoDaemonError:
            now = time.monotonic()
            if now - self._away_since > self._target.patience_sec:
                raise
            self._retry_at = now + RETRY_SEC

    def _greet(self, ready: dict[int, int]) -> None:
        """See whether the daemon accepts all connections; then ask."""
        try:
            for _, link in self._greeting:
                if link.fileno() in ready and not link.greeted:
                    link.receive()
                    link.next_message()
        except Fault as fault:
            if self._is_first or fault.code not in PASSING:
                raise
            self._refusal = fault
            raise ConnectionLostError from fault
        if not all(link.greeted for _, link in self._greeting):
            return
        greeting, self._greeting = self._greeting, []
        self._phase = UP
        self._is_first = False
        self._refusal = None
        for stream, link in greeting:
            if stream is None:
                self.control.begin(link)
            else:
                stream.link = link
        self._follow()

    def _hear(self) -> None:
        """Take the daemon's answers, and what follows from them."""
        control, feed = self.control, self.control.feed
        was = feed.state
        had = (control.started, control.attached)
        try:
            control.receive()
        finally:
            if control.answers != self._answers:
                self._answers, self._losses = control.answers, 0
                self._good_at = time.monotonic()
        if control.started is not had[0] and control.started is not None:
            started = control.started
            self.shown = names.shown_name(started["job"], started["owner"], control.uid)
            if not self.quiet:
                terminal.note(self.shown)
                self._tell_wait(started)
            if not started.get("step"):
                self._follow()
        if control.attached is not had[1]:
            self._waiting_signal = False
            if had[1] is None:
                self._screen.enter()
                if self._stdin is not None:
                    self._stdin.begin()
                self._follow()
        if feed.state == TAKEN and was != TAKEN:
            self._tell_of_the_other()

    def _tell_wait(self, started: Body) -> None:
        """Say what the job waits for, if it does."""
        if started.get("waits"):
            from jobctl.verb_run import tell_wait

            tell_wait(self.shown, started.get("waits", ""), self.control.request or {})

    def _tell_of_the_other(self) -> None:
        """Say that somebody else feeds the job now."""
        rest = f"what it had from here ends at byte {self.control.feed.received}"
        if self._screen.raw is not None:
            rest = "keys are lost here, ^] three times leaves it"
        text = f"another jobctl feeds {self.shown} now; {rest}"
        self._screen.warn(text)
        if self._stdin is not None:
            self._stdin.why_lost = text

    def _follow(self) -> None:
        """Ask for the output, on connections that have not asked yet: once there is a run, and a terminal is raw."""
        control = self.control
        if control.request is not None and control.started is None:
            return
        if self._screen.raw is not None and control.attached is None:
            return
        for stream in self._streams:
            if stream.link is not None and not stream.is_asking:
                stream.ask(stream.link, control.run)

    def _lost(self) -> None:
        """The daemon has gone: begin anew, at once the first time."""
        now = time.monotonic()
        self._losses += 1
        if self._losses > MAX_LOSSES and now - self._good_at > self._target.patience_sec:
            raise self._refusal or NoDaemonError("cannot go on: the connection to jobd is lost again and again")
        self._close()
        self._phase = AWAY
        self._away_since = now
        self._retry_at = now if self._losses == 1 else now + RETRY_SEC

    def _close(self) -> None:
        for _, link in self._greeting:
            link.close()
        self._greeting = []
        self.control.lose()
        for stream in self._streams:
            stream.lose()
