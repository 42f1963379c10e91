"""What every verb gives as JSON is what man/jobctl.1 says: keys, types, and what may be null."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.argv import load
from jobctl.rows import FORMATS
from jobctl.spellings import VERBS
from jobctl.statewords import FILES, RESULTS, STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.program import Program

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "man" / "jobctl.1"
FIELD = re.compile(r"^\.It Va (\w+) Pq ([a-z ]+?)(, optional)?$", re.MULTILINE)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
# What no job of this test has: a time to wait for, a note or a reason takes a bad moment, as does a dead keeper.
OF_CONTROLLERS = {"tasks_peak", "io_read_bytes", "io_write_bytes"}  # which a test cannot have
OF_TIME = {"not_before", "next_elapse_at", "last_elapse_at"}
OF_ARRAYS = {"array", "array_of", "array_index", "elements"}  # which have a test of their own
OF_SERVICES = {"cause", "ready_at"}  # and jobs from files, which have tests of their own
OF_FILES = {"file", "problem", "restart_at", "waits", "status_text", "status_errno", "health", "memory_bytes", "tasks"}
NEVER_SET = {
    "Submissions": {"elements"},
    "Rules": {"error"}, "Jobs": {"note", *OF_ARRAYS, *OF_TIME, *OF_CONTROLLERS, *OF_SERVICES, *OF_FILES},
    "Runs": {"note", "reason", "array_index", *OF_TIME, *OF_CONTROLLERS, *OF_SERVICES}, "Reasons": {"other"},
    "Changes": {"reason", "queue", "slots", "held", "priority", "cause", "due"}, "Timers": {"last"},
}  # fmt: skip
NEVER_NULL = {
    "Submissions": {"number"},
    "Runs": {"submitted_by", "queued_at"}, "The daemon": {"keeper_pid", "user", "uid"}, "Rules": {"file"},
    "Reasons": {"time", "run", "number"}, "Plans": {"file"}, "Job files": {"file"}, "Lines": {"pid"},
    "Changes": {"job", "owner", "run", "number", "state", "active", "sub"},
}  # fmt: skip
Row = dict[str, Any]


class Field:
    """One key, as the page has it."""

    def __init__(self, type_: str, optional: bool) -> None:
        self.type = type_.removesuffix(" or null")
        self.nullable = type_.endswith(" or null")
        self.optional = optional

    def accepts(self, value: object) -> bool:
        """Whether a value is of this type."""
        if value is None:
            return self.nullable
        if self.type == "time":
            return isinstance(value, str) and bool(TIME.fullmatch(value)) and bool(datetime.fromisoformat(value))
        if self.type.startswith("array of "):
            kind = {"array of strings": str, "array of integers": int, "array of objects": dict}[self.type]
            return isinstance(value, list) and all(type(each) is kind for each in value)
        return type(value) is {"string": str, "integer": int, "boolean": bool}[self.type]


def sections() -> dict[str, str]:
    text = PAGE.read_text().partition(".Sh JSON\n")[2].partition("\n.Sh ")[0]
    parts = re.split(r"^\.Ss (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def schemas() -> dict[str, dict[str, Field]]:
    """The keys of each kind of object, by the title of its part of the page."""
    found = {
        title: {name: Field(type_, bool(optional)) for name, type_, optional in FIELD.findall(text)}
        for title, text in sections().items()
    }
    found["Results"] = {**found["Runs"], **found["Results"]}
    return found


SCHEMAS = schemas()
# Which verb gives what; each line is tried in every format.
LINES = {
    "Jobs": [
        "list -a", "status {ended}", "status {live}", "status nothing-here", "is-active {ended}", "is-failed {ended}",
        "is-enabled {ended}",
    ],
    "Runs": ["history {ended}", "history {live}", "wait {ended}"],
    "Figures": ["history --stats {ended}", "history --stats"],
    "Queues": ["queue list", "queue list -a json*"],
    "Results": ["result {one}", "result {bytes}"],
    "Lines": ["logs {one}", "logs {bytes}"],
    "Changes": ["events {ended}", "history --audit {ended}"],
    "Submissions": ["run true", "rerun {one}"],
    "Definitions": ["cat {one}"],
    "Job files": ["list-job-files"],
    "Checked files": ["verify {file}"],
    "Calendars": ["verify --calendar=daily"],
    "Timers": ["list-timers -a"],
    "Reasons": ["why {ended}", "why {live}"],
    "Dependencies": ["list-dependencies json-file"],
    "Plans": ["daemon-reload --dry-run"],
    "Callers": ["auth whoami"],
    "Decisions": ["auth can-i stop {one}", "auth can-i stop", "auth can-i stop 61001/none --as 61002"],
    "Rules": ["auth rules"],
    "Processes": ["whoami {pid} 1"],
    "The daemon": ["daemon-status", "status", "is-failed"],
    "Properties": ["show {one}", "show"],
}  # fmt: skip
ONE_OBJECT = ("Callers", "Decisions", "Rules", "Results", "Submissions", "The daemon")
MANY_OBJECTS = ("Lines", "Changes")  # one after the other, in no array


def test_every_verb_with_json_is_told_and_tried() -> None:
    verbs = {verb for verb in VERBS if "output" in (load(verb).__kwdefaults__ or {})}
    tried = {line.split()[0] for lines in LINES.values() for line in lines}
    assert tried == verbs
    assert set(LINES) == set(SCHEMAS)
    for title, text in sections().items():
        intro = text.partition(".Bl")[0]
        for verb in {line.split()[0] for line in LINES[title]}:
            assert re.search(rf"^\.Cm (?:[a-z-]+ , )*{verb}\b", intro, re.MULTILINE), (title, verb)


def test_the_page_repeats_the_types_of_common_keys() -> None:
    for name, field in SCHEMAS["Runs"].items():
        common = SCHEMAS["Jobs"].get(name)
        if common is not None:
            assert field.type == common.type, name


@pytest.fixture(scope="module")
def places(shared: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Jobs that have ended in every way, and some that have not; the words of LINES."""

    def run(name: str, *args: str) -> str:
        shared.jobctl("run", "--name", f"json-{name}", *args)
        return f"json-{name}"

    run("limit", "-p", "limits.runtime=50ms", "--", "sleep", "1000")
    live = [run("live", "--", "sleep", "1000")]
    shared.jobctl("queue", "add", "json", check=True)
    shared.jobctl("queue", "add", "json-all", "slots=infinity", check=True)
    live += [run(name, "--queue", "json", "--", "sleep", "1000") for name in ("first", "next")]
    stopped = run("stopped", "--", "sleep", "1000")
    shared.jobctl("stop", stopped, check=True)
    run("good", "-p", "description=It is good", "--wait", "--", sys.executable, "-c", "bytearray(200 << 20)")
    run("bad", "--wait", "--", "sh", "-c", "exit 3")
    run("killed", "--wait", "--shell", "--", "kill -9 $$")
    run("absent", "--", "/nonexistent")
    ended = [stopped, *(f"json-{name}" for name in ("limit", "good", "bad", "killed", "absent"))]
    shared.jobctl("wait", *ended)
    one = run("one", "--wait", "--shell", "--", "echo out; echo err >&2; printf unfinished")
    odd = run("bytes", "--wait", "--", "printf", r"\377\nü\n")
    pid = shared.show(live[0], "MainPID")
    later = run("later", "--in", "1h", "--", "true")
    jobs = shared.config_dir / "jobs"
    jobs.mkdir(exist_ok=True)
    for name, text in (
        ("file", 'command = ["true"]\nrequires = ["json-new"]'),
        ("bad", "comand = 1"),
        ("nightly", 'command = ["true"]\nschedule = "daily"'),
    ):
        (jobs / f"json-{name}.toml").write_text(f"{text}\n")
    shared.jobctl("daemon-reload")
    (jobs / "json-file.toml").write_text('command = ["false"]\nrequires = ["json-new"]\n')  # which is read by nobody
    (jobs / "json-new.toml").write_text('command = ["true"]\n')
    file = tmp_path_factory.mktemp("json") / "web.toml"
    file.write_text('command = "nothing-here"')
    yield {"ended": " ".join(ended), "live": " ".join(live), "one": one, "bytes": odd, "pid": pid, "file": str(file)}
    shared.jobctl("stop", *live, later, check=True)
    for name in ("file", "bad", "new", "nightly"):
        (jobs / f"json-{name}.toml").unlink()
    shared.jobctl("daemon-reload", check=True)
    shared.jobctl("reset-failed", check=True)  # json-bad had a file when it went


