"""The kernel says who calls, whatever callers say; and some are gone before they have spoken."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import codec, errors
from jobd.wire import messages as m
from tests.system.callers import LIVE_SEC, SAME_ID, CallerAs, connect_as
from tests.system.people import ALICE, BOB, People, many_users, why_not
from tests.system.program import open_fds, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
I = SAME_ID  # noqa: E741  # an id
GONE_AT_ONCE = 10_000  # connections; polkit's bug needed some hundreds
KILLED = 50
HELLO = codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="test 0"))


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users() as made:
        yield made


def child_as(uid: int, act: Callable[[], None]) -> int:
    """A child of that user that does `act`; its pid."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(LIVE_SEC)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            act()
            status = 0
        finally:
            os._exit(status)
    return pid


@pytest.mark.parametrize(
    "name",
    [b";uid=0;", b"pid=1;uid=0;gid=0;socket=x", b"a\nuid=0\n", b"\x1b]0;root\x07", b"\xff\xfe", b"\0abstract;uid=0;"],
)
def test_what_a_socket_is_bound_to_says_nothing(people: People, name: bytes) -> None:
    bind = name if name.startswith(b"\0") else os.fsencode(people.place) + b"/" + name
    caller = CallerAs(people.socket, ALICE, groups=[27], bind=bind)
    try:
        assert (caller.hello.uid, caller.hello.gid) == (ALICE, ALICE)
        identity = caller.body(m.AuthWhoami(id=I))
        assert isinstance(identity, m.Identity)
        assert (identity.uid, identity.owner, identity.groups, identity.admin) == (ALICE, ALICE, [27], False)
        assert caller.fault(m.Shutdown(id=I)).code == errors.DENIED
    finally:
        caller.close()


def test_the_caller_is_who_connected_and_stays_so(people: People) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(people.socket))

        def act() -> None:  # root's connection in the hands of somebody who is not root any more
            sock.sendall(HELLO)
            theirs.sendall(sock.recv(1 << 16))

        pid = child_as(ALICE, act)
        ours.settimeout(LIVE_SEC)
        hello = codec.decode_daemon(ours.recv(1 << 16)[4:])
        assert os.waitpid(pid, 0)[1] == 0
        assert isinstance(hello, m.Hello)
        assert (hello.uid, hello.pid) == (0, os.getpid())


def test_it_is_the_effective_user_that_counts(people: People) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                signal.alarm(LIVE_SEC)
                os.setresgid(BOB, ALICE, BOB)
                os.setresuid(BOB, ALICE, 0)
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(str(people.socket))
                    sock.sendall(HELLO)
                    theirs.sendall(sock.recv(1 << 16))
                status = 0
            finally:
                os._exit(status)
        ours.settimeout(LIVE_SEC)
        hello = codec.decode_daemon(ours.recv(1 << 16)[4:])
        assert os.waitpid(pid, 0)[1] == 0
        assert isinstance(hello, m.Hello)
        assert (hello.uid, hello.gid) == (ALICE, ALICE)


def test_who_is_gone_before_the_first_byte_is_nobody_and_costs_nothing(people: People) -> None:
    daemon = people.daemon_pid()
    path = str(people.socket)
    before = len(open_fds(daemon))

    def come_and_go() -> None:
        for n in range(GONE_AT_ONCE):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                if n % 4 == 1:
                    with contextlib.suppress(BrokenPipeError):  # so many at once are refused
                        sock.send(b"\0\0")  # half a length
                elif n % 4 == 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    pid = child_as(ALICE, come_and_go)
    assert os.waitpid(pid, 0)[1] == 0
    assert people.daemon_pid() == daemon
    until(lambda: people.daemon_status().connections == 1, "all who have gone are forgotten")
    assert len(open_fds(daemon)) <= before + 1
    assert len(people.log_text()) < 20_000


def test_who_is_killed_over_his_request_is_served_as_himself_or_not_at_all(people: People) -> None:
    path = str(people.socket)

    def submit_and_die() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            run = m.Run(
                id=I, run=new_run_id(), argv=[b"true"], env=[], cwd=b"/", settings={"description": "of the dead"}
            )
            sock.sendall(HELLO + codec.encode(run))
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(KILLED):
        pid = child_as(BOB, submit_and_die)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    root = CallerAs(people.socket, 0)
    try:
        page = root.body(m.List(id=I, all=True))
        assert isinstance(page, m.Jobs)
        owners = {job.owner for job in page.jobs if job.description == "of the dead"}
        assert owners <= {BOB}
    finally:
        root.close()


@pytest.mark.parametrize(
    "tag",
    ["__class__", "a.b.c", "Run", "__init__", "run\0", "serve", "../run", "%s", "\u202enur", "x" * 60_000, "", "hello"],
)
def test_a_tag_is_looked_up_and_never_followed(people: People, tag: str) -> None:
    word = tag.encode()
    packed = b"\xda" + len(word).to_bytes(2, "big") + word
    body = b"\x82\xa4type" + packed + b"\xa2id\x07"
    with connect_as(people.socket, ALICE) as sock:
        sock.sendall(HELLO + len(body).to_bytes(4, "big") + body)
        said = b""
        while data := sock.recv(1 << 16):
            said += data
            if errors.MALFORMED.encode() in said:
                break
        assert errors.MALFORMED.encode() in said
        assert len(said) < 2000
        assert b"Traceback" not in said
    assert b"Traceback" not in people.log_text().encode()
