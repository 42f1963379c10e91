"""The short form of the campaigns; `make fault` runs the long one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.fault.campaign import kill_daemons, kill_keepers, run_campaign
from tests.fault.feeding import run_feeding
from tests.fault.queued import run_queued
from tests.fault.services import run_services
from tests.system.test_keeper import needs_pidfd_info

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_killing_the_daemon_loses_nothing(tmp_path: Path) -> None:
    report = run_campaign(tmp_path, "daemon", kill_daemons, 8, random.SystemRandom().randrange(1 << 30))
    assert report.passed, f"{report}\n{report.problems[:20]}\n{report.errors[:20]}"


def test_a_large_stdin_is_exact_while_the_daemon_is_killed(tmp_path: Path) -> None:
    report = run_feeding(tmp_path, 64 << 20, random.SystemRandom().randrange(1 << 30))
    assert report.passed, str(report)


@needs_pidfd_info
def test_killing_the_keeper_loses_nothing(tmp_path: Path) -> None:
    report = run_campaign(tmp_path, "keeper", kill_keepers, 3, random.SystemRandom().randrange(1 << 30))
    assert report.passed, f"{report}\n{report.problems[:20]}\n{report.errors[:20]}"


def test_killing_the_daemon_under_queues_runs_each_once_and_in_order(tmp_path: Path) -> None:
    report = run_queued(tmp_path, 120, 4, random.SystemRandom().randrange(1 << 30))
    assert report.passed, f"{report}\n{report.problems[:20]}\n{report.errors[:20]}"


def test_killing_the_daemon_under_services_breaks_no_promise(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("s")  # short: paths of notify sockets have 107 bytes at most
    report = run_services(root, kill_daemons, 8, random.SystemRandom().randrange(1 << 30))
    assert report.passed, f"{report}\n{report.problems[:20]}\n{report.errors[:20]}"
