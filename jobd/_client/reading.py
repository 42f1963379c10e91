"""Reading output: where a reader is in each stream, and how he goes on there after losing the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from jobd._client.exchanges import Exchange, State
from jobd._client.faults import error_for
from jobd._client.results import Chunk
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

STDOUT = 1  # messages.Output.stream; 2 is stderr


class _Position:
    """How far one run has been read: the offset of the next byte of each stream."""

    __slots__ = ("job", "number", "offsets", "run")

    def __init__(self, start: m.LogRun) -> None:
        self.run = start.run
        self.job = start.job
        self.number = start.number
        self.offsets = [0, start.out_from, start.err_from]  # by stream number


class Reading(Exchange[Chunk]):
    """Logs of one job: gives its output from there on, byte-exact.

    After a loss it asks for the run it was in, from its offsets, whatever was asked first (`lines`, the newest run);
    what comes again all the same is cut off by offset. With `run` "all" it asks for all and drops what it has.
    """

    resumable = True

    def __init__(self, request: m.Logs) -> None:
        super().__init__()
        self.lasting = request.follow
        self._request = request
        self._now: _Position | None = None
        self._seen: dict[bytes, _Position] = {}  # more than one only with `run` "all" or `follow`
        self._skip = False  # the daemon repeats a run that came before where we began

    def request(self, id: int) -> m.Request:  # noqa: A002  # the field's name
        self._skip = False
        now = self._now
        if now is None:
            return msgspec.structs.replace(self._request, id=id)
        if self._request.run == "all":
            return msgspec.structs.replace(self._request, id=id, lines=None)
        return msgspec.structs.replace(
            self._request, id=id, run=now.run.hex(), lines=None, out_from=now.offsets[1], err_from=now.offsets[2]
        )

    def fault(self, fault: m.Fault) -> Sequence[Chunk]:
        if fault.code == errors.NOT_FOUND and self._request.one_run and self._request.jobs:
            self._request = msgspec.structs.replace(self._request, jobs=[])  # the job was removed, and its runs stay
        elif fault.code != errors.LAGGED:
            raise error_for(fault.code, fault.message, fault.details)
        self.state = State.SEND  # we were slow; the offsets say where to go on
        return ()

    def item(self, body: m.AnyBody) -> Sequence[Chunk]:
        if isinstance(body, m.Output):
            return self._output(body)
        if isinstance(body, m.LogRun):
            self._enter(body)
        elif isinstance(body, m.Dropped):
            return self._dropped(body)
        elif not isinstance(body, m.Progress):
            return super().item(body)
        return ()

    def end(self) -> Sequence[Chunk]:
        return ()

    def _enter(self, start: m.LogRun) -> None:
        now = self._now
        if self._request.one_run and now is not None and start.run != now.run:
            self.state = State.DONE
            return
        position = self._seen.get(start.run)
        # Of the runs that come again, one not known and older than ours was left out by `lines` the first time.
        self._skip = position is None and now is not None and start.number < now.number
        if self._skip:
            return
        if position is None:
            position = self._seen[start.run] = _Position(start)
        if now is None or position.number >= now.number:
            self._now = position

    def _output(self, output: m.Output) -> Sequence[Chunk]:
        position = self._place(output.run, output.stream)
        if position is None:
            return ()
        data, offset = output.data, output.offset
        missing = position.offsets[output.stream] - offset
        if missing > 0:
            data, offset = data[missing:], offset + missing
        if not data:
            return ()
        position.offsets[output.stream] = offset + len(data)
        return (_chunk(position, output.stream, data, output.wall, output.mono, offset),)

    def _dropped(self, gap: m.Dropped) -> Sequence[Chunk]:
        position = self._place(gap.run, gap.stream)
        if position is None or gap.offset <= position.offsets[gap.stream]:
            return ()
        length = min(gap.length, gap.offset - position.offsets[gap.stream])
        position.offsets[gap.stream] = gap.offset
        return (_chunk(position, gap.stream, b"", 0, 0, gap.offset, length),)

    def _place(self, run: bytes, stream: int) -> _Position | None:
        position = self._seen.get(run)
        if position is None and self._skip:
            return None
        if position is None or stream not in (1, 2):
            raise error_for(errors.MALFORMED, "cannot understand the daemon: output of a run or stream not announced")
        return position


def _chunk(at: _Position, stream: int, data: bytes, wall: int, mono: int, offset: int, dropped: int = 0) -> Chunk:
    name: Literal["stdout", "stderr"] = "stdout" if stream == STDOUT else "stderr"
    return Chunk(at.job, at.run.hex(), name, data, wall, mono, offset, dropped)
