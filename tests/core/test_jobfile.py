"""Job files: what they give, and what is said of those that cannot be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import service
from jobd.core.jobfile import (
    Definition,
    JobFileError,
    Owner,
    Source,
    decode_sources,
    decode_text,
    encode_sources,
    instance_of,
    is_template,
    job_of,
    parse,
    template_of,
)
from jobd.core.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

ALICE = Owner(uid=1000, home="/home/alice", runtime_dir="/run/user/1000")
GUEST = Owner(uid=1001, home="/home/guest", runtime_dir="", shared=True)
ROOT = Owner(uid=0, home="/root", runtime_dir="/run", shared=True)
SEC = 1_000_000


def load(*texts: str, name: str = "web", owner: Owner = ALICE) -> Definition:
    """Of a job file and its drop-ins."""
    paths = ["/j/web.toml", *(f"/j/web.toml.d/{at}.toml" for at in range(1, len(texts)))]
    return parse([Source(path, text) for path, text in zip(paths, texts, strict=True)], name, owner)


def problems(*texts: str, name: str = "web", owner: Owner = ALICE) -> list[str]:
    """All that is wrong, without the directory."""
    with pytest.raises(JobFileError) as caught:
        load(*texts, name=name, owner=owner)
    return [problem.removeprefix("/j/") for problem in caught.value.problems]


def spec(text: str, owner: Owner = ALICE) -> JobSpec:
    return load(f'command = "x"\n{text}', owner=owner).spec


def why(text: str, owner: Owner = ALICE) -> str:
    """The one thing that is wrong with a job file that has this besides its command."""
    (found,) = problems(f'command = "x"\n{text}', owner=owner)
    return found.partition(": ")[2]


def test_the_least() -> None:
    found = load('command = "sleep 1"')
    assert found == Definition(JobSpec(argv=(b"sleep", b"1"), cwd=b"/home/alice"), ())
    assert load('command = "sleep 1"', owner=ROOT).spec.cwd == b"/"


def test_everything_of_the_design() -> None:
    text = """
description = "Web front end"
command = ["gunicorn", "-b", ":8000", "app:api"]
working_directory = "/srv/web"
environment = { PORT = "8000" }
environment_file = ["web.env", "-more.env"]
type = "exec"
restart = "on-failure"
restart_delay = "100ms"
restart_max_delay = "1min"
start_limit = "5/10s"
success_exit_status = [0, 75, "SIGUSR1"]
after = ["db"]
requires = ["db"]
on_failure = ["alert@%n"]
[ready]
tcp = 8000
timeout = "90s"
[health]
http = "http://127.0.0.1:8000/healthz"
[stop]
signal = "SIGTERM"
timeout = "10s"
kill_mode = "mixed"
[reload]
signal = "SIGHUP"
[limits]
memory = "512M"
cpu = "50%"
tasks = 100
nofile = 1024
core = "0:infinity"
nice = 5
oom_score_adjust = 100
runtime = "1h"
umask = "077"
[logs]
max_size = "100M"
merge_output = true
on_full = "drop"
[watchdog]
interval = "30s"
"""
    assert load(text) == Definition(
        JobSpec(
            argv=(b"gunicorn", b"-b", b":8000", b"app:api"), cwd=b"/srv/web", description="Web front end",
            env_files=((b"/j/web.env", False), (b"/j/more.env", True)), restart="on-failure",
            success_codes=(0, 75), success_signals=(10,), after=("db",), requires=("db",), on_failure=("alert@web",),
            ready=service.Check(kind="tcp", target="localhost:8000"),
            health=service.Health(check=service.Check(kind="http", target="http://127.0.0.1:8000/healthz")),
            kill_mode="mixed", reload_signal=1, memory_max=512 << 20, cpu_percent=50, tasks_max=100,
            rlimits={"nofile": (1024, 1024), "core": (0, -1)}, nice=5, oom_score_adjust=100, runtime_usec=3600 * SEC,
            umask=0o77, log_max_size=100 << 20, merge_output=True, on_full="drop", watchdog_usec=30 * SEC,
        ),
        (b"PORT=8000",),
    )  # fmt: skip


def test_all_mistakes_are_told_with_their_places() -> None:
    text = """comand = "x"
