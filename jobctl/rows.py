"""Jobs and runs as rows of JSON (DESIGN.md, section 9), and writing JSON. Imported only when it was asked for."""

from __future__ import annotations

import json

from jobctl import terminal
from jobctl.names import file_state, full_id, group_name, owner_name
from jobctl.rows_queues import array_row, clock_row, place_row
from jobctl.signals import signal_name
from jobctl.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.shapes import (
        Body,
        Definition,
        FileView,
        JobView,
        Json,
        Member,
        Planned,
        Reason,
        RuleView,
        RunView,
        StatsView,
    )

FORMATS = ("json", "json-pretty", "json-seq")
INDENT = 4  # of json-pretty; systemd uses tabs, jq and most others spaces
RECORD_SEPARATOR = "\x1e"  # RFC 7464


def is_json(output: str | None, *others: str) -> bool:
    """Whether `output` is one of the JSON formats; refuses what is none of them nor of `others`."""
    if output in FORMATS:
        return True
    if output is None or output in others:
        return False
    from jobctl.mistakes import unknown_word

    raise unknown_word("output format", output, (*others, *FORMATS))


def print_json(value: Json, output: str) -> None:
    """Write one value, or for json-seq each element of a list as a record of its own."""
    if output == "json-seq":
        values = value if isinstance(value, list) else [value]
        for each in values:
            terminal.say(f"{RECORD_SEPARATOR}{dumps(each)}\n")
        return
    terminal.say(dumps(value, pretty=output == "json-pretty") + "\n")


def print_rows(values: Iterable[dict[str, Json]], output: str) -> None:
    """Write an array of any length as it comes: nothing is kept. For json-seq, a record for each."""
    if output == "json-pretty":
        print_json([*values], output)
        return
    if output == "json-seq":
        for each in values:
            print_json(each, output)
        return
    before = "["
    for each in values:
        terminal.say(f"{before}{dumps(each)}")
        before = ", "
    terminal.say("[]\n" if before == "[" else "]\n")


def dumps(value: Json, pretty: bool = False) -> str:
    """JSON text of ASCII alone: it holds no control sequence and survives every terminal and locale."""
    return json.dumps(value, indent=INDENT if pretty else None)


def text_of(data: bytes) -> str:
    """Bytes that are mostly text (arguments, paths); what is not UTF-8 becomes surrogates, as in Python's sys.argv."""
    return data.decode("utf-8", "surrogateescape")


