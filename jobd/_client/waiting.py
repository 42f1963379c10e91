"""Waiting for runs: which ones they are is found out first, so that asking again means the same runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd._client.exchanges import Exchange, State, expect, unexpected
from jobd._client.faults import JobdError, NotFound
from jobd._client.results import RunResult
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AT_ONCE: Final = 4096  # runs in a request: fields.RunIds; `any` of more looks at the first


class Waiting(Exchange[RunResult]):
    """Wait for runs; gives each as it ends.

    A queue means the runs that are in it now, a job its newest run, an array all of its elements.
    """

    lasting = True

    def __init__(
        self,
        jobs: Sequence[str],
        runs: Mapping[bytes, bytes],
        *,
        any: bool,  # noqa: A002  # the field's name
        queue: str = "",
    ) -> None:
        """`runs`: and by which id the daemon is asked about each: that of an array for an element."""
        super().__init__()
        self._jobs = list(jobs)
        self._queue = queue
        self._arrays: list[m.JobView] = []
        self._paged = False  # the elements of the first of these are more than one answer holds
        self._after = ""  # of the queue's or the array's next page
        self._runs = dict(runs)
        self._any = any
        self._asked: list[bytes] = []
        self._satisfied = False
        if not jobs and not runs and not queue:
            self.state = State.DONE

    def request(self, id: int) -> m.Request:  # noqa: A002  # the field's name
        if self._jobs:
            return m.Get(id=id, names=self._jobs)
        if self._arrays:
            elements = f"{self._arrays[0].owner}/{self._arrays[0].job}@*"
            if self._paged:
                return m.List(id=id, patterns=[elements], all=True, after=self._after)
            return m.Get(id=id, names=[elements])  # is answered when all of them have been accepted
        if self._queue:
            return m.QueueShow(id=id, name=self._queue, after=self._after)
        self._asked = [*dict.fromkeys(self._runs.values())][:AT_ONCE]
        return m.Wait(id=id, runs=self._asked, any=self._any)

    def reply(self, body: m.AnyBody) -> Sequence[RunResult]:
        if self._jobs:
            self._found(expect(body, m.Jobs).jobs)
        elif self._arrays:
            self._listed(expect(body, m.Jobs))
        elif self._queue:
            page = expect(body, m.QueueDetail)
            self._runs.update((run.run, run.run) for run in page.runs)
            self._after = page.more
            self._queue = self._queue if page.more else ""
        else:
            raise unexpected(body)
        unknown = self._jobs or self._arrays or self._queue
        self.state = State.SEND if unknown or self._runs else State.DONE
        return ()

    def _found(self, views: Sequence[m.JobView]) -> None:
        for view in views:
            if view.load == "not-found":
                raise NotFound(errors.NOT_FOUND, f"cannot wait for {view.job}: no such job")
            if view.array:
                self._arrays.append(view)
            elif view.run is not None:
                self._runs[view.run] = view.run
        self._jobs = []

    def _listed(self, page: m.Jobs) -> None:
        array = self._arrays[0]
        found = (view.run for view in page.jobs if (view.owner, view.array_of) == (array.owner, array.job))
        self._runs.update((run, run) for run in found if run is not None)
        self._after = page.more
        if not page.more:
            self._arrays.pop(0)
            self._paged = False

    def fault(self, fault: m.Fault) -> Sequence[RunResult]:
        if self._arrays and not self._jobs and not self._paged and fault.code == errors.TOO_LARGE:
            self._paged, self.state = True, State.SEND
            return ()
        return super().fault(fault)

    def item(self, body: m.AnyBody) -> Sequence[RunResult]:
        if isinstance(body, m.Progress):
            return ()
        view = expect(body, m.Ended).run
        if view.run not in self._runs:
            return ()
        del self._runs[view.run]
        self._satisfied = True
        return (RunResult(view),)

    def again(self, why: str) -> None:
        super().again(why)
        if self._satisfied and self._over():  # only the End is missing
            self.state = State.DONE

    def end(self) -> Sequence[RunResult]:
        if not self._satisfied:
            raise JobdError(errors.MALFORMED, "cannot understand the daemon: it ended a wait before the runs did")
        if not self._over():
            self._satisfied = False  # of the next request
            self._runs = {run: asked for run, asked in self._runs.items() if run == asked or asked not in self._asked}
            self.state = State.SEND if self._runs else State.DONE  # what was removed of an array, nobody tells of
        return ()

    def _over(self) -> bool:
        return self._any or not self._runs
