"""Handlers come to jobs and runs through their context alone: it is in their source."""

from __future__ import annotations

import ast
from pathlib import Path

import jobd.rpc

HANDLERS = sorted((Path(jobd.rpc.__file__).parent / "handlers").glob("*.py"))
# Ways to a row by somebody's word or id that do not ask whether he may have it.
RAW = {
    "job", "run", "runs_page", "jobs_page", "run_number", "runs_by_suffix", "events_page", "live_runs", "events_of_run",
    "changes_page", "last_runs_of", "owners", "is_used", "highest_number",
}  # fmt: skip
SUBMITS = {"run.py", "events.py"}  # a submission is the caller's own; so are the audits that he is shown


def offences(source: str, name: str = "x.py") -> list[str]:
    """What a handler must not say."""
    attributes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    return [ast.unparse(node) for node in attributes if _is_raw(ast.unparse(node.value), node.attr, name)]


def _is_raw(base: str, attr: str, name: str) -> bool:
    if base == "context":
        return attr == "owner" or attr.startswith("_") or (attr == "own" and name not in SUBMITS)
    if base.endswith("registry"):
        return attr in ("jobs", "runs", "run")
    return base.endswith("store") and attr in RAW


def test_no_handler_looks_rows_up_by_itself() -> None:
    assert len(HANDLERS) > 10
    assert {path.name: found for path in HANDLERS if (found := offences(path.read_text(), path.name))} == {}


def test_it_would_be_found() -> None:
    for source in (
        "context.world.registry.runs.get(x)",
        "registry.jobs[k]",
        "store.job(a, b)",
        "context.owner",
        "context._row",
    ):
        assert offences(source), source
    assert not offences("context.job(word, 'stop'); context.live(row)")


def test_no_handler_imports_another() -> None:
    for path in HANDLERS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jobd.rpc.handlers"):
                assert node.module == "jobd.rpc.handlers.each", path
