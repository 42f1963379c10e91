"""The bodies of answers as the plain codec gives them, for type checkers only: nothing imports this at run time.

The fields are those of jobd.wire.messages, and a test compares them. A field that has its default value is left out on
the wire, so everything with a default is read by `get`.
"""

from __future__ import annotations

from typing import TypeAlias, TypedDict

from jobctl.shapes_jobs import JobView, Link, Process, RunView
from jobctl.shapes_queues import QueueView, StatsView, TimerView

__all__ = [
    "Body", "Definition", "FileView", "JobView", "Json", "Link", "Member", "Message", "Planned", "Process", "QueueView",
    "Reason", "RuleView", "RunView", "SourceFile", "StatsView", "TimerView",
]  # fmt: skip


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
    left_out: dict[str, int]
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
    due: int | None
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
