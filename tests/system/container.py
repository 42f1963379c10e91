"""A machine of our own for a test: a real systemd as PID 1 of private namespaces, over this machine's own files.

The root is an overlay of the host's, so that what a test installs or creates, accounts too, is gone with it. Nothing of
the host is mounted, written or renamed: all mounts are in a private namespace, /proc/sys is read-only, there is no
network, and units that would set up a machine are masked. Run as a program this file is the helper that makes the
namespaces, waits, and clears up when its stdin ends, however the test has ended.
"""

from __future__ import annotations

import ctypes
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SYSTEMD = "/lib/systemd/systemd"
BOOT_SEC = 60.0  # half a second on a quiet machine
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TARGET = """[Unit]
Description=What a test needs
Requires=dbus.socket systemd-journald.service
Wants=systemd-logind.service
After=systemd-logind.service
"""
# They set up hardware, the kernel, or a new machine.
MASKED = (
    "dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "proc-sys-fs-binfmt_misc.automount", "getty.target",
    "kmod-static-nodes.service", "systemd-binfmt.service", "systemd-firstboot.service", "systemd-hwdb-update.service",
    "systemd-journal-flush.service", "systemd-machine-id-commit.service", "systemd-modules-load.service",
    "systemd-network-generator.service", "systemd-random-seed.service", "systemd-remount-fs.service",
    "systemd-sysctl.service", "systemd-sysusers.service", "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-setup.service", "systemd-timesyncd.service", "systemd-udevd.service",
    "systemd-udev-trigger.service", "systemd-update-utmp.service", "ldconfig.service",
)  # fmt: skip

_CLONE = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x40000000  # mount cgroup uts ipc net
_CLONE_PID = 0x20000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH, _PDEATHSIG, _CAPBSET_DROP = 2, 1, 24
_DROPPED = (16, 17, 22, 25)  # CAP_SYS_MODULE, _RAWIO, _BOOT, _TIME
_BLOCKED = 3  # exit status of the helper where this machine does not allow it


class Unable(Exception):  # noqa: N818
    """There is no such thing on this machine; the text says why."""


