"""A real sshd on loopback, with an account, keys and a jobd of its own; nothing of this machine's is changed.

As root it runs where /etc/passwd and /run are others (in a mount namespace of its own), so that there can be an account
that no machine has. As anybody else it is that user's own sshd, which lets only himself in.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system import people
from tests.system.program import DEADLINE_SEC, Program, is_alive, marked_processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UID = 61007  # of nobody on any machine
USER = "jobdtest"
HOSTS = ("one", "two", "three")  # names of the same sshd
TRIES = 5  # to get a port that nobody takes before sshd does
PLACES = ("/usr/sbin/sshd", "/usr/local/sbin/sshd")

CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {root}/host_key
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {root}/authorized_keys
TrustedUserCAKeys {root}/ca.pub
AuthorizedPrincipalsFile {root}/principals
SetEnv PATH={root}/bin:/usr/local/bin:/usr/bin:/bin JOBD_TEST_MARK={mark} JOBD_SOCKET={socket}
"""
CLIENT = """
Host {hosts}
  HostName 127.0.0.1
  Port {port}
  HostKeyAlias far
Host *
  User {user}
  IdentityFile {root}/key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {root}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  ConnectTimeout 30
"""
# What is bound over what, in the namespace; the accounts are this machine's and one more.
NAMESPACE = """
for name in passwd shadow group; do mount --bind "$0/$name" "/etc/$name" || exit 99; done
mount -t tmpfs none /run && mkdir /run/sshd || exit 99
exec "$@"
"""


@functools.cache
def missing() -> str:
    """Why there can be no sshd here; "" if there can."""
    if not sshd_path():
        return "sshd is not installed: apt install openssh-server, or make tools"
    if not shutil.which("ssh"):
        return "ssh is not installed"
    if os.geteuid() == 0:
        if why := people.why_not():
            return why
        able = subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/run"], capture_output=True, check=False
        )
        if able.returncode:
            return f"cannot mount anything: {able.stderr.decode().strip()}"
    return ""


def sshd_path() -> str:
    """sshd wants to be started by its whole path."""
    return shutil.which("sshd") or next((path for path in PLACES if os.access(path, os.X_OK)), "")