def encoded_text(name: str, data: bytes) -> dict[str, Json]:
    """`{name: text}`, or base64 with `{name}_encoding` when it is not UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return {name: b2a_base64(data, newline=False).decode(), f"{name}_encoding": "base64"}


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)


def job_state(view: JobView) -> str | None:
    """The state of a job's newest run, from the job's own."""
    if not (view.get("run") or view.get("array")):
        return None
    sub = view.get("sub", "dead")
    if sub in ("queued", "held", "auto-restart"):
        return "finished" if sub == "auto-restart" else "queued"
    states = {"activating": "starting", "active": "running", "reloading": "running", "deactivating": "stopping"}
    return states.get(view.get("active", "inactive"), "finished")


def _common(view: JobView | RunView) -> dict[str, Json]:
    signal = view.get("signal")
    return {
        "exit_code": None if signal is not None else view.get("exit_code"),
        "signal": None if signal is None else signal_name(signal),
        "core_dump": view.get("core", False),
        "failed_step": view.get("step") or None,
        "errno": view.get("errno") or None,
        "pid": view.get("pid"),
        "queued_at": _time(view.get("queued_at")),
        "started_at": _time(view.get("started_at")),
        "exited_at": _time(view.get("exited_at")),
        "finished_at": _time(view.get("finished_at")),
        "command": [text_of(arg) for arg in view.get("argv", [])],
        "shell": view.get("shell", False),
        "working_directory": text_of(view.get("cwd", b"")),
        "cpu_user_usec": view.get("cpu_user_usec"),
        "cpu_system_usec": view.get("cpu_system_usec"),
        "memory_peak_bytes": view.get("max_rss_bytes"),
        "tasks_peak": view.get("tasks_peak"),
        "io_read_bytes": view.get("io_read_bytes"),
        "io_write_bytes": view.get("io_write_bytes"),
        "stdout_bytes": view.get("out_bytes"),
        "stderr_bytes": view.get("err_bytes"),
        "note": view.get("note") or None,
        "cause": view.get("cause") or None,
        "ready_at": _time(view.get("ready_at")),
    }


def job_row(view: JobView) -> dict[str, Json]:
    """A row of `list` and `status`."""
    run = view.get("run")
    state = job_state(view)
    return {
        "job": view["job"],
        "run": None if run is None else full_id(run),
        "number": view.get("number", 0) or None,
        "owner": owner_name(view["owner"]),
        "user": view.get("user") or owner_name(view["owner"]),
        "state": state,
        "result": view.get("result", "success") if state == "finished" else None,
        "load": view.get("load", "loaded"),
        "active": view.get("active", "inactive"),
        "sub": view.get("sub", "dead"),
        "enabled": file_state(view),
        **place_row(view),
        **array_row(view),
        "description": view.get("description", ""),
        **_common(view),
        "changed_at": _time(view.get("changed_at")),
        "runs": view.get("runs", 0),
        "in_line": view.get("in_line", 0),
        "restarts": view.get("restarts", 0),
        **clock_row(view),
        **_service(view),
    }


def _service(view: JobView) -> dict[str, Json]:
    """Of a job's row what its definition makes of it."""
    dropins: list[Json] = [*view.get("dropins", [])]
    unenforced: list[Json] = [*view.get("unenforced", [])]
    return {
        "file": view.get("file") or None,
        "drop_ins": dropins,
        "need_daemon_reload": view.get("need_reload", False),
        "problem": view.get("problem") or None,
        "unenforced": unenforced,
        "restart_at": _time(view.get("restart_at")),
        "waits": view.get("waits") or None,
        "status_text": view.get("status_text") or None,
        "status_errno": view.get("status_errno") or None,
        "health": view.get("health") or None,
        "memory_bytes": view.get("memory_bytes"),
        "tasks": view.get("tasks"),
    }


def run_row(run: RunView) -> dict[str, Json]:
    """A row of `history`, `wait` and `result`."""
    by, stopped = run.get("by_uid"), run.get("stop_uid")
    return {
        "job": run["job"],
        "run": full_id(run["run"]),
        "number": run["number"],
        "owner": owner_name(run["owner"]),
        "state": run["state"],
        "result": run.get("result"),
        "reason": run.get("reason") or None,
        **place_row(run),
        **_common(run),
        "submitted_by": None if by is None else owner_name(by),
        "stopped_by": None if stopped is None else owner_name(stopped),
        "cursor": run["seq"],
    }


def figures_row(view: StatsView) -> dict[str, Json]:
    """A row of `history --stats`."""
    from jobctl.figures import success_rate

    rate = success_rate(view)
    return {
        "job": view["job"],
        "owner": owner_name(view["owner"]),
        "runs": view["runs"],
        "success": view.get("success", 0),
        "failed": view.get("failed", 0),
        "success_percent": None if rate is None else int(rate * 100),
        "duration_p50_usec": view.get("p50_usec"),
        "duration_p95_usec": view.get("p95_usec"),
        "memory_p50_bytes": view.get("p50_bytes"),
        "memory_p95_bytes": view.get("p95_bytes"),
        "cpu_usec": view.get("cpu_usec"),
        "last_at": _time(view.get("last_at")),
    }


def run_rows(runs: Iterable[RunView]) -> list[Json]:
    """The rows of several runs."""
    return [run_row(run) for run in runs]


def definition_row(definition: Definition) -> dict[str, Json]:
    """An element of `cat`."""
    files = definition.get("files", [])
    shown: list[Json] = [{"path": file["path"], "text": file["text"]} for file in files]
    return {
        "job": definition["job"],
        "owner": owner_name(definition["owner"]),
        "transient": definition.get("transient", True),
        "definition": files[0]["text"] if files else definition.get("text", ""),
        "files": shown,
    }


