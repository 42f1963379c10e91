"""On which file systems a state directory may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.core import mounts

if TYPE_CHECKING:
    from pathlib import Path

# As proc(5) shows it: with and without optional fields, names with spaces, one mount over another.
MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 22 0:23 / /proc rw,nosuid shared:5 master:2 - proc proc rw
40 22 0:44 / /home rw,relatime shared:20 - autofs systemd-1 rw,fd=42
41 40 0:45 / /home rw,relatime shared:21 - nfs4 server:/export/home rw,vers=4.2,addr=10.0.0.1
42 41 8:2 / /home/local rw,relatime - xfs /dev/sda2 rw
43 22 0:46 / /mnt/my\040share rw - cifs //server/share rw,username=alice
44 22 0:47 / /mnt/tab\011and\134slash rw - fuse.sshfs alice@host: rw
45 22 0:48 / /win rw - 9p drvfs rw
46 22 0:49 / /gpfs rw - gpfs gpfs rw
47 22 0:50 / /vault rw - fuse.gocryptfs /crypt rw
a line that is none
48 22 0:51 / /broken rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/jobd", "ext4"),
        ("/home", "nfs4"),
        ("/home/alice/.local/state", "nfs4"),
        ("/homework", "ext4"),
        ("/home/local", "xfs"),
        ("/home/local/state", "xfs"),
        ("/home/localhost", "nfs4"),
        ("/mnt/my share/state", "cifs"),
        ("/mnt/tab\tand\\slash", "fuse.sshfs"),
        ("/win/c", "9p"),
        ("/broken/x", "ext4"),
    ],
)
def test_longest_mount_point_counts_and_the_last_on_it(path: str, kind: str) -> None:
    assert mounts.filesystem(MOUNTINFO, path) == kind


def test_text_that_tells_nothing() -> None:
    assert mounts.filesystem("", "/home") == ""
    assert mounts.filesystem("1 2 3\n", "/home") == ""


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is on NFS, by a mountinfo of the test's own."""
    (tmp_path / "mountinfo").write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n41 22 0:45 / {tmp_path}/home rw - nfs4 server:/home rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTINFO", str(tmp_path / "mountinfo"))
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    return tmp_path


@pytest.mark.parametrize("name", ["home", "link", "home/not/there/yet"])
def test_refusal_says_why_and_what_to_do(mounted: Path, name: str) -> None:
    text = mounts.refusal(f"{mounted}/{name}", {})
    assert text.startswith(f"{mounted}/{name} is on NFS (nfs4)")
    assert "XDG_STATE_HOME" in text
    assert mounts.refusal(f"{mounted}/{name}", {mounts.ANYWAY: "no"}) == text


def test_local_directories_and_whoever_insists_are_not_refused(mounted: Path) -> None:
    assert mounts.refusal(f"{mounted}", {}) == ""
    assert mounts.refusal(f"{mounted}/home", {mounts.ANYWAY: "yes"}) == ""


def test_without_mountinfo_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTINFO", "/nowhere")
    assert mounts.refusal("/", {}) == ""


def test_what_is_merely_slow_is_allowed() -> None:
    for kind in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse", "fuse.gocryptfs", "fuse.fuse-overlayfs",
                 "ecryptfs", "gpfs", "lustre", "ceph", "gfs2", "ocfs2", "beegfs", "virtiofs"):  # fmt: skip
        assert kind not in mounts.UNSAFE


def test_a_backslash_that_is_no_escape_of_the_kernels_is_one() -> None:
    line = "36 35 0:30 / /{} rw - ext4 /dev/x rw"
    assert mounts.filesystem(line.format("a\\040b"), "/a b/c") == "ext4"
    assert mounts.filesystem(line.format("a\\9"), "/a\\9/c") == "ext4"
    assert mounts.filesystem(line.format("a\\"), "/a\\/c") == "ext4"
