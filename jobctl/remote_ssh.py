"""ssh as a child: how it is started, what it says, and what its end means in words.

The rules: nothing that the user typed but the host's name is on its command line; it never has our terminal for its
stdin (it asks for passwords on /dev/tty), and Ctrl-C is ours. Of what it says on stderr the newest line is kept back
for a moment: if it then ends, that is the reason, and is said once.
"""

from __future__ import annotations

import os

from jobctl import terminal
from jobctl.channels import MAGIC
from jobctl.exits import NoDaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from jobctl.hosts import Host

USUAL_BRIDGE = "jobd-stdio-bridge"
LIVENESS = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")  # a network that went silent is an end
AGAIN = ("-o", "ConnectTimeout=10")  # of a second attempt, for which nobody has asked
BATCH = ("-o", "BatchMode=yes")
SSH_FAILED, NOT_FOUND, NOT_EXECUTABLE = 255, 127, 126
UNAVAILABLE = 69  # of the bridge
NOISE_BYTES = 64 << 10  # of login scripts, before the bridge's first line
LINE_BYTES = 4096  # of stderr that is kept while its end has not come
HOLD_SEC = 0.2


def command(host: Host, batch: bool, again: bool) -> list[str]:
    """The command line."""
    line = [*(os.environ.get("JOBCTL_SSH", "").split() or ["ssh"]), "-T", *LIVENESS]
    line += AGAIN if again else ()
    line += BATCH if batch or again else ()
    line += ("-p", host.port) if host.port else ()
    return [*line, "--", host.destination, os.environ.get("JOBCTL_BRIDGE", "") or USUAL_BRIDGE]


def has_terminal() -> bool:
    """Whether ssh can ask somebody: on our terminal, or as SSH_ASKPASS_REQUIRE says."""
    if os.environ.get("SSH_ASKPASS_REQUIRE") in ("force", "prefer"):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def start(line: list[str], stdio: socket, stderr: int) -> int:
    """Start it; its pid. Raises NoDaemonError."""
    import _signal  # type: ignore[import-not-found]  # the C module; `signal` builds enums

    ignored = (_signal.SIGINT, _signal.SIGQUIT)  # with -P and -t they are for the job
    actions = [
        (os.POSIX_SPAWN_DUP2, stdio.fileno(), 0),
        (os.POSIX_SPAWN_DUP2, stdio.fileno(), 1),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ignored)  # what comes meanwhile is not lost
    before = [_signal.signal(number, _signal.SIG_IGN) for number in ignored]
    try:
        return os.posix_spawnp(line[0], line, os.environ, file_actions=actions, setsigmask=mask)
    except OSError as e:
        hint = "" if "JOBCTL_SSH" in os.environ else "; JOBCTL_SSH can name another program"
        raise NoDaemonError(f"cannot run {line[0]}: {e.strerror}{hint}") from e
    finally:
        for number, handler in zip(ignored, before, strict=True):
            _signal.signal(number, handler)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


class Voice:
    """What it says on stderr: each line goes on to ours, the newest a moment later."""

    def __init__(self) -> None:
        self._partial = b""
        self.last = ""  # not shown yet

    def take(self, data: bytes) -> None:
        """Some more of it."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self.show()
            self.last = line.decode("utf-8", "surrogateescape").rstrip("\r")

    def end(self) -> str:
        """Its last words: not shown, as they are said in another way."""
        self.take(b"\n" if self._partial else b"")
        last, self.last = self.last, ""
        return last

    def show(self) -> None:
        """Show what was kept back."""
        if self.last:
            terminal.note(self.last)
        self.last = ""


def magic_line(data: bytes) -> tuple[bytes, bytes] | None:
    """The version that the bridge's first line gives, and what is behind that line; None while it has not come."""
    at = data.find(MAGIC)
    end = data.find(b"\n", at)
    return None if at < 0 or end < 0 else (data[at + len(MAGIC) : end], data[end + 1 :])


def why_failed(host: str, status: int | None, said: str, noise: bytes) -> str:
    """What it means that the bridge's first line never came.

    Args:
        host: as it was typed.
        status: ssh's exit status, negative for a signal; None if it goes on.
        said: its last line on stderr.
        noise: what came on stdout.
    """
    heard = noise.decode("utf-8", "replace").strip()
    first = heard.splitlines()[0][:200] if heard else ""
    if status is None:
        return f"cannot use {host}: its login scripts write more than {NOISE_BYTES >> 10} KiB; it begins with {first!r}"
    if status == SSH_FAILED:
        return _why_ssh_failed(host, said)
    if status == NOT_FOUND:
        return (
            f"cannot find {USUAL_BRIDGE} on {host}: jobd is not installed there, or not in the PATH of ssh's commands; "
            f"JOBCTL_BRIDGE can name it, such as .local/bin/{USUAL_BRIDGE}"
        )
    if status == UNAVAILABLE:
        return f"cannot reach jobd on {host}: {said.removeprefix(USUAL_BRIDGE + ': ') or 'it does not run'}"
    if first.startswith("JOBD"):
        return f"cannot speak with {host}: its jobd is too different, it begins with {first!r}"
    ended = f"exit status {status}" if status >= 0 else f"signal {-status}"
    text = said or first
    return f"cannot use {host}: the login shell there did not run {USUAL_BRIDGE} ({ended}){text and ': '}{text}"


def _why_ssh_failed(host: str, said: str) -> str:
    said = said.removeprefix("ssh: ")
    if "Host key verification failed" in said:
        return f"cannot trust {host}: its host key is unknown or has changed; to look at it: ssh {host}"
    if "Permission denied" in said or "Too many authentication failures" in said:
        return f"cannot log in to {host}: {said}"
    return f"cannot reach {host}: {said or 'ssh failed, and said nothing'}"
