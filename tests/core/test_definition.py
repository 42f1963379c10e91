"""Definitions are TOML, and give the same job again."""

from __future__ import annotations

import random
import tomllib
from typing import TYPE_CHECKING

import pytest

from jobd.core import definition
from jobd.core.definition import NO_TOML, TOO_LARGE, quote, render
from jobd.core.spec import KEYS, JobSpec, parse_settings

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
    return tomllib.loads(text)


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
        'runtime = "1h 30min"\nnice = 5\numask = "077"\n'
        'core = "infinity"\n'
        '# resource limit: nice = "0"\n'
        'nofile = "1024:4096"\n'
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


def flat(found: dict[str, object], prefix: str = "") -> dict[str, str]:
    """Keys with their values as the text of `run -p`."""
    settings: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            settings |= flat(value, f"{key}.")
        elif prefix + key in KEYS:
            settings[prefix + key] = str(value).lower() if isinstance(value, bool) else str(value)
    return settings


def test_every_key_reads_back_as_the_field_it_was_written_from() -> None:
    rng = random.Random(2)
    written: set[str] = set()
    for _ in range(1000):
        fields: dict[str, object] = {
            "description": rng.choice(("", "x", "y z")),
            "user": rng.choice(("", "alice", "61001", "bj\xf6rn")),
            "stop_signal": rng.choice((15, 2, 9, 35, 63)),
            "stop_timeout_usec": rng.choice((None, 10_000_000, 0, rng.randrange(10**15))),
            "kill_mode": rng.choice(("control-group", "mixed", "process")),
            "runtime_usec": rng.choice((None, 1, rng.randrange(10**13))),
            "log_max_size": rng.choice((None, 4096, 1 << 30, rng.randrange(4096, 10**12))),
            "merge_output": rng.random() < 0.5,
            "on_full": rng.choice(("block", "drop")),
            "success_codes": rng.choice(((0,), (0, 75), (0, 1, 255))),
            "umask": rng.choice((0o22, 0o77, 0, 0o777)),
            "nice": rng.choice((0, 5, -20, 19)),
        }
        settings = flat(loaded(make("x", **fields)))
        written |= settings.keys()
        parsed = parse_settings(settings)
        default = make("x")
        for field, value in fields.items():
            assert parsed.get(field, getattr(default, field)) == value, field
    assert written == set(KEYS)


def test_sizes_are_exact() -> None:
    assert [definition._size(size) for size in (None, 0, 1, 1023, 1024, 1025, 3 << 20, 1 << 40)] == [
        "infinity", "0", "1", "1023", "1K", "1025", "3M", "1T",
    ]  # fmt: skip
