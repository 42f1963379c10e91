"""man/jobd.job.5, the table of keys and JobSpec tell the same story."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import msgspec
import pytest

from jobd.core import calendartext, service
from jobd.core.jobfile import JobFileError, Owner, Source, job_of, parse
from jobd.core.jobkeys import KEYS, TABLES, Key
from jobd.core.jobwords import hint
from jobd.core.spec import KILL_MODES, ON_FULL, JobSpec

PAGE: Final = Path(__file__).resolve().parents[1] / "man" / "jobd.job.5"
DESIGN: Final = ("ready", "health", "stop", "reload", "limits", "logs", "schedule", "watchdog")
TITLES: Final = {"TOP OF THE FILE": "", **{name.upper(): name for name in DESIGN}}
SETTING: Final = re.compile(
    r"^\.It Va (\w+) Pq ([a-zA-Z ]+?)(?:, default Li (\S+))?((?: ?, Li \w+| , \w+)*)$", re.MULTILINE
)
ROOT: Final = Owner(uid=0, home="/root", runtime_dir="/run", shared=True)
# What no key says: how it was submitted; and what is made of several keys.
NOT_FILES: Final = {"stdin", "gid", "array"}
COMPOSED: Final = {
    "argv", "shell", "cwd", "env_files", "success_codes", "success_signals", "restart_prevent_codes",
    "restart_prevent_signals", "ready", "health", "rlimits",
}  # fmt: skip


def section(title: str) -> str:
    return PAGE.read_text().partition(f".Sh {title}\n")[2].partition("\n.Sh ")[0]


def documented() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Each key with its kind, its default and its names in systemd."""
    found = {}
    for title, table in TITLES.items():
        for word, kind, default, names in SETTING.findall(section(title)):
            name = f"{table}.{word}".lstrip(".")
            assert name not in found
            found[name] = kind, default.replace(r"\(dq", '"'), tuple(re.findall(r"[A-Z]\w+", names.replace("Li ", "")))
    return found


def test_the_page_has_every_key_with_its_kind_default_and_name_in_systemd() -> None:
    assert documented() == {name: (key.kind, key.default, key.systemd) for name, key in KEYS.items()}
    assert list(documented()) == list(KEYS), "in the same order"
    assert set(TITLES.values()) == set(TABLES)


def test_nothing_else_is_written_as_a_key() -> None:
    lines = {title: re.findall(r"^\.It Va (\w+)", section(title), re.MULTILINE) for title in TITLES}
    assert sum(map(len, lines.values())) == len(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS.values() if key.default], ids=lambda key: key.name)
def test_defaults_are_those_of_the_spec(key: Key) -> None:
    value = key.read(tomllib.loads(f"x = {key.default}")["x"])
    spec = JobSpec(argv=(b"x",), cwd=b"/")
    if key.field:
        assert value == getattr(spec, key.field)
    elif key.table == "health":
        usual = service.Health(check=service.Check(kind=service.TCP))
        assert (
            value
            == msgspec.structs.asdict(usual)[
                {"interval": "interval_usec", "timeout": "timeout_usec"}.get(key.word, key.word)
            ]
        )
    elif key.name == "success_exit_status":
        assert value == (spec.success_codes, spec.success_signals)
    elif key.name == "restart_prevent_exit_status":
        assert value == (spec.restart_prevent_codes, spec.restart_prevent_signals)
    else:
        assert (key.name, value) == ("environment_file", list(spec.env_files))


def test_what_has_no_default_is_nothing() -> None:
    spec = JobSpec(argv=(b"x",), cwd=b"/")
    for key in KEYS.values():
        if key.field and not key.default:
            assert not getattr(spec, key.field) and getattr(spec, key.field) is not False, key.name  # noqa: PT018


def test_every_field_of_the_spec_has_a_key() -> None:
    fields = {key.field for key in KEYS.values() if key.field}
    assert fields | COMPOSED | NOT_FILES == set(JobSpec.__struct_fields__)
    assert not fields & COMPOSED


def test_every_name_of_systemd_leads_to_its_key() -> None:
    for name, key in KEYS.items():
        for word in key.systemd:
            for spelled in (word, word.lower()):
                found = hint(spelled, "x")
                assert found is not None
                assert found[0] == f'; here it is "{name}"'


def test_words_that_may_be_chosen() -> None:
    page = PAGE.read_text()
    for name, words in (
        ("type", service.TYPES), ("restart", service.RESTARTS), ("action", service.ACTIONS), ("kill_mode", KILL_MODES),
        ("on_full", ON_FULL),
    ):  # fmt: skip
        text = page.partition(f".It Va {name} Pq")[2].partition("\n.It Va")[0]
        assert set(re.findall(r"^\.(?:Ql|It Li) ([a-z-]+)", text, re.MULTILINE)) >= set(words), name


def examples() -> list[tuple[str, str]]:
    """Job files on the page, with their paths."""
    texts = re.findall(r"\.Bd -literal -offset indent\n(.*?)\.Ed", section("EXAMPLES"), re.DOTALL)
    return [(found[1], text) for text in texts if (found := re.match(r"# (\S+/jobs/\S+)\n", text))]


def test_examples_can_be_taken() -> None:
    found = dict(examples())
    assert len(found) == 6
    jobs = {job_of(path.rpartition("/")[2]): text for path, text in found.items() if ".toml.d/" not in path}
    for name, text in jobs.items():
        assert name is not None
        definition = parse([Source("x", text, b"/j")], name, ROOT)
        assert definition.warnings == ()
        for other in (*definition.spec.requires, *definition.spec.after):
            assert other in jobs
    web = parse(
        [Source("x", jobs["web"], b"/j"), Source("y", next(t for p, t in found.items() if ".d/" in p))], "web", ROOT
    )
    assert (web.spec.memory_max, web.spec.ready) == (2 << 30, service.Check(kind="log", target="Listening at"))
    least = re.findall(r"\.Bd -literal -offset indent\n(command = .*)\n", section("DESCRIPTION"))
    assert parse([Source("x", least[0])], "x", ROOT).spec.argv[0] == b"/usr/bin/redis-server"


def test_the_newcomers_mistakes_are_told_so() -> None:
    text, _, said = section("EXAMPLES").partition("$ cat web.toml\n")[2].partition("\n\n$ jobctl verify web.toml\n")
    with pytest.raises(JobFileError) as caught:
        parse([Source("web.toml", text)], "web", ROOT)
    assert " ".join(caught.value.problems) == " ".join(said.partition("\n.Ed")[0].split("\n"))


def test_every_calendar_expression_on_the_page_is_one() -> None:
    text = section("CALENDAR EXPRESSIONS").partition(".Bd -literal -offset indent\n")[2].partition(".Ed")[0]
    lines = [re.split(r" {2,}", line)[0] for line in text.splitlines()]
    found = [word for line in lines for word in line.split(", ")]
    assert len(found) > 15
    for each in found:
        calendartext.parse(each)
