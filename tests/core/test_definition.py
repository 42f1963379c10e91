"""Definitions are TOML, and give the same job again."""

from __future__ import annotations

import random
import tomllib
from typing import TYPE_CHECKING

import pytest

from jobd.core import jobfile, service
from jobd.core.definition import TOO_LARGE, dropin, render
from jobd.core.jobkeys import KEYS
from jobd.core.keytext import NO_TOML, differences, quote, size_text, texts
from jobd.core.settings import values
from jobd.core.spec import OVERLAPS, JobSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

STRANGE = (
    "", " ", "plain", "two words", 'quo"te', "back\\slash", "\\n", "tab\there", "line\nbreak", "\n", "\n\n", "a\n",
    "\r\n", "cr\rlf", '"""', '""""', 'a"""b\nc', 'ends with "\n"', '\n""', "\n\\", "\x00", "\x01\x1b[31m",
    "\x7f\x80\x9b", "é", "日本語", "\u202e bidi", "\u2028\u2029", "\ufeff", "\U0001f600", "\U000e0001", "#no comment",
    "= [x]", "%i", "'''",
)  # fmt: skip


def loaded(spec: JobSpec, env: Sequence[bytes] = (), name: str = "web") -> dict[str, object]:
    text = render(name, spec, env, {})
    assert text.startswith(f"# transient: {name}\n")
    assert text.endswith("\n")
    assert all(char.isprintable() or char in "\n\t" for char in text), "safe to show"
    return {key: single(value) for key, value in tomllib.loads(text).items()}


def single(value: object) -> object:
    """What a job file means by this: of two percent signs one."""
    if isinstance(value, dict):
        return {key: single(item) for key, item in value.items()}
    if isinstance(value, list):
        return [single(item) for item in value]
    return value.replace("%%", "%") if isinstance(value, str) else value


def make(*argv: str | bytes, **fields: object) -> JobSpec:
    words = tuple(word.encode() if isinstance(word, str) else word for word in argv)
    return JobSpec(**{"argv": words, "cwd": b"/srv", **fields})  # type: ignore[arg-type]  # a test's own words


def test_the_least() -> None:
    text = render("make-3", make("make", "-j4"), [b"PATH=/bin"], {})
    assert text == (
        '# transient: make-3\ncommand = ["make", "-j4"]\nworking_directory = "/srv"\n\n[environment]\nPATH = "/bin"\n'
    )


def test_everything() -> None:
    spec = make(
        "for i in *; do\n  echo \"$i\"\ndone\n", shell=True, description="Web front end", success_codes=(0, 75),
        stop_signal=2, stop_timeout_usec=None, kill_mode="mixed", runtime_usec=5_400_000_000, nice=5, umask=0o77,
        rlimits={"nofile": (1024, 4096), "core": (-1, -1), "stack": (8 << 20, -1), "nice": (0, 0), "cpu": (7, 7)},
        log_max_size=100 << 20, merge_output=True, on_full="drop", stdin="pty",
    )  # fmt: skip
    text = render("web", spec, [b"A=1"], {"cpu": (7, 7)})
    assert text == (
        "# transient: web\n"
        'description = "Web front end"\n'
        'shell = """\nfor i in *; do\n  echo "$i"\ndone\n"""\n'
        'working_directory = "/srv"\n'
        "success_exit_status = [0, 75]\n"
        "# stdin: pty\n"
        "\n[environment]\n"
        'A = "1"\n'
        "\n[stop]\n"
        'signal = "SIGINT"\ntimeout = "infinity"\nkill_mode = "mixed"\n'
        "\n[limits]\n"
        'nofile = "1024:4096"\ncore = "infinity"\nnice = 5\nruntime = "1h 30min"\numask = "077"\n'
        '# resource limit: nice = "0"\n'
        '# resource limit: stack = "8388608:infinity"\n'
        "\n[logs]\n"
        'max_size = "100M"\nmerge_output = true\non_full = "drop"\n'
    )
    tomllib.loads(text)


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_text_comes_back(text: str) -> None:
    value = text.encode()
    found = loaded(make("x", value, value, cwd=value, description=text or "-"), [b"V=" + value, value + b"=1"])
    assert found["command"] == ["x", text, text]
    assert found["working_directory"] == text
    assert found["description"] == (text or "-")
    env = found["environment"]
    assert isinstance(env, dict)
    assert env["V"] == text
    if "=" not in text:
        assert env[text] == "1"
    assert loaded(make(value, shell=True))["shell"] == text


