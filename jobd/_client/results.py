"""What the client hands out besides the protocol's own views: the end of a run, and pieces of its output."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jobd._client.faults import RunFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.wire import messages as m


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `view` has all the rest: times, memory, sizes."""

    view: m.RunView

    @property
    def id(self) -> str:
        """The run's id, as 32 hex digits."""
        return self.view.run.hex()

    @property
    def job(self) -> str:
        return self.view.job

    @property
    def number(self) -> int:
        """Which run of its job it was, from 1."""
        return self.view.number

    @property
    def result(self) -> str:
        """success, exit-code, signal, core-dump, timeout, start-failed, stopped, canceled, lost …"""
        return self.view.result or ""

    @property
    def exit_code(self) -> int | None:
        """None when a signal ended it, or it never ran."""
        return self.view.exit_code

    @property
    def signal(self) -> int | None:
        return self.view.signal

    @property
    def ok(self) -> bool:
        return self.view.result == "success"

    def check(self) -> RunResult:
        """Returns itself. Raises RunFailed unless the result is success."""
        if not self.ok:
            raise RunFailed(self)
        return self

    def describe(self) -> str:
        """The result in words: "exit-code 2", "signal SIGKILL", "lost: the machine was restarted"."""
        text = self.result or self.view.state
        if self.signal:
            text += f" {_signal_name(self.signal)}"
        elif self.exit_code:
            text += f" {self.exit_code}"
        elif self.view.step:
            text += f" at step {self.view.step}"
        return f"{text}: {self.view.reason}" if self.view.reason else text


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one stream of a run, byte-exact.

    Attributes:
        job, run: whose it is; the run's id as 32 hex digits.
        stream: "stdout" or "stderr".
        data: the bytes; empty when this only tells of dropped ones.
        time: when they were read from the job: wall clock, nanoseconds since the epoch. 0 for dropped ones.
        mono: the same on the monotonic clock, nanoseconds.
        offset: where in the stream `data` begins.
        dropped: how many bytes just before `offset` are gone for good (`on_full = "drop"`, or retention).
    """

    job: str
    run: str
    stream: Literal["stdout", "stderr"]
    data: bytes
    time: int
    mono: int
    offset: int
    dropped: int = 0


def of_all(ends: Sequence[RunResult]) -> RunResult:
    """How all of these ended, in one: the first that did not go well, else the last."""
    return next((end for end in ends if not end.ok), ends[-1])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