MemoryMax = "1G"
after = ["db", "a b", "alice/db", 3]
environment = { A = 1, "B C" = "x", D = "%z" }
type = "simple"

[limits]
timeout = "1s"
  nice = 77
"""
    assert problems(text) == [
        'web.toml:1:1: unknown key "comand"; did you mean "command"?',
        'web.toml:2:1: unknown key "MemoryMax"; here it is "limits.memory"',
        'web.toml:3:35: "after" must be a list of strings; a number is in it; write "3"',
        'web.toml:4:17: "environment" has strings alone, and A is a number; write A = "1"',
        'web.toml:4:24: "environment" has a variable "B C": letters, digits and _ are allowed, no digit first',
        'web.toml:4:37: "environment" has "%z"; known are %i %n %h %t, and %% is a percent sign',
        'web.toml:5:1: "type" must be one of "exec", "notify" and "oneshot", not "simple"; did you mean "exec"?',
        'web.toml:8:1: unknown key "timeout"; it belongs in [ready] or in [health] or in [stop]',
        'web.toml:9:3: "nice" must be from -20 to 19, not 77',
    ]


def test_what_is_no_toml() -> None:
    assert problems('command = "x', "a = ") == [
        "web.toml:1:11: the quotation marks that begin here have no end",
        "web.toml.d/1.toml:1:5: a value is missing",
    ]
    for text, what in (
        ("[Service]\nExecStart=/bin/x", "a unit of systemd"),
        ("[program:web]\ncommand = x", "a configuration of supervisord"),
        ('{"command": "x"}', "JSON"),
        ("# web\nservices:\n  web:", "YAML"),
        ("command: x", "YAML"),
    ):
        (found,) = problems(text)
        assert found.endswith(f"; this looks like {what}, and a job file is TOML: see jobd.job(5)")
    assert problems('command "x"') == ['web.toml:1:9: a key needs a "=" and a value']
    with pytest.raises(JobFileError, match=r"^web.toml:2:3: not UTF-8: byte 0xff$"):
        decode_text(b"a\nbc\xff", "web.toml")
    assert decode_text("é".encode(), "web.toml") == "é"


def check_outcome(texts: Sequence[str], name: str) -> None:
    """A definition or a typed error, whatever is in the texts."""
    found: tuple[str, ...] = ()
    try:
        load(*texts, name=name)
    except JobFileError as error:
        found = error.problems
    assert all(problem.isprintable() for problem in found)
    assert all(problem.startswith("/j/web.toml") for problem in found[:200])


# --- drop-ins -----------------------------------------------------------------------------------------------------
def test_dropins_merge_tables_and_replace_all_else() -> None:
    found = load(
        'command = "x"\nafter = ["a", "b"]\nenvironment = { A = "1", B = "2" }\n[stop]\ntimeout = "5s"\nsignal = "INT"',
        'after = ["c"]\nstop.timeout = "6s"\n[environment]\nB = "3"\n',
        'description = "%n"\n',
    )
    assert found.spec.after == ("c",)
    assert (found.spec.stop_timeout_usec, found.spec.stop_signal) == (6 * SEC, 2)
    assert found.env == (b"A=1", b"B=3")
    assert found.spec.description == "web"


def test_of_what_there_is_one_alone_a_dropin_replaces_the_other() -> None:
    base = 'command = "x"\n[ready]\ntcp = 1\ntimeout = "5s"\n[reload]\nsignal = "HUP"\n'
    found = load(base, 'shell = "y"\nready.log = "up"\nreload.command = "z"\n').spec
    assert found.shell
    assert found.argv == (b"y",)
    assert found.ready == service.Check(kind="log", target="up")
    assert found.ready_timeout_usec == 5 * SEC
    assert (found.reload_signal, found.reload_command) == (None, (b"z",))
    assert len(problems(base, "[ready]\ntcp = 1\nhttp = 'http://x/'\n")) == 1


def test_a_schedule_may_be_a_table_or_what_its_calendar_is() -> None:
    first = 'command = "x"\n[schedule]\ncalendar = "daily"\njitter = "1h"'
    both = load(first, 'schedule = "weekly"').spec
    assert (both.schedule, both.schedule_jitter_usec) == (("weekly",), 3600 * 10**6)
    assert load('command = "x"\nschedule = "daily"', "[schedule]\npersistent = true").spec.schedule == ("daily",)
    assert load(first, "schedule = false").spec.schedule == ()


def test_a_dropin_takes_a_table_away() -> None:
    base = 'command = "x"\nenvironment = { A = "1" }\n[health]\ntcp = 1\n[limits]\nnofile = 1\n'
    found = load(base, "health = false\nenvironment = false\nlimits = false\nstop = false", "[limits]\ncore = 0")
    assert (found.spec.health, found.env, found.spec.rlimits) == (None, (), {"core": (0, 0)})
    assert problems(base, "health = true") == [
        'web.toml.d/1.toml:1:1: "health" is a table, written [health], not true or false',
    ]
    assert why("restart = false").endswith('not false; did you mean "no"?')


def test_mistakes_name_the_dropin() -> None:
    assert problems('command = "x"\n[ready]\ntcp = 1\n', '\n\ntype = "notify"', 'wnts = ["a"]\nstop.timeout = ""') == [
        'web.toml:3:1: "ready.tcp" does not go with type = "notify": the job says itself when it is ready',
        'web.toml.d/2.toml:1:1: unknown key "wnts"; did you mean "wants"?',
        'web.toml.d/2.toml:2:1: "timeout" must be a duration, such as "1min 30s", not "": it is empty',
    ]


def test_relative_paths_are_meant_from_the_job_files_directory() -> None:
    text = 'command = "x"\nworking_directory = "a/../b"\nenvironment_file = ["/x", "-y"]'
    found = load(text).spec
    assert (found.cwd, found.env_files) == (b"/j/b", ((b"/x", False), (b"/j/y", True)))
    assert load('command = "x"', 'environment_file = ["y"]').spec.env_files == ((b"/j/y", False),)
    stored = parse([Source("web.toml", text, b"/srv/\xff")], "web", ALICE).spec
    assert (stored.cwd, stored.env_files) == (b"/srv/\xff/b", ((b"/x", False), (b"/srv/\xff/y", True)))
    with pytest.raises(JobFileError, match=r'"working_directory" has a relative path, "a/../b", and it is not known'):
        parse([Source("web.toml", text)], "web", ALICE)
    assert spec('working_directory = "~"').cwd == b"/home/alice"
    assert spec('working_directory = "~/src"').cwd == b"/home/alice/src"
    assert spec('working_directory = "."').cwd == b"/j"


# --- names and expansions -----------------------------------------------------------------------------------------
def test_expansions() -> None:
    text = """command = 'run "%i x" %n %h %t 100%% %%i'
