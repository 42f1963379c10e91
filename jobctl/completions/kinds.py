"""What there is to offer for each operand and each value of an option, by the name of its type in `options`.

A new type needs a line here; tests/jobctl/test_completions.py says so. Until then it counts as TEXT. After any change
of the command line: `python -m jobctl.completions.generate`.
"""

from __future__ import annotations

from typing import NamedTuple

from jobctl import logs_lines, rows, signals, statewords, verb_auth, verb_events, verb_queue, verb_show
from jobctl.client import Client
from jobctl.connect import Target
from jobd.core import service, settings
from jobd.core.jobkeys import BOOLEAN, KEYS
from jobd.core.properties import KEYS_TO_SET
from jobd.core.spec import KILL_MODES, ON_FULL

# --- kinds that are no list of words ------------------------------------------------------------------------------
TEXT = "text"  # a number, a time, a name to invent: nothing to offer
FILE, DIRECTORY, COMMAND = "file", "directory", "command"
JOBS = "jobs"  # names of jobs, those that fit the verb (JOB_FILTERS)
RUNS = "runs"  # names of jobs, and behind a # the numbers of their runs
NUMBER = "number"  # of a run of the job on the line: what --run takes
QUEUES = "queues"
HOSTS = "hosts"  # as ssh knows them
USERS = "users"  # of this machine
VARIABLE = "variable"  # of the environment, with its = to come
VARIABLES = "variables"  # of the environment, with commas; or all, or none
VERB = "verb"

ANY = "any"  # of JOB_FILTERS, as RUNS is


class Words(NamedTuple):
    """A closed set. `commas`: several may be given, with commas between them."""

    words: tuple[str, ...]
    commas: bool = False


CLOSED = {  # values of keys, where they are few
    "type": service.TYPES,
    "restart": service.RESTARTS,
    "stop.kill_mode": KILL_MODES,
    "health.action": service.ACTIONS,
    "logs.on_full": ON_FULL,
    **{name: ("true", "false") for name, key in KEYS.items() if key.kind == BOOLEAN},
}


def _settings() -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key in settings.TRANSIENT for value in CLOSED.get(key, ("",)))


def _properties() -> tuple[str, ...]:
    return tuple(verb_show.job_properties({"job": "", "owner": 0}, Client(Target())))


def _signals() -> tuple[str, ...]:
    return tuple(signals.signal_name(number) for number in range(1, 32))


OPERANDS: dict[str, str | Words] = {
    "AuthVerb": Words(verb_auth.VERBS),
    "CheckedFiles": FILE,
    "Command": COMMAND,
    "Files": FILE,
    "JobSettings": Words(tuple(f"{key}={value}" for key in KEYS_TO_SET for value in CLOSED.get(key, ("",)))),
    "Jobs": JOBS,
    "LogRuns": RUNS,
    "OneRun": RUNS,
    "OptionalJobs": JOBS,
    "OptionalPatterns": JOBS,
    "OptionalPids": TEXT,
    "Patterns": JOBS,
    "QueueWords": Words(verb_queue.VERBS),
    "ShellName": Words(("bash", "zsh", "fish")),
}
VALUES: dict[str, str | Words] = {
    "AfterCursor": TEXT,
    "AfterRuns": RUNS,
    "ArrayOfRuns": TEXT,
    "AsUser": USERS,
    "AtSocket": FILE,
    "CalendarText": Words(("minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly")),
    "ChangeLines": TEXT,
    "ChangeOutput": Words((*verb_events.TEXTS, *rows.FORMATS)),
    "CursorFile": FILE,
    "DropIn": TEXT,
    "Env": VARIABLES,
    "FileName": TEXT,
    "FileStates": Words((*statewords.FILES, statewords.HELP), commas=True),
    "Grep": TEXT,
    "HistoryCursor": TEXT,
    "HistoryLimit": TEXT,
    "HistoryOffset": TEXT,
    "InQueue": QUEUES,
    "InputMode": Words(("same", "more", "none")),
    "JobTypes": Words((statewords.TYPE, statewords.HELP)),
    "JsonOutput": Words(rows.FORMATS),
    "KillWhom": Words(("all", "main", "control")),
    "Legend": Words(("yes", "no")),
    "ListOutput": Words((*rows.FORMATS, "name")),
    "LogOutput": Words(logs_lines.FORMATS),
    "Name": TEXT,
    "OnHost": HOSTS,
    "Priority": TEXT,
    "Properties": Words(_properties(), commas=True),
    "Queue": QUEUES,
    "RunStates": Words((*statewords.STATES, *statewords.RESULTS, statewords.FAILED, statewords.HELP), commas=True),
    "SeenLines": TEXT,
    "Selector": NUMBER,
    "Setenv": VARIABLE,
    "Settings": Words(_settings()),
    "Signal": Words(_signals()),
    "Since": Words(("today", "yesterday", "now")),
    "StartAt": Words(("tomorrow",)),
    "StartIn": TEXT,
    "States": Words(
        tuple(dict.fromkeys((*statewords.ACTIVE, *statewords.SUB, *statewords.LOAD, statewords.HELP))), commas=True
    ),
    "StatusLines": TEXT,
    "StatusOutput": Words(logs_lines.FORMATS),
    "TailLines": TEXT,
    "Timeout": TEXT,
    "Units": RUNS,
    "Until": Words(("today", "yesterday", "now")),
    "ValueOf": Words(_properties(), commas=True),
    "WaitQueue": QUEUES,
    "WorkingDirectory": DIRECTORY,
}
# Which jobs a verb is for (complete.FILTERS); the others are for any.
JOB_FILTERS = {
    "attach": "live",
    "cancel": "waiting",
    "disable": "enabled",
    "edit": "files",
    "enable": "disabled",
    "freeze": "live",
    "hold": "waiting",
    "kill": "live",
    "release": "held",
    "reload": "reloads",
    "reset-failed": "failed",
    "revert": "files",
    "start": "rest",
    "stop": "live",
    "thaw": "frozen",
    "try-restart": "live",
    "unmask": "masked",
    "wait": "live",
}