def answers(shared: Program, title: str, line: str, output: str) -> list[Row]:
    """The objects that a line gives in one format."""
    verb, *rest = line.split()
    text = shared.jobctl(verb, "-o", output, *rest).stdout
    assert text.isascii()
    if output == "json-seq":
        assert text.startswith("\x1e")
        assert text.endswith("\n")
        return [json.loads(record) for record in text[1:].split("\x1e")]
    if title not in MANY_OBJECTS or verb == "history":
        value = json.loads(text)
        assert isinstance(value, dict if title in ONE_OBJECT else list), line
        assert output == "json-pretty" or text.count("\n") == 1
        found: list[Row] = [value] if isinstance(value, dict) else value
        return found
    decoder, at = json.JSONDecoder(), 0
    rows: list[Row] = []
    while at < len(text):
        row, end = decoder.raw_decode(text, at)
        rows.append(row)
        at = end + 1
    assert output == "json-pretty" or text.count("\n") == len(rows)
    return rows


@pytest.mark.parametrize("title", LINES)
def test_verbs_give_what_the_page_says(shared: Program, places: dict[str, str], title: str) -> None:
    schema = SCHEMAS[title]
    seen: dict[str, set[bool]] = {name: set() for name in schema}  # whether it was null
    count = 0
    for line in LINES[title]:
        for output in FORMATS:
            rows = answers(shared, title, line.format(**places), output)
            assert rows, line
            count += len(rows)
            for row in rows:
                check(row, schema, line)
                for name in schema:
                    if name in row:
                        seen[name].add(row[name] is None)
    if title in ("Properties", "Results"):  # these are runs, which have been seen
        return
    needed = {name for name, field in schema.items() if field.nullable}
    never = {name for name in needed if True not in seen[name]} - NEVER_NULL.get(title, set())
    assert not never, f"never null: {never}"
    unset = {name for name in schema if False not in seen[name]} - NEVER_SET.get(title, set())
    assert not unset, f"never set: {unset}"


