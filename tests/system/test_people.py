"""One jobd for a machine of many users, as they see it: whose jobs are whose, what root's way of helping leaves out."""

from __future__ import annotations

import json
import pwd
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.system.callers import CallerAs
from tests.system.people import ALICE, BOB, EVE, GAMES, ROOT, People, many_users, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
SECRET = "JOBD_TESTS_SECRET_OF_ROOTS"
PLAYER = pwd.getpwnam(GAMES).pw_uid
RULES = f"""
[[allow]]
users = ["{BOB}"]
actions = ["@read", "restart"]
owners = ["{ALICE}", "{GAMES}"]
jobs = ["web*"]
"""


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with many_users(RULES) as made:
        made.said(PLAYER, "run", "-u", "web", "--shell", "--", "echo from games; exec sleep 1000")
        made.said(ALICE, "run", "-u", "web", "--shell", "--", "echo from alice; exec sleep 1000")
        made.said(ALICE, "run", "-u", "private", "--wait", "--", "true")
        made.ask(ALICE, "run", "-u", "bad", "--wait", "--", "false")
        yield made
        made.ask(PLAYER, "stop", "web")
        made.ask(ALICE, "stop", "web")


# --- names ------------------------------------------------------------------------------------------------------------
def listed(people: People, uid: int, *args: str) -> list[str]:
    return people.said(uid, "list", "-o", "name", *args).split()


def test_everybody_lists_what_he_may_see(people: People) -> None:
    assert listed(people, ALICE, "-a") == ["bad", "private", "web"]
    assert listed(people, ALICE) == ["bad", "web"]
    assert listed(people, BOB, "-a") == ["games/web", f"{ALICE}/web"]
    assert listed(people, EVE, "-a") == []
    assert listed(people, ROOT, "-a") == ["games/web", f"{ALICE}/bad", f"{ALICE}/private", f"{ALICE}/web"]
    assert listed(people, ROOT, "-a", "pri*") == [f"{ALICE}/private"]
    assert listed(people, ROOT, "-a", "games/*") == ["games/web"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("list", "games/web"),
        ("status -n0 games/web", "● games/web - echo"),
        ("history", "games/web#1"),
        ("events games/web", "games/web#1: started"),
        ("result games/web", "Run: games/web#1 "),
        ("show -p Id games/web", "Id=games/web\n"),
        ("show --value -P User games/web", "games\n"),
        ("cat games/web", "# transient: "),
        ("logs -o verbose games/web", "games/web"),
        (f"logs games/web {ALICE}/web", f"{ALICE}/web | from alice\n"),
        (f"logs games/web {ALICE}/web", "games/web | from games\n"),
        (f"history --audit {PLAYER}/web", "games/web#1"),
    ],
)
def test_jobs_of_others_have_their_owners_name(people: People, line: str, shown: str) -> None:
    for uid in (ROOT, BOB):
        if uid == ROOT or "--audit" not in line:  # to Bob, who may look, nobody's acts but his own are shown
            assert shown in people.said(uid, *line.split())


def test_of_a_job_that_one_does_not_see_nobody_elses_dependencies_tell(people: People) -> None:
    for name, keys in (("web-a", ()), ("web-b", ("wants=web-a", "after=web-a")),
                       ("hidden", ("after=web-a", "requires=web-a", "wants=deeper")), ("deeper", ())):  # fmt: skip
        settings = [word for key in keys for word in ("-p", key)]
        people.said(ALICE, "run", "-u", name, *settings, "--", "sleep", "1000")
    try:
        web = f"{ALICE}/web-a"
        for uid, there in ((ALICE, True), (BOB, False)):
            lines = ("list-dependencies --reverse", "list-dependencies --before", "show", "status", "why")
            asked = [people.said(uid, *line.split(), web) for line in lines]
            assert ("hidden" in "".join(asked)) is there
            assert "web-b" in asked[0]
            assert people.ask(uid, "list-dependencies", f"{ALICE}/hidden").returncode == (0 if there else 4)
    finally:
        for name in ("hidden", "web-b", "web-a", "deeper"):
            people.ask(ALICE, "rm", "--now", name)


def test_a_definition_of_a_users_is_no_longer_than_can_be_read_and_shown(people: People) -> None:
    caller = CallerAs(people.socket, ALICE)
    try:
        words: dict[str, object] = {"id": 1, "name": "long", "base": b"/", "text": 'command = "true"\n'}
        assert isinstance(caller.body(m.Define(**words)), m.Plan)  # type: ignore[arg-type]
        words["text"] = "#" * (250 << 10)
        codes = [getattr(caller.ask(m.Define(**words, dropin=f"{at}.toml"))[0], "code", "") for at in range(3)]  # type: ignore[arg-type]
        assert codes == ["", "", "too-large"]
        shown = caller.body(m.Cat(id=1, names=["long"]))
        assert isinstance(shown, m.Definitions)
        assert len(shown.definitions[0].files) == 3
    finally:
        caller.close()
        people.ask(ALICE, "rm", "long")


