"""What waits, and the figures of what has run, as in `jobctl.shapes`: for type checkers only."""

from __future__ import annotations

from typing import TypedDict


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