def test_random_text_comes_back() -> None:
    rng = random.Random(5)
    alphabet = "\"\\\n\r\t #=[]{}'aé\x00\x1b\u202e\u2028\U0001f600"
    for _ in range(2000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        assert loaded(make(text.encode(), shell=True, description=text)) == {
            **({"description": text} if text else {}), "shell": text, "working_directory": "/srv"
        }  # fmt: skip


def test_what_is_not_utf8_is_a_comment() -> None:
    bad = b"caf\xe9 \\xe9 \n"
    found = loaded(make("x", bad, cwd=bad), [b"A=" + bad, bad + b"=1", b"B=2", b"C=\xed\xa0\x80", b"novalue", b"=e"])
    assert found == {"environment": {"B": "2", "": "e"}}
    text = render("web", make("x", bad, cwd=bad), [b"A=" + bad, bad + b"=1"], {})
    assert f'{NO_TOML}command = ["x", "caf\\xe9 \\\\xe9 \\n"]' in text
    assert f'{NO_TOML}working_directory = "caf\\xe9 \\\\xe9 \\n"' in text
    assert f'{NO_TOML}A = "caf\\xe9 \\\\xe9 \\n"' in text
    assert '# no variable: "caf\\xe9 \\\\xe9 \\n=1"' in text
    script = render("web", make(bad, shell=True), [], {})
    assert f"{NO_TOML}shell = " in script
    tomllib.loads(script)


def test_a_variable_that_is_there_twice_counts_once() -> None:
    found = loaded(make("x"), [b"A=1", b"A=2", b"B=3"])
    assert found["environment"] == {"A": "1", "B": "3"}


def test_an_environment_that_is_left_out_is_said() -> None:
    text = render("web", make("x"), TOO_LARGE, {})
    assert "# its environment is too large to be shown here\n" in text
    assert "environment" not in tomllib.loads(text)


def test_lone_surrogates_do_not_get_out() -> None:
    assert quote("a\udce9b") == '"a\\xe9b"'
    quote("\ud800").encode()


def parsed(text: str) -> JobSpec:
    owner = jobfile.Owner(uid=0, home="/root", runtime_dir="/run", shared=True)
    return jobfile.parse([jobfile.Source("/j/web.toml", text)], "web", owner).spec


def some(rng: random.Random) -> JobSpec:
    """A job with anything in it."""
    text = rng.choice(("x", "100%", "%i %%n", "a\n\"b'", "é\u202e"))
    check = rng.choice((
        None, service.Check("tcp", "localhost:80"), service.Check("http", "http://[::1]:80/%20"),
        service.Check("unix", "/run/%n"), service.Check("log", "up|100%"), service.Check("command", argv=(b"a", b"%")),
        service.Check("delay", delay_usec=rng.randrange(10**9)),
    ))  # fmt: skip
    names = (("a",), ("b", "c@1"), ())
    usec = rng.randrange(1, 10**12)
    health = service.Health(
        check or service.Check("tcp", "h:1"), 10**13, usec, rng.randrange(1, 9), rng.choice(service.ACTIONS)
    )
    return JobSpec(
        argv=rng.choice(((b"x", b"%i", b""), (text.encode(),))),
        cwd=rng.choice((b"/", b"/a %h b")),
        description=text,
        user=rng.choice(("", "alice", "61001", "bj\xf6rn")),
        env_files=rng.choice(((), ((b"/a%b", True), (b"/c d", False)))),
        stop_signal=rng.choice((15, 2, 9, 35, 63)),
        stop_timeout_usec=rng.choice((None, 10_000_000, 0, usec)),
        stop_command=rng.choice(((), (b"kill", b"$MAINPID"))),
        kill_mode=rng.choice(("control-group", "mixed", "process")),
        reload_signal=rng.choice((None, 1)),
        runtime_usec=rng.choice((None, 1, usec)),
        keep_runs=rng.choice((None, -1, 1, 50)), keep_for_usec=rng.choice((None, -1, 7 * 86_400 * 10**6)),
        log_max_size=rng.choice((None, 4096, 1 << 30, rng.randrange(4096, 10**12))),
        merge_output=rng.random() < 0.5,
        on_full=rng.choice(("block", "drop")),
        success_codes=rng.choice(((0,), (0, 75), (0, 1, 255))),
        success_signals=rng.choice(((), (9,))),
        restart_prevent_codes=rng.choice(((), (3, 4))),
        restart_prevent_signals=rng.choice(((), (35,))),
        umask=rng.choice((0o22, 0o77, 0, 0o777)),
        nice=rng.choice((0, 5, -20, 19)),
        rlimits=rng.choice(({}, {"nofile": (5, -1), "core": (7, 7)})),
        type=rng.choice((service.EXEC, service.EXEC if check else service.NOTIFY)),
        remain_after_exit=rng.random() < 0.5,
        restart=rng.choice(service.RESTARTS),
        restart_delay_usec=rng.choice((0, 100_000, 10**9)),
        restart_max_delay_usec=rng.choice((10**9, 2 * 10**9)),
        start_limit=rng.choice(((0, 0), (5, 10_000_000), (1, 7))),
        after=rng.choice(names), before=("z",), requires=rng.choice(names), wants=rng.choice(names),
        binds_to=rng.choice(names), part_of=rng.choice(names), conflicts=("q",), on_failure=rng.choice(names),
        on_success=rng.choice(names),
        essential=rng.random() < 0.5,
        ready=check,
        ready_timeout_usec=rng.choice((None, usec, 90_000_000)),
        health=rng.choice((None, health)) if check is None or check.kind in service.HEALTH_CHECKS else None,
        watchdog_usec=rng.choice((None, usec)),
        memory_max=rng.choice((None, 1 << 30)), cpu_percent=rng.choice((None, 150)), tasks_max=rng.choice((None, 7)),
        oom_score_adjust=rng.choice((None, 0, -5)),
        queue=rng.choice(("", "build", "shared/build")), priority=rng.choice((0, -3, 7)), weight=rng.choice((1, 4)),
        schedule=rng.choice((("daily",), ("Mon..Fri 03:00", "0 3 * * 1"))), schedule_persistent=rng.random() < 0.5,
        schedule_jitter_usec=rng.choice((0, usec)), schedule_overlap=rng.choice(OVERLAPS),
    )  # fmt: skip


def test_every_job_reads_back_as_what_it_was_written_from() -> None:
    rng = random.Random(2)
    written: set[str] = set()
    for _ in range(500):
        made = some(rng)
        assert parsed(render("web", made, [], {})) == made
        assert differences(made, made) == []
        written |= texts(made).keys()
    assert written | {"shell", "reload.command", "environment"} == set(KEYS)


def test_defaults_that_follow_from_other_keys_are_not_written() -> None:
    oneshot = JobSpec(argv=(b"x",), cwd=b"/", type="oneshot", ready_timeout_usec=None)
    slow = JobSpec(argv=(b"x",), cwd=b"/", restart_delay_usec=10**9, restart_max_delay_usec=10**9)
    assert list(texts(oneshot)) == ["command", "working_directory", "type"]
    assert list(texts(slow)) == ["command", "working_directory", "restart_delay"]
    assert parsed(render("x", oneshot, [], {})) == oneshot
    assert parsed(render("x", slow, [], {})) == slow


def test_differences_are_told_by_key() -> None:
    old = JobSpec(argv=(b"x",), cwd=b"/", after=("a",))
    new = JobSpec(
        argv=(b"y",), cwd=b"/", rlimits={"core": (0, 0)}, ready=service.Check("tcp", "h:1"), memory_max=1 << 30
    )
    assert differences(old, new) == ["command", "after", "ready.tcp", "limits.memory", "limits.core"]


def test_a_dropin_of_settings() -> None:
    settings = {
        "limits.cpu": "50%", "description": "100%", "stop.timeout": "5s", "limits.tasks": "7", "essential": "yes",
        "after": "a b", "environment.PORT": "1", "success_exit_status": "[75, 'SIGKILL']",
    }  # fmt: skip
    text = dropin(values(settings))
    assert text == (
        'description = "100%%"\nessential = true\nafter = ["a", "b"]\nsuccess_exit_status = [75, "SIGKILL"]\n'
        '\n[limits]\ncpu = "50%"\ntasks = 7\n\n[stop]\ntimeout = "5s"\n\n[environment]\nPORT = "1"\n'
    )
    assert parsed(f'command = "x"\n{text}').description == "100%"


def test_sizes_are_exact() -> None:
    assert [size_text(size) for size in (None, 0, 1, 1023, 1024, 1025, 3 << 20, 1 << 40)] == [
        "infinity", "0", "1", "1023", "1K", "1025", "3M", "1T",
    ]  # fmt: skip
