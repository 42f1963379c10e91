"""man/jobd.toml.5 and the code that reads the file tell the same story."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from jobd.core import rules, units
from jobd.core.configfile import KEYS, SIZES, parse
from jobd.core.logline import LEVELS
from jobd.core.policy import Kept, Policy, Rule, UserLimits
from jobd.keeper.log import DEFAULT_LEVEL

PAGE: Final = Path(__file__).resolve().parents[1] / "man" / "jobd.toml.5"
SECTIONS: Final = {"TOP OF THE FILE": "", "RULES": "[allow]", "LIMITS": "limits", "RETENTION": "retention"}
SETTING: Final = re.compile(
    r"^\.It Va ([a-z_ ,]+?) Pq ([a-z ]+)(?:, (?:default (?:Li )?(.*)|required))?$", re.MULTILINE
)
FIELDS: Final = {"log_size": "log_bytes", "environment_size": "environment_bytes"}


class Nobody:
    """No name means anybody."""

    def uid(self, _: str) -> int | None:
        return None

    def gid(self, _: str) -> int | None:
        return None


def section(title: str) -> str:
    return PAGE.read_text().partition(f".Sh {title}\n")[2].partition("\n.Sh ")[0]


def documented() -> dict[str, dict[str, tuple[str, str]]]:
    """By table: each key with its type and its default."""
    found: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in (*SECTIONS.values(), "limits.rlimits")}
    for title, table in SECTIONS.items():
        own, _, below = section(title).partition(".Ss Limits of processes")
        for name, text in ((table, own), ("limits.rlimits", below)):
            for keys, kind, default in SETTING.findall(text):
                found[name].update((key, (kind, default.replace(r"\(dq", '"'))) for key in keys.split(" , "))
    return found


def test_every_key_is_documented_and_exists() -> None:
    tables = {"allow", "limits", "rlimits", "retention"}  # which have sections of their own
    keys = {name: set(table) for name, table in documented().items()}
    # Which limits a kernel has, the machine says; the page has Linux's, with "ofile", Python's name for BSD's nofile.
    assert keys == {name: set(known) - tables for name, known in KEYS.items()}


def test_types() -> None:
    found = documented()
    assert {key for key, (kind, _) in found["limits.rlimits"].items() if kind == "size"} == SIZES & set(
        KEYS["limits.rlimits"]
    )
    assert {kind for kind, _ in found["[allow]"].values()} == {"list of strings"}


def test_defaults() -> None:
    found = documented()
    limits = UserLimits()
    assert found["limits"].pop("total_running") == ("number", "infinity")
    assert Policy().total_running is None
    for key, (kind, default) in found["limits"].items():
        value = getattr(limits, FIELDS.get(key, key))
        assert (units.parse_size(default.strip('"')) if kind == "size" else int(default)) == value, key
    kept = Kept()
    assert units.parse_duration("90d") == kept.for_usec
    assert found["retention"] == {
        "keep_runs": ("number", str(kept.runs)),
        "keep_for": ("duration", '"90d"'),
        "runs_per_owner": ("number", str(kept.runs_per_owner)),
    }
    assert found[""] == {
        "no_new_privileges": ("boolean", str(Policy().no_new_privileges).lower()),
        "log_level": ("string", f'"{DEFAULT_LEVEL}"'),
    }
    usual = {field.name: field.default for field in msgspec.structs.fields(Rule)}
    assert found["[allow]"]["owners"][1] == found["[allow]"]["jobs"][1] == '["*"]'
    assert usual["owners"] == usual["jobs"] == ("*",)


def test_levels_and_groups_of_verbs() -> None:
    assert set(re.findall(r"^\.Ql (\w+)", section("TOP OF THE FILE"), re.MULTILINE)) == set(LEVELS)
    for group in (rules.READ, rules.CONTROL):
        verbs = section("RULES").partition(f".It Sy {group}\n.Cm ")[2].partition("\n")[0].split()
        assert sorted(verbs) == sorted(verb for verb, of in rules.VERBS.items() if of == group), group
    denied = section("RULES").partition("\n.Cm daemon-reload")[2].partition("cannot be granted")[0]
    assert {"daemon-reload", *re.findall(r"[a-z][a-z-]+", denied.replace("and", ""))} == {
        verb for verb, of in rules.VERBS.items() if of == rules.ADMIN
    }


def test_examples_can_be_taken() -> None:
    examples = [text for text in re.findall(r"\.Bd .*\n([^#]*?)\.Ed", section("EXAMPLES")) if "=" in text]
    readme = (PAGE.parents[1] / "README.md").read_text()
    examples += re.findall(r"cat > /etc/jobd/jobd\.toml .*\n(\[\[allow\]\](?:\n\w.* = .*)+)", readme)
    assert len(examples) == 3
    for text in examples:
        policy = parse(text, "jobd.toml", Nobody())
        assert policy.allow or policy.rlimits