environment = { A = "%i", "B" = "%%%i%%" }
after = ["db@%i"]
"""
    found = load(text, name="web@80@90")
    assert found.spec.argv == (b"run", b"80@90 x", b"web@80@90", b"/home/alice", b"/run/user/1000", b"100%", b"%i")
    assert found.env == (b"A=80@90", b"B=%80@90%")
    assert found.spec.after == ("db@80@90",)
    assert load(text, name="web@").spec.after == ("db@1",)
    shown = load(text, name="web@").spec
    assert shown.argv == (b"run", b"%i x", b"web@", b"/home/alice", b"/run/user/1000", b"100%", b"%i")
    assert load('command = "x"\ndescription = "No %i"', name="web@").spec.description == "No %i"
    assert load('shell = "date +%%F"').spec.argv == (b"date +%F",)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("%q", 'has "%q"; known are %i %n %h %t, and %% is a percent sign'),
        ("50%", "ends with a single %; known are %i %n %h %t, and %% is a percent sign"),
        ("%i", 'has %i, and "web" is no instance of a template'),
        ("%t", "has %t, and there is no runtime directory"),
    ],
)
def test_what_stands_for_nothing(word: str, said: str) -> None:
    assert why(f'description = "{word}"', GUEST) == f'"description" {said}'
    assert problems(f'command = "x {word}"', owner=GUEST) == [f'web.toml:1:1: "command" {said}']
    assert problems(f'command = ["x", "{word}"]', owner=GUEST) == [f'web.toml:1:17: "command" {said}']


def test_names_of_templates() -> None:
    assert [is_template(name) for name in ("web", "web@", "web@1", "web@1@")] == [False, True, False, False]
    assert [template_of(name) for name in ("web", "web@", "web@1", "@1", "a@b@c")] == [None, None, "web@", None, "a@"]
    assert [instance_of(name) for name in ("web", "web@", "web@1", "a@b@c")] == [None, None, "1", "b@c"]


def test_names_of_files() -> None:
    assert [job_of(name) for name in ("web.toml", "web@.toml", "a.b.toml", "web.toml.d", "web.toml~", ".web.toml")] == [
        "web", "web@", "a.b", None, None, None,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="has ' '"):
        job_of("a b.toml")
    with pytest.raises(ValueError, match="cannot begin with '-'"):
        job_of("-x.toml")


def test_files_survive_their_blob() -> None:
    files = [Source("/j/web.toml", 'command = "x"'), Source("web.toml.d/a.toml", "é", b"/\xff")]
    assert decode_sources(encode_sources(files)) == files


LINES = (
    'command = "x %n"', "command = ['a', '']", 'shell = "x"', "[ready]", "[ready.x]", "[environment]", "[[limits]]",
    "[stop]", "[health]", "tcp = 1", "tcp = '%i'", "timeout = 0", "timeout = 'infinity'", "signal = 'x'",
    "memory = 5", "A = '%q'", "after = ['a', 'web', '%i']", "before = 'a'", "type = 'oneshot'", "type = 'notify'",
    "restart = 'always'", "x.y.z = {}", "environment = { A = 'b' }", "MemoryMax = []", "[Service]", "user = 0",
    "essential = true", "schedule = {}", "'' = 1", "health = 1", "[environment.A]", "working_directory = 'x'",
    "environment_file = ['-', 'x%%']", "=", '"', "'''", "[",
)  # fmt: skip


@given(
    st.lists(st.lists(st.sampled_from(LINES), max_size=8), min_size=1, max_size=3), st.sampled_from(["web", "web@x"])
)
def test_any_lines_give_a_definition_or_a_typed_error(files: list[list[str]], name: str) -> None:
    check_outcome(["\n".join(lines) for lines in files], name)


def test_a_section_of_somebody_elses_is_told_once() -> None:
    found = problems('command = "x"\n[service]\nrestart = "always"\nExecStart = "y"')
    assert [line.partition("; ")[0] for line in found] == [
        'web.toml:2:1: unknown key "service"', 'web.toml:4:1: unknown key "ExecStart"',
    ]  # fmt: skip


def test_no_file_takes_long_or_says_too_much() -> None:
    many = "".join(f"k{at}=1\n" for at in range(3000))
    assert problems(f'command = "x"\n{many}')[-1] == "web.toml:52:1: 2950 more unknown keys"
    assert len(problems(f"[Service]\n{many}")) == 51
    names = ", ".join('"a b"' for _ in range(3000))
    found = problems(f'command = "x"\nafter = [{names}]')
    assert (len(found), found[-1]) == (201, "and 2800 more mistakes")
    assert problems(f'command = "x"\nafter = [{names}, {names}]') == [
        'web.toml:2:1: "after" has more than 4096 elements'
    ]


@given(st.lists(st.text(max_size=60), min_size=1, max_size=3), st.sampled_from(["web", "web@", "web@x"]))
def test_any_text_gives_a_definition_or_a_typed_error(texts: list[str], name: str) -> None:
    check_outcome(texts, name)
