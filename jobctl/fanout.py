"""jobctl -H a,b,c: the verb for each host, all at once, by a process of its own; lines come out with the host's name.

The rules: no host waits for another, and one that fails stops none; nobody is asked for a password; a line is written
whole; the exit status is the worst.
"""

from __future__ import annotations

import os
from select import POLLIN, poll

from jobctl import hosts, terminal
from jobctl.exits import INTERRUPTED, NOT_THE_JOBS, SIGNALED, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.argv import Call
    from jobctl.shapes import Json

STDIN, STDOUT, STDERR = 0, 1, 2
SIGINT = 2
READ_BYTES = 64 << 10
LINE_BYTES = 1 << 20  # a longer one comes out in pieces
SEPARATOR = ": "
JSON = "json"
STREAMS = ("logs", "events")  # their JSON is an object a line, of which each gets its host
STREAM_KEY = "host"
GROUPED = (  # their lines come out together, when a host has said all
    "list", "status", "show", "cat", "result", "history", "why", "daemon-status", "is-active", "is-failed",
    "is-enabled", "list-job-files", "list-dependencies", "list-timers", "whoami", "auth", "daemon-reload",
)  # fmt: skip
ALONE = ("attach", "edit")
ALONE_OPTIONS = ("pipe", "pty")


class Child:
    """One host's jobctl: what it writes, line by line."""

    def __init__(self, host: str, call: Call) -> None:
        self.host = host
        self.status = NOT_THE_JOBS
        self.kept: list[bytes] = []  # of its stdout, what is shown as a whole
        self.open: dict[int, int] = {}  # our end of each pipe, and what it stands for
        self._held: dict[int, bytes] = {}
        pairs = {fd: os.pipe2(os.O_CLOEXEC) for fd in (STDOUT, STDERR)}
        self.pid = os.fork()
        if not self.pid:
            _become(host, call, {fd: pair[1] for fd, pair in pairs.items()})
        for fd, (ours, theirs) in pairs.items():
            os.close(theirs)
            self.open[ours] = fd
            self._held[ours] = b""

    def read(self, fd: int) -> list[bytes]:
        """The lines that have come, each with its newline; at the end what is left."""
        data = os.read(fd, READ_BYTES)
        *lines, rest = (self._held[fd] + data).splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n") or len(rest) > LINE_BYTES or (not data and rest):
            lines, rest = [*lines, rest], b""
        self._held[fd] = rest
        if not data:
            os.close(fd)
            del self.open[fd]
        return lines

    def wait(self) -> None:
        """Take its exit status."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.status = code if code >= 0 else SIGNALED - code


def _become(host: str, call: Call, fds: dict[int, int]) -> None:
    """In the child: do the verb for this host, and end."""
    from jobctl.__main__ import invoke
    from jobctl.argv import Call as OneCall

    status = NOT_THE_JOBS
    options = {**call.options, **_output(call)}
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, source in {STDIN: null, **fds}.items():
            os.dup2(source, fd)
        status = invoke(OneCall(call.verb, {**call.target, "host": host, "batch": True}, call.operands, options))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else status
    except BaseException as e:  # a traceback of a child would come out among others' lines
        terminal.warn(f"{type(e).__name__}: {e}")
    finally:
        os._exit(status)


def _output(call: Call) -> dict[str, str]:
    """The option of a child, who does not see where its lines go in the end."""
    if _is_json(call):
        return {"output": JSON}
    for_person = terminal.is_terminal() and not call.options.get("raw")
    return {"output": "short"} if call.verb == "logs" and for_person and not call.options.get("output") else {}


def run(call: Call, words: str) -> int:
    """Do a verb on all hosts; the worst exit status."""
    try:
        names = hosts.split(words)
        for name in names:
            hosts.parse(name)
        _check(call)
    except UsageError as e:
        from jobctl.__main__ import usage_status

        terminal.warn(str(e))
        return usage_status(call)
    children = [Child(name, call) for name in names]
    try:
        _Crowd(call, children).relay()
    except KeyboardInterrupt:
        for child in children:
            os.kill(child.pid, SIGINT)  # the terminal has told them, if it was one
        return INTERRUPTED
    for child in children:
        child.wait()
    if call.verb not in STREAMS and _is_json(call):
        _print_together(call, children)
    return max(child.status for child in children)


def _check(call: Call) -> None:
    """Refuse what one terminal or one stdin cannot be shared for."""
    what = call.verb if call.verb in ALONE else ""
    for option in ALONE_OPTIONS:
        if call.verb in ("run", "rerun") and call.options.get(option):
            what = f"{call.verb} --{option}"
    if what:
        raise UsageError(f"cannot {what} on several hosts at a time: stdin and terminal belong to one job")


def _is_json(call: Call) -> bool:
    return str(call.options.get("output") or "").startswith(JSON)


class _Crowd:
    """The children, and where what they write goes."""

    def __init__(self, call: Call, children: list[Child]) -> None:
        self._children = children
        self._is_json = _is_json(call)
        self._output = str(call.options.get("output"))
        self._is_stream = call.verb in STREAMS
        self._is_grouped = call.verb in GROUPED
        self._raw = bool(call.options.get("raw")) or not terminal.is_terminal()

    def relay(self) -> None:
        """Until all have closed their stdout and stderr."""
        poller = poll()
        owners = {fd: child for child in self._children for fd in child.open}
        for fd in owners:
            poller.register(fd, POLLIN)
        while owners:
            for fd, _ in poller.poll():
                child = owners[fd]
                number = child.open[fd]
                for line in child.read(fd):
                    self._take(child, number, line)
                if fd not in child.open:
                    poller.unregister(fd)
                    del owners[fd]
                    if number == STDOUT and not self._is_json:
                        terminal.write(b"".join(child.kept))

    def _take(self, child: Child, number: int, line: bytes) -> None:
        """A line of one host's: write it, or keep it for the end."""
        if number == STDERR:
            text = line.decode("utf-8", "surrogateescape").rstrip("\n").removesuffix(f" (on {child.host})")
            terminal.note(f"{child.host}{SEPARATOR}{text}")
        elif self._is_json and self._is_stream:
            _print_with_host(child.host, line, self._output)
        elif self._is_json:
            child.kept.append(line)
        else:
            shown = f"{child.host}{SEPARATOR}".encode() + self._safe(line)
            if self._is_grouped:
                child.kept.append(shown)
            else:
                terminal.write(shown)

    def _safe(self, line: bytes) -> bytes:
        """A line as it is, for a program; escaped, for a person."""
        if self._raw:
            return line if line.endswith(b"\n") else line + b"\n"
        from jobctl.escape import escape_line

        return escape_line(line.rstrip(b"\n")).encode() + b"\n"


def _print_with_host(host: str, line: bytes, output: str) -> None:
    """Print a line that is a JSON object, with the host as its first key."""
    import json

    from jobctl.rows import print_json

    value = json.loads(line)
    assert isinstance(value, dict)
    print_json({STREAM_KEY: host, **value}, output)


def _print_together(call: Call, children: list[Child]) -> None:
    """One JSON object: by host what its jobctl printed, null for one that printed none."""
    import json

    from jobctl.rows import print_json

    found: dict[str, Json] = {}
    for child in children:
        try:
            found[child.host] = json.loads(b"".join(child.kept))
        except ValueError:
            found[child.host] = None
    print_json(found, str(call.options["output"]))
