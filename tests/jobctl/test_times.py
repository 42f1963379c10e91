"""Times as systemctl and journalctl write and read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobctl import times
from jobctl.exits import UsageError
from jobctl.timespec import parse_delay, parse_start, parse_time

NOW = 1_763_780_103_500_000_000  # 2025-11-22 02:55:03.5 UTC
SEC = 1_000_000_000
DAY = 86_400 * 1_000_000


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        ("@1700000000", 1_700_000_000 * SEC),
        ("@1700000000.25", 1_700_000_000 * SEC + SEC // 4),
        ("-1h", NOW - 3600 * SEC),
        ("-1h 30min", NOW - 5400 * SEC),
        ("+5min", NOW + 300 * SEC),
        ("2h ago", NOW - 7200 * SEC),
        ("2025-11-21 18:17:16", (2025, 11, 21, 18, 17, 16)),
        ("2025-11-21 18:17", (2025, 11, 21, 18, 17)),
        ("2025-11-21", (2025, 11, 21)),
        ("today", (2025, 11, 22)),
        ("yesterday", (2025, 11, 21)),
        ("tomorrow", (2025, 11, 23)),
        ("01:30", (2025, 11, 22, 1, 30)),
        ("01:30:15.5", (2025, 11, 22, 1, 30, 15, 0.5)),
        ("Fri 2025-11-21 18:17:16", (2025, 11, 21, 18, 17, 16)),
    ],
)
def test_times_journalctl_takes(text: str, at: int | tuple[float, ...]) -> None:
    if isinstance(at, tuple):  # a local time, which needs the zone of the test
        *parts, part = at if at[-1] == 0.5 else (*at, 0.0)
        at = int(time.mktime((*map(int, parts), *(0,) * (6 - len(parts)), 0, 0, -1))) * SEC + int(part * SEC)  # type: ignore[arg-type]
    assert parse_time(text, NOW) == at


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2025-11-21T18:17:16Z", datetime(2025, 11, 21, 18, 17, 16, tzinfo=UTC)),
        ("2025-11-21 18:17:16 UTC", datetime(2025, 11, 21, 18, 17, 16, tzinfo=UTC)),
        ("2024-02-29T00:00:00+05:30", datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
        ("2000-03-01T12:00:00-0800", datetime(2000, 3, 1, 12, tzinfo=timezone(timedelta(hours=-8)))),
        ("1999-12-31T23:59:59.000001Z", datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC)),
    ],
)
def test_times_with_a_zone(text: str, when: datetime) -> None:
    assert parse_time(text, NOW) == round(when.timestamp() * 1_000_000) * 1000


def test_what_we_write_can_be_read() -> None:
    for at in (NOW, 0, 951_782_400 * SEC):
        at -= at % 1000
        assert parse_time(times.rfc3339(at), NOW) == at


@pytest.mark.parametrize("text", ["", "noon", "25:00", "2025-13-01", "2025-11", "-1 parsec", "@x", "12:3x", "٣:٤"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read time"):
        parse_time(text, NOW)


@pytest.mark.parametrize(
    ("usec", "text"),
    [
        (0, "0us"), (999, "999us"), (1_500, "1ms"), (59_999_999, "59s"), (182_000_000, "3min 2s"),
        (5 * 60_000_000, "5min"),
        (3_600_000_000, "1h 0min"), (6 * 3_600_000_000, "6h"), (26 * 3_600_000_000, "1 day 2h"),
        (3 * DAY, "3 days"), (8 * DAY, "1 week 1 day"), (40 * DAY, "1 month 9 days"), (800 * DAY, "2 years 2 months"),
    ],
)  # fmt: skip
def test_spans_are_systemds(usec: int, text: str) -> None:
    assert times.ago(usec) == text


def test_stamps() -> None:
    assert times.timestamp(NOW) == "Sat 2025-11-22 03:55:03 CET"
    assert times.rfc3339(NOW) == "2025-11-22T02:55:03.500000Z"
    assert times.short(NOW) == "Nov 22 03:55:03"
    assert times.short_precise(NOW) == "Nov 22 03:55:03.500000"
    assert times.short_iso(NOW) == "2025-11-22T03:55:03+0100"
    assert times.monotonic(5_431_000_123_000) == "[ 5431.000123]"


# --- when something is to begin -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("18:30", "2026-11-22T18:30:00"),
        ("03:00", "2026-11-23T03:00:00"),  # today's has passed
        ("15:00:00", "2026-11-23T15:00:00"),
        ("tomorrow 3:00", "2026-11-23T03:00:00"),
        ("Tomorrow 18:30", "2026-11-23T18:30:00"),
        ("today 18:30", "2026-11-22T18:30:00"),
        ("fri 17:00", "2026-11-27T17:00:00"),
        ("Friday 17:00", "2026-11-27T17:00:00"),
        ("sun 18:00", "2026-11-22T18:00:00"),
        ("sun 14:00", "2026-11-29T14:00:00"),
        ("tomorrow", "2026-11-23T00:00:00"),
        ("2026-12-01 03:00", "2026-12-01T03:00:00"),
        ("2026-12-01", "2026-12-01T00:00:00"),
        ("2026-12-01T03:00:00Z", "2026-12-01T03:00:00"),
        ("2026-12-01 03:00+01:00", "2026-12-01T02:00:00"),
        ("18:30+01:00", "2026-11-22T17:30:00"),
        ("+1h", "2026-11-22T16:00:00"),
        ("+90", "2026-11-22T15:01:30"),
        ("@1800000000", "2027-01-15T08:00:00"),
        ("now", "2026-11-22T15:00:00"),
    ],
)
def test_parse_start_takes_the_next_time(text: str, begins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    now = int(datetime(2026, 11, 22, 15, tzinfo=UTC).timestamp()) * 10**9  # a Sunday
    assert datetime.fromtimestamp(parse_start(text, now) // 10**9, UTC) == datetime.fromisoformat(f"{begins}+00:00")


@pytest.mark.parametrize(
    "text", ["", "soon", "today 14:00", "-1h", "yesterday", "2026-11-22 14:59", "25:00", "moon 3:00"]
)
def test_parse_start_refuses_what_is_no_time_or_has_passed(text: str) -> None:
    now = int(datetime(2026, 11, 22, 15).timestamp()) * 10**9
    with pytest.raises(UsageError, match=r"cannot read time|has passed"):
        parse_start(text, now)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("now+5min", "2026-11-22T15:05"),
        ("now + 5 minutes", "2026-11-22T15:05"),
        ("now", "2026-11-22T15:00"),
        ("noon", "2026-11-23T12:00"),
        ("Midnight", "2026-11-23T00:00"),
        ("tomorrow noon", "2026-11-23T12:00"),
        ("03:00 tomorrow", "2026-11-23T03:00"),
        ("Monday 03:00", "2026-11-23T03:00"),
        ("17:00 fri", "2026-11-27T17:00"),
    ],
)
def test_parse_start_reads_what_hands_used_to_at_and_sbatch_type(
    text: str, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    now = int(datetime(2026, 11, 22, 15, tzinfo=UTC).timestamp()) * 10**9
    assert datetime.fromtimestamp(parse_start(text, now) // 10**9, UTC) == datetime.fromisoformat(f"{begins}+00:00")


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("14:00 UTC", "2026-11-23T14:00"),
        ("16:00Z", "2026-11-22T16:00"),
        ("16:00 +02:00", "2026-11-23T14:00"),
        ("sun 16:00 UTC", "2026-11-22T16:00"),
        ("mon 01:00+13:00", "2026-11-29T12:00"),
        ("tomorrow 01:00 UTC", "2026-11-23T01:00"),
    ],
)
@pytest.mark.parametrize("here", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_parse_start_takes_the_next_time_of_a_named_zone_wherever_it_is_asked(
    text: str, begins: str, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At that time it is Monday in Auckland, and where it is 13 hours later than in Greenwich."""
    monkeypatch.setenv("TZ", here)
    time.tzset()
    now = int(datetime(2026, 11, 22, 15, tzinfo=UTC).timestamp()) * 10**9
    assert datetime.fromtimestamp(parse_start(text, now) // 10**9, UTC) == datetime.fromisoformat(f"{begins}+00:00")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1h", "is --in"),
        ("*/5 * * * *", "has a schedule in a job file"),
        ("@daily", "has a schedule in a job file"),
        ("monkey 09:00", "tomorrow 18:30, fri 17:00 or now"),
        ("monday", "tomorrow 18:30, fri 17:00 or now"),
        ("mon fri 09:00", "tomorrow 18:30, fri 17:00 or now"),
    ],
)
def test_parse_start_says_what_to_write_in_place_of_what_is_no_time_to_begin(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_start(text, NOW)


def test_parse_delay() -> None:
    assert [parse_delay(text) for text in ("10min", "1h 30min", "90", "+5s", "0")] == [
        600 * 10**6, 5400 * 10**6, 90 * 10**6, 5 * 10**6, 0
    ]  # fmt: skip
    for text in ("soon", "", "-5s", "infinity", "999y"):
        with pytest.raises(UsageError):
            parse_delay(text)


@pytest.mark.parametrize("text", ["9999-12-31", "@99999999999999", "+400y"])
def test_a_time_beyond_all_that_a_message_can_say(text: str) -> None:
    assert parse_time(text, NOW) == 2**63 - 1
    with pytest.raises(UsageError, match="that is for ever"):
        parse_start(text, NOW)
