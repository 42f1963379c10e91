"""The lines about one job that status shows, as systemctl lays them out."""

from __future__ import annotations

import os

from jobctl import names, terminal, usage
from jobctl.escape import escape, show_bytes, show_command
from jobctl.times import ago, short, since, span, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.shapes import JobView, Process

LABEL_WIDTH = 11
# systemd.exec(5): the status shown for a step that failed before the program ran.
STEP_STATUS = {
    "chdir": "200/CHDIR", "nice": "201/NICE", "descriptors": "202/FDS", "exec": "203/EXEC", "limits": "205/LIMITS",
    "oom": "206/OOM_ADJUST", "signals": "207/SIGNAL_MASK", "stdio": "209/STDOUT", "groups": "216/GROUP",
    "user": "217/USER", "cgroup": "219/CGROUP", "session": "220/SETSID", "grant": "217/USER", "pty": "208/STDIN",
    "stdin": "208/STDIN",
}  # fmt: skip
EXIT_WORDS = {0: "/SUCCESS", 1: "/FAILURE", 255: "/EXCEPTION"}  # systemctl has no word for the others
CLEAN_SIGNALS = (1, 2, 13, 15)  # HUP, INT, PIPE, TERM: how a daemon may end
AT_REST = ("inactive", "failed")
ACTIVE = ("active", "reloading")
GLYPHS = {"failed": terminal.FAILED_GLYPH, "inactive": "○", "maintenance": "○", "reloading": "↻"}  # the rest: ●
USEC = 1000  # in nanoseconds
INDENT = " " * (LABEL_WIDTH + 2)  # of what stands below a value
BAD_LOADS = ("not-found", "bad-setting")
WARNING = "Warning"


class Screen:
    """How to write: in colour or not, and how wide. Says afterwards whether something did not fit."""

    def __init__(self, full: bool) -> None:
        self.colour = terminal.use_colour()
        self.width = 0 if full else terminal.columns()
        self.cut = False

    def paint(self, colour: str, text: str) -> str:
        """`text` in a colour, where there are colours."""
        return f"{colour}{text}{terminal.PLAIN}" if colour and self.colour and text else text

    def fit(self, line: str) -> str:
        """`line` as it fits."""
        fitted = terminal.cut(line, self.width)
        self.cut = self.cut or fitted is not line
        return fitted


def text(client: Client, view: JobView, now: int, screen: Screen) -> str:
    """The lines about one job, without its log."""
    used = usage.of(view)
    errno = view.get("errno", 0) or view.get("status_errno", 0)
    fields = (
        ("Loaded", _loaded(view, screen)),
        ("Transient", "yes" if _is_transient(view) else ""),
        ("Drop-In", _dropins(view)),
        ("User", escape(view.get("user", ""))),
        ("Active", _active(view, now, screen)),
        ("Array", _array(view)),
        ("Stopped by", _stopped_by(view)),
        ("Queue", _queue(view)),
        ("Waits", escape(view.get("waits", ""))),
        ("In line", _in_line(view)),
        ("Restarts", _restarts(view, now)),
        ("Trigger", _trigger(view, now)),
        ("Until", _until(view, now)),
        ("Duration", _duration(view)),
        ("Invocation", _invocation(view)),
        ("Process", _process(view, screen)),
        ("Main PID", _main_pid(view)),
        ("Cntrl PID", "" if view.get("pid") else _control(view)),
        ("Status", f'"{escape(view["status_text"])}"' if view.get("status_text") else ""),
        ("Health", _health(view, screen)),
        ("Note", escape(view.get("note", ""))),
        ("Error", f"{errno} ({os.strerror(errno)})" if errno else ""),
        ("IO", _io(view)),
        ("Tasks", _tasks(view, used)),
        ("Memory", _memory(view, used)),
        ("Mem peak", size(used.peak) if _memory_now(view, used) is None else ""),
        ("CPU", _cpu(view, used)),
    )
    lines = [_header(client, view, screen)]
    lines += [f"{label:>{LABEL_WIDTH}}: {value}" for label, value in fields if value]
    lines += _tree(view, screen)
    lines += [_warning(text, screen) for text in _warnings(client, view)]
    return "".join(f"{screen.fit(line)}\n" for whole in lines for line in whole.split("\n"))


