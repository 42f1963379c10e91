"""What the store keeps: a row a job, a row a run, and the events that made them.

`apply` is the one function that computes a row: the runtime calls it before it writes, and a test replays every event
from nothing and compares with the rows. Pure: no clock, no I/O; times come in with the event.
"""

from __future__ import annotations

from msgspec import Struct

# States of a run (DESIGN.md, section 9).
QUEUED, STARTING, RUNNING, STOPPING, FINISHED = "queued", "starting", "running", "stopping", "finished"
STATES = (QUEUED, STARTING, RUNNING, STOPPING, FINISHED)


class RunRow(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One run. Times are wall-clock ns; None until known. An exit is there once `exited_at` is."""

    seq: int  # order of acceptance over the whole database
    run: bytes  # UUIDv7, 16 bytes, made by the client
    owner: int
    job: str
    number: int  # 1, 2, … within the job
    spec: bytes  # hash of the JobSpec blob
    env: bytes  # hash of the environment blob
    by_uid: int
    queued_at: int
    state: str = QUEUED
    result: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    core: bool = False
    step: str = ""
    errno: int = 0
    reason: str = ""
    pid: int | None = None
    pid_start: int | None = None  # field 22 of /proc/PID/stat, clock ticks since boot
    boot_id: str = ""
    keeper: str = ""
    started_at: int | None = None
    exited_at: int | None = None
    finished_at: int | None = None
    stop_asked: str = ""  # "" | stopped | timeout … : the result to give when it ends, because somebody asked
    cpu_user_usec: int | None = None
    cpu_system_usec: int | None = None
    max_rss_bytes: int | None = None
    out_bytes: int | None = None
    err_bytes: int | None = None
    closed: bool = False  # output complete and recorded: nothing more can come
    note: str = ""


class JobRow(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One job: the key (owner, job), its definition, and the state of its newest run, denormalised for `list`."""

    owner: int
    job: str
    spec: bytes
    env: bytes
    created_at: int
    transient: bool = True
    latest: bytes | None = None  # run id of the newest run
    runs: int = 0
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    changed_at: int = 0


class Event(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One change. `data` holds the fields of RunRow (and of the job: keys with a `job.` prefix) that it sets."""

    seq: int
    at: int
    kind: str
    owner: int
    job: str
    run: bytes | None = None
    by_uid: int | None = None
    by_pid: int | None = None  # for display only
    data: dict[str, str | int | bytes | bool | None] = {}
