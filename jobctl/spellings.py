"""The words of the command line, once: verbs, and how each parameter of a verb is spelled as an option.

typer builds the command line from these words and the verbs' signatures (`options`, `cli`), and the light parser
(`argv`) reads the same two. No parameter name means two things: `settings` is run's -p, `properties` is show's.
What kind of option it is, the parameter's default says: False is a switch, () may be given many times, and anything
else takes a value.
"""

from __future__ import annotations

VERBS = {  # verb: module and function
    "run": ("jobctl.verb_run", "run"),
    "rerun": ("jobctl.verb_run", "rerun"),
    "attach": ("jobctl.verb_attach", "attach"),
    "start": ("jobctl.verb_act", "start"),
    "stop": ("jobctl.verb_act", "stop"),
    "restart": ("jobctl.verb_act", "restart"),
    "try-restart": ("jobctl.verb_act", "try_restart"),
    "reload": ("jobctl.verb_act", "reload"),
    "reload-or-restart": ("jobctl.verb_act", "reload_or_restart"),
    "kill": ("jobctl.verb_act", "kill"),
    "freeze": ("jobctl.verb_act", "freeze"),
    "thaw": ("jobctl.verb_act", "thaw"),
    "reset-failed": ("jobctl.verb_act", "reset_failed"),
    "add": ("jobctl.verb_add", "add"),
    "set-property": ("jobctl.verb_set_property", "set_property"),
    "edit": ("jobctl.verb_edit", "edit"),
    "revert": ("jobctl.verb_add", "revert"),
    "enable": ("jobctl.verb_enable", "enable"),
    "disable": ("jobctl.verb_enable", "disable"),
    "mask": ("jobctl.verb_enable", "mask"),
    "unmask": ("jobctl.verb_enable", "unmask"),
    "rm": ("jobctl.verb_rm", "remove"),
    "queue": ("jobctl.verb_queue", "queue"),
    "cancel": ("jobctl.verb_hold", "cancel"),
    "hold": ("jobctl.verb_hold", "hold"),
    "release": ("jobctl.verb_hold", "release"),
    "list-timers": ("jobctl.verb_timers", "list_timers"),
    "list": ("jobctl.verb_list", "list_jobs"),
    "status": ("jobctl.verb_status", "status"),
    "show": ("jobctl.verb_show", "show"),
    "cat": ("jobctl.verb_cat", "cat"),
    "is-active": ("jobctl.verb_list", "is_active"),
    "is-failed": ("jobctl.verb_list", "is_failed"),
    "is-enabled": ("jobctl.verb_enable", "is_enabled"),
    "list-job-files": ("jobctl.verb_files", "list_job_files"),
    "list-dependencies": ("jobctl.verb_dependencies", "list_dependencies"),
    "logs": ("jobctl.verb_logs", "logs"),
    "result": ("jobctl.verb_runs", "result"),
    "history": ("jobctl.verb_history", "history"),
    "why": ("jobctl.verb_why", "why"),
    "events": ("jobctl.verb_events", "events"),
    "whoami": ("jobctl.verb_whoami", "whoami"),
    "wait": ("jobctl.verb_wait", "wait"),
    "verify": ("jobctl.verb_verify", "verify"),
    "daemon-status": ("jobctl.verb_daemon", "daemon_status"),
    "daemon-reload": ("jobctl.verb_files", "daemon_reload"),
    "daemon-reexec": ("jobctl.verb_daemon", "daemon_reexec"),
    "is-system-running": ("jobctl.verb_daemon", "is_system_running"),
    "auth": ("jobctl.verb_auth", "auth"),
    "shutdown": ("jobctl.verb_daemon", "shutdown"),
    "completion": ("jobctl.verb_completion", "completion"),
}
ALIASES = {  # understood, and not shown
    "list-units": "list", "list-unit-files": "list-job-files", "condrestart": "try-restart",
    "force-reload": "reload-or-restart",
}  # fmt: skip
DEFAULT_VERB = "list"
HELP = "help"  # a verb that only typer has: it is about the others
COMPLETE = "__complete"  # what a TAB asks, and nobody types

# How the operands of each type of `options` are written.
OPERANDS = {
    "AuthVerb": "whoami|can-i VERB [JOB]|rules",
    "CheckedFiles": "[FILE...]",
    "Command": "COMMAND [ARG...]",
    "Files": "FILE...",
    "Jobs": "JOB...",
    "JobSettings": "JOB KEY=VALUE...",
    "LogRuns": "[JOB...]",
    "OneRun": "JOB",
    "OptionalJobs": "[JOB...]",
    "OptionalPatterns": "[PATTERN...]",
    "OptionalPids": "[PID...]",
    "Patterns": "JOB...",
    "QueueWords": "VERB [NAME...]",
    "ShellName": "bash|zsh|fish",
}

