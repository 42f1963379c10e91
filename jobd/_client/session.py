"""One connection as bytes: what to send for a request, and the answers in what was received. No socket in sight.

The trio client and the blocking one both stand on this, so that there is one codec and one idea of what is an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import jobd
from jobd._client.faults import JobdError, LostError, error_for
from jobd.wire import codec, errors, frames
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

Answer: TypeAlias = m.Reply | m.Item | m.End | m.Fault

RECEIVE_BYTES: Final = 1 << 16  # measured: from 256 KiB malloc maps fresh memory for each receive, at half the speed
# Seconds before each further try to reach a daemon that is being replaced: about half a minute in all. The keeper holds
# the socket meanwhile, so that usually the first one waits in its backlog and succeeds.
RETRY_DELAYS_SEC: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, *(1.0,) * 28)


def delay_before(losses: int, endless: bool) -> float | None:
    """Seconds before the next try after so many losses without an answer; None when there is to be none.

    `endless`: the exchange lasts, and the daemon that was lost had greeted us. It did come back: so may the next.
    """
    if losses < len(RETRY_DELAYS_SEC):
        return RETRY_DELAYS_SEC[losses]
    return RETRY_DELAYS_SEC[-1] if endless else None


class Session:
    """The protocol's state of one connection. `peer` is the daemon's Hello, once it has come."""

    def __init__(self) -> None:
        self._buffer = frames.FrameBuffer()
        self._last_id = 0
        self.peer: m.Hello | None = None

    def hello(self) -> bytes:
        """The first bytes to send."""
        return codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software=f"jobd.client {jobd.__version__}"))

    def request(self, build: Callable[[int], m.Request]) -> tuple[int, bytes]:
        """A request under a fresh id, and its frame.

        It is read back as the daemon will: a request that breaks the protocol would end the connection for all others.

        Raises:
            Invalid: text with surrogates, a NUL, a name or a list over its bound, too large.
        """
        self._last_id += 1
        try:
            frame = codec.encode(build(self._last_id))
            codec.decode_client(frame[frames.HEADER :])
        except codec.ProtocolError as e:
            raise error_for(e.code, e.message) from e
        return self._last_id, frame

    def cancel(self, request: int) -> tuple[int, bytes]:
        """What ends `request` early: a fresh id, and the frame."""
        self._last_id += 1
        return self._last_id, codec.encode(m.Cancel(id=self._last_id, request=request))

    def feed(self, data: bytes) -> None:
        """Add what was received. Raises LostError for b"", the end of the stream."""
        if not data:
            raise LostError("the connection was closed")
        self._buffer.feed(data)

    def next(self) -> Answer | None:
        """The next answer, or None until more is fed.

        Raises:
            JobdError: the daemon refuses the connection, speaks another version, or breaks the protocol. The
                connection is of no more use.
            LostError: the daemon says that it leaves; another will come.
        """
        while True:
            try:
                body = self._buffer.next()
                if body is None:
                    return None
                if self.peer is None and (other := codec.other_hello(body)) is not None:
                    self._greet(other)
                message = codec.decode_daemon(body)
            except (frames.FrameError, codec.ProtocolError) as e:
                raise JobdError(errors.MALFORMED, f"cannot understand the daemon: {e}") from e
            if type(message) is m.Hello:
                self._greet(message)
            elif type(message) is m.Fault and message.id is None:
                if message.code == errors.UNAVAILABLE:
                    raise LostError(message.message)
                raise error_for(message.code, message.message, message.details)
            elif self.peer is None:
                raise JobdError(errors.MALFORMED, "cannot understand the daemon: it did not say hello")
            else:
                assert not isinstance(message, m.Hello)
                return message

    def _greet(self, hello: m.Hello) -> None:
        if hello.version != m.PROTOCOL_VERSION:
            text = f"cannot speak with {hello.software}: its protocol is {hello.version}, ours {m.PROTOCOL_VERSION}"
            raise error_for(errors.VERSION, text)
        self.peer = hello
