"""history --stats: how often each job ran, how well, how long, and with how much memory. Loaded only then."""

from __future__ import annotations

from jobctl import names, terminal, times
from jobctl.escape import escape
from jobctl.status_text import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.shapes import StatsView

COLUMNS = ("JOB", "RUNS", "FAILED", "SUCCESS", "P50", "P95", "MEM50", "MEM95", "LAST")


def show(client: Client, request: dict[str, object], output: str | None, full: bool, *, legend: bool) -> int:
    """Show all pages."""
    found = [view for page in _pages(client, request) for view in page]
    if output is not None:
        from jobctl.rows import figures_row, print_json

        print_json([figures_row(view) for view in found], output)
        return 0
    from jobctl.table import Table

    rows = [_cells(client, view) for view in found]
    table = Table(
        COLUMNS, COLUMNS.index("JOB"), gap="  ", full=full, rest=max((len(row[-1]) for row in rows), default=0)
    )
    table.fit(rows)
    lines = [table.top()] if legend else []
    lines += [
        table.line(row, ("", "", terminal.RED) if view.get("failed") else ())
        for view, row in zip(found, rows, strict=True)
    ]
    terminal.say("".join(f"{line}\n" for line in lines))
    return 0


def _pages(client: Client, request: dict[str, object]) -> Iterator[list[StatsView]]:
    after = ""
    while True:
        body = client.call({**request, "after": after})
        yield body["stats"]
        after = body.get("more", "")
        if not after:
            return


def success_rate(view: StatsView) -> float | None:
    """Of the runs that nobody stopped, how many went well; None: there are none of those."""
    good, bad = view.get("success", 0), view.get("failed", 0)
    return good / (good + bad) if good + bad else None


def _cells(client: Client, view: StatsView) -> tuple[str, ...]:
    rate, last = success_rate(view), view.get("last_at")
    return (
        escape(names.shown_name(view["job"], view["owner"], client.uid)),
        str(view["runs"]),
        str(view.get("failed", 0)),
        "-" if rate is None else f"{int(rate * 1000) / 10:g}%",  # 100% is said of nothing less
        _span(view.get("p50_usec")),
        _span(view.get("p95_usec")),
        size(view.get("p50_bytes")) or "-",
        size(view.get("p95_bytes")) or "-",
        "-" if last is None else times.short(last),
    )


def _span(usec: int | None) -> str:
    return "-" if usec is None else times.coarse_span(usec)
