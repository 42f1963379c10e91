"""The same work under jobd and under others, side by side: `make bench BENCH=peers`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.bench.peers import tables
from tests.bench.peers.run import measure_peers
from tests.bench.plots import Bars, Section

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["measure_section"]


def measure_section(root: Path) -> Section:
    """All that are installed. Raises CannotMeasureError without a compiler."""
    found = measure_peers(root)
    rows = [*found.services, *found.jobs]
    return Section(
        table=tables.markdown(found),
        results={
            "versions": found.versions,
            "settings": found.settings,
            "services": [row._asdict() for row in found.services],
            "jobs": [row._asdict() for row in found.jobs],
            "facts": [fact._asdict() for fact in found.facts],
        },
        charts=[
            Bars(
                name="peers-" + re.sub(r"\W+", "-", row.what).strip("-"),
                title=row.what,
                unit=row.unit + (", more is better" if row.higher_is_better else ""),
                values={title: value for title, value in row.values.items() if value is not None},
            )
            for row in rows
        ],
    )