def check(row: Row, schema: dict[str, Field], line: str) -> None:
    """One object against the page."""
    if not schema:  # properties, all of them texts
        assert all(isinstance(value, str) for value in row.values()), line
        assert row
        return
    for name, field in schema.items():
        if name in row:
            assert field.accepts(row[name]), (line, name, row[name])
        else:
            assert field.optional, (line, name)
    assert set(row) <= set(schema), (line, set(row) - set(schema))
    assert row.get("state") in (None, *STATES, "running", "degraded", "open", *FILES), line
    assert row.get("result") in (None, *RESULTS), line
    if row.get("signal") is not None:
        assert row["exit_code"] is None


def test_what_is_missing_is_null_by_the_rules(shared: Program, places: dict[str, str]) -> None:
    rows = {row["job"]: row for row in answers(shared, "Jobs", f"status {places['ended']} {places['live']}", "json")}

    def of(name: str, *fields: str) -> tuple[object, ...]:
        return tuple(rows[f"json-{name}"][field] for field in fields)

    how = ("state", "result", "exit_code", "signal", "failed_step")
    assert of("live", *how) == ("running", None, None, None, None)
    assert of("live", "exited_at", "finished_at") == (None, None)
    assert of("good", *how) == ("finished", "success", 0, None, None)
    assert of("bad", *how) == ("finished", "exit-code", 3, None, None)
    assert of("killed", *how) == ("finished", "signal", None, "SIGKILL", None)
    assert of("limit", *how)[:3] == ("finished", "timeout", None)
    assert of("absent", *how) == ("finished", "start-failed", None, None, "exec")
    assert of("absent", "errno", "started_at") == (2, None)
    assert of("stopped", *how) == ("finished", "success", None, "SIGTERM", None)
    (stopped,) = answers(shared, "Runs", "history -n 1 json-stopped", "json")
    assert stopped["result"] == "stopped"


def test_warnings_are_no_part_of_it(shared: Program, places: dict[str, str]) -> None:
    done = shared.jobctl("logs", "-o", "json", places["one"], "nothing-here")
    assert done.returncode == 4
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["out", "err", "unfinished"]
    assert "nothing-here" in done.stderr
