"""Every operand and option of jobctl, as typer reads them. The verbs' annotations name these.

The spellings are in `spellings`, which the light parser reads too; here are the types and the words of the help.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobctl.spellings import GLOBALS, OPERANDS, OPTIONS


def _option(name: str, text: str, metavar: str | None = None, hidden: bool = False) -> Any:  # noqa: ANN401  # typer's own
    spelled = {**OPTIONS, **GLOBALS}[name]
    return typer.Option(*spelled, help=text, metavar=metavar, show_default=False, hidden=hidden)


def _operands(name: str, text: str) -> Any:  # noqa: ANN401
    return typer.Argument(metavar=OPERANDS[name], help=text, show_default=False)


# --- operands -------------------------------------------------------------------------------------------------------
Files = Annotated[tuple[str, ...], _operands("Files", "Job files, NAME.toml; - for standard input.")]
Jobs = Annotated[tuple[str, ...], _operands("Jobs", "Names or globs of jobs.")]
Patterns = Annotated[tuple[str, ...], _operands("Patterns", "Names or globs of jobs.")]
OptionalJobs = Annotated[tuple[str, ...], _operands("OptionalJobs", "Names or globs of jobs.")]
OptionalPatterns = Annotated[tuple[str, ...], _operands("OptionalPatterns", "Names or globs of jobs.")]
OptionalPids = Annotated[tuple[str, ...], _operands("OptionalPids", "Ids of processes.")]
CheckedFiles = Annotated[
    tuple[str, ...], _operands("CheckedFiles", "Job files, or directories with some; - for standard input.")
]
JobSettings = Annotated[tuple[str, ...], _operands("JobSettings", "A job, and what is to be set: limits.memory=1G.")]
QueueWords = Annotated[tuple[str, ...], _operands("QueueWords", "What to do, and with which queues.")]
LogRuns = Annotated[tuple[str, ...], _operands("LogRuns", "Jobs; JOB#N or the id of a run for one run.")]
OneRun = Annotated[tuple[str, ...], _operands("OneRun", "A job; JOB#N or the id of a run for one run.")]
Command = Annotated[tuple[str, ...], _operands("Command", "The command and all its arguments.")]
AuthVerb = Annotated[tuple[str, ...], _operands("AuthVerb", "What to ask.")]
ShellName = Annotated[tuple[str, ...], _operands("ShellName", "The shell to complete in.")]

# --- switches -------------------------------------------------------------------------------------------------------
AddEnabled = Annotated[bool, _option("enable", "Enable them, too.")]
AddNow = Annotated[bool, _option("now", "Start them, too.")]
All = Annotated[bool, _option("every", "Inactive jobs too.")]
AllBranches = Annotated[bool, _option("every", "Unfold a job wherever it comes.")]
AllTimers = Annotated[bool, _option("every", "Those of jobs that are not enabled, too.")]
AllProperties = Annotated[bool, _option("every", "Properties that are not set, too.")]
Audit = Annotated[bool, _option("audit", "What was asked for, by whom: acts in place of runs.")]
AllQueues = Annotated[bool, _option("every", "Those of others, too.")]
AnyOne = Annotated[bool, _option("any_one", "Return when the first of them has ended, and print its name.")]
Catalog = Annotated[bool, _option("catalog", "For hands used to journalctl: there are no explanations.", hidden=True)]
Failed = Annotated[bool, _option("failed", "The same as --state=failed.")]
FollowChanges = Annotated[bool, _option("follow", "Go on with changes as they come.")]
Follow = Annotated[bool, _option("follow", "Go on with new output until the job is at rest.")]
FollowRun = Annotated[bool, _option("follow", "Write what the job writes; exit with its status.")]
FromStdin = Annotated[bool, _option("stdin", "Take the text from standard input, without an editor.")]
ForAll = Annotated[bool, _option("shared", "Of add: for everybody's jobs; for administrators.")]
FullLines = Annotated[bool, _option("full", "Do not cut lines to the width of the terminal.")]
FullOutput = Annotated[bool, _option("full", "All of the output, however much it is.")]
DryRun = Annotated[bool, _option("dry_run", "Say what would change, and change nothing.")]
HoldRun = Annotated[bool, _option("hold", "Let it wait until it is released.")]
Keeper = Annotated[bool, _option("keeper", "The keeper, in place.")]
NoBlock = Annotated[bool, _option("no_block", "Return at once.")]
NoBlockNow = Annotated[bool, _option("no_block", "With --now: return at once.")]
NoLegend = Annotated[bool, _option("no_legend", "The same as --legend=no.")]
Now = Annotated[bool, _option("now", "Stop what runs first; cancel what is queued.")]
StartNow = Annotated[bool, _option("now", "Start them, too.")]
StopNow = Annotated[bool, _option("now", "Stop them, too.")]
OnlyStderr = Annotated[bool, _option("stderr", "Only what was written to stderr.")]
OnlyStdout = Annotated[bool, _option("stdout", "Only what was written to stdout.")]
OrderAfter = Annotated[bool, _option("order_after", "What they come after, in place of what they need.")]
OrderBefore = Annotated[bool, _option("order_before", "What comes after them.")]
PagerEnd = Annotated[bool, _option("pager_end", "Begin at the end, in the pager; implies -n 1000.")]
Pipe = Annotated[bool, _option("pipe", "The job has this stdin, stdout and stderr; exit with its status.")]
Plain = Annotated[bool, _option("plain", "No column for the bullet.")]
PlainTree = Annotated[bool, _option("plain", "A list in place of a tree, and no bullets.")]
Pty = Annotated[bool, _option("pty", "The job has a terminal, which this one becomes; exit with its status.")]
Purge = Annotated[bool, _option("purge", "Their runs and logs too.")]
Quiet = Annotated[bool, _option("quiet", "Print no results, or no hints.")]
QuietAnswer = Annotated[bool, _option("quiet", "Only the exit status.")]
QuietRun = Annotated[bool, _option("quiet", "Do not print the job's name.")]
Raw = Annotated[bool, _option("raw", "Exact bytes on a terminal, too.")]
Replace = Annotated[bool, _option("replace", "In place of another definition that is there.")]
Reverse = Annotated[bool, _option("reverse", "The newest line first.")]
ReverseTree = Annotated[bool, _option("reverse", "Who needs them; with --after or --before, the other way round.")]
ShowCursor = Annotated[bool, _option("show_cursor", "At the end, the cursor of the last one.")]
Shell = Annotated[bool, _option("shell", "COMMAND is a script for /bin/sh -c.")]
Singleton = Annotated[bool, _option("singleton", "With --name: wait while the job of this name runs.")]
Value = Annotated[bool, _option("value", "Only the values.")]
WholeFile = Annotated[bool, _option("full", "The whole job file, and not a drop-in.")]
Stats = Annotated[bool, _option("stats", "Of each job: how often it ran, how well, how long.")]
StartWait = Annotated[bool, _option("wait", "Wait until the jobs have ended; 1 if one has failed.")]
WaitForEnd = Annotated[bool, _option("wait", "Wait for the end; exit with the job's status.")]

# --- options with a value -------------------------------------------------------------------------------------------
AfterRuns = Annotated[
    tuple[str, ...], _option("after", "Begin when this job's run has ended so. Default: :ok.", "JOB[:ok|:failed|:any]")
]
AfterCursor = Annotated[str | None, _option("after_cursor", "Only changes behind this one.", "CURSOR")]
ArrayOfRuns = Annotated[
    str | None,
    _option("array", "A run for each of these numbers, N at a time; %i in COMMAND is the number.", "0-99[%N]"),
]
AsUser = Annotated[str | None, _option("as_user", "Ask about this user; for administrators.", "USER")]
CalendarText = Annotated[
    tuple[str, ...], _option("calendar", "What this expression means, and its next five times.", "EXPR")
]
ChangeLines = Annotated[str | None, _option("lines", "Only the last N, or all. Default: all; with -f, 10.", "N")]
ChangeOutput = Annotated[
    str | None, _option("output", "short, short-iso, cat, json, json-pretty or json-seq.", "FORMAT")
]
CursorFile = Annotated[str | None, _option("cursor_file", "Go on from where FILE says; note the end there.", "FILE")]
DropIn = Annotated[str | None, _option("drop_in", "A drop-in of this name. Default: override.", "NAME")]
Env = Annotated[
    str | None, _option("env", "Environment to take along: all (default), none, or names.", "all|none|NAME,...")
]
FileStates = Annotated[tuple[str, ...], _option("states", "Only those that are enabled, masked …", "STATE,...")]
FileName = Annotated[str | None, _option("name", "The job's name. Default: the file's, without .toml.", "NAME")]
Grep = Annotated[str | None, _option("grep", "Only lines that match; all in lower case, capitals too.", "REGEX")]
HistoryCursor = Annotated[str | None, _option("after_cursor", "Go on behind this one, with older ones.", "CURSOR")]
HistoryLimit = Annotated[str | None, _option("limit", "So many runs, or all. Default: 100.", "N")]
HistoryOffset = Annotated[str | None, _option("offset", "Leave out the newest so many.", "N")]
InQueue = Annotated[str | None, _option("queue", "Only those in this queue.", "NAME")]
InputMode = Annotated[
    str, _option("input_mode", "This stdin: same, from its first byte; more, what follows; none.", "same|more|none")
]
JsonOutput = Annotated[str | None, _option("output", "json, json-pretty or json-seq.", "FORMAT")]
KillWhom = Annotated[
    str, _option("kill_whom", "all (default), main, or control: what stops, reloads or checks it.", "WHOM")
]
JobTypes = Annotated[tuple[str, ...], _option("types", "For hands used to systemctl: every job is a service.", "TYPE")]
Legend = Annotated[str, _option("legend", "Whether there are a header and a footer.", "yes|no")]
ListOutput = Annotated[str | None, _option("output", "json, json-pretty, json-seq or name.", "FORMAT")]
LogOutput = Annotated[
    str | None,
    _option(
        "output",
        "short, short-full, short-iso, short-iso-precise, short-precise, short-monotonic, short-unix, cat, verbose,"
        " json, json-pretty or json-seq.",
        "FORMAT",
    ),
]
Name = Annotated[str | None, _option("name", "The job's name. Default: COMMAND-N.", "NAME")]
Priority = Annotated[str | None, _option("priority", "Higher ones of yours begin first. Default: 0.", "N")]
Properties = Annotated[tuple[str, ...], _option("properties", "Only these properties.", "NAME,...")]
Queue = Annotated[str | None, _option("queue", "Wait in this queue until it has a free slot.", "NAME")]
RunStates = Annotated[tuple[str, ...], _option("states", "Only runs with these states or results.", "STATE,...")]
Selector = Annotated[str | None, _option("selector", "Which run: 0 the newest, -1, N, an id; all.", "RUN")]
Setenv = Annotated[tuple[str, ...], _option("setenv", "Set a variable, or take it along.", "NAME[=VALUE]")]
Settings = Annotated[
    tuple[str, ...], _option("settings", "Set a key, such as limits.runtime; for root also user.", "KEY=VALUE")
]
Signal = Annotated[str, _option("signal", "The signal. Default: SIGTERM.", "SIGNAL")]
Since = Annotated[str | None, _option("since", "Not before this time.", "TIME")]
StartAt = Annotated[
    str | None, _option("start_at", "Begin at this time: 03:00, tomorrow 18:30, 2026-12-01 03:00.", "TIME")
]
StartIn = Annotated[str | None, _option("start_in", "Begin after this time: 10min, 1h 30min.", "TIME")]
States = Annotated[
    tuple[str, ...], _option("states", "Only jobs with one of these as LOAD, ACTIVE or SUB.", "STATE,...")
]
StatusLines = Annotated[str, _option("lines", "So many lines of output. Default: 10.", "N")]
StatusOutput = Annotated[str | None, _option("output", "Format of the output, as in logs.", "FORMAT")]
SeenLines = Annotated[str | None, _option("lines", "Begin with the last N lines, or all.", "N")]
TailLines = Annotated[str | None, _option("lines", "Only the last N lines, or all.", "N")]
Timeout = Annotated[str | None, _option("timeout", "Give up after this time, with status 124.", "TIME")]
Units = Annotated[tuple[str, ...], _option("units", "The same as an operand.", "JOB")]
Until = Annotated[str | None, _option("until", "Not after this time.", "TIME")]
ValueOf = Annotated[tuple[str, ...], _option("value_of", "The same as --value --property=NAME.", "NAME,...")]
WaitQueue = Annotated[str | None, _option("queue", "All that is in this queue now.", "QUEUE")]
WorkingDirectory = Annotated[str | None, _option("working_directory", "The job's directory.", "DIR")]

# --- before or after any verb ---------------------------------------------------------------------------------------
TheUsers = Annotated[bool, _option("user", "Speak to your own jobd.")]
TheSystems = Annotated[bool, _option("system", "Speak to the system's jobd.")]
AtSocket = Annotated[str | None, _option("socket", "Speak to the jobd at this socket.", "PATH")]
OnHost = Annotated[str | None, _option("host", "Speak to the jobd of this host, by ssh.", "[USER@]HOST[:PORT],...")]
NoPager = Annotated[bool, _option("no_pager", "Write straight to the terminal.")]
GLOBAL_TYPES = {"user": TheUsers, "system": TheSystems, "socket": AtSocket, "host": OnHost, "no_pager": NoPager}
