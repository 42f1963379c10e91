"""On which file systems a state directory may be, by the text of /proc/self/mountinfo.

The daemon's promises rest on three things: a lock that is there until its holders have died, a database whose
write-ahead log is mapped into memory, and files that stay within reach for as long as it lives. File systems whose
server may be another machine break one or the other:

- NFS: locks live in a lease, which ends when the server was away for long; then two daemons can run on one state.
  With Kerberos the files are out of reach when the ticket of the one who started the daemon ends.
- AFS and Coda: the same with their tokens, and no locks of parts of a file.
- SMB, 9p, WebDAV, sshfs and their like: shared maps of files, Unix sockets and locks are absent or made up.
- What virtual machines share with their host (vboxsf, vmhgfs): no shared maps of files.

What is merely slow is allowed: cluster file systems with real locks and maps (GPFS, Lustre, CephFS, GFS2, OCFS2,
BeeGFS); a Lustre that is mounted without locks fails at the first one, with a clear error. So are layers over local
disks, such as overlays, encrypted homes, and FUSE in general.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MOUNTINFO = "/proc/self/mountinfo"
ANYWAY = "JOBD_UNSAFE_FILESYSTEM"  # in the environment, "yes": use it all the same

# By type, as mountinfo has it: its kind in words.
UNSAFE: dict[str, str] = {
    **dict.fromkeys(("nfs", "nfs4"), "NFS"),
    **dict.fromkeys(("cifs", "smb3", "smbfs", "fuse.smbnetfs", "fuse.gvfsd-fuse"), "SMB or the like"),
    **dict.fromkeys(("afs", "coda", "ncpfs"), "a network file system"),
    **dict.fromkeys(("9p",), "9p"),
    **dict.fromkeys(("fuse.sshfs",), "sshfs"),
    **dict.fromkeys(
        (
            "davfs", "fuse.davfs", "fuse.s3fs", "fuse.mount-s3", "fuse.rclone", "fuse.gcsfuse", "fuse.goofys",
            "fuse.blobfuse", "fuse.blobfuse2", "fuse.curlftpfs", "fuse.google-drive-ocamlfuse",
        ),
        "a network file system",
    ),
    **dict.fromkeys(("pvfs2", "orangefs"), "OrangeFS"),
    **dict.fromkeys(("vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs"), "a folder shared with the host"),
}  # fmt: skip


def filesystem(mountinfo: str, path: str) -> str:
    """The type of the file system that `path` is on; "" if the text does not tell.

    Args:
        mountinfo: the text of /proc/self/mountinfo.
        path: absolute and without symbolic links.
    """
    best, found = -1, ""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 6:
            continue
        point = _unescaped(fields[4])
        # Of two on one mount point the later one hides the first.
        if len(point) >= best and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, found = len(point), after.split(" ")[0]
    return found


def refusal(path: str, environ: Mapping[str, str] | None = None) -> str:
    """Why the state may not be at `path`, which exists, and what to do; "" when it may."""
    environ = os.environ if environ is None else environ
    if environ.get(ANYWAY) == "yes":
        return ""
    try:
        with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
            kind = filesystem(file.read(), os.path.realpath(path))
    except OSError:
        return ""
    if kind not in UNSAFE:
        return ""
    return (
        f"{path} is on {UNSAFE[kind]} ({kind}), where locks and the database are not safe; "
        "set XDG_STATE_HOME to a directory on a local disk (see jobd(8))"
    )


def _unescaped(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as a backslash and three octal digits."""
    if "\\" not in text:
        return text
    head, *rest = text.split("\\")
    return head + "".join(map(_character, rest))


def _character(part: str) -> str:
    """What comes behind a backslash, with the character that its digits mean; without such it is not the kernel's."""
    if len(part) < 3 or not set(part[:3]) <= set("01234567"):
        return f"\\{part}"
    return chr(int(part[:3], 8)) + part[3:]