def test_an_environment_is_its_owners(people: People) -> None:
    for uid in (PLAYER, ROOT):
        assert "\n[environment]\n" in people.said(uid, "cat", "games/web" if uid == ROOT else "web")
    shown = people.said(BOB, "cat", "games/web")
    assert "# its environment is shown to its owner and to administrators\n" in shown
    assert "[environment]" not in shown
    assert "exec sleep 1000" in shown


def test_ones_own_are_bare(people: People) -> None:
    for line in ("list", "status -n0 web", "history", "events", "result web", "logs web web", "history --audit"):
        said = people.ask(ALICE, *line.split()).stdout
        assert "/web" not in said, line


def test_json_has_owner_and_user(people: People) -> None:
    (row,) = json.loads(people.said(ROOT, "list", "-o", "json", "games/web"))
    assert (row["job"], row["owner"], row["user"]) == ("web", "games", "games")
    (row,) = json.loads(people.said(ROOT, "list", "-o", "json", f"{ALICE}/web"))
    assert (row["job"], row["owner"], row["user"]) == ("web", str(ALICE), str(ALICE))


def test_what_waits_and_what_is_refused_is_named_with_its_owner(people: People) -> None:
    done = people.ask(ROOT, "wait", f"{ALICE}/bad")
    assert (done.returncode, done.stderr) == (1, "")
    assert people.ask(BOB, "stop", f"{ALICE}/web").returncode == 4
    assert f"{ALICE}/web" in people.ask(BOB, "stop", f"{ALICE}/web").stderr
    assert f"did you mean '{ALICE}/private'?" in people.ask(ROOT, "stop", "private").stderr
    assert "did you mean 'games/web'" in people.ask(ROOT, "restart", "games/wib").stderr
    assert people.said(ROOT, "whoami", people.said(PLAYER, "show", "--value", "-P", "MainPID", "web").strip()) == (
        "games/web\n"
    )


# --- auth -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("uid", "line", "said", "status"),
    [
        (ALICE, "stop web", "yes: owner", 0),
        (ALICE, f"stop {ALICE}/not-there", "yes: owner", 0),
        (ALICE, "edit web", "yes: owner", 0),
        (BOB, f"edit {ALICE}/web", "no: no rule allows it", 4),
        (BOB, f"restart {ALICE}/web", "yes: {toml}:2", 0),
        (BOB, f"stop {ALICE}/web", "no: no rule allows it", 4),
        (BOB, f"status {ALICE}/private", "no: no rule allows it", 4),
        (EVE, f"status {ALICE}/web", "no: no rule allows it", 4),
        (EVE, "shutdown", "no: it is for administrators", 4),
        (ROOT, f"stop {ALICE}/web", "yes: root", 0),
        (ROOT, f"restart {ALICE}/web --as {BOB}", "yes: {toml}:2", 0),
        (ROOT, f"stop {ALICE}/web --as {BOB}", "no: no rule allows it", 4),
    ],
)
def test_can_i(people: People, uid: int, line: str, said: str, status: int) -> None:
    done = people.ask(uid, "auth", "can-i", *line.split())
    assert (done.stdout, done.stderr, done.returncode) == (said.format(toml=people.toml) + "\n", "", status)


def test_who_may_ask_for_others(people: People) -> None:
    done = people.ask(BOB, "auth", "can-i", "stop", "web", "--as", str(ALICE))
    assert (done.returncode, done.stdout) == (4, "")
    assert "administrators" in done.stderr


def test_rules_are_shown_to_whom_they_concern(people: People) -> None:
    assert json.loads(people.said(BOB, "auth", "rules", "-o", "json"))["rules"][0]["users"] == [str(BOB)]
    assert json.loads(people.said(EVE, "auth", "rules", "-o", "json"))["rules"] == []
    assert f"1 rule in {people.toml}.\n" in people.said(ROOT, "auth", "rules")


def test_the_audit_says_who_asked(people: People) -> None:
    assert people.ask(BOB, "restart", f"{ALICE}/web", groups="4,27").returncode == 0
    (newest, *_) = json.loads(people.said(ALICE, "history", "--audit", "-n", "5", "-o", "json", "web"))
    assert {row["by_uid"] for row in [newest]} == {BOB}
    assert newest["by_gid"] == BOB
    assert people.said(EVE, "history", "--audit", "--no-legend") == ""


