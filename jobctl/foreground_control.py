"""The control connection of a job in the foreground: what is asked there, and asked again after a loss.

Everything is safe to ask twice: the Run by its id, a Kill by its own name, an Input by its offset. So after a loss all
that was not answered is simply sent once more.
"""

from __future__ import annotations

from jobctl.connect import grant, needs_grant
from jobctl.exits import Fault
from jobctl.foreground_feed import TAKEN, Feed
from jobd.core.ids import new_run_id
from jobd.wire import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.foreground_link import Link
    from jobctl.shapes import Body, Message, RunView

RUN, ATTACH, WAIT, KILL, CLOSE = range(5)
# What an act may be answered that was meant for a run which has ended meanwhile.
OVER = (errors.NOT_APPLICABLE, errors.NOT_FOUND)


class Control:
    """What has been asked about one run, and what has been said."""

    def __init__(self, run: bytes, feed: Feed, takes_input: bool) -> None:
        """`takes_input`: attach to feed the run, and not only to look on."""
        self.run = run
        self.feed = feed
        self.takes_input = takes_input
        self.window: tuple[int, int] | None = None
        self.request: dict[str, object] | None = None  # the Run that is to be sent before all else
        self.started: Body | None = None
        self.attached: Body | None = None
        self.ended: RunView | None = None
        self.uid = -1  # whom the daemon takes us for
        self.answers = 0  # of any kind: a connection that brings some is a good one
        self.link: Link | None = None
        self._asked: dict[int, tuple[int, str]] = {}  # by id: kind, and which kill
        self._attach = 0
        self._is_attached = False  # on this connection
        self._kills: dict[str, int] = {}  # not answered yet: by its own name, the signal
        self._closes_output = False
        self._told_window: tuple[int, int] | None = None
        self._name = ""

    # --- connections ----------------------------------------------------------------------------------------------
    def begin(self, link: Link) -> None:
        """Go on with this connection: ask all that was not answered."""
        self.link, self.uid = link, link.uid
        if self.request is not None and self.started is None:
            if self.request["type"] == "run" and needs_grant(link.path):
                grant(link.path, self.request)
            self._ask(RUN, self.request)
        else:
            self._resume()

    def lose(self) -> None:
        """The connection is no more."""
        if self.link is not None:
            self.link.close()
        self.link = None
        self._is_attached = False
        self._asked.clear()

    def _resume(self) -> None:
        attach: dict[str, object] = {"type": "attach", "run": self.run, "input": self.takes_input}
        if self.window is not None:
            attach["window"] = self.window
        self._told_window = self.window
        self._attach = self._ask(ATTACH, attach)
        self._ask(WAIT, {"type": "wait", "runs": [self.run]})
        if self._closes_output:
            self.close_output()
        for once in self._kills:
            self._ask_kill(once)

    def _ask(self, kind: int, request: dict[str, object], once: str = "") -> int:
        assert self.link is not None
        number = self.link.send(request)
        self._asked[number] = (kind, once)
        return number

    # --- acts -----------------------------------------------------------------------------------------------------
    def name_job(self, job: str, owner: int) -> None:
        """Whose job it is, for acts that name it."""
        self._name = f"{owner}/{job}"

    def kill(self, signal: int) -> None:
        """Send a signal to the run, once."""
        once = new_run_id().hex()
        self._kills[once] = signal
        if self.link is not None and self._attach:
            self._ask_kill(once)

    def _ask_kill(self, once: str) -> None:
        request: dict[str, object] = {
            "type": "kill", "names": [self._name], "runs": [self.run], "signal": self._kills[once], "whom": "all",
            "once": once,
        }  # fmt: skip
        self._ask(KILL, request, once)

    def close_output(self) -> None:
        """Nobody reads the run's stdout any more."""
        self._closes_output = True
        if self.link is not None and self._attach:
            self._ask(CLOSE, {"type": "close-output", "run": self.run})

    def resize(self, window: tuple[int, int]) -> None:
        """The terminal has another size."""
        self.window = window
        self._tell_window()

    def _tell_window(self) -> None:
        if self.link is not None and self._is_attached and self.window != self._told_window:
            self.link.send({"type": "resize", "request": self._attach, "window": self.window})
            self._told_window = self.window

    def send_input(self) -> None:
        """Send what the feed has, as far as the connection takes it at once."""
        link = self.link
        if not self._is_attached or not self.takes_input:
            return
        while link is not None and link.idle and (piece := self.feed.next_piece()) is not None:
            offset, data, eof = piece
            link.send_input(self._attach, offset, data, eof)

    # --- answers --------------------------------------------------------------------------------------------------
    def receive(self) -> None:
        """Take what has come.

        Raises:
            ConnectionLostError: the daemon has gone.
            Fault: it refused.
        """
        link = self.link
        assert link is not None
        if not link.idle:
            link.flush()
        link.receive()
        while (message := link.next_message()) is not None:
            self.answers += 1
            self._take(message)

    def _take(self, message: Message) -> None:
        asked, once = self._asked.get(message.get("id", -1), (-1, ""))
        kind = message["type"]
        if kind == "fault":
            self._refused(asked, once, message)
        elif asked == KILL and kind == "end":
            self._kills.pop(once, None)
        elif asked == CLOSE:
            self._closes_output = False
        elif kind in ("item", "reply"):
            self._said(message["body"])

    def _refused(self, asked: int, once: str, message: Message) -> None:
        code = message["code"]
        if asked == KILL:
            self._kills.pop(once, None)
        elif asked == CLOSE:
            self._closes_output = False
        elif asked == -1:
            return
        if code in OVER and asked in (KILL, CLOSE, ATTACH) and self._attach:
            # The run has ended in between, and Wait tells how.
            self.attached = self.attached or {"type": "attached", "run": self.run}
            return
        raise Fault(code, message["message"], message.get("details"))

    def _said(self, body: Body) -> None:
        kind = body["type"]
        if kind == "started":
            self.started = body
            self.name_job(body["job"], body["owner"])
            if not body.get("step"):
                self._resume()
        elif kind == "attached":
            self.attached = body
            self._is_attached = True
            self._tell_window()  # it may have changed since we asked
            self.name_job(body["job"], body["owner"])
            if self.takes_input:
                self.feed.attached(body.get("received", 0), body.get("limit", 0), body.get("open", False))
        elif kind == "fed":
            if self.takes_input:
                self.feed.fed(body["received"], body["limit"], body.get("open", True), body.get("taken", False))
                # After a loss, do not take it back from who took it.
                self.takes_input = self.feed.state != TAKEN
        elif kind == "ended":
            self.ended = body["run"]  # type: ignore[assignment]  # of an Ended it is a RunView