# Words of neighbours (pueue, docker, supervisorctl, Slurm, at, systemd-run, tmux, shells), and what they are here.
NEIGHBOURS = {
    "submit": "run", "sbatch": "run", "srun": "run", "exec": "run", "enqueue": "run", "spawn": "run",
    "new": "run", "new-session": "run", "nohup": "run", "launch": "run",
    "at": "run --at TIME", "batch": "run --queue batch", "tsp": "run --queue NAME", "pueue": "queue",
    "a": "attach", "attach-session": "attach", "bg": "thaw",
    "list-sessions": "list", "has-session": "is-active", "is-running": "is-active", "kill-session": "stop",
    "ps": "list", "ls": "list", "squeue": "list", "jobs": "list", "list-jobs": "list", "top": "list",
    "up": "start", "begin": "start",
    "down": "stop", "terminate": "stop", "scancel": "cancel", "dequeue": "cancel", "atrm": "cancel",
    "bounce": "restart",
    "group": "queue", "groups": "queue", "sinfo": "queue", "list-queues": "queue", "switch": "queue switch",
    "parallel": "queue set NAME slots=N", "stash": "hold", "unhold": "release", "requeue": "rerun",
    "pause": "freeze", "suspend": "freeze", "resume": "thaw", "unfreeze": "thaw", "unpause": "thaw",
    "remove": "rm", "delete": "rm", "del": "rm", "purge": "rm", "clean": "rm", "clear": "reset-failed",
    "signal": "kill", "tail": "logs", "log": "logs", "follow": "logs", "journal": "logs", "output": "logs",
    "fg": "attach", "reattach": "attach", "connect": "attach", "again": "rerun", "redo": "rerun", "retry": "rerun",
    "sacct": "history", "scontrol": "set-property",
    "timers": "list-timers", "schedule": "list-timers", "schedules": "list-timers",
    "atq": "list-timers", "crontab": "list-timers", "runs": "history", "monitor": "events",
    "info": "status", "join": "wait",
    "reread": "daemon-reload", "update": "daemon-reload", "avail": "list-job-files",
    "inspect": "show", "describe": "show",
    "exit": "shutdown", "halt": "shutdown", "poweroff": "shutdown", "version": "daemon-status",
}  # fmt: skip

# The same of the verbs of `queue`.
QUEUE_NEIGHBOURS = {
    "ls": "list", "status": "list", "info": "show", "create": "add", "new": "add", "change": "set", "edit": "set",
    "parallel": "set", "remove": "rm", "delete": "rm", "del": "rm", "stop": "pause", "hold": "pause", "close": "drain",
    "start": "resume", "open": "resume", "unpause": "resume", "release": "resume", "continue": "resume",
    "move": "switch", "swap": "switch",
}  # fmt: skip

# Verbs of systemctl that mean nothing here: who types one shall not look for the slip in his spelling.
ONLY_SYSTEMCTLS = (
    "preset", "reenable", "link",
    "isolate",
    "list-sockets", "list-paths",
    "show-environment", "set-environment", "unset-environment", "import-environment",
    "get-default", "set-default", "add-wants", "add-requires",
)  # fmt: skip

STAYING = ("wait", "follow", "pipe", "pty")  # options of run and rerun with which these end as the job does
OPERANDS_END_OPTIONS = ("run",)  # everything after the first operand belongs to the command

GLOBALS = {
    "user": ("--user",), "system": ("--system",), "socket": ("--socket",), "host": ("-H", "--host"),
    "no_pager": ("--no-pager",),
}  # fmt: skip
GLOBAL_DEFAULTS: dict[str, object] = {
    "user": False, "system": False, "socket": None, "host": None, "no_pager": False,
}  # fmt: skip

OPTIONS = {
    "after": ("--after",),
    "after_cursor": ("--after-cursor",),
    "any_one": ("--any",),
    "array": ("--array",),
    "as_user": ("--as",),
    "audit": ("--audit",),
    "calendar": ("--calendar",),
    "catalog": ("-x", "--catalog"),
    "cursor_file": ("--cursor-file",),
    "drop_in": ("--drop-in",),
    "dry_run": ("--dry-run",),
    "enable": ("--enable",),
    "env": ("--env",),
    "every": ("-a", "--all"),
    "failed": ("--failed",),
    "follow": ("-f", "--follow"),
    "full": ("-l", "--full"),
    "grep": ("-g", "--grep"),
    "hold": ("--hold",),
    "input_mode": ("--input",),
    "keeper": ("--keeper",),
    "kill_whom": ("--kill-whom",),
    "legend": ("--legend",),
    "limit": ("-n", "--limit", "--lines"),
    "lines": ("-n", "--lines"),
    "name": ("-u", "--name", "--unit"),
    "no_block": ("--no-block",),
    "no_legend": ("--no-legend",),
    "now": ("--now",),
    "offset": ("--offset",),
    "order_after": ("--after",),
    "order_before": ("--before",),
    "output": ("-o", "--output"),
    "pager_end": ("-e", "--pager-end"),
    "pipe": ("-P", "--pipe"),
    "plain": ("--plain",),
    "priority": ("--priority",),
    "properties": ("-p", "--property"),
    "pty": ("-t", "--pty"),
    "purge": ("--purge",),
    "queue": ("--queue",),
    "quiet": ("-q", "--quiet"),
    "raw": ("--raw",),
    "replace": ("--replace",),
    "reverse": ("-r", "--reverse"),
    "selector": ("--run",),
    "setenv": ("-E", "--setenv"),
    "shared": ("--shared",),
    "settings": ("-p", "--property"),
    "shell": ("--shell",),
    "show_cursor": ("--show-cursor",),
    "signal": ("-s", "--signal"),
    "since": ("-S", "--since"),
    "singleton": ("--singleton",),
    "start_at": ("--at",),
    "start_in": ("--in",),
    "states": ("--state",),
    "stats": ("--stats",),
    "stderr": ("--stderr",),
    "stdin": ("--stdin",),
    "stdout": ("--stdout",),
    "timeout": ("--timeout",),
    "types": ("-t", "--type"),
    "units": ("-u", "--unit", "--job"),
    "until": ("-U", "--until"),
    "value": ("--value",),
    "value_of": ("-P",),
    "wait": ("--wait",),
    "working_directory": ("-C", "--working-directory"),
}
