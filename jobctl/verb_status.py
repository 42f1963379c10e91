"""status: one job in full, line for line as systemctl shows a unit, and the end of its log."""

from __future__ import annotations

import time

from jobctl import names, terminal
from jobctl.escape import escape, show_bytes, show_command
from jobctl.exits import Fault, UsageError
from jobctl.times import since

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import FullLines, OptionalJobs, StatusLines, StatusOutput
    from jobctl.shapes import JobView, Process

NOT_ACTIVE, NO_SUCH_JOB = 3, 4  # as systemctl
LABEL_WIDTH = 11
DEFAULT_LINES = "10"  # systemctl -n
# systemd.exec(5): the status shown for a step that failed before the program ran.
STEP_STATUS = {"chdir": "200/CHDIR", "nice": "201/NICE", "fds": "202/FDS", "exec": "203/EXEC", "limits": "205/LIMITS"}
EXIT_WORDS = {0: "/SUCCESS", 1: "/FAILURE", 255: "/EXCEPTION"}  # systemctl has no word for the others
SECOND = 1_000_000
GLYPHS = {"failed": terminal.FAILED_GLYPH, "inactive": "○", "maintenance": "○", "reloading": "↻"}  # the rest: ●


def status(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    lines: StatusLines = DEFAULT_LINES,
    full: FullLines = False,
    output: StatusOutput = None,
) -> int:
    """Show the state of jobs, their processes and the last lines of their output.

    A number is taken as the id of a process of the job. Without a job: the state of jobd. Exits with 0 if all are
    active, 3 if one is not, 4 if one does not exist.
    """
    count = names.check_count(lines, "-n")
    if count is None:
        raise UsageError("cannot show all lines in status: use logs")
    if not jobs:
        from jobctl.verb_daemon import daemon_status

        return daemon_status(client, output=output)
    if output is not None:
        from jobctl.logs_lines import FORMATS
        from jobctl.rows import is_json, job_row, print_json

        if is_json(output, *FORMATS):
            views = _views(client, jobs)
            print_json([job_row(view) for view in views], output)
            return max((_status_of(view) for view in views), default=0)
    return _show_all(client, _views(client, jobs), count, full, output or "")


def _views(client: Client, jobs: tuple[str, ...]) -> list[JobView]:
    if not any(job.isdecimal() for job in jobs):
        return client.call({"type": "get", "names": list(jobs), "tree": True})["jobs"]
    views: list[JobView] = []
    for job in jobs:
        found = client.call({"type": "get", "names": [job], "tree": True})["jobs"]
        if job.isdecimal() and found and found[0].get("load", "loaded") == "not-found":
            found = [_owner_of(client, int(job))]
        views += found
    return views


def _owner_of(client: Client, pid: int) -> JobView:
    """The job to which a process belongs."""
    for view in client.call({"type": "get", "names": ["*"], "tree": True})["jobs"]:
        if pid == view.get("pid") or any(process["pid"] == pid for process in view.get("processes", [])):
            return view
    raise Fault("not-found", f"cannot find the job of process {pid}: it belongs to none")


def _status_of(view: JobView) -> int:
    if view.get("load", "loaded") == "not-found":
        return NO_SUCH_JOB
    return 0 if view.get("active", "inactive") in names.ACTIVE_STATES else NOT_ACTIVE


def _show_all(client: Client, views: list[JobView], lines: int, full: bool, output: str) -> int:
    first_bad = 0
    shown = False
    for view in views:
        first_bad = first_bad or _status_of(view)
        if view.get("load", "loaded") == "not-found":
            meant = names.meant(client, view["job"])
            terminal.note(f"Job {view['job']} could not be found." + (f" Did you mean {meant}?" if meant else ""))
            continue
        if shown:
            terminal.say("\n")
        shown = True
        terminal.say(text(client, view, time.time_ns(), full))
        run = view.get("run")
        if lines and run is not None:
            from jobctl.logs_tail import tail

            tail(client, run, lines, output, full)
    return first_bad


def text(client: Client, view: JobView, now: int, full: bool) -> str:
    """The lines about one job, without its log."""
    width = 0 if full else terminal.columns()
    colour = terminal.use_colour()
    lines = [_header(client, view, colour)]
    fields = [
        ("Loaded", _loaded(view)),
        ("Transient", "yes" if view.get("transient", True) else ""),
        ("Active", _active(view, now, colour)),
        ("Duration", _duration(view)),
        ("Invocation", _invocation(view)),
        ("Process", _process(view)),
        ("Main PID", _main_pid(view)),
        ("Status", f'"{escape(view["note"])}"' if view.get("note") else ""),
        ("Tasks", str(len(view["processes"])) if view.get("processes") else ""),
        ("Mem peak", size(view.get("max_rss_bytes"))),
        ("CPU", _cpu(view)),
    ]
    lines += [f"{label:>{LABEL_WIDTH}}: {value}" for label, value in fields if value]
    lines += _tree(view)
    return "".join(f"{terminal.cut(line, width)}\n" for line in lines)