def file_row(file: FileView) -> dict[str, Json]:
    """An element of `list-job-files`."""
    dropins: list[Json] = [*file.get("dropins", [])]
    return {
        "job": file["job"],
        "owner": owner_name(file["owner"]),
        "file": file.get("file") or None,
        "drop_ins": dropins,
        "state": file["state"],
        "load": file.get("load", "loaded"),
    }


def plan_row(change: Planned) -> dict[str, Json]:
    """An element of what `daemon-reload` has found."""
    keys: list[Json] = [*change.get("keys", [])]
    return {
        "job": change["job"],
        "owner": owner_name(change["owner"]),
        "change": change["change"],
        "file": change.get("file") or None,
        "keys": keys,
        "needs_restart": change.get("restart", False),
        "text": change.get("text") or None,
    }


def reason_row(reason: Reason) -> dict[str, Json]:
    """An element of `why`."""
    run, by = reason.get("run"), reason.get("by_uid")
    return {
        "job": reason["job"],
        "owner": owner_name(reason["owner"]),
        "kind": reason["kind"],
        "text": reason["text"],
        "time": _time(reason.get("at")),
        "run": None if run is None else full_id(run),
        "number": reason.get("number"),
        "by": None if by is None else owner_name(by),
        "by_uid": by,
        "other": reason.get("other") or None,
    }


def member_row(member: Member) -> dict[str, Json]:
    """An element of `whoami`: a process and its job."""
    run, owner = member.get("run"), member.get("owner")
    return {
        "pid": member["pid"],
        "job": member.get("job") or None,
        "owner": None if owner is None else owner_name(owner),
        "run": None if run is None else full_id(run),
        "number": member.get("number"),
    }


def identity_row(body: Body) -> dict[str, Json]:
    """The object of `auth whoami`."""
    groups: list[Json] = [group_name(gid) for gid in body["groups"]]
    gids: list[Json] = [*body["groups"]]
    rules: list[Json] = [*body.get("rules", [])]
    return {
        "user": owner_name(body["uid"]),
        "uid": body["uid"],
        "group": group_name(body["gid"]),
        "gid": body["gid"],
        "groups": groups,
        "gids": gids,
        "pid": body["pid"],
        "owner": owner_name(body["owner"]),
        "rules": rules,
        "admin": body.get("admin", False),
    }


def decision_row(body: Body) -> dict[str, Json]:
    """The object of `auth can-i`."""
    owner = body.get("owner")
    return {
        "allowed": body["allowed"],
        "rule": body["rule"] or None,
        "visible": body["visible"],
        "action": body["action"],
        "job": body.get("job", "").rpartition("/")[2] or None,
        "owner": None if owner is None else owner_name(owner),
        "user": owner_name(body["uid"]),
        "uid": body["uid"],
    }


def rules_row(body: Body, rules: Iterable[RuleView]) -> dict[str, Json]:
    """The object of `auth rules`."""
    found: list[Json] = []
    for rule in rules:
        row: dict[str, Json] = {"line": rule["line"]}
        for name in ("users", "groups", "actions", "owners", "jobs"):
            words: list[str] = rule.get(name, [])  # type: ignore[assignment]  # the key is one of its own
            row[name] = [*words]
        found.append(row)
    return {"file": body.get("file") or None, "rules": found, "error": body.get("error") or None}


def daemon_row(body: Body) -> dict[str, Json]:
    """The object of `daemon-status`."""
    reasons: list[Json] = [*body.get("reasons", [])]
    uid = body.get("uid")
    return {
        "state": body["state"],
        "reasons": reasons,
        "version": body["version"],
        "mode": body["mode"],
        "pid": body["pid"],
        "keeper_pid": body["keeper_pid"],
        "keeper_version": body["keeper_version"],
        "incarnation": body.get("incarnation", 0),
        "socket": body["socket"],
        "state_dir": body["state_dir"],
        "started_at": _time(body["started_at"]),
        "tracking": body["tracking"],
        "kernel": body["kernel"],
        "python": body.get("python", ""),
        "running": body["running"],
        "queued": body["queued"],
        "connections": body["connections"],
        "user": None if uid is None else owner_name(uid),
        "uid": uid,
    }
