"""show: a job's properties by systemd's names, for scripts."""

from __future__ import annotations

import os

from jobctl import names, terminal, usage
from jobctl.connect import FAR
from jobctl.escape import escape, show_command
from jobctl.signals import signal_name
from jobctl.status_text import STEP_STATUS, cgroup_path
from jobctl.times import timestamp
from jobd.core.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import AllProperties, JsonOutput, OptionalJobs, Properties, Value, ValueOf
    from jobctl.shapes import Body, JobView

NANOSECONDS = 1000  # in a microsecond
PERCENT_USEC = 10_000  # of a second
RESTART_DELAY_USEC = 100_000  # of JobSpec; a test compares
CLD = {"exited": "1", "killed": "2", "dumped": "3"}  # ExecMainCode is the si_code of waitid(2)


def show(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    properties: Properties = (),
    value_of: ValueOf = (),
    value: Value = False,
    every: AllProperties = False,
    output: JsonOutput = None,
) -> int:
    """Show properties of jobs, one NAME=VALUE a line.

    An unknown job has LoadState=not-found. Without a job: properties of jobd.
    """
    wanted = [name for group in (*properties, *value_of) for name in group.split(",") if name]
    if jobs:
        views = names.views(client, jobs, tree=True)
        found = [job_properties(view, client) for view in views]
    else:
        found = [_daemon_properties(client.call({"type": "daemon-status"}))]
    chosen = [_choose(each, wanted, every) for each in found]
    if output is not None:
        from jobctl import rows

        rows.is_json(output)
        rows.print_json([dict(each) for each in chosen], output)
        return 0
    bare = value or bool(value_of)
    safe = terminal.is_terminal()
    blocks = []
    for each in chosen:
        texts = ((name, escape(text, "\t") if safe else _one_line(text)) for name, text in each.items())
        blocks.append("".join(f"{text}\n" if bare else f"{name}={text}\n" for name, text in texts))
    terminal.say("\n".join(blocks))
    return 0


def _one_line(text: str) -> str:
    """Exact for scripts, but for line ends, with which a value could pretend to be other properties."""
    return text.replace("\n", "\\n")


def _choose(found: dict[str, str], wanted: list[str], every: bool) -> dict[str, str]:
    """The properties asked for, in the order asked; else those that are set. Unknown names give nothing."""
    if wanted:
        return {name: found[name] for name in dict.fromkeys(wanted) if name in found}
    return {name: text for name, text in found.items() if text or every}


def job_properties(view: JobView, client: Client) -> dict[str, str]:
    """All properties of a job, those that are not set as empty text."""
    name = view["job"]
    if view.get("load", "loaded") == "not-found" and not view.get("file") and not view.get("run"):
        states = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}
        return {"Id": name, "Names": name, "Description": name, **states, "UnitFileState": names.file_state(view)}
    name, owner = names.view_name(view, client), names.owner_name(view["owner"])
    command = show_command(view.get("argv", []), view.get("shell", False))
    run = view.get("run")
    transient = view.get("transient", True)
    live = view.get("active", "inactive") not in ("inactive", "failed")
    return {
        "Id": name,
        "Names": name,
        "Description": view.get("description") or command,
        "LoadState": view.get("load", "loaded"),
        "LoadError": view.get("problem", ""),
        "ActiveState": view.get("active", "inactive"),
        "SubState": view.get("sub", "dead"),
        "FreezerState": "frozen" if view.get("frozen") else "running",
        "Result": view.get("result", "success"),
        "FragmentPath": view.get("file", ""),
        "DropInPaths": " ".join(view.get("dropins", [])),
        "UnitFileState": names.file_state(view),
        "Transient": _yes(transient),
        "NeedDaemonReload": _yes(view.get("need_reload", False)),
        "MainPID": str(view.get("pid") or 0) if live and view.get("exited_at") is None else "0",
        "ControlPID": str(view.get("control_pid") or 0),
        **_main_process(view),
        **_points_in_time(view),
        "InvocationID": "" if run is None else run.hex(),
        "NRestarts": str(view.get("restarts", 0)),
        "StatusText": view.get("status_text", ""),
        "StatusErrno": str(view.get("status_errno", 0)),
        "Waits": view.get("waits", ""),
        "Cause": view.get("cause", ""),
        "Health": view.get("health", ""),
        "Note": view.get("note", ""),
        "Unenforced": "; ".join(view.get("unenforced", [])),
        "User": view.get("user") or owner,
        "Owner": owner,
        "UID": _uid(view),
        "WorkingDirectory": os.fsdecode(view.get("cwd", b"")),
        "ExecStart": command,
        **_settings(view),
        **_resources(view),
        **_place(view),
        **_dependencies(view),
        "ControlGroup": cgroup_path(view),
        "CanStart": _yes(view.get("load", "loaded") == "loaded"),
        "CanStop": _yes(live),
        "CanReload": _yes(view.get("can_reload", False)),
        "Run": str(view.get("number", 0) or ""),
        "Runs": str(view.get("runs", 0)),
        "Tracking": view.get("tracking", ""),
    }


