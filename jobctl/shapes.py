"""The bodies of answers as the plain codec gives them, for type checkers only: nothing imports this at run time.

The fields are those of jobd.wire.messages, and a test compares them. A field that has its default value is left out on
the wire, so everything with a default is read by `get`.
"""

from __future__ import annotations

from typing import TypeAlias, TypedDict


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


class SourceFile(TypedDict, total=False):
    path: str
    text: str
    base: bytes


class Definition(TypedDict, total=False):
    job: str
    owner: int
    load: str
    transient: bool
    text: str
    files: list[SourceFile]


class _PlannedKey(TypedDict):
    job: str
    owner: int
    change: str


class Planned(_PlannedKey, total=False):
    file: str
    keys: list[str]
    restart: bool
    text: str


class _FileKey(TypedDict):
    job: str
    owner: int
    state: str


class FileView(_FileKey, total=False):
    file: str
    dropins: list[str]
    load: str


class _ReasonKey(TypedDict):
    job: str
    owner: int
    kind: str
    text: str


class Reason(_ReasonKey, total=False):
    at: int | None
    run: bytes | None
    number: int | None
    by_uid: int | None
    other: str


class Member(TypedDict, total=False):
    pid: int
    job: str
    owner: int | None
    run: bytes | None
    number: int | None


class _QueueKey(TypedDict):
    name: str


class QueueView(_QueueKey, total=False):
    owner: int | None
    slots: int | None
    state: str
    used: int
    running: int
    waiting: int
    held: int
    reason: str


class _TimerKey(TypedDict):
    job: str
    owner: int


class TimerView(_TimerKey, total=False):
    run: bytes | None
    next: int | None
    last: int | None
    schedule: list[str]
    description: str
    active: str


class _StatsKey(TypedDict):
    job: str
    owner: int
    runs: int


class StatsView(_StatsKey, total=False):
    success: int
    failed: int
    p50_usec: int | None
    p95_usec: int | None
    p50_bytes: int | None
    p95_bytes: int | None
    cpu_usec: int | None
    last_at: int | None


class _RuleKey(TypedDict):
    line: int


class RuleView(_RuleKey, total=False):
    users: list[str]
    groups: list[str]
    actions: list[str]
    owners: list[str]
    jobs: list[str]


class Body(TypedDict, total=False):
    """Any body of a Reply or an Item; `type` says which.

    Of an Ended, `run` is a RunView (see Client.ended); of a Rules, `rules` are RuleViews (see verb_auth); of a Reasons,
    `reasons` are Reasons (see verb_why).
    """

    type: str
    text: str
    job: str
    owner: int
    run: bytes
    number: int
    pid: int | None
    step: str
    errno: int
    jobs: list[JobView]
    more: str
    runs: list[RunView]
    code: str
    stream: int
    offset: int
    wall: int
    mono: int
    data: bytes
    length: int
    out_from: int
    err_from: int
    version: str
    state: str
    keeper_pid: int | None
    keeper_version: str
    socket: str
    state_dir: str
    mode: str
    started_at: int
    tracking: str
    kernel: str
    running: int
    queued: int
    connections: int
    reasons: list[str]
    incarnation: int
    python: str
    stdin: str
    received: int
    limit: int
    open: bool
    taken: bool
    seq: int
    at: int
    kind: str
    active: str
    sub: str
    result: str
    exit_code: int | None
    signal: int | None
    reason: str
    by_uid: int | None
    by_gid: int | None
    by_pid: int | None
    after: int
    before: int
    definitions: list[Definition]
    members: list[Member]
    uid: int
    gid: int
    groups: list[int]
    rules: list[str]
    admin: bool
    action: str
    allowed: bool
    visible: bool
    rule: str
    file: str
    error: str
    changes: list[Planned]
    warnings: list[str]
    config_dir: str
    files: list[FileView]
    links: list[Link]
    waits: str
    elements: int
    queue: str
    slots: int | None
    priority: int | None
    held: bool | None
    cause: str
    view: QueueView
    queues: list[QueueView]
    others: int
    timers: list[TimerView]
    stats: list[StatsView]


class Message(TypedDict, total=False):
    """Any message from the daemon."""

    type: str
    id: int
    version: int
    software: str
    uid: int
    gid: int
    pid: int
    body: Body
    code: str
    message: str
    details: dict[str, str]


Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
