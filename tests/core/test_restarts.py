"""Which ends a job starts again after (systemd's table, all of it), how long it waits, and when it has had enough."""

from __future__ import annotations

import itertools
import signal

import pytest

from jobd.core import restarts, service
from jobd.core.exits import Exit
from jobd.core.spec import JobSpec

SEC = 1_000_000
SPEC = JobSpec(argv=(b"web",), cwd=b"/")

# systemd.service(5), "Exit causes and the effect of the Restart= settings": for which policies there is an X.
TABLE = {
    ("success", 0): {"always", "on-success"},
    ("exit-code", 3 << 8): {"always", "on-failure"},
    ("start-failed", None): {"always", "on-failure"},  # systemd: exit code 203
    ("signal", signal.SIGUSR1): {"always", "on-failure", "on-abnormal", "on-abort"},
    ("signal", signal.SIGKILL): {"always", "on-failure", "on-abnormal", "on-abort"},
    ("core-dump", signal.SIGSEGV | 0x80): {"always", "on-failure", "on-abnormal", "on-abort"},
    ("timeout", signal.SIGTERM): {"always", "on-failure", "on-abnormal"},
    ("protocol", 0): {"always", "on-failure", "on-abnormal"},
    ("watchdog", signal.SIGABRT): {"always", "on-failure", "on-abnormal", "on-watchdog"},
    ("oom-kill", signal.SIGKILL): {"always", "on-failure", "on-abnormal"},
    # Clean signals.
    ("signal", signal.SIGHUP): {"always", "on-success"},
    ("signal", signal.SIGINT): {"always", "on-success"},
    ("signal", signal.SIGTERM): {"always", "on-success"},
    ("signal", signal.SIGPIPE): {"always", "on-success"},
    # What somebody asked for, what another job is to blame for, and what nobody saw.
    ("stopped", signal.SIGTERM): set(),
    ("canceled", None): set(),
    ("dependency", None): set(),
    ("lost", -1): set(),
    ("start-limit-hit", None): set(),
}


def spec_of(policy: str, **fields: object) -> JobSpec:
    return JobSpec(argv=(b"web",), cwd=b"/", restart=policy, **fields)  # type: ignore[arg-type]  # a test's own words


def end_of(status: int | None) -> Exit | None:
    return None if status is None else Exit(status)


@pytest.mark.parametrize(("policy", "end"), list(itertools.product(service.RESTARTS, TABLE)))
def test_a_policy_starts_again_after_the_ends_of_systemds_table(policy: str, end: tuple[str, int | None]) -> None:
    result, status = end
    stop_asked = result if result in ("timeout", "watchdog", "stopped") else ""
    assert restarts.restarts(spec_of(policy), result, end_of(status), stop_asked) == (policy in TABLE[end])


@pytest.mark.parametrize("number", sorted(restarts.CLEAN_SIGNALS))
def test_no_signal_ends_a_oneshot_well(number: int) -> None:
    spec = spec_of("on-failure", type=service.ONESHOT)
    assert restarts.restarts(spec, "signal", Exit(number))
    assert not restarts.restarts(spec_of("on-failure"), "signal", Exit(number))


@pytest.mark.parametrize("policy", service.RESTARTS)
def test_what_was_stopped_stays_so_and_what_was_said_of_a_run_counts_for_more_than_its_policy(policy: str) -> None:
    spec = spec_of(policy)
    assert not restarts.restarts(spec, "exit-code", Exit(1 << 8), "stopped")
    assert not restarts.restarts(spec, "timeout", Exit(9), "stopped")
    assert not restarts.restarts(spec, "watchdog", Exit(15), "watchdog", restarts.REST)
    assert restarts.restarts(spec, "watchdog", Exit(15), "watchdog", restarts.RESTART)