class Container:
    """A running systemd.

    Attributes:
        pid: its PID 1, as the host sees it.
    """

    def __init__(self, stage: Path, bound: Path) -> None:
        """Boot. Raises Unable.

        Args:
            stage: a directory whose files are laid over the host's.
            bound: a directory of the host that is at the same place inside, read-only.
        """
        if why := missing():
            raise Unable(why)
        words = [sys.executable, "-I", __file__, str(stage), str(bound)]
        self._helper = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._helper.stdout is not None
        self.pid = 0
        try:
            self.pid = int(self._helper.stdout.readline() or 0)
            self._boot()
        except BaseException:
            self.close()
            raise

    def _boot(self) -> None:
        end = time.monotonic() + BOOT_SEC
        while self.run("systemctl", "is-system-running", check=False).stdout.strip() not in ("running", "degraded"):
            if self._helper.poll() is not None:
                assert self._helper.stderr is not None
                said = self._helper.stderr.read().decode().strip()
                raise (Unable if self._helper.returncode == _BLOCKED else AssertionError)(said)
            if time.monotonic() > end:
                raise Unable(f"systemd does not come up within {BOOT_SEC:.0f} s")
            time.sleep(0.01)

    def command(self, *words: str, user: str = "", env: dict[str, str] | None = None) -> list[str]:
        """What runs a command inside, as root or as somebody else with the groups he has there."""
        inside = ["nsenter", f"--target={self.pid}", "-m", "-u", "-i", "-n", "-p", "-C"]
        values = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "SYSTEMD_PAGER": "", **(env or {})}
        switch = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return [
            *inside,
            "env",
            "--chdir=/",
            "-i",
            *(f"{name}={value}" for name, value in values.items()),
            *switch,
            *words,
        ]

    def run(
        self,
        *words: str,
        user: str = "",
        env: dict[str, str] | None = None,
        check: bool = True,
        timeout: float = BOOT_SEC,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, to its end."""
        done = subprocess.run(
            self.command(*words, user=user, env=env),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{shlex.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def path(self, path: str) -> Path:
        """A file inside, for reading and writing from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def close(self) -> None:
        """End everything in it."""
        assert self._helper.stdin is not None
        self._helper.stdin.close()
        try:
            self._helper.wait(BOOT_SEC)
        finally:
            for pipe in (self._helper.stdout, self._helper.stderr):
                if pipe is not None:
                    pipe.close()
        assert not os.path.exists(_cgroup(self._helper.pid)), "its control group is left"


def missing() -> str:
    """What this machine lacks; "" if nothing is known to be missing."""
    if os.geteuid() != 0:
        return "only root can make namespaces for a systemd"
    if not os.path.exists(SYSTEMD):
        return "no systemd is installed"
    absent = [name for name in ("nsenter", "setpriv", "dbus-daemon", "systemctl") if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if own_cgroup() else "no cgroup v2 hierarchy is mounted"


# --- the helper -----------------------------------------------------------------------------------------------------
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(kind: str | None, place: str, flags: int = 0, data: str = "", source: str = "none") -> None:
    """mount(2) in our own namespace."""
    words = [None if word is None else os.fsencode(word) for word in (source, place, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), os.fsencode(data))


def own_cgroup() -> str:
    """Where in the v2 hierarchy we are; "" where there is none."""
    with open("/proc/self/mountinfo") as file:
        points = [fields[4] for fields in map(str.split, file) if fields[fields.index("-") + 1] == "cgroup2"]
    with open("/proc/self/cgroup") as file:
        own = next((line[3:].strip() for line in file if line.startswith("0::")), "")
    return (points[0] + own).rstrip("/") if points and own and ".." not in own else ""


def _cgroup(helper: int) -> str:
    return f"{own_cgroup()}/jobd-container-{helper}"


def _prepare(root: str, stage: str, bound: str) -> None:
    """Mount everything below `root`, which is an empty directory in a file system of ours."""
    for name in ("upper", "work", "root"):
        os.mkdir(f"{root}/{name}")
    # Copied, as a layer may not be within another one.
    subprocess.run(["cp", "-a", stage + "/.", root + "/upper/"], check=True)
    os.chmod(root + "/upper", 0o755)
    data = f"lowerdir=/,upperdir={root}/upper,workdir={root}/work"
    root += "/root"
    mount("overlay", root, data=data)
    mount("proc", root + "/proc", _NOSUID | _NODEV | _NOEXEC)
    mount(None, root + "/proc/sys", _BIND, source=root + "/proc/sys")
    mount(None, root + "/proc/sys", _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV | _NOEXEC)
    mount("sysfs", root + "/sys", _NOSUID | _NODEV | _NOEXEC | _RDONLY)
    mount("cgroup2", root + "/sys/fs/cgroup", _NOSUID | _NODEV | _NOEXEC)
    for place, mode in (("/run", "755"), ("/tmp", "1777"), ("/dev", "755"), ("/etc/systemd/system", "755")):
        mount("tmpfs", root + place, _NOSUID, f"mode={mode},size=256m")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        Path(f"{root}/dev/{name}").touch()
        mount(None, f"{root}/dev/{name}", _BIND, source=f"/dev/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"{root}/dev/{name}")
    mount("devpts", root + "/dev/pts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    mount("tmpfs", root + "/dev/shm", _NOSUID | _NODEV, "mode=1777,size=64m")
    os.symlink("pts/ptmx", root + "/dev/ptmx")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{root}/dev/{name}")
    os.makedirs(root + bound, exist_ok=True)
    mount(None, root + bound, _BIND, source=bound)
    mount(None, root + bound, _BIND | _REMOUNT | _RDONLY)
    Path(root + "/etc/fstab").write_text("")
    Path(root + "/etc/machine-id").write_text(os.urandom(16).hex() + "\n")
    units = Path(root + "/etc/systemd/system")
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    (units / "test.target").write_text(TARGET)


def _init(cgroup: str, stage: str, bound: str) -> None:
    """PID 1 of the new namespaces: become systemd."""
    _call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    Path(cgroup + "/cgroup.procs").write_text("0")
    _call("unshare", _CLONE)  # the root of the new cgroup namespace is where we are
    mount(None, "/", _REC | _PRIVATE)
    mount("tmpfs", "/mnt", data="mode=755,size=1g")
    _prepare("/mnt", stage, bound)
    os.chdir("/mnt/root")
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/")
    for capability in _DROPPED:
        _call("prctl", _CAPBSET_DROP, capability, 0, 0, 0)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(2):  # stderr goes last, with the exec
        os.dup2(null, fd)
    os.set_inheritable(2, False)
    words = [SYSTEMD, "--unit=test.target", "--show-status=no"]
    os.execve(SYSTEMD, words, {"container": "jobd-test", "PATH": PATH})


def _serve(stage: str, bound: str) -> int:
    """Make the namespaces, wait until nobody needs them any more, and clear up."""
    cgroup = _cgroup(os.getpid())
    pid = 0
    try:
        os.mkdir(cgroup)
        _call("unshare", _CLONE_PID)  # of our children; the other namespaces are theirs alone
        pid = os.fork()
        if pid == 0:
            try:
                _init(cgroup, stage, bound)
            except OSError as e:
                os.write(2, f"no container on this machine: {e}\n".encode())
                os._exit(_BLOCKED)
            finally:
                os._exit(1)
        print(pid, flush=True)
        watched = select.poll()
        watched.register(0, select.POLLIN)
        watched.register(os.pidfd_open(pid), select.POLLIN)
        watched.poll()
    except OSError as e:
        sys.stderr.write(f"no container on this machine: {e}\n")
        return _BLOCKED
    finally:
        status = _end(pid) if pid else 0
        _remove(cgroup)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 0


def _end(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]  # PID 1 is reaped when all others of its namespace are


def _remove(cgroup: str) -> None:
    for _ in range(500 if os.path.isdir(cgroup) else 0):
        try:
            for directory, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(directory)
        except OSError:
            time.sleep(0.01)
        else:
            return


if __name__ == "__main__":
    sys.exit(_serve(*sys.argv[1:]))
