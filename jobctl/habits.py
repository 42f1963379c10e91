"""What hands used to other programs type at a verb, and what it is here.

systemd-run, journalctl, systemctl, kill, tail, docker, tmux and bash's own wait have options that jobctl spells in
another way, or needs none for. `mistakes` looks here before it looks for a slip in the spelling.
"""

from __future__ import annotations

from jobctl.exits import UsageError
from jobctl.signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SO_WITHOUT = "leave it out, that is so without"
JSON = "did you mean -o json?"
NICE, DIRECTORY, SHELL = "did you mean -p limits.nice=N?", "did you mean -C?", "did you mean --shell?"
TAKES_TERMINAL = "did you mean -t (a terminal) or -P (a pipe)?"
STOPS_IN = "set it at its run: -p stop.timeout=TIME"
AFTER = "did you mean --after JOB[:ok|:failed|:any]?"
AGAIN = "what is to begin again and again has a schedule in a job file"
FROM_CURSOR = "did you mean --cursor-file?"

QUIET = {"-q": SO_WITHOUT, "--quiet": SO_WITHOUT}  # of verbs that say nothing when all is well
STOP = {"-t": STOPS_IN, "--time": STOPS_IN, "--timeout": STOPS_IN, **QUIET}

EVERYWHERE = {"--json": JSON, "--no-ask-password": SO_WITHOUT}
HABITS: dict[str, dict[str, str]] = {
    "run": {
        "-d": SO_WITHOUT, "--detach": SO_WITHOUT, "--same-dir": SO_WITHOUT, "--no-block": SO_WITHOUT,
        "-i": TAKES_TERMINAL, "--interactive": TAKES_TERMINAL, "-S": "did you mean -t -- $SHELL?", "-c": SHELL,
        "--description": "did you mean -p description=TEXT?", "--nice": NICE,
        "--timeout": "did you mean -p limits.runtime=TIME?", "-e": "did you mean -E?",
        "-g": "did you mean --queue?", "--group": "did you mean --queue?", "--weight": "did you mean -p weight=N?",
        "--stashed": "did you mean --hold?", "--partition": "did you mean --queue?", "--job-name": "did you mean -u?",
        "-J": "did you mean -u?", "-a": "did you mean --array?",
        "--begin": "did you mean --at?", "--delay": "did you mean --in?", "--on-active": "did you mean --in?",
        "--dependency": AFTER, "--depend": AFTER, "--depends": AFTER, "--depends-on": AFTER,
        "--on-calendar": AGAIN, "--cron": AGAIN, "--schedule": AGAIN, "--every": AGAIN,
        "-w": DIRECTORY, "--workdir": DIRECTORY, "--chdir": DIRECTORY, "--cwd": DIRECTORY,
    },
    "logs": {
        "-q": SO_WITHOUT, "--quiet": SO_WITHOUT, "-a": SO_WITHOUT, "--all": SO_WITHOUT, "-l": SO_WITHOUT,
        "--full": SO_WITHOUT, "--no-hostname": SO_WITHOUT, "--no-tail": SO_WITHOUT,
        "-t": "did you mean -o short?", "--timestamps": "did you mean -o short?", "--tail": "did you mean -n?",
        "-p": "did you mean --stderr?", "--priority": "did you mean --stderr?",
        "-c": FROM_CURSOR, "--cursor": FROM_CURSOR, "--after-cursor": FROM_CURSOR, "--show-cursor": FROM_CURSOR,
    },
    **dict.fromkeys(("start", "reload", "try-restart", "reload-or-restart", "kill", "unmask", "reset-failed"), QUIET),
    "enable": {**QUIET, "-f": SO_WITHOUT, "--force": SO_WITHOUT, "--no-reload": SO_WITHOUT, "--no-warn": SO_WITHOUT},
    "disable": {**QUIET, "--no-reload": SO_WITHOUT, "--no-warn": SO_WITHOUT},
    "mask": {**QUIET, "-f": SO_WITHOUT, "--force": SO_WITHOUT, "--no-reload": SO_WITHOUT},
    "edit": {"--force": "jobctl add makes a job of a file"},
    "list-job-files": {"-a": SO_WITHOUT, "--all": SO_WITHOUT},
    "attach": {
        "-d": SO_WITHOUT, "-r": "did you mean --input=none?", "-t": "the job's name stands alone: jobctl attach NAME",
    },
    "stop": STOP,
    "restart": STOP,
    "rm": {"-f": "did you mean --now?", "--force": "did you mean --now?", "-v": "did you mean --purge?"},
    "wait": {"-t": "did you mean --timeout?", "-n": "did you mean --any?"},
    "status": {"-a": "did you mean jobctl status '*'?", "--all": "did you mean jobctl status '*'?"},
    "history": {"-r": SO_WITHOUT, "--reverse": SO_WITHOUT},
}  # fmt: skip

# What has no meaning here, by the program that has it.
SYSTEMD_RUNS = (
    "-G", "--collect", "-r", "--remain-after-exit", "--scope", "--slice", "--slice-inherit", "--uid", "--gid",
    "--service-type", "--on-boot", "--on-startup", "--on-unit-active",
    "--on-unit-inactive", "--timer-property", "--path-property", "--socket-property",
)  # fmt: skip
JOURNALCTLS = (
    "-b", "--boot", "-k", "--dmesg", "-m", "--merge", "-i", "--identifier", "-F", "--field", "-N", "--fields", "-D",
    "--directory", "--file", "--facility", "--list-boots", "--disk-usage", "--vacuum-time", "--vacuum-size",
    "--vacuum-files", "--rotate", "--flush", "--sync", "--utc", "--user-unit",
)  # fmt: skip
SYSTEMCTLS = ("--runtime", "--global", "--preset-mode", "--root", "--image")
ONLY_THEIRS = {
    "run": ("systemd-run", SYSTEMD_RUNS), "logs": ("journalctl", JOURNALCTLS), "enable": ("systemctl", SYSTEMCTLS),
    "disable": ("systemctl", SYSTEMCTLS), "mask": ("systemctl", SYSTEMCTLS), "edit": ("systemctl", SYSTEMCTLS),
}  # fmt: skip

COUNTED = ("logs", "status", "history", "events", "attach")  # verbs with -n


def hint(verb: str, option: str) -> str:
    """What an option of another program is here; "" where nothing is known of it."""
    known = HABITS.get(verb, {}).get(option) or (EVERYWHERE.get(option, "") if verb else "")
    if known:
        return known
    whose, theirs = ONLY_THEIRS.get(verb, ("", ()))
    return f"{whose} has it, jobctl does not" if option in theirs else ""


def reworded(verb: str, option: str, words: Sequence[str]) -> list[str] | None:
    """The line with `kill -9` or `-HUP` as `-s 9`, and tail's `-20` as `-n 20`; None where it has none of these.

    Args:
        verb: of this line.
        option: the one that the verb does not have; of several letters in one word, its letter.
        words: the line.
    """
    for at, word in enumerate(words):
        if word == "--":
            break
        if word[:2] != option or len(word) < 2:
            continue
        if verb == "kill" and _is_signal(word[1:]):
            return [*words[:at], "-s", word[1:], *words[at + 1 :]]
        if verb in COUNTED and word[1:].isdecimal():
            return [*words[:at], "-n", word[1:], *words[at + 1 :]]
    return None


def _is_signal(word: str) -> bool:
    try:
        signal_number(word)
    except UsageError:
        return False
    return True
