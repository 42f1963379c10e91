"""daemon-status, is-system-running, daemon-reexec, shutdown: the daemon itself."""

from __future__ import annotations

import os
import select
import time

from jobctl import terminal
from jobctl.escape import escape
from jobctl.exits import INTERRUPTED, ConnectionLostError, NoDaemonError, ShutDownError
from jobctl.names import owner_name
from jobctl.times import since
from jobd.core import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import JsonOutput, Keeper, NoBlock, QuietAnswer
    from jobctl.shapes import Body

NOT_RUNNING = 3  # systemctl status
RUNNING, OFFLINE = "running", "offline"  # systemctl is-system-running
NOT_GOOD = 1
LABEL_WIDTH = 11  # systemctl's; the same in status


def daemon_status(client: Client, *, output: JsonOutput = None) -> int:
    """Show the state of jobd: its processes, its places, what it tracks jobs with."""
    as_json = False
    if output is not None:
        from jobctl.rows import is_json

        as_json = is_json(output)
    client.start = False
    try:
        body = client.call({"type": "daemon-status"})
    except NoDaemonError as e:
        terminal.warn(str(e))
        return NOT_RUNNING
    if as_json:
        from jobctl.rows import daemon_row, print_json

        assert output is not None
        print_json(daemon_row(body), output)
    else:
        terminal.say(_text(body))
    return 0


def _text(body: Body) -> str:
    good = body["state"] == RUNNING
    glyph = terminal.GLYPH if good else terminal.FAILED_GLYPH
    if terminal.use_colour():
        glyph = f"{terminal.GREEN if good else terminal.RED}{glyph}{terminal.PLAIN}"
    keeper = "none: it has died" if body["keeper_pid"] is None else f"{body['keeper_pid']} ({body['keeper_version']})"
    fields = [
        ("State", "; ".join((body["state"], *body.get("reasons", [])))),
        ("Since", since(body["started_at"], time.time_ns())),
        ("Main PID", f"{body['pid']} (incarnation {body.get('incarnation', 0)})"),
        ("User", _user(body)),
        ("Keeper PID", keeper),
        ("Jobs", f"{body['running']} running, {body['queued']} queued"),
        ("Clients", str(body["connections"])),
        ("Mode", body["mode"]),
        ("Socket", body["socket"]),
        ("State dir", body["state_dir"]),
        ("Tracking", body["tracking"]),
        ("Kernel", body["kernel"]),
        ("Python", body.get("python", "")),
    ]
    lines = [f"{label:>{LABEL_WIDTH}}: {escape(value)}\n" for label, value in fields if value]
    return f"{glyph} jobd {escape(body['version'])}\n{''.join(lines)}"


def _user(body: Body) -> str:
    """As whom the daemon runs. For a whole machine that should not be root, who is the keeper."""
    uid = body.get("uid")
    if uid is None:
        return ""
    name = owner_name(uid)
    shown = name if name == str(uid) else f"{name} ({uid})"
    return shown if uid or body["mode"] == "user" else f"{shown}, and no user of its own"


def is_system_running(client: Client, *, quiet: QuietAnswer = False) -> int:
    """Say in one word how jobd is: running, degraded, stopping or offline.

    Why it is degraded, daemon-status says.
    """
    client.start = False
    try:
        state = client.call({"type": "daemon-status"})["state"]
    except NoDaemonError:
        state = OFFLINE
    if not quiet:
        terminal.say(f"{escape(state)}\n")
    return 0 if state == RUNNING else NOT_GOOD


def daemon_reexec(client: Client, *, keeper: Keeper = False) -> int:
    """Replace the daemon by the code now on disk. Jobs run on; clients notice nothing.

    Returns when the new one answers.
    """
    client.start = False
    before = client.call({"type": "daemon-status"})
    progress = terminal.Progress(client, "waiting for the next jobd")
    try:
        _reexec(client, before["pid"], keeper)
    finally:
        progress.end()
    return 0


def _reexec(client: Client, pid: int | None, keeper: bool) -> None:
    try:
        client.call({"type": "daemon-reexec", "keeper": keeper}, repeat=False)
    except ConnectionLostError:
        client.reconnect()  # replaced before its answer left: seen below
    while not keeper and client.call({"type": "daemon-status"})["pid"] == pid:
        _await_end(client)
        client.reconnect()


def _await_end(client: Client) -> None:
    """Until the daemon ends this connection; it may say why."""
    try:
        while True:
            client.receive()
    except (ConnectionLostError, ShutDownError):
        return


def shutdown(client: Client, *, no_block: NoBlock = False) -> int:
    """Stop all jobs in order, keep what is queued, and end jobd.

    Returns when it has ended.
    """
    client.start = False
    progress = terminal.Progress(client, "stopping all jobs, and jobd")
    try:
        keeper = -1 if no_block else _keeper_of_systemd(client)
        if _ask_shutdown(client) and not no_block:
            _await_gone(client, keeper)
    except KeyboardInterrupt:
        progress.end()
        terminal.warn("interrupted; the shutdown goes on")
        return INTERRUPTED
    finally:
        progress.end()
    return 0


def _ask_shutdown(client: Client) -> bool:
    """Ask until it is accepted; False when jobd has gone before it could say so."""
    while True:
        try:
            client.call({"type": "shutdown"}, repeat=False)
        except ConnectionLostError:
            try:
                client.connect_again()
            except NoDaemonError:
                return False
        except ShutDownError:  # somebody else was quicker
            return True
        else:
            return True


def _keeper_of_systemd(client: Client) -> int:
    """A pidfd of this machine's keeper, where systemd may start the next one for who connects; else -1."""
    if client.target.host or client.connect() != paths.system_paths().socket:
        return -1
    pid = client.call({"type": "daemon-status"})["keeper_pid"]
    try:
        return -1 if pid is None else os.pidfd_open(pid)
    except OSError:  # it is gone, or its number means nothing here
        return -1


def _await_gone(client: Client, keeper: int = -1) -> None:
    """Until nobody listens on the socket: a connection waits in the backlog for as long as the keeper holds it."""
    if keeper >= 0:
        poll = select.poll()
        poll.register(keeper, select.POLLIN)
        poll.poll()
        os.close(keeper)
        return
    while True:
        _await_end(client)
        try:
            client.connect_again()
        except NoDaemonError:
            return
