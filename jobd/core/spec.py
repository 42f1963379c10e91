"""What a job is: the frozen JobSpec. Job files and `run -p` make it by the keys of `jobd.core.jobkeys`.

Parsed once, then trusted. A spec is stored by the hash of its encoding, so equal submissions share one blob; the
environment is a blob of its own, since it is large and changes independently.
"""

from __future__ import annotations

import hashlib
import resource
import signal
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from jobd.core import names, service, units

if TYPE_CHECKING:
    from collections.abc import Sequence

KILL_MODES: Final = ("control-group", "mixed", "process")
ON_FULL: Final = ("block", "drop")
SKIP, QUEUE, REPLACE = "skip", "queue", "replace"
OVERLAPS: Final = (SKIP, QUEUE, REPLACE)  # what comes of a time of the schedule while the job runs
DEFAULT_STOP_TIMEOUT_USEC: Final = 10 * units.USEC_PER_SEC  # DESIGN.md, section 8, [stop]
NULL, PIPE, PTY = "null", "pipe", "pty"  # what a run's stdin is; with a pty its output as well
FOR_EVER: Final = -1
MAX_DIGITS: Final = 9  # of a signal or a status that are looked at: int() refuses thousands of them
NOBODY: Final = 0xFFFF_FFFF  # the uid -1, which setresuid(2) takes for "as it is"
HASH_BYTES: Final = 16  # 128 bits: no collision by chance in any number of specs a disk can hold

RLIMITS: Final[dict[str, int]] = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in sorted(dir(resource))
    if name.startswith("RLIMIT_")
}


class SpecError(ValueError):
    """A setting is unknown or has no sense; the text says which and why."""


class JobSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to run one job. Durations are microseconds, sizes bytes, None is infinity."""

    argv: tuple[bytes, ...]
    cwd: bytes
    shell: bool = False  # argv is one script for /bin/sh -c
    umask: int = 0o022
    rlimits: dict[str, tuple[int, int]] = {}
    nice: int = 0
    description: str = ""
    stop_signal: int = int(signal.SIGTERM)
    stop_timeout_usec: int | None = DEFAULT_STOP_TIMEOUT_USEC
    kill_mode: str = "control-group"
    runtime_usec: int | None = None
    log_max_size: int | None = None
    merge_output: bool = False
    on_full: str = "block"
    success_codes: tuple[int, ...] = (0,)
    stdin: str = NULL
    user: str = ""  # as whom, when not as the owner: a name or a uid; root's jobs only
    gid: int | None = None  # the submitter's: the group of a uid that has no passwd entry
    type: str = service.EXEC
    remain_after_exit: bool = False
    restart: str = service.NO
    restart_delay_usec: int = 100 * 1_000
    restart_max_delay_usec: int = 60 * units.USEC_PER_SEC
    start_limit: tuple[int, int] = service.START_LIMIT  # starts, and the window in µs; 0 starts is no limit
    success_signals: tuple[int, ...] = ()
    restart_prevent_codes: tuple[int, ...] = ()
    restart_prevent_signals: tuple[int, ...] = ()
    after: tuple[str, ...] = ()  # these, and all below, are names of jobs of the same owner
    before: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    binds_to: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()
    on_success: tuple[str, ...] = ()
    essential: bool = False
    env_files: tuple[tuple[bytes, bool], ...] = ()  # absolute path, and whether it may be missing
    ready: service.Check | None = None
    ready_timeout_usec: int | None = service.READY_TIMEOUT_USEC
    health: service.Health | None = None
    watchdog_usec: int | None = None
    stop_command: tuple[bytes, ...] = ()
    reload_signal: int | None = None
    reload_command: tuple[bytes, ...] = ()
    memory_max: int | None = None
    cpu_percent: int | None = None  # of one processor: 150 is one and a half
    tasks_max: int | None = None
    oom_score_adjust: int | None = None
    queue: str = ""  # as it was named; "" takes no slot
    priority: int = 0
    weight: int = 1  # slots that a run takes
    schedule: tuple[str, ...] = ()  # calendar expressions (jobd.core.calendar)
    schedule_persistent: bool = False  # a time that was missed is made good, once
    schedule_jitter_usec: int = 0
    schedule_overlap: str = SKIP
    keep_runs: int | None = None  # of the job, at most, or FOR_EVER; None: as the daemon's settings say
    keep_for_usec: int | None = None
    array: str = ""  # that it is an element of: "0-99%4"; `%i` in its command is the element's number

    @property
    def one_stream(self) -> bool:
        """Whether stdout and stderr are one: a terminal, or merged."""
        return self.merge_output or self.stdin == PTY

    @property
    def commands(self) -> list[tuple[bytes, ...]]:
        """What it may execute besides its program."""
        checks = (self.ready, None if self.health is None else self.health.check)
        found = [self.stop_command, self.reload_command, *(check.argv for check in checks if check is not None)]
        return [argv for argv in found if argv]

    @property
    def program(self) -> tuple[bytes, ...]:
        """The argv that is executed."""
        return (b"/bin/sh", b"-c", *self.argv) if self.shell else self.argv


def parse_signal(text: str) -> int:
    """Read a signal: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`.

    Raises:
        SpecError: there is no such signal.
    """
    word = text.strip().upper()
    if word.isdecimal():
        number = int(word[:MAX_DIGITS])
    else:
        base, plus, extra = word.removeprefix("SIG").partition("+")
        found = signal.Signals.__members__.get(f"SIG{base}")
        number = int(found) if found is not None else 0
        if plus:
            number = number + int(extra[:MAX_DIGITS]) if base == "RTMIN" and extra.isdecimal() else 0
    if not 1 <= number <= signal.SIGRTMAX:
        known = [name.removeprefix("SIG") for name in signal.Signals.__members__]
        meant = names.closest(word.removeprefix("SIG"), known)
        raise SpecError(f"unknown signal {text!r}" + (f"; did you mean SIG{meant}?" if meant else ""))
    return number


def check_rlimits(rlimits: dict[str, tuple[int, int]]) -> None:
    """Refuse names that are no resource limit, and soft limits above the hard one.

    Raises:
        SpecError: naming the limit.
    """
    for name, (soft, hard) in rlimits.items():
        if name not in RLIMITS:
            raise SpecError(f"unknown resource limit {name!r}")
        if min(soft, hard) < -1 or (hard != -1 and (soft == -1 or soft > hard)):
            raise SpecError(f"resource limit {name}: soft {soft} is above hard {hard}")


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(JobSpec)
_env_decoder = msgspec.msgpack.Decoder(list[bytes])


def digest(data: bytes) -> bytes:
    """Content hash of a blob."""
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()


def encode_spec(spec: JobSpec) -> bytes:
    """The spec as a blob; equal specs give equal bytes."""
    return _encoder.encode(spec)


def decode_spec(blob: bytes) -> JobSpec:
    """The spec of a blob.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(blob)


def encode_env(env: Sequence[bytes]) -> bytes:
    """An environment (`NAME=value` entries) as a blob, order kept."""
    return _encoder.encode(list(env))


def decode_env(blob: bytes) -> list[bytes]:
    """The environment of a blob."""
    return _env_decoder.decode(blob)