# --- one line each --------------------------------------------------------------------------------------------------
def _header(client: Client, view: JobView, screen: Screen) -> str:
    active = view.get("active", "inactive")
    glyph = screen.paint(_colour(active), GLYPHS.get(active, terminal.GLYPH))
    name = names.view_name(view, client)
    description = view.get("description") or show_command(view.get("argv", []), view.get("shell", False))
    return f"{glyph} {name} - {escape(description)}" if description and description != name else f"{glyph} {name}"


def _colour(active: str) -> str:
    return terminal.GREEN if active in ACTIVE else terminal.RED if active == "failed" else ""


def _array(view: JobView) -> str:
    """Which elements it has, and where they are; of one of them, of which it is."""
    if view.get("array_of"):
        return escape(view["array_of"])
    if not view.get("array"):
        return ""
    from jobctl import array_words

    return escape(f"{view['array']} ({array_words.counts(view)})")


def _in_line(view: JobView) -> str:
    """How many runs wait for this one to end."""
    count = view.get("in_line", 0)
    return f"{count} more run{'s' if count > 1 else ''}" if count else ""


def _stopped_by(view: JobView) -> str:
    """Who has asked for the end of the newest run, if another did than whose job it is."""
    uid = view.get("stop_uid")
    return "" if uid in (None, view["owner"]) else names.owner_name(uid)


def _is_transient(view: JobView) -> bool:
    return view.get("transient", True) and view.get("load", "loaded") != "not-found"


def _loaded(view: JobView, screen: Screen) -> str:
    load, file, state = view.get("load", "loaded"), view.get("file", ""), names.file_state(view)
    word = screen.paint(terminal.RED if load in BAD_LOADS else "", load)
    colour = terminal.GREEN if state == "enabled" else terminal.YELLOW if state == "disabled" else ""
    inside = "; ".join(part for part in (escape(file), screen.paint(colour, escape(state))) if part)
    problem = "".join(f"\n{INDENT}{escape(line)}" for line in view.get("problem", "").splitlines())
    return f"{word} ({inside}){problem}" if inside and inside != load else f"{word}{problem}"


def _dropins(view: JobView) -> str:
    """The directories of drop-ins, and below each the files in it."""
    places: dict[str, list[str]] = {}
    for path in view.get("dropins", []):
        directory, _, name = path.rpartition("/")
        places.setdefault(directory, []).append(name)
    return f"\n{INDENT}".join(
        f"{escape(directory)}\n{INDENT}└─{escape(', '.join(found))}" for directory, found in places.items()
    )


def _queue(view: JobView) -> str:
    """The queue that its newest run is in, or was, and its place there: `build (position 3, priority 5)`."""
    position, priority, weight = view.get("position", 0), view.get("priority", 0), view.get("weight", 1)
    words = [f"position {position}"] if position else []
    words += [f"priority {priority}"] if priority else []
    words += [f"weight {weight}"] if weight != 1 else []
    name = escape(view.get("queue", ""))
    inside = f"{name and ' '}({', '.join(words)})" if words else ""
    return f"{name}{inside}"


def _restarts(view: JobView, now: int) -> str:
    """How often it was started again by itself, and when next."""
    count, at = view.get("restarts", 0), view.get("restart_at")
    if at is None:
        return str(count) if count else ""
    return f"{count}; next {since(at, now)}" if at > now else f"{count}; next at once"


def _trigger(view: JobView, now: int) -> str:
    """When the clock starts it: `Mon 2026-11-23 03:00:00 UTC; 11h left`."""
    at = view.get("not_before") or view.get("elapse_next")
    if at is None:
        return "n/a" if view.get("schedule") else ""  # systemctl's, of a timer that is not active
    return since(at, now) if at > now else f"{timestamp(at)}; now"


def _health(view: JobView, screen: Screen) -> str:
    words = view.get("health", "")
    return screen.paint("" if words in ("", "healthy") else terminal.RED, escape(words))


