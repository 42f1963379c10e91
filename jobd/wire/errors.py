"""The closed set of error codes on the wire, and the one table from a code to jobctl's exit statuses.

Plain strings and dicts on purpose: the client's hot path imports this module, and `enum` alone would cost it 2 ms.
"""

from __future__ import annotations

# --- codes ------------------------------------------------------------------------------------------------------
MALFORMED = "malformed"  # the frame or a field broke the protocol; the connection ends after it
VERSION = "version"  # the peer speaks another protocol version
DENIED = "denied"  # the caller may see the object, and not do this with it
NOT_FOUND = "not-found"  # no such job or run, or none the caller may see
AMBIGUOUS = "ambiguous"  # a run id's end, or a bare name, that fits several
EXISTS = "exists"  # the name is running, or belongs to a job file
INVALID = "invalid"  # the request is well formed, and asks for something impossible
TOO_LARGE = "too-large"  # argv + environment, or a frame, over its bound
LIMIT = "limit"  # a limit of this caller is reached
NOT_APPLICABLE = "not-applicable"  # the job is in no state for this
MASKED = "masked"
BAD_SETTING = "bad-setting"  # the definition is wrong
NO_SPACE = "no-space"  # the state directory's disk is full
UNAVAILABLE = "unavailable"  # the daemon is stopping, or its keeper is gone
FAILED = "failed"  # the act was tried, and failed
LAGGED = "lagged"  # a slow reader missed something; details say from where to resume
CANCELED = "canceled"  # the client's own Cancel
INTERNAL = "internal"  # a bug of ours; the daemon's log has the trace

CODES: tuple[str, ...] = (
    MALFORMED, VERSION, DENIED, NOT_FOUND, AMBIGUOUS, EXISTS, INVALID, TOO_LARGE, LIMIT, NOT_APPLICABLE, MASKED,
    BAD_SETTING, NO_SPACE, UNAVAILABLE, FAILED, LAGGED, CANCELED, INTERNAL,
)  # fmt: skip

# --- exit statuses (DESIGN.md, section 9; LSB's two tables as systemctl uses them) ------------------------------
# An *action* is start, stop, kill …; a *look* is status, logs, result …; a *job* verb ends with its job's own status
# (run --wait, -f, wait), so that what is not the job's is 125.
ACTION, LOOK, JOB = 0, 1, 2

EXIT: dict[str, tuple[int, int, int]] = {
    MALFORMED: (1, 1, 125),
    VERSION: (1, 1, 125),
    DENIED: (4, 4, 125),
    NOT_FOUND: (5, 4, 125),
    AMBIGUOUS: (1, 1, 125),
    EXISTS: (1, 1, 125),
    INVALID: (2, 2, 125),
    TOO_LARGE: (1, 1, 125),
    LIMIT: (1, 1, 125),
    NOT_APPLICABLE: (3, 3, 125),
    MASKED: (1, 1, 125),
    BAD_SETTING: (6, 6, 125),
    NO_SPACE: (1, 1, 125),
    UNAVAILABLE: (1, 1, 125),
    FAILED: (1, 1, 125),
    LAGGED: (1, 1, 125),
    CANCELED: (130, 130, 130),
    INTERNAL: (1, 1, 125),
}


def exit_status(code: str, kind: int) -> int:
    """The exit status of jobctl for a fault with `code`, for a verb of `kind` (ACTION, LOOK or JOB).

    An unknown code, from a newer daemon, counts as INTERNAL.
    """
    return EXIT.get(code, EXIT[INTERNAL])[kind]
