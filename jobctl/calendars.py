"""verify --calendar: what a calendar expression means, and when it comes next, as systemd-analyze calendar shows it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from jobctl import terminal
from jobctl.times import NS, USEC, ago, rfc3339, timestamp
from jobd.core import calendar, calendartext
from jobd.core.zones import local_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.shapes import Json

BROKEN = 6  # of verify
COUNT = 5  # the issue's: the next five times
WIDTH = 15  # of the labels, systemd-analyze's
NONE = "never"


def run(expressions: tuple[str, ...], output: str | None) -> int:
    """Show each; 6 if one of them is none."""
    if output is not None:
        from jobctl import rows

        rows.is_json(output)
    now = time.time_ns()
    status = 0
    found: list[Json] = []
    blocks: list[str] = []
    for text in expressions:
        try:
            parsed = calendartext.parse(text)
        except ValueError as e:
            terminal.warn(f"cannot read calendar expression {text!r}: {e}")
            status = BROKEN
            continue
        times = [at * USEC for at in calendar.elapses(parsed, now // USEC, local_zone(), COUNT)]
        found.append(_row(text, parsed, times))
        blocks.append(_block(text, parsed, times, now))
    if output is not None:
        rows.print_json(found, output)
    else:
        terminal.say("\n".join(blocks))
    return status


def _row(text: str, parsed: tuple[calendar.Calendar, ...], times: list[int]) -> Json:
    whole: list[Json] = [calendar.normalized(one) for one in parsed]
    return {"calendar": text, "normalized": whole, "next": [rfc3339(at) for at in times]}


def _block(text: str, parsed: tuple[calendar.Calendar, ...], times: list[int], now: int) -> str:
    whole = [calendar.normalized(one) for one in parsed]
    pairs = [("Original form", text)] if [text] != whole else []
    pairs += [("Normalized form" if at == 0 else "or", one) for at, one in enumerate(whole)]
    if not times:
        pairs.append(("Next elapse", NONE))
    for number, at in enumerate(times, 1):
        pairs.append(("Next elapse" if number == 1 else f"Iteration #{number}", timestamp(at)))
        if time.localtime(at // NS).tm_gmtoff:
            shown = datetime.fromtimestamp(at // NS, UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC")
            pairs.append(("(in UTC)", shown))
        pairs.append(("From now", f"{ago((at - now) // USEC)} left"))
    return "".join(f"{label:>{WIDTH}}: {value}\n" for label, value in pairs)