def _warnings(client: Client, view: JobView) -> list[str]:
    """What is not as its definition says."""
    found = [f"cannot be enforced here: {text}" for text in view.get("unenforced", [])]
    if view.get("need_reload"):
        found.append(f"the definition has changed on disk; run '{client.target.program} daemon-reload' to take it")
    return found


def _warning(text: str, screen: Screen) -> str:
    return f"{screen.paint(terminal.YELLOW, f'{WARNING:>{LABEL_WIDTH}}:')} {escape(text)}"


def _active(view: JobView, now: int, screen: Screen) -> str:
    active, sub, result = view.get("active", "inactive"), view.get("sub", "dead"), view.get("result", "success")
    words = screen.paint(_colour(active), active if sub == active else f"{active} ({sub})")
    if view.get("frozen"):
        words += f" {screen.paint(terminal.YELLOW, '(frozen)')}"
    if result not in ("", "success"):
        words += f" (Result: {result})"
    changed = view.get("changed_at")
    if not changed:
        return words
    for whole in (f"{words} since {since(changed, now)}", f"{words} since {since(changed, now, short)}"):
        line = f"{'Active':>{LABEL_WIDTH}}: {whole}"
        if terminal.cut(line, screen.width) is line:
            return whole
    return f"{words}; {ago((now - changed) // USEC)} ago"  # rather than without how long ago


def _until(view: JobView, now: int) -> str:
    """When a job that may run only so long will be stopped."""
    started, limit = view.get("started_at"), view.get("runtime_limit_usec")
    if started is None or limit is None or view.get("active", "inactive") not in ACTIVE:
        return ""
    return since(started + limit * USEC, now)


