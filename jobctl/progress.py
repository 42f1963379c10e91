"""What a person sees on stderr while jobctl waits. Imported only where stderr is a terminal.

The rule: time passes here, not in jobd. The client's own poll runs out once a second and a Ticker writes the line anew;
jobd hears of it only where a Ticker asks something, beside the request that is being waited for.
"""

from __future__ import annotations

import os
import time

from jobctl import terminal, width
from jobctl.escape import escape
from jobctl.times import coarse_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client

CLEAR = "\r\x1b[K"
FIRST_SEC = 0.5  # what takes less needs no words
EVERY_SEC = 1.0
USEC = 1_000_000
SHOWN_NAMES = 3


class Line:
    """The one line, rewritten in place; it never reaches the last column, where some terminals wrap."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str, suffix: str = "") -> None:
        """Show `text` in place of what was shown. `suffix`, of ours, stays when the text has to be cut."""
        room = max(1, terminal.width_of(terminal.STDERR) - 1)
        line = width.cut(width.cut(escape(text), max(1, room - len(suffix))) + suffix, room)
        if line != self._shown:
            self._shown = line
            self._put(f"{CLEAR}{line}")

    def clear(self) -> None:
        """Take the line away, before anything else is written."""
        if self._shown:
            self._shown = ""
            self._put(CLEAR)

    def end(self) -> None:
        """No more of it."""
        self.clear()

    def _put(self, text: str) -> None:
        if not os.isatty(terminal.STDERR):  # a pager has taken its place: it has no room for this
            return
        try:
            os.write(terminal.STDERR, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return


class Ticker(Line):
    """A line that the client has written anew while it waits.

    Attributes:
        at: of time.monotonic: when to call `tick`.
    """

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.began = time.monotonic()
        self.at = self.began + FIRST_SEC
        client.ticker = self

    def tick(self) -> None:
        """Time has passed. Raises ConnectionLostError if it asks something and cannot."""
        self.at = time.monotonic() + EVERY_SEC
        self.draw()

    def draw(self) -> None:
        """Write the line as it is to be now."""

    def elapsed(self) -> str:
        """How long this has been going on, to the second."""
        return seconds(int((time.monotonic() - self.began) * USEC))

    def end(self) -> None:
        """No more of it."""
        self.client.ticker = None
        self.clear()


class Elapsed(Ticker):
    """What is waited for, in jobd's words when it has said some, and since when."""

    def __init__(self, client: Client, text: str) -> None:
        super().__init__(client)
        self._text = text

    def show(self, text: str, suffix: str = "") -> None:  # noqa: ARG002  # it is the time
        """Show `text` from now on."""
        self._text = text
        self.draw()

    def draw(self) -> None:
        """Write the line as it is to be now; the first second needs no number."""
        late = time.monotonic() - self.began >= EVERY_SEC
        super().show(self._text, f" ({self.elapsed()})" if late else "")


def seconds(usec: int) -> str:
    """A span in whole seconds."""
    return coarse_span(usec - usec % USEC) if usec >= USEC else "0s"


def listed(names: list[str], count: int) -> str:
    """The first few names of `count`."""
    shown = names[:SHOWN_NAMES]
    return ", ".join(shown) + (" …" if len(shown) < count else "")