def _header(client: Client, view: JobView, colour: bool) -> str:
    active = view.get("active", "inactive")
    glyph = GLYPHS.get(active, terminal.GLYPH)
    if colour:
        paint = {"active": terminal.GREEN, "reloading": terminal.GREEN, "failed": terminal.RED}.get(active, "")
        glyph = f"{paint}{glyph}{terminal.PLAIN}" if paint else glyph
    name = names.view_name(view, client)
    description = view.get("description") or show_command(view.get("argv", []), view.get("shell", False))
    return f"{glyph} {name} - {escape(description)}" if description and description != name else f"{glyph} {name}"


def _loaded(view: JobView) -> str:
    load = view.get("load", "loaded")
    return f"{load} (transient)" if load == "loaded" and view.get("transient", True) else load


def _active(view: JobView, now: int, colour: bool) -> str:
    active, sub, result = view.get("active", "inactive"), view.get("sub", "dead"), view.get("result", "success")
    words = active if sub == active else f"{active} ({sub})"
    if result != "success" and active in ("failed", "inactive"):
        words = f"{active} (Result: {result})"
    if colour:
        paint = {"active": terminal.GREEN, "reloading": terminal.GREEN, "failed": terminal.RED}.get(active, "")
        words = f"{paint}{words}{terminal.PLAIN}" if paint else words
    changed = view.get("changed_at")
    return words if not changed else f"{words} since {since(changed, now)}"


def _duration(view: JobView) -> str:
    started, ended = view.get("started_at"), view.get("exited_at")
    if started is None or ended is None or view.get("active", "inactive") not in ("inactive", "failed"):
        return ""
    return span((ended - started) // 1000)


def span(usec: int) -> str:
    """A span of time as systemd shows one: to the millisecond, `1.234s` below a minute."""
    if usec < SECOND:
        return f"{usec // 1000}ms" if usec >= 1000 else f"{usec}us"
    if usec < 60 * SECOND:
        return f"{usec // 1000 / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    from jobd.core.units import format_duration

    return format_duration(usec, SECOND)


def size(count: int | None) -> str:
    """A size as systemd shows one; nothing when it is not known."""
    if count is None:
        return ""
    from jobd.core.units import format_size

    return format_size(count)


def _invocation(view: JobView) -> str:
    run = view.get("run")
    return "" if run is None else f"{names.full_id(run)} (run {view.get('number', 0)})"


def exit_words(view: JobView) -> str:
    """`code=exited, status=1/FAILURE`, `code=killed, signal=TERM`; empty while it runs."""
    step = view.get("step", "")
    if step:
        return f"code=exited, status={STEP_STATUS.get(step, f'1/{step.upper()}')}"
    signal, code = view.get("signal"), view.get("exit_code")
    if signal is not None:
        from jobctl.signals import signal_name

        kind = "dumped" if view.get("core") else "killed"
        return f"code={kind}, signal={signal_name(signal).removeprefix('SIG')}"
    if code is None:
        return ""
    return f"code=exited, status={code}{EXIT_WORDS.get(code, '')}"


def _process(view: JobView) -> str:
    words = exit_words(view)
    pid = view.get("pid")
    if not words or not pid or words.endswith("SUCCESS"):
        return ""
    command = show_command(view.get("argv", []), view.get("shell", False))
    return f"{pid} ExecStart={command} ({words})"


def _main_pid(view: JobView) -> str:
    pid = view.get("pid")
    if not pid:
        return ""
    return f"{pid} ({exit_words(view) or _comm(pid, view)})"


def _comm(pid: int, view: JobView) -> str:
    """The name of a process, as ps shows it."""
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return show_bytes(file.read(64).rstrip(b"\n"))
    except OSError:
        return show_bytes(view.get("argv", [b"?"])[0].rpartition(b"/")[2])


def _cpu(view: JobView) -> str:
    user, system = view.get("cpu_user_usec"), view.get("cpu_system_usec")
    return "" if user is None or system is None else span(user + system)


def _tree(view: JobView) -> list[str]:
    """The processes, as systemctl draws a control group."""
    processes = view.get("processes", [])
    cgroup = cgroup_path(view)
    if not processes and not cgroup:
        return []
    label = "CGroup" if cgroup else "Tree"
    lines = [f"{label:>{LABEL_WIDTH}}: {escape(cgroup)}".rstrip()]
    if not cgroup:
        lines = [f"{label:>{LABEL_WIDTH}}: {len(processes)} process{'' if len(processes) == 1 else 'es'}"]
    indent = " " * (LABEL_WIDTH + 2)
    return lines + [f"{indent}{branch}" for branch in _branches(processes)]


def cgroup_path(view: JobView) -> str:
    """The control group's path as systemd gives it: below the mount, where /sys/fs/cgroup/unified is a hybrid one."""
    return view.get("cgroup", "").removeprefix("/sys/fs/cgroup").removeprefix("/unified")


def _branches(processes: list[Process]) -> list[str]:
    width = max((len(str(process["pid"])) for process in processes), default=0)
    lines = []
    for at, process in enumerate(processes):
        edge = "└─" if at == len(processes) - 1 else "├─"
        # /proc/PID/cmdline: arguments with a NUL after each
        command = show_bytes(process.get("command", b"").rstrip(b"\0").replace(b"\0", b" "))
        lines.append(f"{edge}{process['pid']:>{width}} {command}")
    return lines
