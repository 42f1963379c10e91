"""Jobs with logs, for a fake daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, output_frame, view

if TYPE_CHECKING:
    from tests.jobctl.fakes import Answer, FakeDaemon, Script

OUT, ERR = 1, 2
SEC = 10**9
BASE = 1_700_000_000 * SEC
UTC = {**os.environ, "TZ": "UTC"}
OTHER = bytes(15) + b"2"


def piece(request: m.Logs, stream: int, offset: int, data: bytes, at: int = 0, run: bytes = RUN_ID) -> bytes:
    return output_frame(request.id, run, stream, offset, data, wall=BASE + at * SEC)


def head(request: m.Logs, run: bytes = RUN_ID, number: int = 1, **fields: object) -> m.Item:
    usual: dict[str, object] = {"job": request.jobs[0] if request.jobs else "web", "owner": os.geteuid(), "pid": 7}
    return m.Item(id=request.id, body=m.LogRun(run=run, number=number, **{**usual, **fields}))  # type: ignore[arg-type]


def writes(*pieces: tuple[int, int, bytes, int], stdin: str = "null") -> Script:
    """A job whose log is these pieces: stream, offset, data, seconds."""

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Get):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[view("web", stdin=stdin)]))
            return
        assert isinstance(request, m.Logs)
        yield head(request)
        for stream, offset, data, at in pieces:
            yield piece(request, stream, offset, data, at)
        yield m.End(id=request.id)

    return script


TWO = writes((OUT, 0, b"one\ntw", 0), (ERR, 0, b"Oops\n", 1), (OUT, 6, b"o\nlast", 2))


def asked(fake: FakeDaemon) -> m.Logs:
    (request,) = fake.of(m.Logs)
    assert isinstance(request, m.Logs)
    return request