def test_what_may_be_seen_and_not_read_is_shown_without_its_output(people: People) -> None:
    people.toml.write_text(f'[[allow]]\nusers = ["{EVE}"]\nactions = ["status"]\nowners = ["{ALICE}"]\n')
    try:
        people.ask(ROOT, "daemon-reload", check=True)
        for word in (f"{ALICE}/web", f"{ALICE}/w*"):
            done = people.ask(EVE, "status", word)
            assert (done.returncode, done.stderr) == (0, ""), word
            assert "running" in done.stdout
            assert "from alice\n" not in done.stdout
        run = json.loads(people.said(EVE, "history", "-o", "json", f"{ALICE}/web"))[0]
        done = people.ask(EVE, "logs", run["run"])
        assert f"cannot do this with {ALICE}/web#{run['number']}: logs is not allowed for uid {EVE}" in done.stderr
    finally:
        people.toml.write_text(RULES)
        people.ask(ROOT, "daemon-reload", check=True)


def test_whoever_purges_anothers_job_does_not_purge_that_he_has(people: People) -> None:
    people.said(ALICE, "run", "-u", "doomed", "--wait", "--", "true")
    people.said(ROOT, "rm", "--purge", f"{ALICE}/doomed")
    (act,) = json.loads(people.said(ROOT, "history", "--audit", "-n", "1", "-o", "json"))
    assert (act["event"], act["job"], act["by_uid"]) == ("purged", None, ROOT)
    assert act["reason"] == f"{ALICE}/doomed, with its runs and logs"
    people.said(ALICE, "run", "-u", "doomed", "--wait", "--", "true")
    people.said(ALICE, "rm", "--purge", "doomed")
    assert json.loads(people.said(ROOT, "history", "--audit", "-n", "1", "-o", "json")) == [act]


# --- what goes along --------------------------------------------------------------------------------------------------
def environment(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_nothing_of_roots_goes_along_to_another_users_job(people: People) -> None:
    secret = {SECRET: "1", "HOME": "/root", "USER": "root", "LD_PRELOAD": ""}
    ran = people.ask(ROOT, "run", "-f", "-p", f"user={GAMES}", "-E", "MINE=1", "--", "env", env=secret, check=True)
    env = environment(ran.stdout)
    entry = pwd.getpwnam(GAMES)
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == (entry.pw_dir, GAMES, GAMES)
    assert env["MINE"] == "1"
    assert (
        not set(env)
        - {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "MINE", "INVOCATION_ID"}
        - {name for name in env if name.startswith("JOBD_")}
        - {"PWD", "SHLVL", "_"}
    )
    whole = people.ask(ROOT, "run", "-f", "-p", f"user={GAMES}", "--env", "all", "--", "env", env=secret, check=True)
    assert environment(whole.stdout)[SECRET] == "1"
    ids = people.ask(ROOT, "run", "-f", "-p", f"user={GAMES}", "--", "id", "-u", check=True)
    assert ids.stdout == f"{PLAYER}\n"


def test_a_directory_that_is_roots_is_told_with_the_way_out(people: People) -> None:
    closed = people.root / "roots"
    closed.mkdir(mode=0o700)
    done = people.ask(ROOT, "run", "-u", "no", "-C", str(closed), "-p", f"user={GAMES}", "--", "true")
    assert done.returncode == 126
    said = f"cannot start no: changing directory to {closed}: Permission denied (as {GAMES}; -C chooses another)"
    assert done.stderr == f"jobctl: {said}\n"


def test_only_root_may_run_as_somebody_else(people: People) -> None:
    done = people.ask(ALICE, "run", "-p", f"user={BOB}", "--", "true")
    assert done.returncode == 4
    assert done.stdout == ""


def test_root_who_restarts_a_users_job_brings_nothing(people: People) -> None:
    people.said(ALICE, "run", "-u", "tells", "--shell", "--wait", "--", "env; id -u; pwd")
    for act in (["restart"], ["rerun", "--wait"]):
        people.ask(ROOT, *act, f"{ALICE}/tells", env={SECRET: "1"}, check=True)
        people.ask(ALICE, "wait", "tells")
        said = people.said(ALICE, "logs", "-o", "cat", "tells")
        assert SECRET not in said
        assert f"\n{ALICE}\n" in said


def test_a_daemon_that_is_root_says_so(people: People) -> None:
    assert "       User: root (0), and no user of its own\n" in people.said(ALICE, "daemon-status")
