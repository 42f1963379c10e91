from __future__ import annotations

import hashlib

import msgspec

from jobd.wire.grants import digest

ARGV, ENV, CWD = [b"/bin/sh", b"-c", b"id"], [b"PATH=/bin", b"A=\xff"], b"/srv"


def test_it_is_the_hash_that_the_protocol_says() -> None:
    packed = msgspec.msgpack.encode([ARGV, ENV, CWD, "alice", 0o22, "null"])
    assert digest(ARGV, ENV, CWD, "alice", 0o22, "null") == hashlib.blake2b(packed, digest_size=32).digest()


def test_what_every_run_has_of_its_own_does_not_count() -> None:
    own = [b"JOBD_JOB=web", b"JOBD_RUN=01", b"INVOCATION_ID=01"]
    hashes = {digest(ARGV, env, CWD, "", 0o22, "null") for env in ([*ENV, *own], ENV, [*own, *ENV])}
    assert len(hashes) == 1


def test_everything_else_counts() -> None:
    variants = [
        (ARGV, ENV, CWD, ""), ([b"/bin/sh -c", b"id"], ENV, CWD, ""), (ARGV, ENV[::-1], CWD, ""), (ARGV, ENV, b"/", ""),
        (ARGV, ENV, CWD, "root"), (ARGV, [*ENV, b"JOB=1"], CWD, ""), (ARGV, [*ENV, b"INVOCATION_IDS=1"], CWD, ""),
        ([*ARGV, b""], ENV, CWD, ""), (ARGV, [], CWD, ""), (ARGV, [*ENV, b"JOBD_SOCKET=/tmp/x"], CWD, ""),
    ]  # fmt: skip
    hashes = {digest(*variant, 0o22, "null") for variant in variants}
    hashes |= {digest(*variants[0], umask, stdin) for umask, stdin in ((0, "null"), (0o22, "pipe"), (0o22, "pty"))}
    assert len(hashes) == len(variants) + 3