def _settings(view: JobView) -> dict[str, str]:
    """Of its definition, how it is started, kept up and stopped."""
    return {
        "Type": view.get("type", "exec"),
        "Restart": view.get("restart", "no"),
        "RestartUSec": format_duration(view.get("restart_delay_usec", RESTART_DELAY_USEC)),
        "RemainAfterExit": _yes(view.get("remain_after_exit", False)),
        "KillSignal": str(view.get("stop_signal", 15)),
        "KillMode": view.get("kill_mode", "control-group"),
        "TimeoutStopUSec": format_duration(view.get("stop_timeout_usec")),
        "RuntimeMaxUSec": format_duration(view.get("runtime_limit_usec")),
        "WatchdogUSec": format_duration(view.get("watchdog_usec") or 0),
    }


def _place(view: JobView) -> dict[str, str]:
    """What its newest run waits for, and where."""
    return {
        "Queue": view.get("queue", ""),
        "QueuePosition": str(view.get("position", 0) or ""),
        "Priority": str(view.get("priority", 0)),
        "Weight": str(view.get("weight", 1)),
        "Held": _yes(view.get("held", False)),
        "NotBeforeTimestamp": _moment(view.get("not_before")),
        "WaitsFor": " ".join(view.get("after", [])),
        "TimersCalendar": "; ".join(view.get("schedule", [])),
        "NextElapseUSecRealtime": _moment(view.get("elapse_next")),
        "LastTriggerUSec": _moment(view.get("elapse_last")),
    }


def _moment(at: int | None) -> str:
    return "" if at is None else timestamp(at)


# A key of job files, systemd's name for it, and the name of its other end.
LINKS = (
    ("requires", "Requires", "RequiredBy"), ("wants", "Wants", "WantedBy"), ("binds_to", "BindsTo", "BoundBy"),
    ("part_of", "PartOf", "ConsistsOf"), ("conflicts", "Conflicts", "ConflictedBy"), ("before", "Before", "After"),
    ("after", "After", "Before"), ("on_failure", "OnFailure", "OnFailureOf"),
    ("on_success", "OnSuccess", "OnSuccessOf"),
)  # fmt: skip


def _dependencies(view: JobView) -> dict[str, str]:
    """Both ends of all of them: what a job is to come before has it in After, too."""
    found: dict[str, dict[str, None]] = {name: {} for _, *pair in LINKS for name in pair}
    for link in view.get("links", []):
        for key, own, others in LINKS:
            if link["kind"] == key and link["job"] == view["job"]:
                found[own][link["other"]] = None
            elif link["kind"] == key:
                found[others][link["job"]] = None
    return {name: " ".join(jobs) for name, jobs in found.items()}