def test_some_statuses_prevent_a_restart_whatever_the_result() -> None:
    spec = spec_of("always", restart_prevent_codes=(0, 7), restart_prevent_signals=(signal.SIGTERM,))
    assert not restarts.restarts(spec, "success", Exit(0))
    assert not restarts.restarts(spec, "exit-code", Exit(7 << 8))
    assert not restarts.restarts(spec, "timeout", Exit(signal.SIGTERM), "timeout")
    assert restarts.restarts(spec, "exit-code", Exit(8 << 8))
    assert restarts.restarts(spec, "signal", Exit(signal.SIGKILL))
    assert restarts.restarts(spec, "start-failed", None)


# --- when ------------------------------------------------------------------------------------------------------------
def delays(spec: JobSpec, count: int, lived_usec: int = 0) -> list[int]:
    found: list[int] = []
    for _ in range(count):
        found.append(restarts.delay_usec(spec, found[-1] if found else 0, lived_usec))
    return found


def test_the_delay_doubles_up_to_the_longest() -> None:
    assert delays(SPEC, 12) == [100_000 * min(2**n, 600) for n in range(12)]
    assert delays(spec_of("always", restart_delay_usec=0), 3) == [0, 0, 0]
    hour = spec_of("always", restart_delay_usec=SEC, restart_max_delay_usec=3600 * SEC)
    assert delays(hour, 20)[-1] == 3600 * SEC
    fixed = spec_of("always", restart_delay_usec=5 * SEC, restart_max_delay_usec=SEC)
    assert delays(fixed, 3) == [5 * SEC] * 3  # a longest that is shorter than the first is none


@pytest.mark.parametrize(("longest", "lived", "expected"), [
    (60 * SEC, 59 * SEC, 800_000), (60 * SEC, 60 * SEC, 100_000), (SEC, 9 * SEC, 800_000), (SEC, 10 * SEC, 100_000),
])  # fmt: skip
def test_the_delay_is_the_first_again_after_a_healthy_while(longest: int, lived: int, expected: int) -> None:
    spec = spec_of("always", restart_max_delay_usec=longest)
    assert restarts.delay_usec(spec, 400_000, lived) == expected


def test_jitter_is_a_tenth_either_way() -> None:
    assert [restarts.jittered_usec(SEC, chance) for chance in (0.0, 0.5, 1.0)] == [900_000, SEC, 1_100_000]
    assert restarts.jittered_usec(0, 1.0) == 0


def test_what_is_left_of_a_delay_is_never_more_than_the_delay() -> None:
    now = 10**18
    assert restarts.left_usec(now + 5 * SEC * 1000, 60 * SEC, now) == 5 * SEC
    assert restarts.left_usec(now - 1, 60 * SEC, now) == 0
    assert restarts.left_usec(now + 86_400 * SEC * 1000, 60 * SEC, now) == 66 * SEC  # somebody set the clock back


# --- how often -------------------------------------------------------------------------------------------------------
def test_the_start_limit_counts_the_starts_in_its_window() -> None:
    spec = spec_of("always", start_limit=(3, 10 * SEC))
    starts, now = "", 10**18
    for _ in range(3):
        assert restarts.may_start(spec, starts, now)
        starts = restarts.with_start(spec, starts, now)
        now += SEC * 1000
    assert not restarts.may_start(spec, starts, now)
    assert restarts.may_start(spec, starts, now + 7 * SEC * 1000)  # the first is 10 s ago then
    assert len(restarts.with_start(spec, starts, now).split()) == 3  # no more than the limit needs are kept


@pytest.mark.parametrize("limit", [(0, 10 * SEC), (5, 0)])
def test_a_start_limit_of_nothing_is_none(limit: tuple[int, int]) -> None:
    spec = spec_of("always", start_limit=limit)
    assert restarts.with_start(spec, "", 10**18) == ""
    assert restarts.may_start(spec, " ".join(["1"] * 99), 2)


def test_a_clock_that_was_set_back_counts_nothing_twice() -> None:
    spec = spec_of("always", start_limit=(1, 10 * SEC))
    starts = restarts.with_start(spec, "", 10**18)
    assert not restarts.may_start(spec, starts, 10**18)
    assert restarts.may_start(spec, starts, 10**18 - 1)
