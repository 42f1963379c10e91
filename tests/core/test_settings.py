"""Keys of a job file given as text, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import service
from jobd.core.jobkeys import KEYS
from jobd.core.plan import SCHEDULE
from jobd.core.settings import TRANSIENT, check, parse_settings, values
from jobd.core.spec import JobSpec, SpecError


def test_settings_are_typed_by_their_key() -> None:
    fields = parse_settings(
        {
            "stop.timeout": "1min 30s",
            "stop.signal": "int",
            "stop.kill_mode": "mixed",
            "stop.command": "sh -c 'kill $MAINPID'",
            "reload.command": '["a b", "c"]',
            "logs.max_size": "1M",
            "logs.merge_output": "yes",
            "logs.on_full": "drop",
            "limits.runtime": "infinity",
            "limits.nofile": "10:20",
            "limits.tasks": "9",
            "limits.cpu": "50%",
            "success_exit_status": "75 3 TEMPFAIL,SIGKILL",
            "description": "a <b> 100%",
            "after": "db, cache",
            "requires": '["db"]',
            "environment_file": "-a.env /b.env",
            "ready.tcp": "8000",
            "health.command": "[ -e /x ]",
            "health.interval": "5",
            "health.timeout": "2",
        },
        b"/srv",
    )
    assert fields == {
        "stop_timeout_usec": 90_000_000,
        "stop_signal": 2,
        "kill_mode": "mixed",
        "stop_command": (b"sh", b"-c", b"kill $MAINPID"),
        "reload_command": (b"a b", b"c"),
        "log_max_size": 1 << 20,
        "merge_output": True,
        "on_full": "drop",
        "runtime_usec": None,
        "rlimits": {"nofile": (10, 20)},
        "tasks_max": 9,
        "cpu_percent": 50,
        "success_codes": (0, 3, 75),
        "success_signals": (9,),
        "description": "a <b> 100%",
        "after": ("db", "cache"),
        "requires": ("db",),
        "env_files": ((b"/srv/a.env", True), (b"/b.env", False)),
        "ready": service.Check(kind="tcp", target="localhost:8000"),
        "health": service.Health(
            service.Check(kind="command", argv=(b"[", b"-e", b"/x", b"]")),
            interval_usec=5_000_000,
            timeout_usec=2_000_000,
        ),
    }


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("RuntimeMaxSec", 'unknown key "RuntimeMaxSec"; here it is "limits.runtime"'),
        ("MemoryMax", 'unknown key "MemoryMax"; here it is "limits.memory"'),
        ("limits.MemoryMax", 'unknown key "limits.MemoryMax"; here it is "limits.memory"'),
        ("slots", 'unknown key "slots"; here it is "weight"'),
        ("WantedBy", 'unknown key "WantedBy"; a job starts with jobd after jobctl enable'),
        ("colour", 'unknown key "colour"; jobd.job(5) has them all'),
        ("runtime", 'unknown key "runtime"; did you mean "limits.runtime"?'),
        ("timeout", 'unknown key "timeout"; did you mean "ready.timeout" or "health.timeout" or "stop.timeout"?'),
        ("stop.timeuot", 'unknown key "stop.timeuot"; did you mean "stop.timeout"?'),
        ("stop", 'unknown key "stop"; did you mean "stop.signal"?'),
        ("command", "cannot set command: of a transient job that is the command itself"),
        ("environment.A", "cannot set environment.A: of a transient job that is jobctl run -E"),
        ("logs.keep_runs", 'cannot set logs.keep_runs: it must be a number or "infinity", not "1h"'),
    ],
)
def test_an_unknown_key_names_the_one_meant(key: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_settings({key: "1h"})
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("stop.timeout", "soon"),
        ("stop.signal", "SIGFOO"),
        ("stop.kill_mode", "proces"),
        ("logs.merge_output", "maybe"),
        ("logs.max_size", "1"),
        ("limits.umask", "999"),
        ("limits.nice", "x"),
        ("limits.nice", "77"),
        ("limits.memory", "512"),
        ("limits.tasks", "many"),
        ("user", ""),
        ("user", "0day"),
        ("user", "-1"),
        ("user", "4294967295"),
        ("user", "a b"),
        ("success_exit_status", "300"),
        ("after", "alice/db"),
        ("restart", "sometimes"),
        ("ready.delay", "infinity"),
    ],
)
def test_a_bad_value_is_named_with_its_key(key: str, text: str) -> None:
    with pytest.raises(SpecError, match=f"^cannot set {key}: it .*{text}"):
        parse_settings({key: text})


def test_all_that_is_wrong_is_told() -> None:
    with pytest.raises(SpecError) as caught:
        parse_settings({"limits.nice": "77", "restart": "no", "stop.signal": "x", "after": "a b/c"})
    assert str(caught.value) == (
        'cannot set after: it has "b/c": jobs depend on jobs of the same owner; write "c"; '
        "cannot set stop.signal: it must be a signal, such as \"SIGTERM\": unknown signal 'x'; "
        "cannot set limits.nice: it must be from -20 to 19, not 77"
    )


def test_what_contradicts_itself_is_refused() -> None:
    check(JobSpec(argv=(b"x",), cwd=b"/"))
    with pytest.raises(
        SpecError, match=r'cannot set restart: it cannot be "always" with type = "oneshot": it would run'
    ):
        check(JobSpec(argv=(b"x",), cwd=b"/", type="oneshot", restart="always"))
    with pytest.raises(SpecError, match='cannot set after: it names the job itself, "web"'):
        check(JobSpec(argv=(b"x",), cwd=b"/", after=("web",)), "web")


def test_every_key_of_a_transient_job_can_be_set() -> None:
    assert set(KEYS) - set(TRANSIENT) == {"command", "shell", "working_directory", "environment", *SCHEDULE}


@given(st.dictionaries(st.sampled_from([*KEYS, "x", "environment.A"]), st.text(max_size=12), max_size=4))
def test_any_text_gives_fields_or_a_typed_error(settings: dict[str, str]) -> None:
    for read in (parse_settings, values):
        try:
            found = read(settings)
        except SpecError as error:
            found = {"": str(error)}
        assert bool(found) == bool(settings)