def _uid(view: JobView) -> str:
    """Of the user that it runs as; empty when that user is not known here, or is of another host."""
    user = view.get("user", "")
    if not user:
        return str(view["owner"])
    if user.isdecimal():
        return user
    if FAR.remote is not None:
        return ""
    from pwd import getpwnam

    try:
        return str(getpwnam(user).pw_uid)
    except KeyError:
        return ""


def _main_process(view: JobView) -> dict[str, str]:
    step, signal, code = view.get("step", ""), view.get("signal"), view.get("exit_code")
    how = how_text = ""
    if step:
        how, how_text = CLD["exited"], STEP_STATUS.get(step, "1").partition("/")[0]
    elif signal is not None:
        how, how_text = CLD["dumped" if view.get("core") else "killed"], str(signal)
    elif code is not None:
        how, how_text = CLD["exited"], str(code)
    return {
        "ExecMainPID": str(view.get("pid") or 0),
        "ExecMainCode": how or "0",
        "ExecMainStatus": how_text or "0",
        "ExecMainSignal": "" if signal is None else signal_name(signal),
        "ExecMainErrno": str(view.get("errno", 0)),
    }


def _points_in_time(view: JobView) -> dict[str, str]:
    changed, active = view.get("changed_at"), view.get("active", "inactive")
    points = {
        "QueuedTimestamp": view.get("queued_at"),
        "ExecMainStartTimestamp": view.get("started_at"),
        "ExecMainExitTimestamp": view.get("exited_at"),
        "ActiveEnterTimestamp": view.get("ready_at") or view.get("started_at"),
        "InactiveEnterTimestamp": changed if active in ("inactive", "failed") and view.get("run") else None,
        "StateChangeTimestamp": changed or None,
        "NextRestartTimestamp": view.get("restart_at"),
    }
    return {name: "" if at is None else timestamp(at) for name, at in points.items()}


def _resources(view: JobView) -> dict[str, str]:
    used = usage.of(view)
    cpu, percent = used.cpu_usec, view.get("cpu_percent")
    numbers = {
        "CPUUsageNSec": None if cpu is None else cpu * NANOSECONDS,
        "MemoryCurrent": used.memory if used.memory is not None else view.get("memory_bytes"),
        "MemoryPeak": used.peak,
        "TasksCurrent": used.tasks if used.tasks is not None else view.get("tasks"),
        "TasksPeak": view.get("tasks_peak"),
        "IOReadBytes": view.get("io_read_bytes"),
        "IOWriteBytes": view.get("io_write_bytes"),
        "StdoutBytes": view.get("out_bytes"),
        "StderrBytes": view.get("err_bytes"),
        "OOMScoreAdjust": view.get("oom_score_adjust"),
    }
    return {
        **{name: "" if number is None else str(number) for name, number in numbers.items()},
        "MemoryMax": _limit(view.get("memory_max")),
        "TasksMax": _limit(view.get("tasks_max")),
        "CPUQuotaPerSecUSec": format_duration(None if percent is None else percent * PERCENT_USEC),
        "Nice": str(view.get("nice", 0)),
    }


def _limit(number: int | None) -> str:
    return "infinity" if number is None else str(number)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _daemon_properties(body: Body) -> dict[str, str]:
    """Of the manager, as `systemctl show` has them where they mean the same."""
    uid = body.get("uid")
    return {
        "Version": body["version"],
        "SystemState": body["state"],
        "MainPID": str(body["pid"]),
        "KeeperPID": str(body["keeper_pid"] or 0),
        "KeeperVersion": body["keeper_version"],
        "Incarnation": str(body.get("incarnation", 0)),
        "Mode": body["mode"],
        "Socket": body["socket"],
        "StateDirectory": body["state_dir"],
        "StartTimestamp": timestamp(body["started_at"]),
        "User": "" if uid is None else names.owner_name(uid),
        "UID": "" if uid is None else str(uid),
        "Tracking": body["tracking"],
        "NRunning": str(body["running"]),
        "NQueued": str(body["queued"]),
        "NClients": str(body["connections"]),
    }
