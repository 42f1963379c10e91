"""What lists are filtered by is what is decided for each job: rules as conditions of SQL, and as a function."""

from __future__ import annotations

import itertools
import random
import sqlite3
from types import SimpleNamespace

import pytest

from jobd.core import globs
from jobd.core.policy import Policy, Rule
from jobd.host.peer import Peer
from jobd.rpc.access import Access
from jobd.rpc.context import Context

NAMES = {61001: "alice", 61002: "bob", 61003: "al", 61004: ""}
JOBS = ("web", "web-2", "db.main", "a@b", "x", "WEB", "-", "[a]")
OWNER_WORDS = ("*", "alice", "al*", "61001", "6100?", "nobody", "[!a]*", "", "610[!1]*", "bob")
JOB_WORDS = ("*", "web", "web*", "[!w]*", "?", "*[.@]*", "[", "W*", "none", "[[]a]", "[^w]*")
CALLER, GROUP = 61005, 700


def a_rule(rng: random.Random, line: int) -> Rule:
    return Rule(
        line=line,
        any_user=rng.random() < 0.2,
        uids=frozenset({CALLER} if rng.random() < 0.4 else ()),
        gids=frozenset({GROUP} if rng.random() < 0.4 else ()),
        actions=(rng.choice(("@read", "stop", "logs", "@all")),),
        owners=tuple(rng.sample(OWNER_WORDS, rng.randint(1, 2))),
        jobs=tuple(rng.sample(JOB_WORDS, rng.randint(1, 2))),
    )


@pytest.mark.parametrize("seed", range(60))
async def test_the_scope_is_what_is_seen(seed: int) -> None:
    rng = random.Random(seed)
    access = Access(Policy(file="f", allow=tuple(a_rule(rng, n) for n in range(rng.randint(0, 4)))), shared=True)
    far = 1e18
    access.people._names.update({uid: (far, name) for uid, name in NAMES.items()})
    access.people._uids.update({name: (far, uid) for uid, name in NAMES.items() if name})
    world = SimpleNamespace(registry=SimpleNamespace(all_owners=lambda: {*NAMES, CALLER}, jobs={}))
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (owner, job)")
    keys = list(itertools.product((*NAMES, CALLER), JOBS))
    database.executemany("INSERT INTO t VALUES (?, ?)", keys)
    for peer in (Peer(CALLER, 1, 1, (GROUP,)), Peer(CALLER, 1, 1), Peer(61009, GROUP, 1), Peer(0, 0, 1)):
        context = Context(world, None, peer, access)  # type: ignore[arg-type]  # doubles
        scope = context.scope()
        seen = {key for key in keys if context.sees(*key)}
        if scope is None:
            assert seen == set(keys)
            continue
        text, args = globs.condition(scope)
        assert set(database.execute(f"SELECT owner, job FROM t WHERE {text}", args)) == seen
        for owner in (*NAMES, CALLER):
            part = globs.of_owner(scope, owner)
            text, args = ("1", ()) if part is None else globs.condition(part)
            found = database.execute(f"SELECT owner, job FROM t WHERE owner = {owner} AND {text}", args)
            assert set(found) == {key for key in seen if key[0] == owner}
    database.close()
