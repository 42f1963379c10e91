"""Who a peer is, as the kernel says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobd.host.peer import Peer, peer_of

if TYPE_CHECKING:
    from pathlib import Path

CONNECT = """
import os, socket, sys
os.setgroups(eval(sys.argv[2]))
os.setresgid(61002, 61002, 61002)
os.setresuid(61001, 61001, 61001)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


def test_this_process() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert peer == Peer(os.geteuid(), os.getegid(), os.getpid(), tuple(os.getgroups()))


def test_nobody_is_at_the_end_of_an_unconnected_socket() -> None:
    with socket.socket(socket.AF_UNIX) as alone, pytest.raises(OSError):  # noqa: PT011  # which one is the kernel's
        peer_of(alone)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
@pytest.mark.parametrize("groups", [[], [27, 1234], list(range(1000, 1300)), list(range(1000, 1000 + 65536))], ids=len)
def test_supplementary_groups_are_those_of_the_process(tmp_path: Path, groups: list[int]) -> None:
    path = tmp_path / "s"
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 1:
            parent.chmod(0o711)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        said = f"list(range({groups[0]}, {groups[-1] + 1}))" if len(groups) > 100 else repr(groups)
        command = [sys.executable, "-I", "-S", "-c", CONNECT, str(path), said]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            child.stdout.readline()
            sock, _ = listener.accept()
            with sock:
                peer = peer_of(sock)
            child.stdin.close()
            assert child.wait(20) == 0
    assert (peer.uid, peer.gid, peer.pid) == (61001, 61002, child.pid)
    assert sorted(peer.groups) == groups
