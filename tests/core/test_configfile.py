"""jobd.toml: what it may say, and that every mistake is told with file, line and what was probably meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import rules
from jobd.core.configfile import KEYS, ConfigError, decode, parse
from jobd.core.policy import GIB, Kept, Policy, Rule, UserLimits
from jobd.core.tomlread import plain

FULL = """\
# The whole of it.
no_new_privileges = true
log_level = "debug"

[limits]
connections = 10
requests = 20
running = "infinity"
queued = 0
log_size = "2G"
environment_size = 1024
[limits.rlimits]
nofile = 4096
as = "8G"
core = "infinity"

[[allow]]
users = ["alice", "1001"]
groups = ["dev"]
actions = ["@read", "restart"]
owners = ["build", "ci-*"]
jobs = ["web*", "db"]

[[allow]]
users = ["*"]
actions = [
  "status",
]
"""


class People:
    """A machine with a few people."""

    USERS = {"alice": 1000, "build": 900}  # noqa: RUF012  # never changed
    GROUPS = {"dev": 50}  # noqa: RUF012

    def uid(self, name: str) -> int | None:
        return self.USERS.get(name)

    def gid(self, name: str) -> int | None:
        return self.GROUPS.get(name)


def policy(text: str) -> Policy:
    return parse(text, "jobd.toml", People())


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        policy(text)
    return list(caught.value.problems)


def test_all_that_it_may_say() -> None:
    assert policy(FULL) == Policy(
        file="jobd.toml",
        allow=(
            Rule(
                line=17,
                users=("alice", "1001"),
                groups=("dev",),
                actions=("@read", "restart"),
                owners=("build", "ci-*"),
                jobs=("web*", "db"),
                uids=frozenset({1000, 1001}),
                gids=frozenset({50}),
            ),
            Rule(line=24, users=("*",), actions=("status",), any_user=True),
        ),
        limits=UserLimits(
            connections=10, requests=20, running=None, queued=0, log_bytes=2 * GIB, environment_bytes=1024
        ),
        rlimits={"nofile": 4096, "as": 8 * GIB},
        no_new_privileges=True,
        log_level="debug",
    )


def test_an_empty_file_changes_nothing() -> None:
    assert policy("") == Policy(file="jobd.toml")
    assert policy("# only words\n[limits]\n") == Policy(file="jobd.toml")


def test_names_that_nobody_has_are_kept_and_told() -> None:
    found = policy(
        '[[allow]]\nactions = ["@read"]\nowners = ["bob", "c*"]\nusers = ["alice",\n"carol"]\ngroups = ["x"]'
    )
    assert found.allow[0].users == ("alice", "carol")
    assert found.allow[0].uids == {1000}
    assert list(found.warnings) == [
        'jobd.toml:3: warning: there is no user "bob"; daemon-reload looks again',
        'jobd.toml:5: warning: there is no user "carol"; daemon-reload looks again',
        'jobd.toml:6: warning: there is no group "x"; daemon-reload looks again',
    ]


RULE = '[[allow]]\nusers = ["alice"]\nactions = ["@read"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[allow]]\nuser = ["alice"]\nactions = ["@read"]', '2: unknown key "user"; did you mean "users"?'),
        ('user = ["alice"]', '1: unknown key "user"; did you mean "users" in [[allow]]?'),
        ("[limit]\nrunning = 3", '1: unknown key "limit"; did you mean "limits"?'),
        ("[[rule]]", '1: unknown key "rule"'),
        ("MaxConnections = 3", '1: unknown key "MaxConnections"; did you mean "connections" in [limits]?'),
        ("[limits]\nDefaultLimitNOFILE = 3",
         '2: unknown key "DefaultLimitNOFILE"; did you mean "nofile" in [limits.rlimits]?'),
        ("NoNewPrivileges = true", '1: unknown key "NoNewPrivileges"; did you mean "no_new_privileges"?'),
        ('[limits]\nlog_level = "info"', '2: unknown key "log_level"; it belongs above the first [table]'),
        ("running = 3", '1: unknown key "running"; it belongs in [limits]'),
        ('"\\u001b[31m" = 3', '1: unknown key "\\x1b[31m"'),
        ("no_new_privileges = 1", '1: "no_new_privileges" must be true or false, not a number'),
        ('log_level = "warn"',
         '1: "log_level" must be one of "debug", "info", "warning" and "error"; did you mean "warning"?'),
        ("[limits]\n\nrunning = true", '3: "running" must be a number or "infinity", not true or false'),
        ("[limits]\nconnections = 0", '2: "connections" must be between 1 and 1000000000, not 0'),
        ('[limits]\nconnections = "infinity"', '2: "connections" must be a number, not a string'),
        ("[limits]\nqueued = -1", '2: "queued" must be between 0 and 1000000000, not -1'),
        ('[limits]\nlog_size = "4 parsecs"',
         "2: \"log_size\" is no size, such as \"512M\": unknown unit 'parsecs' (K, M, G, T, P, E)"),
        ("[limits]\nlog_size = 1.5", '2: "log_size" must be a size, such as "512M", not a number with a point'),
        ("limits = 3", '1: "limits" is a table, written [limits], not a number'),
        ("[limits]\nrlimits = 3", '2: "rlimits" is a table, written [limits.rlimits], not a number'),
        ("[limits.rlimits]\nnofiles = 3", '2: unknown key "nofiles"; did you mean "nofile"?'),
        ("[allow]\nusers = []", "1: a rule is written [[allow]], in two pairs of brackets"),
        ("allow = 3", '1: "allow" is a list of tables, written [[allow]], not a number'),
        ("allow = [3]", '1: "allow" is a list of tables, written [[allow]]; a number is in it'),
        ('[[allow]]\nactions = ["@read"]', '1: this [[allow]] needs users or groups; users = ["*"] means everybody'),
        ('[[allow]]\nusers = []\nactions = ["@read"]',
         '1: this [[allow]] needs users or groups; users = ["*"] means everybody'),
        ('[[allow]]\nusers = ["alice"]', '1: this [[allow]] needs actions, such as actions = ["@read"]'),
        ('[[allow]]\nusers = "alice"\nactions = ["@read"]',
         '2: "users" must be a list of strings, not a string; write users = ["alice"]'),
        ('[[allow]]\nusers = [1000]\nactions = ["@read"]',
         '2: "users" must be a list of strings; a number is in it; write "1000"'),
        ('[[allow]]\nusers = ["alice",\n""]\nactions = ["@read"]', '3: "users" has an empty word'),
        ('[[allow]]\nusers = ["\\u0000"]\nactions = ["@read"]', '2: "users" has a NUL in a word'),
        ('[[allow]]\nusers = ["@dev"]\nactions = ["@read"]', '2: "@dev" is no user; write groups = ["dev"]'),
        ('[[allow]]\nusers = ["a*"]\nactions = ["@read"]',
         '2: "a*": users are named one by one; only "*", for everybody, is a pattern'),
        ('[[allow]]\ngroups = ["*"]\nactions = ["@read"]',
         '2: "*": groups are named one by one; users = ["*"] means everybody'),
        ('[[allow]]\nusers = ["4294967295"]\nactions = ["@read"]',
         "2: user 4294967295 cannot be: numbers end at 4294967294"),
        ('[[allow]]\nactions = ["@read"]\nusers = ["' + "x" * 257 + '"]',
         '3: "users" has a word of more than 256 characters'),
        (RULE * 1002, "3001: more than 1000 rules"),
        (RULE + "owners = []", '4: "owners" is empty, so that nothing is granted; without it all are meant'),
        (RULE + 'jobs = ["alice/web"]',
         '4: "alice/web" is no name of a job; write owners = ["alice"] and jobs = ["web"]'),
        (RULE + 'jobs = ["a b"]', "4: job name 'a b' has ' '; letters, digits and _ . @ - are allowed"),
        ('[[allow]]\nusers = ["alice"]\nactions = [\n"strat"]', '4: unknown action "strat"; did you mean "start"?'),
        ('[[allow]]\nusers = ["alice"]\nactions = ["*"]', '3: unknown action "*"; did you mean "@all"?'),
        ('[[allow]]\nusers = ["alice"]\nactions = ["fly"]',
         '3: unknown action "fly"; known are "@read", "@control" and "@all" and verbs of jobctl'),
        ('[[allow]]\nusers = ["alice"]\nactions = ["shutdown"]',
         '3: "shutdown" cannot be granted: it is for root and the group jobd-admin alone'),
        ('[[allow]]\nusers = ["alice"]\nactions = ["whoami"]',
         '3: "whoami" need not be granted: everybody may do that'),
        ("[limits\n", "1:8: expected ']' at the end of a table declaration"),
        ("a = 1\na = 2\n", '2:1: "a" is there twice; first on line 1'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, said: str) -> None:
    assert problems(text) == [f"jobd.toml:{said}"]


def test_all_mistakes_are_told_in_their_order() -> None:
    found = problems('[[allow]]\nusers = 3\nactions = ["x!"]\njobs = [1]\n[limits]\nfoo = 1\nrunning = "x"\n')
    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "6", "7"]
    with pytest.raises(ConfigError, match=r"^jobd.toml:2: .* \(and 4 more\)$"):
        policy('[[allow]]\nusers = 3\nactions = ["x!"]\njobs = [1]\n[limits]\nfoo = 1\nrunning = "x"\n')


def test_what_is_not_text_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^jobd.toml:2: not UTF-8: byte 0xff$"):
        decode(b"# one\n\xff\n", "jobd.toml")


@pytest.mark.parametrize("letter", ["x", "\u202e", "é"])
def test_a_message_is_short_whatever_is_in_the_file(letter: str) -> None:
    long = letter * 300_000
    for text in (
        f'"{long}" = 1',
        f'log_level = "{long}"',
        f'[limits]\nlog_size = "{long}"',
        f'[[allow]]\nusers = ["{long}*"]\nactions = ["{long}"]\njobs = ["{long}", "a/{long}"]\ngroups = "{long}"',
    ):
        assert all(len(said) < 450 and said.isprintable() for said in problems(text))


def test_every_verb_and_group_can_be_named() -> None:
    words = ", ".join(f'"{word}"' for word in (*rules.ACTIONS, *rules.GROUPS))
    assert policy(f'[[allow]]\nusers = ["*"]\nactions = [{words}]').allow[0].any_user


def test_systemd_words_are_understood() -> None:
    words = ("MaxConnections", "max-connections", "TasksMax", "LimitNOFILE", "DefaultLimitAS")
    assert [plain(word) for word in words] == ["connections", "connections", "tasks_max", "nofile", "as"]


SCALARS = st.integers() | st.booleans() | st.sampled_from(['"*"', '"alice"', '"@read"', "[]", "{}", '["start"]', "1.5"])
NAMES = st.sampled_from([key for keys in KEYS.values() for key in keys] + ["x", '"\\u202e"'])
HEADS = st.sampled_from(["[[allow]]", "[limits]", "[limits.rlimits]", "[allow]", "[x]", ""])


@given(
    st.lists(st.tuples(HEADS, st.dictionaries(NAMES, SCALARS.map(lambda v: str(v).lower()), max_size=3)), max_size=4)
)
def test_any_file_is_taken_or_refused(tables: list[tuple[str, dict[str, str]]]) -> None:
    text = "\n".join(f"{head}\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) for head, values in tables)
    said: tuple[str, ...] = ()
    try:
        found = policy(text)
    except ConfigError as error:
        said = error.problems
    if said:
        assert all(line.startswith("jobd.toml:") and line.isprintable() for line in said)
    else:
        assert all((rule.users or rule.groups) and rule.actions for rule in found.allow)


def test_retention() -> None:
    assert policy("").kept == Kept()
    text = '[retention]\nkeep_runs = "infinity"\nkeep_for = "30d"\nruns_per_owner = 5'
    assert policy(text).kept == Kept(runs=None, for_usec=30 * 86_400 * 10**6, runs_per_owner=5)
    for line, said in (
        ("keep_runs = 0", "between 1 and"), ('keep_for = "0"', "cannot be 0"), ('keep_for = "x"', "must be a duration"),
        ("runs_per_owner = -1", "between 1 and"), ("keep_run = 1", 'did you mean "keep_runs"?'),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=re.escape(said)):
            policy(f"[retention]\n{line}")
