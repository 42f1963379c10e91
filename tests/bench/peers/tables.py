"""What was found, as tables: a row for each thing measured, a column for each supervisor, with its ratio to jobd."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.peers.facts import Fact
    from tests.bench.peers.run import Found
    from tests.bench.peers.services import Row

OURS = "jobd"
NONE = "-"
NOTE = """A job of jobd's or nq's is synced to disk when the prompt is back; task-spooler syncs nothing. The prompt of
supervisord comes when a service has been up for a second; s6 and runit may wait a second before the next start."""
FACTS = ("killed with -9", "a job that writes", "its output", "a job that does not", "begun again beside itself",
         "how they ended")  # fmt: skip


def value_words(value: float) -> str:
    if value and abs(value) < 0.095:
        return f"{value:.2f}"
    return f"{value:,.1f}" if abs(value) < 99.5 else f"{value:,.0f}"


def cell(value: float | None, ours: float | None, mine: bool) -> str:
    """A value, and how many times jobd's it is, where there are both and neither is nothing."""
    if value is None:
        return NONE
    if mine or not ours or not value:
        return value_words(value)
    return f"{value_words(value)} ({value_words(value / ours)}x)"


def table(head: str, rows: Sequence[Row]) -> list[str]:
    titles = list(rows[0].values)
    lines = [f"| {head} | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for row in rows:
        ours = row.values.get(OURS)
        cells = [cell(row.values.get(title), ours, title == OURS) for title in titles]
        lines.append(f"| {row.what}, {row.unit} | {' | '.join(cells)} |")
    return lines


def fact_cells(fact: Fact) -> list[str]:
    """One row of the facts, in words."""
    output = "dies writing" if fact.lost is None else "complete" if not fact.lost else f"{fact.lost} lines missing"
    return [
        f"{fact.title}: {fact.killed}", _fate(fact.wrote), output, _fate(fact.quiet),
        "yes" if fact.copies else "no", fact.exits_told or "nobody knows",
    ]  # fmt: skip


def _fate(alive: tuple[bool, bool]) -> str:
    """What became of a job; `alive`: when its supervisor had been dead for a while, and with the next one."""
    return {(True, True): "runs on", (True, False): "runs on, is ended by the next one"}.get(alive, "dies")


def fact_table(facts: Sequence[Fact]) -> list[str]:
    lines = [f"| {' | '.join(FACTS)} |", "|---" * len(FACTS) + "|"]
    return [*lines, *(f"| {' | '.join(fact_cells(fact))} |" for fact in facts)]


def markdown(found: Found) -> str:
    """All tables, with what was set besides the defaults."""
    versions = ", ".join(found.versions.values())
    settings = "; ".join(f"{title}: {words}" for title, words in found.settings.items() if words)
    return "\n".join(
        [
            *table("a service", found.services), "",
            *table("jobs", found.jobs), "",
            *fact_table(found.facts), "",
            NOTE, "",
            f"Medians; in brackets how many times jobd's. {versions}. Defaults, but for: {settings}.",
        ]
    )  # fmt: skip
