"""What the client raises, and the one table from an error code of the protocol to its exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobd._client.results import RunResult
    from jobd.wire import messages as m


class JobdError(Exception):
    """Base of all that jobd.client raises.

    Attributes:
        code: one of jobd.wire.errors.CODES.
        message: what, which, why.
        details: more from the daemon, by name; often empty.
    """

    def __init__(self, code: str, message: str, details: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.results: Sequence[m.Done] = ()  # of an action on several jobs: how each one went


class NotFound(JobdError):  # noqa: N818  # the public names are fixed; the base has the suffix
    """No such job or run, or none that the caller may see."""


class Denied(JobdError):  # noqa: N818
    """The caller may see the job and not do this with it; or the socket does not let him in."""


class Conflict(JobdError):  # noqa: N818
    """The job is in no state for this: its name is taken, it is masked, there is nothing to do it to."""


class Invalid(JobdError):  # noqa: N818
    """The request asks for something impossible, or a definition is wrong."""


class Unavailable(JobdError):  # noqa: N818
    """No daemon, or one that cannot do this now: it is stopping, its disk is full, a limit is reached."""


class StartFailed(JobdError):  # noqa: N818
    """The command could not be executed.

    Attributes:
        step: which step between fork and exec failed: chdir, exec, …
        errno: its error number.
        run: the run's id, as hex; it is recorded like any other.
    """

    def __init__(self, started: m.Started) -> None:
        super().__init__(errors.FAILED, started.text or f"cannot start {started.job}: {started.step} failed")
        self.step = started.step
        self.errno = started.errno
        self.job = started.job
        self.run = started.run.hex()


class RunFailed(JobdError):  # noqa: N818
    """A run that was checked has not succeeded; `result` tells how it ended."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(errors.FAILED, f"{result.job} has failed: {result.describe()}")
        self.result = result


class LostError(Exception):
    """Inside the client only: the connection ended before the answer did."""


class OverflowedError(Exception):
    """Inside the client only: a reader was too slow while others waited; it resumes where it was."""


EXCEPTIONS: Final[dict[str, type[JobdError]]] = {
    errors.MALFORMED: Invalid,
    errors.VERSION: Unavailable,
    errors.DENIED: Denied,
    errors.NOT_FOUND: NotFound,
    errors.AMBIGUOUS: Invalid,
    errors.EXISTS: Conflict,
    errors.INVALID: Invalid,
    errors.TOO_LARGE: Invalid,
    errors.LIMIT: Unavailable,
    errors.NOT_APPLICABLE: Conflict,
    errors.MASKED: Conflict,
    errors.BAD_SETTING: Invalid,
    errors.NO_SPACE: Unavailable,
    errors.UNAVAILABLE: Unavailable,
    errors.FAILED: JobdError,
    errors.LAGGED: JobdError,
    errors.CANCELED: JobdError,
    errors.INTERNAL: JobdError,
}


def error_for(code: str, message: str, details: Mapping[str, str] | None = None) -> JobdError:
    """The exception for `code`; a code of a newer daemon gives the base."""
    return EXCEPTIONS.get(code, JobdError)(code, message, details)
