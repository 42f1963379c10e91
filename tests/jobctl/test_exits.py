"""Exit statuses: the wire's table, the man page's, and what every verb does are one and the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.__main__ import invoke
from jobctl.argv import parse
from jobctl.client import Client
from jobctl.spellings import VERBS
from jobd.core import exits as core_exits
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.connect import Target
    from tests.jobctl.fakes import Answer, FakeDaemon, Script

    Make = Callable[[Script], FakeDaemon]

PAGE = Path(__file__).parents[2] / "man" / "jobctl.1"
COLUMNS = {errors.ACTION: 0, errors.LOOK: 1, errors.JOB: 2}
LINES = {  # of each kind, every verb and what makes it another kind
    errors.ACTION: [
        "run true", "rerun web", "start web", "stop web", "restart web", "kill web", "freeze web", "thaw web",
        "reset-failed web", "rm web", "daemon-reload", "daemon-reexec", "shutdown", "enable web", "disable web",
        "mask web", "unmask web", "edit web", "revert web", f"add {__file__} --name web",
        "try-restart web", "reload web", "reload-or-restart web", "set-property web limits.memory=1G",
        "cancel web", "hold web", "release web", "queue set build slots=1", "queue pause build", "queue rm build",
        "queue switch web ice", "queue add build",
    ],
    errors.LOOK: [
        "list", "status web", "status", "show web", "cat web", "is-active web", "is-failed web", "logs web",
        "logs -f web", "result web", "history web", "why web", "events web", "whoami 1", "auth whoami", "daemon-status",
        "is-system-running", "is-enabled web", "list-job-files",
        "list-dependencies web", "queue", "queue list", "queue show build", "list-timers",
    ],
    errors.JOB: [
        "run --wait true", "run -f true", "run -P true", "rerun --wait web", "attach web", "wait web", "wait",
    ],
}  # fmt: skip
WITHOUT_JOBD = ("completion", "verify")


def table() -> dict[str, list[str]]:
    """The cells of each status, as the page has them."""
    text = PAGE.read_text().partition(".Sh EXIT STATUS")[2].partition("\n.El")[0]
    rows = re.findall(r"^\.It (\d[\w+]*) Ta (.*)$", text, re.MULTILINE)
    return {status: [cell.strip().strip('"') for cell in re.split(r" ?\bTa\b ?", cells)] for status, cells in rows}


def test_every_verb_is_tried() -> None:
    tried = {line.split()[0] for lines in LINES.values() for line in lines}
    assert tried >= {*VERBS} - {*WITHOUT_JOBD}


@pytest.mark.parametrize("kind", LINES)
def test_the_page_has_every_status_of_the_table(kind: int) -> None:
    told = table()
    for code, statuses in errors.EXIT.items():
        cells = told[str(statuses[kind])]
        assert cells[COLUMNS[kind]], (code, statuses[kind])


def test_every_code_is_in_the_table() -> None:
    assert set(errors.EXIT) == set(errors.CODES)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """The clients that verbs make: they are left open for the end of the process, which here does not come."""
    made: list[Client] = []
    init = Client.__init__

    def remember(self: Client, target: Target, start: bool = True) -> None:
        init(self, target, start)
        made.append(self)

    monkeypatch.setattr(Client, "__init__", remember)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "line"), [(kind, line) for kind, lines in LINES.items() for line in lines if line.split()[0] in VERBS]
)
def test_every_verb_ends_as_the_table_says(
    daemon: Make, kind: int, line: str, clients: list[Client], capfd: pytest.CaptureFixture[str]
) -> None:
    code = ""

    def refusing(request: m.Request) -> Answer:
        yield m.Fault(id=request.id, code=code, message=f"cannot do this: {code}")

    path = daemon(refusing).path
    for code, statuses in errors.EXIT.items():  # the script reads it
        call = parse(["--socket", path, *line.split()])
        assert call is not None
        assert invoke(call) == statuses[kind], code
        while clients:
            clients.pop().close()
        written = capfd.readouterr()
        assert written.out == ""
        assert f"cannot do this: {code}" in written.err


def test_good_results_are_those_of_the_daemon() -> None:
    from jobctl.exits import GOOD_RESULTS

    assert set(GOOD_RESULTS) == core_exits.GOOD_RESULTS
