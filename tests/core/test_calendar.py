"""Calendar expressions: what they mean, how they are written in full, and the two nights of each year."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import calendar
from jobd.core.calendartext import MAX_TEXT, parse

SEC = calendar.SEC
BERLIN = ZoneInfo("Europe/Berlin")  # 2026-03-29: 2:00 is 3:00; 2026-10-25: 3:00 is 2:00 again
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour: 2026-10-04, 2:00 is 2:30; 2026-04-05, 2:00 is 1:30 again
NOW = "2026-11-22 15:00:00"  # a Sunday


def usec(text: str, zone: ZoneInfo | None = None, fold: int = 0) -> int:
    at = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone or UTC, fold=fold)
    return int(at.timestamp()) * SEC


def shown(at: int, zone: ZoneInfo | None = None) -> str:
    return datetime.fromtimestamp(at // SEC, zone or UTC).strftime("%a %Y-%m-%d %H:%M:%S")


def times(text: str, after: str = NOW, count: int = 3, zone: ZoneInfo | None = None) -> list[str]:
    found = calendar.elapses(parse(text), usec(after, zone), zone or UTC, count)
    return [shown(at, zone) for at in found]


def full(text: str) -> str:
    return ", ".join(map(calendar.normalized, parse(text)))


# --- systemd's ------------------------------------------------------------------------------------------------------
# The text, in full, and the first time after NOW; systemd-analyze 252 says the same of each.
SYSTEMD = [
    ("Mon..Fri 03:00", "Mon..Fri *-*-* 03:00:00", "Mon 2026-11-23 03:00:00"),
    ("Sat,Thu,Mon-Wed,Sat-Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00", "Mon 2026-11-23 00:00:00"),
    ("monday,TUE..thursday 5:4:3", "Mon..Thu *-*-* 05:04:03", "Mon 2026-11-23 05:04:03"),
    ("Mon,Tue,Wed,Thu,Fri,Sat,Sun", "*-*-* 00:00:00", "Mon 2026-11-23 00:00:00"),
    ("Fri,Mon", "Mon,Fri *-*-* 00:00:00", "Mon 2026-11-23 00:00:00"),
    ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00", None),
    ("12-24", "*-12-24 00:00:00", "Thu 2026-12-24 00:00:00"),
    ("*-*~01", "*-*~01 00:00:00", "Mon 2026-11-30 00:00:00"),
    ("*-02~01", "*-02~01 00:00:00", "Sun 2027-02-28 00:00:00"),
    ("Mon *-05~07/1", "Mon *-05~07/1 00:00:00", "Mon 2027-05-31 00:00:00"),
    ("*-*~01..03", "*-*~01..03 00:00:00", "Sat 2026-11-28 00:00:00"),
    ("*~* 7:48,14", "*-*-* 07:14,48:00", "Mon 2026-11-23 07:14:00"),
    ("*:0/15", "*-*-* *:00/15:00", "Sun 2026-11-22 15:15:00"),
    ("*:10..50/50", "*-*-* *:10:00", "Sun 2026-11-22 15:10:00"),
    ("8..17/2:0", "*-*-* 08..16/2:00:00", "Sun 2026-11-22 16:00:00"),
    ("*:*:*", "*-*-* *:*:*", "Sun 2026-11-22 15:00:01"),
    ("*:*:0/0.5", "*-*-* *:*:00/0.500000", "Sun 2026-11-22 15:00:00"),
    ("*:*:1.5..30.5/3", "*-*-* *:*:01.500000..28.500000/3", "Sun 2026-11-22 15:00:01"),
    ("5,1,1..3:00", "*-*-* 01,01..03,05:00:00", "Mon 2026-11-23 01:00:00"),
    ("26-12-1", "2026-12-01 00:00:00", "Tue 2026-12-01 00:00:00"),
    ("99-1-1", "1999-01-01 00:00:00", None),
    ("2020..2030/4-1-1", "2020..2028/4-01-01 00:00:00", "Sat 2028-01-01 00:00:00"),
    ("2028/2-1-1", "2028/2-01-01 00:00:00", "Sat 2028-01-01 00:00:00"),
    ("*-2-30", "*-02-30 00:00:00", None),
    ("Mon *-02-29", "Mon *-02-29 00:00:00", "Mon 2044-02-29 00:00:00"),
    ("*-*-31 23:59:59", "*-*-31 23:59:59", "Thu 2026-12-31 23:59:59"),
    ("2199-12-31", "2199-12-31 00:00:00", "Tue 2199-12-31 00:00:00"),
    ("@1800000000", "2027-01-15 08:00:00 UTC", "Fri 2027-01-15 08:00:00"),
    ("hourly UTC", "*-*-* *:00:00 UTC", "Sun 2026-11-22 16:00:00"),
    ("daily Europe/Berlin", "*-*-* 00:00:00 Europe/Berlin", "Sun 2026-11-22 23:00:00"),
    ("minutely", "*-*-* *:*:00", "Sun 2026-11-22 15:01:00"),
    ("weekly", "Mon *-*-* 00:00:00", "Mon 2026-11-23 00:00:00"),
    ("monthly", "*-*-01 00:00:00", "Tue 2026-12-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00", "Fri 2027-01-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00", "Fri 2027-01-01 00:00:00"),
    ("Yearly", "*-01-01 00:00:00", "Fri 2027-01-01 00:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "whole", "first"), SYSTEMD)
def test_systemds_expressions(text: str, whole: str, first: str | None) -> None:
    assert full(text) == whole
    assert times(text, count=1) == ([] if first is None else [first])


# --- cron's ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("0 3 * * *", "*-*-* 03:00:00"),
        ("*/15 * * * *", "*-*-* *:00/15:00"),
        ("5-55/10,3 8-17 * * *", "*-*-* 08..17:03,05..55/10:00"),
        ("0 0 1 1 *", "*-01-01 00:00:00"),
        ("0 0 * * 0", "Sun *-*-* 00:00:00"),
        ("0 0 * * 7", "Sun *-*-* 00:00:00"),
        ("0 0 * * 5-7", "Fri..Sun *-*-* 00:00:00"),
        ("0 0 * * 0-6", "*-*-* 00:00:00"),
        ("0 0 * * Mon-Fri", "Mon..Fri *-*-* 00:00:00"),
        ("0 0 * * fri-sun", "Fri..Sun *-*-* 00:00:00"),
        ("0 0 * * sun-tue", "Mon,Tue,Sun *-*-* 00:00:00"),
        ("0 0 * * */2", "Tue,Thu,Sat,Sun *-*-* 00:00:00"),
        ("0 0 * jan,JUL-sep *", "*-01,07..09-* 00:00:00"),
        ("0 */24 * * *", "*-*-* 00:00:00"),
        ("0 1/6 * * *", "*-*-* 01/6:00:00"),
        ("0 0 13 * 5", "*-*-13 00:00:00, Fri *-*-* 00:00:00"),  # either
        ("0 0 */2 * 1", "Mon *-*-01/2 00:00:00"),  # both: crontab(5) has a field that begins with * as unrestricted
        ("0 0 13 * *", "*-*-13 00:00:00"),
        ("0 0 ? * 1", "Mon *-*-* 00:00:00"),
        ("30 2 * * * Europe/Berlin", "*-*-* 02:30:00 Europe/Berlin"),
        ("@daily", "*-*-* 00:00:00"),
        ("@midnight", "*-*-* 00:00:00"),
        ("@HOURLY", "*-*-* *:00:00"),
        ("@weekly", "Sun *-*-* 00:00:00"),
        ("@monthly UTC", "*-*-01 00:00:00 UTC"),
        ("@yearly", "*-01-01 00:00:00"),
        ("@annually", "*-01-01 00:00:00"),
    ],
)
def test_crons_expressions(text: str, whole: str) -> None:
    assert full(text) == whole


def test_a_day_of_the_month_and_one_of_the_week_are_either_to_cron() -> None:
    assert times("0 0 1 * 5", count=4) == [
        "Fri 2026-11-27 00:00:00", "Tue 2026-12-01 00:00:00", "Fri 2026-12-04 00:00:00", "Fri 2026-12-11 00:00:00",
    ]  # fmt: skip


# --- what is none ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("soon", "is no date"),
        ("*-*-* 24:00", "'24' is no hour: these are from 0 to 23"),
        ("Sat..Mon 10:00", "over the end of the week; write sat..sun,mon..mon"),
        ("Mon,Foo", "'foo' is no day of the week"),
        ("*/2:00", 'write "0/2"'),
        ("22..2:00", "ends before it begins"),
        ("*:0/60", "leads nowhere"),
        ("*:0/0", "leads nowhere"),
        ("*-*~3/7", "towards the end of the month"),
        ("*-*-0", "no day"),
        ("1969-1-1", "no year"),
        ("2200-1-1", "no year"),
        ("@999999999999999", "after the year 2199"),
        ("@soon", "there are @yearly"),
        ("@reboot", "enable"),
        ("8:00 Mars/Olympus", "no time zone"),
        ("8:00 ../../etc/passwd", "is not understood"),
        ("8:00:00.1234567", "more than six digits"),
        ("8:0.5", "no number"),
        ("2026-12-01T05:00", "not T"),
        ("1:2:3:4", "no time"),
        ("daily weekly", "is not understood|no time zone"),
        ("0 3 * * 8", "no day of the week"),
        ("0 3 * * Fri-Wed", "ends before"),
        ("60 3 * * *", "60 is no minute: these are from 0 to 59"),
        ("0 3 */0 * *", "step of 0"),
        ("0 3 L * *", "no number"),
        ("0 0 3 * * 1", "without seconds"),
        ("0 3 * * * nowhere", "no time zone"),
        ("0 3 * *", "cron has five fields: minute, hour"),
        ("*" * (MAX_TEXT + 1), "characters"),
        ("1٣:00", "no number"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


@given(st.text(alphabet="0123456789*/,.-~:@ MonTueUTCBrliEp?", max_size=40))
def test_any_text_is_an_expression_or_a_value_error(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    whole = [calendar.normalized(one) for one in found]
    assert [calendar.normalized(parse(one)[0]) for one in whole] == whole  # it reads back as what it is
    at = usec(NOW)
    first = calendar.elapse_after(found, at, UTC)
    assert first is None or first > at


# --- the two nights -------------------------------------------------------------------------------------------------
def test_half_past_two_runs_once_on_the_night_on_which_it_does_not_exist() -> None:
    assert times("02:30", "2026-03-28 00:00:00", 3, BERLIN) == [
        "Sat 2026-03-28 02:30:00", "Sun 2026-03-29 03:00:00", "Mon 2026-03-30 02:30:00",
    ]  # fmt: skip


def test_half_past_two_runs_once_on_the_night_on_which_it_comes_twice() -> None:
    found = calendar.elapses(parse("02:30"), usec("2026-10-24 12:00:00", BERLIN), BERLIN, 2)
    assert found == [usec("2026-10-25 02:30:00", BERLIN), usec("2026-10-26 02:30:00", BERLIN)]


def test_after_its_first_half_past_two_the_second_is_passed_over() -> None:
    """Also for somebody who looks in between, such as a daemon that was killed."""
    for between in (usec("2026-10-25 02:45:00", BERLIN), usec("2026-10-25 02:10:00", BERLIN, fold=1)):
        assert calendar.elapse_after(parse("02:30"), between, BERLIN) == usec("2026-10-26 02:30:00", BERLIN)


@pytest.mark.parametrize("text", ["*:30", "30 * * * *", "0..23:30"])
def test_what_is_said_for_every_hour_goes_by_real_hours(text: str) -> None:
    assert times(text, "2026-03-29 01:00:00", 3, BERLIN) == [
        "Sun 2026-03-29 01:30:00", "Sun 2026-03-29 03:30:00", "Sun 2026-03-29 04:30:00",
    ]  # fmt: skip
    at = usec("2026-10-25 01:30:00", BERLIN)
    assert calendar.elapses(parse(text), at, BERLIN, 3) == [at + hour * calendar.HOUR for hour in (1, 2, 3)]


def test_what_is_said_for_every_so_many_minutes_goes_by_real_time() -> None:
    at = usec("2026-10-25 01:50:00", BERLIN)
    found = calendar.elapses(parse("2:0/20"), at, BERLIN, 7)
    assert [(each - at) // calendar.MINUTE for each in found[:6]] == [10, 30, 50, 70, 90, 110]
    assert found[6] == usec("2026-10-26 02:00:00", BERLIN)


def test_a_few_of_the_missing_times_are_made_good_together_and_once() -> None:
    assert times("1..3:00,40", "2026-03-29 00:00:00", 5, BERLIN) == [
        "Sun 2026-03-29 01:00:00", "Sun 2026-03-29 01:40:00", "Sun 2026-03-29 03:00:00", "Sun 2026-03-29 03:40:00",
        "Mon 2026-03-30 01:00:00",
    ]  # fmt: skip


def test_every_few_hours_is_no_every_hour() -> None:
    assert times("0/2:00", "2026-03-29 00:30:00", 2, BERLIN) == ["Sun 2026-03-29 03:00:00", "Sun 2026-03-29 04:00:00"]
    found = calendar.elapses(parse("0/2:00"), usec("2026-10-25 01:00:00", BERLIN), BERLIN, 2)
    assert found == [usec("2026-10-25 02:00:00", BERLIN), usec("2026-10-25 04:00:00", BERLIN)]


def test_a_zone_whose_clock_is_changed_by_half_an_hour() -> None:
    assert times("2:15", "2026-10-03 12:00:00", 2, LORD_HOWE) == ["Sun 2026-10-04 02:30:00", "Mon 2026-10-05 02:15:00"]
    found = calendar.elapses(parse("1:45"), usec("2026-04-04 12:00:00", LORD_HOWE), LORD_HOWE, 2)
    assert found == [usec("2026-04-05 01:45:00", LORD_HOWE), usec("2026-04-06 01:45:00", LORD_HOWE)]


def test_a_zone_that_left_out_a_day() -> None:
    apia = ZoneInfo("Pacific/Apia")  # 2011-12-30 was not
    assert times("12:00", "2011-12-29 00:00:00", 3, apia) == [
        "Thu 2011-12-29 12:00:00", "Sat 2011-12-31 00:00:00", "Sat 2011-12-31 12:00:00",
    ]  # fmt: skip


def test_the_zone_of_an_expression_is_not_where_we_are() -> None:
    assert times("02:30 Europe/Berlin", "2026-03-28 12:00:00", 2) == [
        "Sun 2026-03-29 01:00:00", "Mon 2026-03-30 00:30:00",
    ]  # fmt: skip


@given(
    st.sampled_from(["02:30", "*:30", "2:*", "1..3:0/7", "*:*:17", "0 3 * * *", "Sun 2:00:00/20", "*-*~01 1:59"]),
    st.integers(usec("2026-01-01 00:00:00"), usec("2028-01-01 00:00:00")),
    st.sampled_from([BERLIN, LORD_HOWE, ZoneInfo("America/New_York")]),
)
def test_no_time_is_forgotten_or_found_twice_wherever_one_begins_to_look(text: str, at: int, zone: ZoneInfo) -> None:
    """From any moment before it a time is the same one: so a daemon that is killed goes on where it was."""
    found = calendar.elapses(parse(text), at, zone, 4)
    assert found == sorted(set(found))
    for before, after in zip([at, *found], found, strict=False):
        middle = (before + after) // 2
        assert calendar.elapse_after(parse(text), middle, zone) == after
        assert calendar.elapse_after(parse(text), after - 1, zone) == after


# --- beside systemd -------------------------------------------------------------------------------------------------
def _place(rng: random.Random, least: int, most: int, free: float) -> str:
    if rng.random() < free:
        return "*"
    words = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start = rng.randint(least, most)
        words.append(
            rng.choice((str(start), f"{start}..{most}", f"{start}..{most}/{rng.randint(1, 9)}", f"{least}/{most // 3}"))
        )
    return ",".join(words)


def _expression(rng: random.Random) -> str:
    day = rng.choice(("-", "~"))
    date = f"{_place(rng, 2026, 2040, 0.8)}-{_place(rng, 1, 12, 0.4)}{day}{_place(rng, 1, 28, 0.4)}"
    time = f"{_place(rng, 0, 23, 0.4)}:{_place(rng, 0, 59, 0.4)}:{_place(rng, 0, 57, 0.1)}"
    return f"{rng.choice(('', 'Mon ', 'Tue..Fri ', 'Sat,Sun '))}{date} {time}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_says_the_same() -> None:
    rng = random.Random(6)
    texts = [text for text, _, _ in SYSTEMD] + [_expression(rng) for _ in range(150)]
    ours = {}
    for text in texts:
        try:
            ours[text] = full(text)
        except ValueError:
            continue
    command = ["systemd-analyze", "calendar", f"--base-time={NOW}", "--iterations=4", *ours]
    env = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    answer = subprocess.run(command, capture_output=True, text=True, env=env, check=False).stdout
    blocks: dict[str, dict[str, str]] = {}
    for block in answer.split("\n\n"):
        lines = (line.strip().partition(": ") for line in block.splitlines())
        found_there = {key: value for key, _, value in lines}
        blocks[found_there.get("Original form", found_there.get("Normalized form", ""))] = found_there
    if not any("Iter. #4" in words for words in blocks.values()):
        pytest.skip("this systemd-analyze prints something else")
    compared = 0
    for text, whole in ours.items():
        words = blocks.get(text) or blocks.get(whole) or {}
        if not words:
            continue  # it takes less than we do: days from the end of a month above 28
        compared += 1
        assert whole == words["Normalized form"], text
        found = [words[key] for key in ("Next elapse", "Iter. #2", "Iter. #3", "Iter. #4") if key in words]
        assert found == [f"{each} UTC" for each in times(text, count=4)] or found == ["never"], text
        assert ("never" in found) == (times(text, count=1) == []), text
    assert compared > 100
