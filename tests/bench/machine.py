"""What figures were measured on, and the tables of README.md that are made by machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tests.bench.measure import PYTHON

README = Path("README.md")


def machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": f"{platform.python_version()} ({PYTHON})",
    }


def machine_line() -> str:
    return f"Linux {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}."


def replace_table(begin: str, end: str, table: str) -> None:
    """Put a table between two marks of README.md, with what it was measured on."""
    text = README.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    README.write_text("\n".join([f"{before}{begin}", table, "", machine_line(), f"{end}{after}"]))