def _duration(view: JobView) -> str:
    started, ended = view.get("started_at"), view.get("exited_at")
    if started is None or ended is None or view.get("active", "inactive") not in AT_REST:
        return ""
    return span(max(0, ended - started) // USEC)


def _invocation(view: JobView) -> str:
    run, cause = view.get("run"), escape(view.get("cause", ""))
    if run is None:
        return ""
    if view.get("array"):
        return names.full_id(run)
    return f"{names.full_id(run)} (run {view.get('number', 0)}{cause and '; '}{cause})"


def exit_words(view: JobView) -> str:
    """`code=exited, status=1/FAILURE`, `code=killed, signal=TERM`; empty while it runs."""
    step = view.get("step", "")
    if step:
        step = step.partition(".")[0]  # of a file: behind the point is which
        return f"code=exited, status={STEP_STATUS.get(step, f'1/{step.upper()}')}"
    signal, code = view.get("signal"), view.get("exit_code")
    if signal is not None:
        from jobctl.signals import signal_name

        kind = "dumped" if view.get("core") else "killed"
        return f"code={kind}, signal={signal_name(signal).removeprefix('SIG')}"
    if code is None:
        return ""
    return f"code=exited, status={code}{EXIT_WORDS.get(code, '')}"


def _process(view: JobView, screen: Screen) -> str:
    words = exit_words(view)
    if not words:
        return ""
    clean = not view.get("step") and (view.get("exit_code") == 0 or view.get("signal") in CLEAN_SIGNALS)
    command = show_command(view.get("argv", []), view.get("shell", False))
    pid = f"{view['pid']} " if view.get("pid") else ""
    return f"{pid}ExecStart={command} {screen.paint('' if clean else terminal.RED, f'({words})')}"


def _main_pid(view: JobView) -> str:
    pid = view.get("pid")
    if not pid:
        return ""
    control = _control(view)
    return f"{pid} ({exit_words(view) or _name(pid, view)})" + (f"; Control PID: {control}" if control else "")


def _control(view: JobView) -> str:
    """The stop, reload or check command that runs."""
    pid = view.get("control_pid")
    if not pid:
        return ""
    argv = view.get("control_command", [])
    name = usage.name_of(pid) or (argv[0] if argv else b"").rpartition(b"/")[2]
    return f"{pid} ({show_bytes(name)})" if name else str(pid)  # it may have ended by now


def _name(pid: int, view: JobView) -> str:
    argv = view.get("argv", [])
    return show_bytes(usage.name_of(pid) or (argv[0] if argv else b"?").rpartition(b"/")[2])


def size(count: int | None) -> str:
    """A size as systemd shows one; nothing when it is not known."""
    if count is None:
        return ""
    from jobd.core.units import format_size

    return format_size(count)


def _io(view: JobView) -> str:
    read, written = view.get("io_read_bytes"), view.get("io_write_bytes")
    return "" if read is None or written is None else f"{size(read)} read, {size(written)} written"


def _in_force(view: JobView, key: str, value: int | None) -> int | None:
    """A limit, unless a warning says that it is none here."""
    return None if any(text.startswith(f"{key}:") for text in view.get("unenforced", [])) else value


def _tasks(view: JobView, used: usage.Usage) -> str:
    tasks = used.tasks if used.tasks is not None else view.get("tasks")
    limit = _in_force(view, "limits.tasks", view.get("tasks_max"))
    return "" if tasks is None else f"{tasks} (limit: {limit})" if limit is not None else str(tasks)


def _memory_now(view: JobView, used: usage.Usage) -> int | None:
    return used.memory if used.memory is not None else view.get("memory_bytes")


def _memory(view: JobView, used: usage.Usage) -> str:
    memory = _memory_now(view, used)
    if memory is None:
        return ""
    more = (("max", _in_force(view, "limits.memory", view.get("memory_max"))), ("peak", used.peak))
    inside = " ".join(f"{word}: {size(count)}" for word, count in more if count is not None)
    return f"{size(memory)} ({inside})" if inside else size(memory)


def _cpu(view: JobView, used: usage.Usage) -> str:
    limit = _in_force(view, "limits.cpu", view.get("cpu_percent"))
    return "" if used.cpu_usec is None else span(used.cpu_usec) + (f" (limit: {limit}%)" if limit is not None else "")


# --- processes ------------------------------------------------------------------------------------------------------
def _tree(view: JobView, screen: Screen) -> list[str]:
    """The control group and its processes, each below its parent."""
    processes = view.get("processes", [])
    cgroup = cgroup_path(view)
    if not processes and not cgroup:
        return []
    label = "CGroup" if cgroup else "Tree"
    head = escape(cgroup) or f"{len(processes)} process{'' if len(processes) == 1 else 'es'}"
    return [f"{label:>{LABEL_WIDTH}}: {head}", *(f"{INDENT}{line}" for line in branches(processes, screen))]


def cgroup_path(view: JobView) -> str:
    """The control group's path as systemd gives it: below the mount, where /sys/fs/cgroup/unified is a hybrid one."""
    return view.get("cgroup", "").removeprefix("/sys/fs/cgroup").removeprefix("/unified")


def branches(processes: list[Process], screen: Screen) -> list[str]:
    """The lines of a tree of processes, siblings by number; one whose parent is not among them is a root."""
    known = {process["pid"]: process for process in processes}
    children: dict[int, list[int]] = {}  # by parent; roots by 0
    rooted = _rooted(known)
    for pid in sorted(known):
        parent = known[pid].get("ppid", 0)
        children.setdefault(parent if parent in known and pid in rooted else 0, []).append(pid)
    lines: list[str] = []
    left = [("", children.pop(0, []), 0)]
    while left:
        prefix, siblings, width = left.pop()
        if not siblings:
            continue
        width = width or len(str(siblings[-1]))
        pid, rest = siblings[0], siblings[1:]
        # /proc/PID/cmdline: arguments with a NUL after each
        command = show_bytes(known[pid].get("command", b"").rstrip(b"\0").replace(b"\0", b" "))
        lines.append(f"{prefix}{'├─' if rest else '└─'}{screen.paint(terminal.GREY, f'{pid:>{width}} {command}')}")
        left.append((prefix, rest, width))
        left.append((f"{prefix}{'│ ' if rest else '  '}", children.pop(pid, []), 0))
    return lines


def _rooted(known: dict[int, Process]) -> set[int]:
    """Those from which the way up ends: numbers that were used anew while they were read can make a circle."""
    rooted: set[int] = set()
    for pid in known:
        path: dict[int, None] = {}
        while pid in known and pid not in rooted and pid not in path:
            path[pid] = None
            pid = known[pid].get("ppid", 0)
        if pid not in path:
            rooted.update(path)
    return rooted
