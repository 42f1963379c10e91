"""The pager between jobctl and a terminal, chosen and set up as systemd's tools do. Imported only on a terminal.

It starts with the first write, so that what fails before that needs none. Then descriptors 1 and 2 are its pipe, until
`end` waits for the person to leave it: jobctl's own exit status is never the pager's. Who leaves early ends the output
(ReaderGoneError) and nothing else.

less can run any command and open any file. As root it is told not to (LESSSECURE=1), however somebody came to be that;
where privileges were got (sudo, pkexec, doas, su) no other pager is taken either. JOBCTL_PAGERSECURE overrides both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from jobctl import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

LESS = "FRSXMK"  # systemd's: quit if it fits, colours, do not wrap, leave the text there, position, Ctrl-C ends it
UNCUT = str.maketrans("", "", "S")  # what was asked for in full is wrapped, not to be scrolled to
CANDIDATES = (["pager"], ["less"], ["more"])  # Debian's alternative comes first
SECURE_CANDIDATES = (["less"],)  # the only one that knows LESSSECURE
ELEVATED_BY = ("SUDO_UID", "PKEXEC_UID", "DOAS_USER")
SHELL_CHARACTERS = frozenset("|&;<>()$`\\\"'*?[#~=%!")
COPY_BYTES = 64 << 10
PR_SET_PDEATHSIG = 1
FALSE = ("", "0", "no", "n", "false", "f", "off")


class Pager:
    """One pager, not yet started.

    Attributes:
        columns: how wide the terminal is.
    """

    def __init__(self, commands: list[list[str]], environment: dict[str, str]) -> None:
        self.columns = terminal.width_of(terminal.STDOUT)
        self._commands = commands
        self._environment = environment
        self._pid = 0
        self._begun = False
        self._saved: list[int] = []

    def begin(self) -> None:
        """Start it, the first time; without memory or processes for it the output goes on as it was."""
        if self._begun:
            return
        self._begun = True
        parent = os.getpid()
        try:
            ours, theirs = os.pipe()
            self._pid = os.fork()
        except OSError:
            return
        if not self._pid:
            os.close(theirs)
            self._become(ours, parent)
        os.close(ours)
        for fd in (terminal.STDOUT, terminal.STDERR):
            self._saved.append(os.dup(fd))
            os.dup2(theirs, fd)
        os.close(theirs)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # who leaves the pager must not end us before it has ended
        if "K" not in self._environment["LESS"]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # then Ctrl-C is the pager's

    def end(self) -> None:
        """Let it show the end, and wait until the person leaves it."""
        if not self._pid:
            return
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C from now on ends the pager alone
        sys.stdout.flush()
        for fd, saved in zip((terminal.STDOUT, terminal.STDERR), self._saved, strict=True):
            os.dup2(saved, fd)
            os.close(saved)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGCONT)  # a stopped one would be waited for forever
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._pid = 0
        signal.signal(signal.SIGINT, interrupt)
        terminal.let_sigpipe_end_us()

    def _become(self, stdin: int, parent: int) -> NoReturn:
        """In the child: the first of the commands that can be executed; with none of them, cat."""
        try:
            os.dup2(stdin, 0)
            _end_with(parent)
            for command in self._commands:
                with contextlib.suppress(OSError):
                    os.execvpe(command[0], command, self._environment)
            while block := os.read(0, COPY_BYTES):
                os.write(terminal.STDOUT, block)
        finally:
            os._exit(0)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when jobctl dies, so that no pager is left on the terminal."""
    with contextlib.suppress(OSError, AttributeError, ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def wanted(environment: Mapping[str, str], full: bool = False, at_end: bool = False) -> Pager | None:
    """The pager for what will be written to stdout; None when there is to be none.

    Args:
        environment: of jobctl.
        full: lines are not to be chopped at the edge of the terminal.
        at_end: show the end first.
    """
    if not (os.isatty(terminal.STDOUT) and os.isatty(terminal.STDERR)) or terminal.is_dumb():
        return None
    chosen = environment.get("JOBCTL_PAGER", environment.get("PAGER"))
    if chosen is not None and chosen.strip() in ("", "cat"):
        return None
    return Pager(commands(environment, chosen), pager_environment(environment, full, at_end))


def commands(environment: Mapping[str, str], chosen: str | None) -> list[list[str]]:
    """What to try to execute, in order."""
    trusted = "JOBCTL_PAGERSECURE" in environment
    if is_secure(environment):
        return [*([_split(chosen)] if chosen and trusted else []), *SECURE_CANDIDATES]
    return [*([_split(chosen)] if chosen else []), *CANDIDATES]


def _split(command: str) -> list[str]:
    """The words of a command; one that is more than words is the shell's, as for git."""
    return ["/bin/sh", "-c", command] if SHELL_CHARACTERS.intersection(command) else command.split()


def pager_environment(environment: Mapping[str, str], full: bool, at_end: bool) -> dict[str, str]:
    """The pager's environment. LESS of jobctl's own is not used: its options are made for other output."""
    less = environment.get("JOBCTL_LESS")
    if less is None:
        less = LESS.translate(UNCUT) if full else LESS
    made = {
        **environment,
        "LESS": f"{less} +G" if at_end else less,
        "LESSCHARSET": environment.get("JOBCTL_LESSCHARSET", "utf-8"),  # what we write, in every locale
    }
    if is_secure(environment) or (not os.geteuid() and "JOBCTL_PAGERSECURE" not in environment):
        made["LESSSECURE"] = "1"
        made.pop("LESSSECURE_ALLOW", None)  # which takes some of it back
    elif "JOBCTL_PAGERSECURE" in environment:
        made.pop("LESSSECURE", None)
    return made


def is_secure(environment: Mapping[str, str]) -> bool:
    """Whether the pager must not be able to do more than show: JOBCTL_PAGERSECURE, else whether privileges changed."""
    said = environment.get("JOBCTL_PAGERSECURE")
    if said is not None:
        return said.lower() not in FALSE
    return is_elevated(environment)


def is_elevated(environment: Mapping[str, str]) -> bool:
    """Whether somebody has got another user's privileges: by the tool's own word, or by the session's owner."""
    if os.geteuid() != os.getuid() or any(environment.get(name) for name in ELEVATED_BY):
        return True
    owner = _session_owner()
    return owner is not None and owner != os.geteuid()


def _session_owner() -> int | None:
    """Whose login session this is, by the control group that systemd-logind has put it into."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    _, found, rest = text.partition("/user-")
    uid, slice_, _ = rest.partition(".slice")
    return int(uid) if found and slice_ and uid.isascii() and uid.isdecimal() else None
