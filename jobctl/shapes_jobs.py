"""Jobs and runs, as in `jobctl.shapes`: for type checkers only."""

from __future__ import annotations

from typing import TypedDict


class Process(TypedDict, total=False):
    pid: int
    ppid: int
    command: bytes


class Link(TypedDict):
    job: str
    kind: str
    other: str


class _JobKey(TypedDict):
    job: str
    owner: int


class JobView(_JobKey, total=False):
    load: str
    active: str
    sub: str
    result: str
    transient: bool
    description: str
    user: str
    argv: list[bytes]
    shell: bool
    cwd: bytes
    number: int
    run: bytes | None
    pid: int | None
    exit_code: int | None
    signal: int | None
    core: bool
    step: str
    errno: int
    queued_at: int | None
    started_at: int | None
    exited_at: int | None
    finished_at: int | None
    changed_at: int | None
    runs: int
    restarts: int
    cpu_user_usec: int | None
    cpu_system_usec: int | None
    max_rss_bytes: int | None
    out_bytes: int | None
    err_bytes: int | None
    note: str
    tracking: str
    cgroup: str
    stop_signal: int
    stop_timeout_usec: int | None
    runtime_limit_usec: int | None
    kill_mode: str
    frozen: bool
    stdin: str
    processes: list[Process]
    file: str
    dropins: list[str]
    enabled: str
    need_reload: bool
    problem: str
    unenforced: list[str]
    type: str
    restart: str
    restart_delay_usec: int
    remain_after_exit: bool
    restart_at: int | None
    waits: str
    cause: str
    ready_at: int | None
    status_text: str
    status_errno: int
    health: str
    can_reload: bool
    watchdog_usec: int | None
    control_pid: int | None
    control_command: list[bytes]
    memory_bytes: int | None
    memory_max: int | None
    cpu_percent: int | None
    tasks: int | None
    tasks_max: int | None
    tasks_peak: int | None
    io_read_bytes: int | None
    io_write_bytes: int | None
    nice: int
    oom_score_adjust: int | None
    links: list[Link]
    queue: str
    priority: int
    weight: int
    position: int
    held: bool
    not_before: int | None
    after: list[str]
    array: str
    array_of: str
    array_index: int | None
    counts: dict[str, int]
    schedule: list[str]
    elapse_next: int | None
    elapse_last: int | None
    stop_uid: int | None
    in_line: int


class _RunKey(TypedDict):
    seq: int
    job: str
    owner: int
    run: bytes
    number: int
    state: str


class RunView(_RunKey, total=False):
    result: str | None
    exit_code: int | None
    signal: int | None
    core: bool
    step: str
    errno: int
    reason: str
    pid: int | None
    queued_at: int | None
    started_at: int | None
    exited_at: int | None
    finished_at: int | None
    argv: list[bytes]
    shell: bool
    cwd: bytes
    by_uid: int | None
    cpu_user_usec: int | None
    cpu_system_usec: int | None
    max_rss_bytes: int | None
    out_bytes: int | None
    err_bytes: int | None
    note: str
    cause: str
    ready_at: int | None
    tasks_peak: int | None
    io_read_bytes: int | None
    io_write_bytes: int | None
    stop_uid: int | None
    queue: str
    priority: int
    weight: int
    position: int
    held: bool
    not_before: int | None
    after: list[str]
    array_index: int | None
