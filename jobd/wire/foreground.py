"""Messages of jobs in the foreground: what a client feeds to a run's stdin, and its terminal.

Output is read by Logs, one request for each stream. stdin has offsets as output has: `offset` counts from the first
byte that the run was ever sent, whoever sent it, so a client that has lost its connection sends again from what the
daemon last acknowledged, and another may go on where one has stopped.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobd.wire.fields import Data, Id, Message, RunId, Window  # msgspec reads the annotations at run time

__all__ = ["Attach", "CloseOutput", "Input", "Resize"]


class Attach(Message, frozen=True, kw_only=True, tag="attach"):
    """Feed a run. Items: Attached, then Fed whenever one of its values changes; End when the run has ended.

    One client feeds a run: a newer Attach with `input` takes it over, and the older is told by a Fed with `taken`.
    """

    id: Id
    run: RunId
    input: bool = True
    window: Window | None = None  # of the client's terminal, for a run that has one; its programs are told to redraw


class Input(Message, frozen=True, kw_only=True, tag="input"):
    """Bytes for the run of the Attach `request`. No answer of its own: Fed says how far they are safe.

    Bytes before what was received already are left out, so sending twice is safe; a gap is INVALID and ends the Attach.
    """

    id: Id
    request: Id
    offset: Annotated[int, Meta(ge=0, le=2**62)]
    data: Data = b""
    eof: bool = False  # nothing follows the data: the run's stdin ends there, for good


class Resize(Message, frozen=True, kw_only=True, tag="resize"):
    """The terminal of the Attach `request` has another size now. No answer of its own."""

    id: Id
    request: Id
    window: Window


class CloseOutput(Message, frozen=True, kw_only=True, tag="close-output"):
    """Nobody reads the run's stdout any more. Reply: Ok.

    What is in the pipe is taken, then it is closed, so that who writes there gets EPIPE, and the run gets SIGPIPE, as
    in a pipeline of a shell whose next program has ended.
    """

    id: Id
    run: RunId
