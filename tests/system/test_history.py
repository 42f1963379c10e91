"""history: of a queue that has gone, from a cursor on while more runs come, and the figures of it all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow
NO_SUCH_QUEUE = 4  # as of a job


def test_runs_of_a_queue_page_by_page_and_their_figures(shared: Program, name: str) -> None:
    queue = f"q-{name[-40:]}"
    shared.jobctl("queue", "add", queue, check=True)
    for at, script in enumerate(("exit 0", "exit 3", "exit 0")):
        shared.jobctl("run", "--wait", "--queue", queue, "-u", f"{name[-40:]}-{at}", "--", "sh", "-c", script)
    shared.jobctl("run", "--wait", "-u", f"{name[-40:]}-7", "--", "true", check=True)
    shared.jobctl("queue", "rm", queue, check=True)

    def history(*args: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(shared.jobctl("history", "-o", "json", *args, check=True).stdout)
        return found

    found = history("--queue", queue)
    assert [(row["job"], row["exit_code"]) for row in found] == [
        (f"{name[-40:]}-2", 0), (f"{name[-40:]}-1", 3), (f"{name[-40:]}-0", 0),
    ]  # fmt: skip
    assert [row["job"] for row in history("--queue", queue, "--state", "failed")] == [f"{name[-40:]}-1"]
    assert [row["job"] for row in history("--queue", queue, "--offset", "1", "-n", "1")] == [f"{name[-40:]}-1"]

    first = shared.jobctl("history", "--queue", queue, "-n", "1", check=True).stdout.splitlines()[-1]
    assert first == f"1 run listed, and there are more: --after-cursor {found[0]['cursor']}"
    shared.jobctl("rerun", "--wait", f"{name[-40:]}-7", check=True)  # what comes meanwhile moves nothing
    assert history("--queue", queue, "--after-cursor", str(found[0]["cursor"])) == found[1:]

    (figures,) = history("--stats", f"{name[-40:]}-*")
    assert (figures["job"], figures["runs"], figures["success"], figures["failed"]) == (f"{name[-40:]}-*", 5, 4, 1)
    assert figures["success_percent"] == 80
    assert isinstance(figures["duration_p95_usec"], int)
    (of_queue,) = history("--stats", "--queue", queue)
    assert of_queue["runs"] == 3
    (one,) = history("--stats", f"{name[-40:]}-7")
    assert (one["job"], one["runs"]) == (f"{name[-40:]}-7", 2)


def test_a_queue_that_never_was(shared: Program, name: str) -> None:
    for args in (("--queue", name[-40:]), ("--queue", "nobody-has-this-name/x"), ("--stats", "--queue", name[-40:])):
        done = shared.jobctl("history", *args)
        assert done.returncode == NO_SUCH_QUEUE, done
        assert "there is no queue" in done.stderr
        assert "batch" in done.stderr
