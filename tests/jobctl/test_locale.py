"""What is written is UTF-8, and what is typed is bytes, in every locale."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, jobctl, output_frame, run_view, table, view
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
TEXT = "Größe 日本 €"
LOCALES = (
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX"},
    {"LANG": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "nonexistent"},
)
LOOKS = table(
    list=lambda _: m.Jobs(jobs=[view("web", description=TEXT)]),
    get=lambda _: m.Jobs(jobs=[view("web", description=TEXT, note=TEXT, argv=[TEXT.encode()])]),
    history=lambda _: m.Runs(runs=[run_view(argv=[TEXT.encode()])]),
    run=lambda request: m.Started(job="web", owner=0, run=RUN_ID, number=1),  # noqa: ARG005
)


def script(request: m.Request) -> Answer:
    if isinstance(request, m.Logs):
        yield m.Item(id=request.id, body=m.LogRun(job="web", owner=0, run=RUN_ID, number=1, pid=7))
        yield output_frame(request.id, RUN_ID, 1, 0, TEXT.encode() + b"\n")
        yield m.End(id=request.id)
        return
    yield from LOOKS(request)


def environment(locale: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))} | locale


@pytest.mark.parametrize("locale", LOCALES, ids=str)
@pytest.mark.parametrize("line", ["list", "status web", "show web", "history", "logs web", "status -o json web"])
def test_output_is_utf8(daemon: Make, line: str, locale: dict[str, str]) -> None:
    path = daemon(script).path
    piped = jobctl(path, *line.split(), env=environment(locale))
    assert (piped.returncode, piped.stderr) == (0, b"")
    shown = on_terminal(path, *line.split(), columns=200, NO_COLOR="1", **{"LC_ALL": "", **locale})  # type: ignore[arg-type]
    for written in (piped.stdout, shown):
        assert (TEXT.encode() in written) != ("json" in line), written


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_what_is_typed_is_sent_as_it_is(daemon: Make, locale: dict[str, str]) -> None:
    fake = daemon(script)
    line: list[str | bytes] = [
        "run",
        "-p",
        f"description={TEXT}",
        "-C",
        f"/{TEXT}",
        "-E",
        f"A={TEXT}",
        "--",
        TEXT,
        b"\xff",
    ]
    result = jobctl(fake.path, *line, env=environment(locale))
    assert result.returncode == 0, result.stderr
    request = fake.requests[0]
    assert isinstance(request, m.Run)
    assert request.argv == [TEXT.encode(), b"\xff"]
    assert request.cwd == f"/{TEXT}".encode()
    assert f"A={TEXT}".encode() in request.env
    assert request.settings == {"description": TEXT}
