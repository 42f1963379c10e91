"""Every key of a job file, in one table: for files, `run -p`, `cat`, jobd.job(5), and for who knows systemd's names.

A row says how the value is read and into which field of JobSpec it goes. What makes one field of several keys, or is no
field, has none here; `jobd.core.jobfields` puts it together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobd.core import listreaders as lists
from jobd.core import readers as r
from jobd.core import service, units
from jobd.core.spec import KILL_MODES, ON_FULL, OVERLAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Kinds of values, as jobd.job(5) calls them. `run -p` gives text; jobd.core.settings makes the value of it.
STRING, BOOLEAN, NUMBER, DURATION, SIZE, SIGNAL, WORD = (
    "string",
    "boolean",
    "number",
    "duration",
    "size",
    "signal",
    "word",
)
PERCENTAGE, COMMAND, TABLE, PATH, LIMIT = "percentage", "command", "table of strings", "path", "limit"
NAMES, STATUSES, PATHS = "list of jobs", "list of statuses", "list of paths"
ADDRESS, URL, PATTERN, STARTS = "address", "URL", "regular expression", "starts in a time"
CALENDAR: Final = "calendar expressions"

_RESTART_MEANT: Final = {
    "true": "always", "yes": "always", "unless-stopped": "always", "on": "always", "never": "no", "false": "no",
    "off": "no", "on-error": "on-failure", "unexpected": "on-failure",
}  # fmt: skip
_TYPE_MEANT: Final = {
    "simple": "exec", "service": "exec", "daemon": "exec", "notify-reload": "notify",
    "forking": "a program that goes to the background is not followed: have it stay in the foreground",
    "dbus": 'jobd knows no D-Bus; see [ready], or write "exec"', "idle": "exec",
}  # fmt: skip
_OVERLAP_MEANT: Final = {"forbid": "skip", "wait": "queue", "restart": "replace", "allow": "queue"}
_KILL_MEANT: Final = {"none": "process", "cgroup": "control-group", "all": "control-group"}


class Key(Struct, frozen=True, kw_only=True):
    """One key of a job file."""

    name: str  # with its table: "stop.timeout"
    kind: str
    read: Callable[[object], object]
    default: str = ""  # as one would write it in a file; "" if there is none
    systemd: tuple[str, ...] = ()
    field: str = ""  # of JobSpec, if the value is what is read
    literal: bool = False  # % is nothing but a percent sign in it

    @property
    def table(self) -> str:
        """The table it stands in; "" is the top of the file."""
        return self.name.rpartition(".")[0]

    @property
    def word(self) -> str:
        """Its name in its table."""
        return self.name.rpartition(".")[2]


def _key(
    name: str, kind: str, read: Callable[[object], object], default: str = "", systemd: str = "", field: str = "",
    literal: bool = False,
) -> Key:  # fmt: skip
    return Key(
        name=name, kind=kind, read=read, default=default, systemd=tuple(systemd.split()), field=field, literal=literal
    )


_END: Final = "it has to end"
_NEVER: Final = "it would never start"
_NO_TIME: Final = 'that leaves no time; "infinity" is no limit'

_TOP: Final = (
    _key("description", STRING, r.text, '""', "Description", "description"),
    _key("command", COMMAND, lists.command, "", "ExecStart"),
    _key("shell", STRING, r.full_text),
    _key("working_directory", PATH, r.full_text, "", "WorkingDirectory"),
    _key("environment", TABLE, lists.environment, "", "Environment"),
    _key("environment_file", PATHS, lists.file_names, "[]", "EnvironmentFile"),
    _key("user", STRING, r.user, "", "User", "user"),
    _key("type", WORD, r.choice(service.TYPES, _TYPE_MEANT), '"exec"', "Type", "type"),
    _key("remain_after_exit", BOOLEAN, r.boolean, "false", "RemainAfterExit", "remain_after_exit"),
    _key("restart", WORD, r.choice(service.RESTARTS, _RESTART_MEANT), '"no"', "Restart", "restart"),
    _key("restart_delay", DURATION, r.duration(infinity=_END), '"100ms"', "RestartSec", "restart_delay_usec"),
    _key(
        "restart_max_delay",
        DURATION,
        r.duration(infinity=_END),
        '"1min"',
        "RestartMaxDelaySec",
        "restart_max_delay_usec",
    ),
    _key("start_limit", STARTS, r.start_limit, '"5/10s"', "StartLimitBurst StartLimitIntervalSec", "start_limit"),
    _key("success_exit_status", STATUSES, lists.statuses, "[0]", "SuccessExitStatus"),
    _key("restart_prevent_exit_status", STATUSES, lists.statuses, "[]", "RestartPreventExitStatus"),
    _key("queue", STRING, r.queue, '""', "", "queue"),
    _key("priority", NUMBER, r.number(-r.MOST_PRIORITY, r.MOST_PRIORITY), "0", "", "priority"),
    _key("weight", NUMBER, r.number(1, r.MOST_SLOTS), "1", "", "weight"),
    _key("essential", BOOLEAN, r.boolean, "false", "SuccessAction FailureAction", "essential"),
    _key("after", NAMES, lists.job_names, "[]", "After", "after"),
    _key("before", NAMES, lists.job_names, "[]", "Before", "before"),
    _key("requires", NAMES, lists.job_names, "[]", "Requires", "requires"),
    _key("wants", NAMES, lists.job_names, "[]", "Wants", "wants"),
    _key("binds_to", NAMES, lists.job_names, "[]", "BindsTo", "binds_to"),
    _key("part_of", NAMES, lists.job_names, "[]", "PartOf", "part_of"),
    _key("conflicts", NAMES, lists.job_names, "[]", "Conflicts", "conflicts"),
    _key("on_failure", NAMES, lists.job_names, "[]", "OnFailure", "on_failure"),
    _key("on_success", NAMES, lists.job_names, "[]", "OnSuccess", "on_success"),
)
_READY: Final = (
    _key("ready.tcp", ADDRESS, r.address),
    _key("ready.http", URL, r.url),
    _key("ready.unix", PATH, r.socket_path),
    _key("ready.log", PATTERN, r.pattern),
    _key("ready.command", COMMAND, lists.command, "", "ExecStartPost"),
    _key("ready.delay", DURATION, r.duration(infinity="the job would never be ready")),
    _key("ready.timeout", DURATION, r.duration(zero=_NO_TIME), '"90s"', "TimeoutStartSec", "ready_timeout_usec"),
)
_HEALTH: Final = (
    _key("health.tcp", ADDRESS, r.address),
    _key("health.http", URL, r.url),
    _key("health.unix", PATH, r.socket_path),
    _key("health.command", COMMAND, lists.command),
    _key("health.interval", DURATION, r.duration(zero="it would never rest", infinity="leave [health] out"), '"30s"'),
    _key("health.timeout", DURATION, r.duration(zero="that leaves no time", infinity=_END), '"10s"'),
    _key("health.failures", NUMBER, r.number(1, 1_000_000), "3"),
    _key("health.action", WORD, r.choice(service.ACTIONS), '"restart"'),
)
_STOP_AND_RELOAD: Final = (
    _key("stop.signal", SIGNAL, r.signal_number, '"SIGTERM"', "KillSignal", "stop_signal"),
    _key("stop.command", COMMAND, lists.command, "", "ExecStop", "stop_command"),
    _key("stop.timeout", DURATION, r.duration(), '"10s"', "TimeoutStopSec", "stop_timeout_usec"),
    _key("stop.kill_mode", WORD, r.choice(KILL_MODES, _KILL_MEANT), '"control-group"', "KillMode", "kill_mode"),
    _key("reload.signal", SIGNAL, r.signal_number, "", "ReloadSignal", "reload_signal"),
    _key("reload.command", COMMAND, lists.command, "", "ExecReload", "reload_command"),
)
_LIMITS: Final = (
    _key("limits.memory", SIZE, r.size(r.MIN_MEMORY, r.TOO_SMALL), '"infinity"', "MemoryMax", "memory_max", True),
    _key("limits.cpu", PERCENTAGE, r.percentage, '"infinity"', "CPUQuota", "cpu_percent", literal=True),
    _key("limits.tasks", NUMBER, r.count, '"infinity"', "TasksMax", "tasks_max"),
    _key("limits.nofile", LIMIT, r.resource_limit(r.plain_limit), "", "LimitNOFILE"),
    _key("limits.core", LIMIT, r.resource_limit(units.parse_size), "", "LimitCORE"),
    _key("limits.nice", NUMBER, r.number(-20, 19), "0", "Nice", "nice"),
    _key("limits.oom_score_adjust", NUMBER, r.number(-1000, 1000), "", "OOMScoreAdjust", "oom_score_adjust"),
    _key(
        "limits.runtime", DURATION, r.duration(zero='that leaves no time; "infinity" is no limit'), '"infinity"',
        "RuntimeMaxSec", "runtime_usec",
    ),
    _key("limits.umask", STRING, r.umask, '"022"', "UMask", "umask"),
)  # fmt: skip
_LOGS: Final = (
    _key("logs.max_size", SIZE, r.size(r.MIN_LOG_SIZE), '"infinity"', "", "log_max_size"),
    _key("logs.merge_output", BOOLEAN, r.boolean, "false", "", "merge_output"),
    _key("logs.on_full", WORD, r.choice(ON_FULL), '"block"', "", "on_full"),
    _key("logs.keep_runs", NUMBER, r.for_ever(r.count), "", "", "keep_runs"),
    _key("logs.keep_for", DURATION, r.for_ever(r.duration(zero="no run could be looked at")), "", "", "keep_for_usec"),
)
_SCHEDULE: Final = (
    _key("schedule.calendar", CALENDAR, lists.calendar, "[]", "OnCalendar", "schedule"),
    _key("schedule.persistent", BOOLEAN, r.boolean, "false", "Persistent", "schedule_persistent"),
    _key("schedule.jitter", DURATION, r.duration(infinity=_NEVER), '"0"', "RandomizedDelaySec", "schedule_jitter_usec"),
    _key("schedule.overlap", WORD, r.choice(OVERLAPS, _OVERLAP_MEANT), '"skip"', "", "schedule_overlap"),
)
_WATCHDOG: Final = (_key("watchdog.interval", DURATION, r.zero_is_off, '"infinity"', "WatchdogSec", "watchdog_usec"),)

KEYS: Final[Mapping[str, Key]] = {
    key.name: key for key in (*_TOP, *_READY, *_HEALTH, *_STOP_AND_RELOAD, *_LIMITS, *_LOGS, *_SCHEDULE, *_WATCHDOG)
}
ENVIRONMENT: Final = "environment"


def _tables() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {"": []}
    for name in KEYS:
        table, _, word = name.rpartition(".")
        if table not in found:
            found[table] = []
            found[""].append(table)
        found[table].append(word)
    return {name: tuple(words) for name, words in found.items()}


TABLES: Final[Mapping[str, tuple[str, ...]]] = _tables()  # the keys and tables of each table, "" is the top of a file
SYSTEMD: Final[Mapping[str, str]] = {name: key.name for key in KEYS.values() for name in key.systemd}


def is_check(key: str) -> bool:
    """Whether it is one of the keys of which [ready] and [health] have only one each."""
    table, _, word = key.partition(".")
    return table in ("ready", "health") and word in service.READY_CHECKS
