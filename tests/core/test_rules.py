"""Who may do what: standing, owners, and every way in which a rule does or does not fit."""

from __future__ import annotations

import itertools

import pytest

from jobd.core import rules
from jobd.core.policy import Policy, Rule
from jobd.core.rules import (
    ADMIN,
    ALL,
    CONTROL,
    EVERYONE,
    GROUPS,
    OF_JOBS,
    OWNER_ALONE,
    READ,
    SEEING,
    VERBS,
    Decision,
    Owner,
    Who,
)
from jobd.rpc.dispatch import TABLE
from jobd.wire import messages as m

ALICE, BOB = Owner(61001, "alice"), Owner(61002, "bob")
OPS = 700
FILE = "/etc/jobd/jobd.toml"
ANYBODY = Who(61099, frozenset({61099}))
DENIED_UNSEEN, DENIED_SEEN = Decision(False, False), Decision(False, True)


def policy(*allow: Rule) -> Policy:
    return Policy(file=FILE, allow=allow)


def of_ops(line: int = 3, **fields: tuple[str, ...]) -> Rule:
    return Rule(line=line, gids=frozenset({OPS}), groups=("ops",), **{"actions": (ALL,), **fields})  # type: ignore[arg-type]  # words


def test_every_request_has_an_action_of_the_table() -> None:
    assert {row.action for row in TABLE.values()} <= VERBS.keys()
    assert set(VERBS.values()) == {READ, CONTROL, OWNER_ALONE, ADMIN, EVERYONE}
    assert {VERBS[verb] for verb in SEEING} == {READ, EVERYONE}
    assert {VERBS[TABLE[kind].action] for kind in (m.DaemonReload, m.DaemonReexec, m.Shutdown)} == {ADMIN}


@pytest.mark.parametrize("action", VERBS)
@pytest.mark.parametrize("standing", ["root", "group jobd-admin", "the daemon's own user"])
def test_standing_is_enough_for_everything(action: str, standing: str) -> None:
    who = Who(5, frozenset(), standing)
    for owner, job in ((ALICE, "web"), (ALICE, ""), (None, "")):
        assert rules.decide(policy(), who, action, owner, job) == Decision(True, True, standing)


@pytest.mark.parametrize("action", VERBS)
def test_without_rules_owners_do_everything_and_others_see_nothing(action: str) -> None:
    owner, other = Who(ALICE.uid, frozenset()), ANYBODY
    of_jobs = VERBS[action] in OF_JOBS
    for who in (owner, other):
        daemon = rules.decide(policy(), who, action, None)
        assert daemon.visible
        assert daemon.allowed is (VERBS[action] != ADMIN)
    if of_jobs:
        assert rules.decide(policy(), owner, action, ALICE, "web") == Decision(True, True, "owner")
        assert rules.decide(policy(), other, action, ALICE, "web") == DENIED_UNSEEN
        assert rules.decide(policy(), owner, action, ALICE, "") == DENIED_UNSEEN  # acts on the daemon are nobody's job


def same(word: str) -> str:
    return rules.SAME_AS.get(word, word)


@pytest.mark.parametrize("action", [verb for verb, group in VERBS.items() if group in GROUPS])
@pytest.mark.parametrize("granted", [*rules.ACTIONS, *GROUPS])
def test_what_each_word_of_a_rule_grants(action: str, granted: str) -> None:
    decision = rules.decide(policy(of_ops(actions=(granted,))), Who(9, frozenset({OPS})), action, ALICE, "web")
    assert decision.visible
    named = granted in (action, ALL, VERBS[action]) or same(granted) == same(action)
    assert decision.allowed is (named or action in SEEING)
    assert decision.rule == (f"{FILE}:3" if decision.allowed else "")


@pytest.mark.parametrize("action", [verb for verb, group in VERBS.items() if group == ADMIN])
def test_no_rule_grants_acts_on_the_daemon(action: str) -> None:
    everything = policy(Rule(line=1, any_user=True, actions=(ALL, action)))
    assert not rules.decide(everything, ANYBODY, action, None).allowed


@pytest.mark.parametrize("action", [verb for verb, group in VERBS.items() if group == OWNER_ALONE])
def test_no_rule_lets_others_say_what_a_job_is(action: str) -> None:
    everything = policy(Rule(line=1, any_user=True, actions=(ALL, action)))
    assert rules.decide(everything, ANYBODY, action, ALICE, "web") == Decision(False, True)


def test_who_is_meant() -> None:
    member, by_primary = Who(9, frozenset({1, OPS})), Who(8, frozenset({OPS}))
    named, nobody = Rule(line=1, actions=(READ,), uids=frozenset({9})), Rule(line=1, actions=(READ,), users=("gone",))
    everybody = Rule(line=1, actions=(READ,), any_user=True)
    for rule, meant in (
        (of_ops(), [member, by_primary]),
        (named, [member]),
        (nobody, []),
        (everybody, [member, by_primary, ANYBODY]),
    ):
        for who in (member, by_primary, ANYBODY):
            assert rules.concerns(rule, who) is (who in meant)
            assert rules.decide(policy(rule), who, "status", ALICE, "web").visible is (who in meant)


@pytest.mark.parametrize(
    ("owners", "jobs", "fits"),
    [
        (("*",), ("*",), {"alice/web", "alice/db", "bob/web"}),
        (("alice",), ("*",), {"alice/web", "alice/db"}),
        (("61001",), ("web",), {"alice/web"}),
        (("61*",), ("w?b",), {"alice/web", "bob/web"}),
        (("al*", "nobody"), ("d[ab]",), {"alice/db"}),
        (("Alice",), ("*",), set()),
        (("",), ("*",), set()),
        (("bob",), ("WEB",), set()),
    ],
)
def test_which_jobs_are_meant(owners: tuple[str, ...], jobs: tuple[str, ...], fits: set[str]) -> None:
    given = policy(of_ops(owners=owners, jobs=jobs))
    who = Who(9, frozenset({OPS}))
    for owner, job in ((ALICE, "web"), (ALICE, "db"), (BOB, "web")):
        assert rules.decide(given, who, "stop", owner, job).allowed is (f"{owner.name}/{job}" in fits)
    nameless = Owner(ALICE.uid)
    assert rules.decide(given, who, "stop", nameless, "web").allowed is (
        owners != ("alice",) and owners[0] != "al*" and "alice/web" in fits
    )


def test_the_first_rule_that_allows_is_named_and_one_that_does_not_only_shows() -> None:
    read, stop = of_ops(3, actions=("status",)), of_ops(9, actions=("stop",))
    who = Who(9, frozenset({OPS}))
    for order in itertools.permutations((read, stop)):
        assert rules.decide(policy(*order), who, "stop", ALICE, "web") == Decision(True, True, f"{FILE}:9")
        assert rules.decide(policy(*order), who, "start", ALICE, "web") == DENIED_SEEN
        assert rules.decide(policy(*order), who, "logs", ALICE, "web") == DENIED_SEEN
    assert rules.decide(policy(stop), who, "status", ALICE, "web") == Decision(True, True, f"{FILE}:9")


def test_an_action_that_is_none_is_nobodys() -> None:
    for owner in (ALICE, None):
        decision = rules.decide(
            policy(of_ops(actions=(ALL, "__class__"))), Who(9, frozenset({OPS})), "__class__", owner, "web"
        )
        assert not decision.allowed
