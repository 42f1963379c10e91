"""The output of one job as the daemon sends it, over as many connections as it takes.

The rule: nothing is lost and nothing comes twice. `Place` is where the reader stands: the run, and how far into each
of its streams; every piece moves it. After a lost connection the request goes on from there by run id, and then, where
the request reaches over runs, run by run to the newest.
"""

from __future__ import annotations

from jobctl.exits import ConnectionLostError, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.shapes import Body, RunView

NOT_FOUND = "not-found"  # of jobd.wire.errors
ALL = "all"
NEWEST = "0"
OUT, ERR = 1, 2


class Query:
    """What is wanted of one job's output. The fields are those of the Logs message."""

    __slots__ = ("err_from", "follow", "job", "lines", "out_from", "run", "since", "split", "stderr", "stdout", "until")

    def __init__(self, job: str, run: str = NEWEST) -> None:
        self.job = job
        self.run = run
        self.follow = False
        self.lines: int | None = None
        self.since: int | None = None
        self.until: int | None = None
        self.stdout = True
        self.stderr = True
        self.split = False
        self.out_from = 0
        self.err_from = 0

    def copy(self, job: str, run: str) -> Query:
        """The same for another job or run, from its beginning."""
        other = Query(job, run)
        for field in ("follow", "lines", "since", "until", "stdout", "stderr", "split"):
            setattr(other, field, getattr(self, field))
        return other

    def request(self) -> dict[str, object]:
        """The message."""
        wanted: dict[str, object] = {
            "type": "logs", "jobs": [self.job] if self.job else [], "run": self.run, "follow": self.follow,
            "stdout": self.stdout, "stderr": self.stderr, "split": self.split,
        }  # fmt: skip
        optional = {
            "lines": self.lines, "since": self.since, "until": self.until,
            "out_from": self.out_from or None, "err_from": self.err_from or None,
        }  # fmt: skip
        wanted.update((key, value) for key, value in optional.items() if value is not None)
        return wanted


class Place:
    """Where a reader stands in a job's output."""

    __slots__ = ("number", "run", "seen", "sizes")

    def __init__(self, run: bytes, number: int, out: int = 0, err: int = 0) -> None:
        self.run = run
        self.number = number
        self.sizes = {OUT: out, ERR: err}  # the offset that comes next in each stream
        self.seen = False  # a piece has come

    def passed(self, stream: int, offset: int) -> None:
        """Everything before `offset` has been taken."""
        self.seen = True
        if offset > self.sizes[stream]:
            self.sizes[stream] = offset


class Source:
    """One job's output, from the first piece to the last."""

    def __init__(self, client: Client, query: Query, place: Place | None = None) -> None:
        """`place`: go on from there, instead of from what the query says first."""
        self.client = client
        self.query = query
        self.place = place
        self._resumed = place is not None

    def bodies(self) -> Iterator[Body]:
        """Every LogRun, Output, Dropped and Progress, once.

        Raises:
            Fault: the daemon refused.
        """
        request: dict[str, object] | None = self.resume()
        while request is not None:
            try:
                for body in self.client.stream(request):
                    fresh = self.note(body)
                    if fresh is not None:
                        yield fresh
                request = self.next_request()
            except ConnectionLostError:
                self.client.reconnect(lasting=self.query.follow)
                request = self.resume()
            except Fault as fault:
                if fault.code != NOT_FOUND or not self._resumed or self.place is None:
                    raise
                self.place.number += 1  # retention has taken that run: on to the next
                request = self.next_request(gone=True)

    def note(self, body: Body) -> Body | None:
        """Keep the place up to date. Answers the body, less what came before, or None when that is all of it."""
        kind = body["type"]
        if kind == "log-run":
            return self._note_run(body)
        place = self.place
        if place is None or kind not in ("output", "dropped"):
            return body
        stream, offset = body["stream"], body["offset"]
        if kind == "dropped":
            place.passed(stream, offset)
            return body
        end = offset + len(body["data"])
        before = place.sizes[stream]
        place.passed(stream, end)
        if offset >= before:
            return body
        if end <= before:
            return None
        body["data"] = body["data"][before - offset :]
        body["offset"] = before
        return body

    def _note_run(self, body: Body) -> Body | None:
        if self.place is not None and self.place.run == body["run"]:
            return None if self.place.seen else body
        self.place = Place(body["run"], body["number"], body.get("out_from", 0), body.get("err_from", 0))
        return body

    def resume(self) -> dict[str, object]:
        """The request that goes on from the place; without one, the first."""
        place, query = self.place, self.query
        if place is None:
            return query.request()
        self._resumed = True
        again = query.copy(query.job, place.run.hex())
        again.lines = None
        again.out_from, again.err_from = place.sizes[OUT], place.sizes[ERR]
        return again.request()

    def next_request(self, gone: bool = False) -> dict[str, object] | None:
        """After an End: the request for the job's next run, if we have to go from run to run ourselves."""
        if not self._resumed or self.place is None or not self.query.job:
            return None
        query = self.query
        reaches = query.run == ALL or (query.run == NEWEST and (query.since is not None or query.lines is not None))
        if not query.follow and not reaches:
            return None
        last = newest(self.client, self.query.job)
        number = self.place.number if gone else self.place.number + 1
        if last is None or last.number < number:
            return None
        again = self.query.copy(self.query.job, str(number))
        again.lines = None
        self.place = Place(b"", number)
        return again.request()


def newest(client: Client, job: str) -> Place | None:
    """The job's newest run; None for an unknown job."""
    try:
        runs: list[RunView] = client.call({"type": "resolve", "job": job, "run": NEWEST})["runs"]
    except Fault as fault:
        if fault.code == NOT_FOUND:
            return None
        raise
    return Place(runs[0]["run"], runs[0]["number"])


def dropped_text(body: Body) -> str:
    """The marker in place of bytes that are gone."""
    stream = "stdout" if body["stream"] == 1 else "stderr"
    return f"{body['length']} bytes of {stream} before offset {body['offset']} were dropped"
