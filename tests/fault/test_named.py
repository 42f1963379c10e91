"""The pages that promise something name the campaigns that try it: each is there, and none is left out."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fault.campaigns import CAMPAIGNS

ROOT = Path(__file__).resolve().parents[2]


def tried_by(text: str) -> set[str]:
    """The names in sentences that begin with *Tried by*."""
    found = re.findall(r"\bTried by ([^.]*)\.$", text, re.MULTILINE)
    return {name for names in found for name in re.split(r"[,\s]+|\band\b", names.partition(", on ")[0]) if name}


def in_readme() -> set[str]:
    """Those of README's promises, and the last column of their table."""
    promises = (ROOT / "README.md").read_text().partition("\n## Promises\n")[2].partition("<!-- campaigns -->")[0]
    rows = [line.split("|") for line in promises.splitlines() if line.startswith("|") and not line.startswith("|--")]
    assert rows[0][-2].strip() == "tried by"
    return tried_by(promises) | {name for row in rows[1:] for name in row[-2].split()}


def test_every_campaign_is_named_beside_what_it_tries() -> None:
    assert in_readme() == set(CAMPAIGNS)


def test_the_manual_names_campaigns_that_are_there() -> None:
    named = tried_by((ROOT / "man" / "jobd.8").read_text())
    assert named
    assert named <= set(CAMPAIGNS)