class Sshd:
    """The sshd, the jobd beside it, and jobctl with what it needs to get there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.is_root = os.geteuid() == 0
        self.home = root / "home"
        self.home.mkdir()
        root.chmod(0o755)
        (root / "jobd").mkdir()
        place = root / "jobd"
        self.jobd = people.People(place, options=("--daemon-user", people.DAEMON)) if self.is_root else Program(place)
        self._make_bridge()
        self._make_keys()
        if self.is_root:
            self._make_account()
        self.user = USER if self.is_root else os.environ.get("USER", "") or Path.home().name
        self.process: subprocess.Popen[bytes] | None = None
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "JOBCTL_"))}
        self.env.update({"JOBD_TEST_MARK": self.jobd.mark, "JOBCTL_SSH": f"ssh -F {root}/ssh_config"})

    # --- what has to be there ---------------------------------------------------------------------------------------
    def _make_bridge(self) -> None:
        python = self.jobd.python if isinstance(self.jobd, people.People) else sys.executable
        (self.root / "bin").mkdir()
        for name, module in (("jobd-stdio-bridge", "jobctl.bridge"), ("jobctl", "jobctl.__main__")):
            script = self.root / "bin" / name
            script.write_text(f"#!{python} -I\nfrom {module} import main\nmain()\n")
            script.chmod(0o755)

    def keygen(self, *args: str) -> None:
        subprocess.run(["ssh-keygen", "-q", *args], cwd=self.root, stdin=subprocess.DEVNULL, check=True)

    def _make_keys(self) -> None:
        for name in ("host_key", "key", "tied", "certified", "ca"):
            self.keygen("-t", "ed25519", "-N", "", "-f", name)
        host = (self.root / "host_key.pub").read_text()
        (self.root / "known_hosts").write_text(f"far {host}")
        tied = (self.root / "tied.pub").read_text()
        bridge = self.root / "bin/jobd-stdio-bridge"
        (self.root / "authorized_keys").write_text(
            f'{(self.root / "key.pub").read_text()}restrict,command="{bridge} --socket {self.jobd.socket}" {tied}'
        )
        (self.root / "principals").write_text("deployers\n")

    def _make_account(self) -> None:
        shutil.chown(self.home, UID, UID)
        line = f"{USER}:x:{UID}:{UID}::{self.home}:/bin/bash\n"
        privsep = (
            "" if "sshd:" in Path("/etc/passwd").read_text() else "sshd:x:61009:61009::/run/sshd:/usr/sbin/nologin\n"
        )
        for name, more in (("passwd", line + privsep), ("shadow", f"{USER}:*:19000::::::\n"), ("group", "")):
            text = Path(f"/etc/{name}").read_text() if Path(f"/etc/{name}").exists() else ""
            (self.root / name).write_text(text + more)
            if name == "shadow":
                (self.root / name).chmod(0o600)

    # --- running ----------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start jobd and sshd."""
        self.jobd.start()
        for _ in range(TRIES):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            if self._start_sshd():
                break
        else:
            raise AssertionError((self.root / "sshd.log").read_text())
        text = CLIENT.format(hosts=" ".join(HOSTS), port=self.port, user=self.user, root=self.root)
        (self.root / "ssh_config").write_text(text)

    def _start_sshd(self) -> bool:
        places = {"port": self.port, "root": self.root, "mark": self.jobd.mark, "socket": self.jobd.socket}
        (self.root / "sshd_config").write_text(CONFIG.format(**places))
        command = [sshd_path(), "-D", "-e", "-f", str(self.root / "sshd_config")]
        if self.is_root:
            command = [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                NAMESPACE,
                str(self.root),
                *command,
            ]
        with (self.root / "sshd.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, start_new_session=True
            )
        self.process = process
        until(lambda: self._listens() or process.poll() is not None, "sshd listens")
        return process.poll() is None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def command(self, *args: str | bytes, host: str = "one") -> list[str | bytes]:
        """jobctl for this host."""
        return self.jobd.jobctl_command("-H", host, *args)

    def jobctl(
        self, *args: str | bytes, host: str = "one", data: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run jobctl to its end, in a session of its own: there is no terminal to ask anything on."""
        return subprocess.run(
            self.command(*args, host=host), env={**self.env, **(env or {})}, input=data, capture_output=True,
            timeout=DEADLINE_SEC, check=False, start_new_session=True,
        )  # fmt: skip

    def ssh(self, *args: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """ssh, as anybody would use it."""
        return subprocess.run(
            ["ssh", "-F", str(self.root / "ssh_config"), "-o", "BatchMode=yes", *args],
            env=self.env, input=data, capture_output=True, timeout=DEADLINE_SEC, check=False,
        )  # fmt: skip

    def logins(self) -> set[int]:
        """The pids of the sshds that serve somebody, each as its user."""
        assert self.process is not None
        found: set[int] = set()
        for pid in children(self.process.pid):
            ends = [child for child in children(pid) if Path(f"/proc/{child}/comm").read_text() == "sshd\n"]
            found.update(ends or [pid])  # of root's, a child relays, and pid itself keeps the privileges
        return found

    def bridges(self) -> list[int]:
        """The pids of the far ends that run."""
        return [pid for pid, line in marked_processes(self.jobd.mark).items() if "bin/jobd-stdio-bridge" in line]

    def close(self) -> None:
        """End everything; nothing may be left."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)
            self.process.wait(DEADLINE_SEC)
        self.jobd.close()


def ssh_of(jobctl: int) -> int:
    """The ssh that this jobctl has started."""
    found = children(jobctl)
    assert len(found) == 1, found
    return found[0]


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split() if is_alive(int(word))]


@contextlib.contextmanager
def running_sshd() -> Iterator[Sshd]:
    root = Path(tempfile.mkdtemp(prefix="jobd-sshd-"))
    try:
        sshd = Sshd(root)
        try:
            sshd.start()
            yield sshd
        finally:
            sshd.close()
    finally:
        shutil.rmtree(root)
