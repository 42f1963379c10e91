"""What others call what job files have: words of systemd, supervisord, compose and the like, and what to write here."""

from __future__ import annotations

from typing import Final

from jobd.core.jobkeys import KEYS, SYSTEMD

# A word without capitals and underscores → a key of ours, or else a sentence.
_KEYS: Final = {
    # supervisord
    "directory": "working_directory", "autorestart": "restart", "stopsignal": "stop.signal",
    "stopwaitsecs": "stop.timeout", "startsecs": "ready.delay", "exitcodes": "success_exit_status",
    "startretries": "start_limit", "redirectstderr": "logs.merge_output", "stdoutlogfilemaxbytes": "logs.max_size",
    # compose, docker
    "envfile": "environment_file", "env": "environment", "entrypoint": "command", "workdir": "working_directory",
    "workingdir": "working_directory", "cwd": "working_directory", "healthcheck": "health", "memlimit": "limits.memory",
    "memory": "limits.memory", "cpus": "limits.cpu", "stopgraceperiod": "stop.timeout", "pidslimit": "limits.tasks",
    "ulimits": "limits", "init": "command", "oomscoreadj": "limits.oom_score_adjust",
    "test": "health.command", "retries": "health.failures", "startperiod": "ready.timeout",
    "healthcheckinterval": "health.interval", "restartpolicy": "restart", "policy": "restart", "delay": "restart_delay",
    # others
    "timer": "schedule.calendar", "cron": "schedule.calendar", "crontab": "schedule.calendar",
    "every": "schedule.calendar", "oncalendar": "schedule.calendar", "concurrencypolicy": "schedule.overlap",
    "cmd": "command", "exec": "command", "run": "command", "script": "shell", "program": "command", "args": "command",
    "argv": "command", "start": "command", "umask": "limits.umask", "watchdogsec": "watchdog.interval",
    "killtimeout": "stop.timeout", "timeoutabortsec": "stop.timeout",
    "oneshot": "type", "restartdelaysec": "restart_delay",
    "startlimitburst": "start_limit", "startlimitinterval": "start_limit", "memorylimit": "limits.memory",
    "limitmem": "limits.memory", "uid": "user", "runas": "user", "upholds": "requires",
    "slots": "weight", "requisite": "requires", "nicelevel": "limits.nice", "documentation": "description",
    "name": "description",
}  # fmt: skip
_ENABLE: Final = "; a job starts with jobd after jobctl enable"
_LOGS: Final = "; all output is kept, see jobctl logs and [logs]"
_HARDEN: Final = "; jobd has no sandbox: start the program by one that makes it, such as bwrap"
_GROUP: Final = "; a job has the groups of its user"
_TEXTS: Final = {
    "execstartpre": '; write it into "shell", or as a oneshot job that this one requires',
    "execcondition": '; write it into "shell"',
    "execstoppost": '; see "on_failure" and "on_success"',
    "timeoutsec": '; here it is "ready.timeout" and "stop.timeout"',
    "dependson": '; here it is "requires", and "after"', "needs": '; here it is "requires", and "after"',
    "rlimits": "; those that there are stand in [limits]: nofile and core", "file": _LOGS, "path": _LOGS,
    "stdout": _LOGS, "stderr": _LOGS, "output": _LOGS, "log": _LOGS, "logdir": _LOGS,
    "group": _GROUP, "supplementarygroups": _GROUP, "gid": _GROUP, "groups": _GROUP,
    "wantedby": _ENABLE, "requiredby": _ENABLE, "autostart": _ENABLE, "enabled": _ENABLE,
    "alias": "; a job has one name",
    "standardoutput": _LOGS, "standarderror": _LOGS, "stdoutlogfile": _LOGS, "stderrlogfile": _LOGS, "logfile": _LOGS,
    "syslogidentifier": _LOGS, "logging": _LOGS,
    "pidfile": "; have the program stay in the foreground: a file with a pid proves nothing",
    "dynamicuser": '; see "user"',
    "passenvironment": '; a job has its own environment: see "environment" and "environment_file"',
    "sendsighup": '; see "stop.signal"',
    "finalkillsignal": "; it is SIGKILL", "sendsigkill": '; after "stop.timeout" always',
    "privatetmp": _HARDEN, "protectsystem": _HARDEN, "protecthome": _HARDEN, "nonewprivileges": _HARDEN,
    "privatedevices": _HARDEN, "capabilityboundingset": _HARDEN, "systemcallfilter": _HARDEN,
    "readwritepaths": _HARDEN, "readonlypaths": _HARDEN, "ambientcapabilities": _HARDEN,
    "runtimedirectory": "; have the program make it", "statedirectory": "; have the program make it",
    "at": '; see "schedule" for what comes again, and jobctl run --at for once',
    "slice": "; limits are each job's: see [limits]",
    "ports": "; a job has the network of its machine", "volumes": "; a job has the files of its machine",
    "image": "; a job runs a program of this machine", "numprocs": "; use a template: NAME@.toml", "scale":
    "; use a template: NAME@.toml", "instances": "; use a template: NAME@.toml",
    "include": "; see drop-ins in jobd.job(5)",
}  # fmt: skip
SECTIONS: Final = ("service", "unit", "install", "program", "job", "container", "services")


def plainest(word: str) -> str:
    """A word without what distinguishes spellings: `MemoryMax`, `memory_max`, `memory-max` → `memorymax`."""
    return word.lower().replace("_", "").replace("-", "").replace(" ", "")


_SYSTEMD: Final = {plainest(name): key for name, key in SYSTEMD.items()}


def hint(word: str, table: str) -> tuple[str, str] | None:
    """What to say after `unknown key "word"`, in this table; and which key of it is meant, or "".

    None for a word that nobody else has either.
    """
    plain = plainest(word)
    if not table and plain in SECTIONS:
        return "; a job file has no such table: its keys stand above the first [table]", "command"
    if plain in _TEXTS and plain not in _SYSTEMD:
        return _TEXTS[plain], ""
    key = _SYSTEMD.get(plain) or _KEYS.get(plain)
    if key is None:
        return None
    where, _, own = key.rpartition(".")
    return f'; here it is "{key}"' if key in KEYS else f"; here it is the table [{key}]", own if where == table else ""


def meant(word: str) -> str | None:
    """The same for `run -p`: what follows `unknown key`."""
    found = hint(word, "-")
    return found[0] if found is not None else None


def foreign_format(text: str) -> str:
    """What a text that is no TOML seems to be, in words; or ""."""
    lines = [line.strip() for line in text[: 64 << 10].splitlines()]
    if any(line in ("[Unit]", "[Service]", "[Install]", "[Timer]") for line in lines):
        return "a unit of systemd"
    if any(line.startswith("[program:") for line in lines):
        return "a configuration of supervisord"
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return "JSON"
    key, colon, value = first.partition(":")
    if first == "---" or (colon and key.replace("_", "").replace("-", "").isalnum() and value[:1] in ("", " ")):
        return "YAML"
    return ""
