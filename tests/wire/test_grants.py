from __future__ import annotations

import hashlib

import msgspec

from jobd.wire import granting
from jobd.wire.grants import digest, unix_digest

ARGV, ENV, CWD = [b"/bin/sh", b"-c", b"id"], [b"PATH=/bin", b"A=\xff"], b"/srv"


def test_it_is_the_hash_that_the_protocol_says() -> None:
    packed = msgspec.msgpack.encode([ARGV, ENV, CWD, "alice", 0o22, "null"])
    assert digest(ARGV, ENV, CWD, "alice", 0o22, "null") == hashlib.blake2b(packed, digest_size=32).digest()


def test_what_every_run_has_of_its_own_does_not_count() -> None:
    own = [b"JOBD_JOB=web", b"JOBD_RUN=01", b"INVOCATION_ID=01"]
    hashes = {digest(ARGV, env, CWD, "", 0o22, "null") for env in ([*ENV, *own], ENV, [*own, *ENV])}
    assert len(hashes) == 1


def test_of_what_a_hook_is_told_only_words_do_not_count() -> None:
    """A script of root's may do with them whatever it likes: they are not a daemon's to choose."""
    told = [b"MONITOR_UNIT=web@80", b"MONITOR_EXIT_STATUS=RTMIN+3", b"MAINPID=7", b"NOTIFY_SOCKET=/run/jobd/notify/x"]
    assert digest(ARGV, [*ENV, *told], CWD, "", 0o22, "null") == digest(ARGV, ENV, CWD, "", 0o22, "null")
    for word in (
        b"MONITOR_UNIT=$(id)",
        b"MONITOR_EXIT_STATUS=0; id",
        b"MONITOR_X=1",
        b"JOBD_JOB=../x",
        b"MAINPID=-1 2",
    ):
        assert digest(ARGV, [*ENV, word], CWD, "", 0o22, "null") != digest(ARGV, ENV, CWD, "", 0o22, "null"), word


def test_everything_else_counts() -> None:
    variants = [
        (ARGV, ENV, CWD, ""), ([b"/bin/sh -c", b"id"], ENV, CWD, ""), (ARGV, ENV[::-1], CWD, ""), (ARGV, ENV, b"/", ""),
        (ARGV, ENV, CWD, "root"), (ARGV, [*ENV, b"JOB=1"], CWD, ""), (ARGV, [*ENV, b"INVOCATION_IDS=1"], CWD, ""),
        ([*ARGV, b""], ENV, CWD, ""), (ARGV, [], CWD, ""), (ARGV, [*ENV, b"JOBD_SOCKET=/tmp/x"], CWD, ""),
    ]  # fmt: skip
    hashes = {digest(*variant, 0o22, "null") for variant in variants}
    hashes |= {digest(*variants[0], umask, stdin) for umask, stdin in ((0, "null"), (0o22, "pipe"), (0o22, "pty"))}
    assert len(hashes) == len(variants) + 3


FILES = [(b"/etc/web.env", False), (b"/srv/more.env", True)]


def test_without_environment_files_it_is_what_it_was_before_there_were_any() -> None:
    known = "93d9d6bcecc6fd11e41cffba2e8cd84c4cfbdf679f9e7825b7a0c41cf72ecc7e"
    assert digest(ARGV, ENV, CWD, "", 0o22, "null").hex() == known
    assert digest(ARGV, ENV, CWD, "", 0o22, "null", ()).hex() == known
    hashes = {digest(ARGV, ENV, CWD, "", 0o22, "null", files) for files in ((), FILES, FILES[:1], FILES[::-1])}
    hashes.add(digest(ARGV, ENV, CWD, "", 0o22, "null", [(b"/etc/web.env", True)]))
    assert len(hashes) == 5


def test_what_a_submission_has_besides_its_program_is_granted_with_it() -> None:
    settings = {
        "user": "alice",
        "environment_file": "/etc/web.env -/srv/more.env",
        "stop.command": "stop it",
        "reload.command": "kill -HUP $MAINPID",
        "ready.unix": "/run/web.sock",
        "health.command": "check",
        "limits.nice": "nonsense, which is the daemon's business",
    }
    run = {"argv": ARGV, "shell": False, "env": ENV, "cwd": CWD, "settings": settings}
    commands = [ARGV, [b"stop", b"it"], [b"kill", b"-HUP", b"$MAINPID"], [b"check"]]
    expected = {digest(command, ENV, CWD, "alice", 0o22, "null", FILES) for command in commands}
    assert set(granting.hashes(run)) == expected | {unix_digest(b"/run/web.sock", "alice")}
    plain = {**run, "settings": {"user": "alice", "stop.command": "'"}}  # which the daemon refuses
    assert granting.hashes(plain) == [digest(ARGV, ENV, CWD, "alice", 0o22, "null")]


def test_of_an_array_the_command_counts_as_it_was_submitted_and_the_number_of_no_element() -> None:
    argv = [b"/bin/sh", b"-c", b"work %i"]
    run = {"argv": argv, "env": ENV, "cwd": CWD, "shell": False, "settings": {}, "umask": 0o22, "array": "0-9%2"}
    (one,) = granting.hashes(run)
    env = [*ENV, b"JOBD_ARRAY_INDEX=3"]
    assert one == digest(argv, env, CWD, "", 0o22, "null", (), "0-9%2")
    others = {digest(argv, ENV, CWD, "", 0o22, "null", (), array) for array in ("", "0-9", "0-99%2")}
    assert one not in others
    assert len(others) == 3
