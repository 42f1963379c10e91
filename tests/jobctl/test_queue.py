"""queue, cancel, hold, release, and run's options for what waits: what is asked, and what is shown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobctl.__main__ import dispatch, invoke
from jobctl.argv import parse
from jobctl.client import Client
from jobctl.spellings import QUEUE_NEIGHBOURS
from jobctl.verb_queue import MAX_SLOTS, VERBS, _slots, shown_queue
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, run_view, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.connect import Target
    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

ME = os.geteuid()
OTHER = ME + 54_321
FULL = "is full: held by make-41, make-43"
QUEUES = m.Queues(
    queues=[
        m.QueueView(name="batch", slots=2),
        m.QueueView(name="build"),
        m.QueueView(
            name="build", owner=ME, slots=4, state="paused", used=4, running=2, waiting=37, held=1, reason=FULL
        ),
        m.QueueView(name="x", owner=OTHER, slots=1),
    ]
)
RUNS = [
    run_view("make-41", state="running", result=None, weight=2, queue="build"),
    run_view("make-44", state="queued", result=None, started_at=None, position=1, priority=5, queue="build"),
    run_view("make-45", state="queued", result=None, started_at=None, held=True, queue="build"),
]
DETAIL = m.QueueDetail(view=QUEUES.queues[2], runs=RUNS, others=3)
SCRIPT = table(
    queue_list=lambda _: QUEUES, queue_show=lambda _: DETAIL, queue_add=lambda _: m.Ok(), queue_set=lambda _: m.Ok(),
    queue_remove=lambda _: m.Ok(), queue_switch=lambda _: m.Ok(), cancel_queued=lambda _: [m.Done(job="web")],
    hold=lambda _: [m.Done(job="web")], release=lambda _: [m.Done(job="web")],
    run=lambda _: m.Started(job="true-1", owner=ME, run=RUN_ID, number=1, waits="for queue build"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Verbs leave their connections to the end of the process, which does not come here."""
    made: list[Client] = []
    init = Client.__init__

    def remember(self: Client, target: Target, start: bool = True) -> None:
        init(self, target, start)
        made.append(self)

    monkeypatch.setattr(Client, "__init__", remember)
    yield
    for client in made:
        client.close()


def called(path: str, line: str) -> int:
    """The status of a line, which the light parser has to take."""
    call = parse(["--socket", path, *line.split()])
    assert call is not None, line
    return invoke(call)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("queue", m.QueueList(id=1)),
        ("queue list -a b*", m.QueueList(id=1, patterns=["b*"], all=True)),
        ("queue add build", m.QueueAdd(id=1, name="build")),
        ("queue add build slots=4 --shared", m.QueueAdd(id=1, name="build", slots=4, shared=True)),
        ("queue set build slots=0", m.QueueSet(id=1, name="build", slots=0)),
        ("queue set alice/build slots=infinity", m.QueueSet(id=1, name="alice/build", slots=-1)),
        ("queue pause build", m.QueueSet(id=1, name="build", state="paused")),
        ("queue resume build", m.QueueSet(id=1, name="build", state="open")),
        ("queue drain build", m.QueueSet(id=1, name="build", state="draining")),
        ("queue rm build", m.QueueRemove(id=1, name="build")),
        ("queue show build", m.QueueShow(id=1, name="build")),
        ("cancel web", m.CancelQueued(id=1, names=["web"])),
        ("hold web", m.Hold(id=1, names=["web"])),
        ("release web ice", m.Release(id=1, names=["web", "ice"])),
    ],
)
def test_what_is_asked(daemon: Make, line: str, asked: m.Request) -> None:
    fake = daemon(SCRIPT)
    assert called(fake.path, line) == 0
    assert fake.requests == [asked]


def test_a_switch_has_a_name_of_its_own(daemon: Make) -> None:
    fake = daemon(SCRIPT)
    assert called(fake.path, "queue switch a b") == 0
    (request,) = fake.requests
    assert isinstance(request, m.QueueSwitch)
    assert (request.first, request.second, len(request.once)) == ("a", "b", 32)


def test_several_queues_are_changed_one_by_one(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    def script(request: m.Request) -> m.Ok | m.Fault:
        assert isinstance(request, m.QueueSet)
        known = request.name == "b"
        return m.Ok() if known else m.Fault(id=0, code=errors.NOT_FOUND, message=f"cannot find queue {request.name!r}")

    fake = daemon(table(queue_set=script))
    assert called(fake.path, "queue pause a b a") == errors.exit_status(errors.NOT_FOUND, errors.ACTION)
    assert [request.name for request in fake.requests] == ["a", "b"]  # type: ignore[union-attr]
    assert capfd.readouterr().err == "jobctl: cannot find queue 'a'\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("queue nonsense", "unknown verb of queue 'nonsense'; it is one of list, show,"),
        ("queue shw build", "did you mean 'show'?"),
        ("queue add", "queue add needs the name of a queue"),
        ("queue set build", "queue set needs what to set: slots=N"),
        ("queue set build 4", "cannot set '4': write slots=N"),
        ("queue set build slot=4", "unknown setting of a queue 'slot'; did you mean 'slots'?"),
        ("queue set build slots=many", "cannot read 'slots=many'"),
        ("queue set build slots=-1", "cannot read 'slots=-1'"),
        ("queue switch a", "queue switch needs two jobs that wait"),
        ("queue show a b", "cannot show more than one queue at a time"),
        ("queue pause -a", "queue pause has no option -a"),
        ("queue set build slots=1 --shared", "queue set has no option --shared"),
        ("queue rm build -o json", "queue rm shows nothing"),
        ("queue show build -o name", "unknown output format 'name'"),
        ("run --queue a -p queue=b true", "cannot set queue twice"),
    ],
)
def test_what_means_nothing(daemon: Make, line: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    fake = daemon(SCRIPT)
    assert called(fake.path, line) == 2
    assert said in capfd.readouterr().err
    assert fake.requests == []


def test_slots_have_the_bounds_of_the_messages() -> None:
    assert MAX_SLOTS == m.MAX_SLOTS
    assert (_slots([]), _slots(["slots=1000000"]), _slots(["slots=infinity"])) == (None, MAX_SLOTS, m.NO_LIMIT)


def test_names_are_those_that_can_be_typed() -> None:
    assert shown_queue("build", ME, ME) == "build"
    assert (shown_queue("build", None, ME), shown_queue("build", None, ME, True)) == ("build", "shared/build")
    assert shown_queue("build", OTHER, ME) == f"{OTHER}/build"


def test_the_list(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    path = daemon(SCRIPT).path
    assert called(path, "queue list") == 0
    lines = [line.split(None, 8) for line in capfd.readouterr().out.splitlines()]
    assert lines[0] == ["QUEUE", "OWNER", "STATE", "SLOTS", "USED", "RUNNING", "WAITING", "HELD", "REASON"]
    assert lines[1] == ["batch", "shared", "open", "2", "0", "0", "0", "0", "-"]
    assert lines[2][:4] == ["shared/build", "shared", "open", "infinity"]
    assert lines[3][2:] == ["paused", "4", "4", "2", "37", "1", FULL.removeprefix("is ")]
    assert " ".join(lines[-1]) == "4 queues listed."
    assert called(path, "queue list -o name") == 0
    assert capfd.readouterr().out.splitlines() == ["batch", "shared/build", "build", f"{OTHER}/x"]
    assert called(path, "queue -o json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [row["slots"] for row in rows] == [2, None, 4, 1]
    assert (rows[2]["reason"], rows[1]["shared"], rows[1]["owner"]) == (FULL, True, None)


def test_one_queue_and_its_runs(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    path = daemon(SCRIPT).path
    assert called(path, "queue show build") == 0
    shown = capfd.readouterr().out
    assert f"      State: paused; {FULL.removeprefix('is ')}\n" in shown
    assert "      Slots: 4 (4 taken)\n       Runs: 2 running, 37 waiting, 1 held\n" in shown
    rows = [line.split() for line in shown.splitlines() if "make-" in line and "State" not in line]
    assert [(row[0], row[2], row[3], row[4], row[5]) for row in rows] == [
        ("-", "make-41#1", "running", "0", "2"),
        ("1", "make-44#1", "queued", "5", "1"),
        ("-", "make-45#1", "held", "0", "1"),
    ]
    assert shown.endswith("\n3 runs of others are not shown.\n")
    assert called(path, "queue show build -o json") == 0
    row = json.loads(capfd.readouterr().out)
    assert (row["queue"], row["others"], [run["position"] for run in row["runs"]]) == ("build", 3, [None, 1, None])


def test_a_queue_that_is_paused_is_said_to_be_so_once(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    view = m.QueueView(name="build", owner=ME, slots=4, state="paused", waiting=1, reason="is paused")
    script = table(queue_show=lambda _: m.QueueDetail(view=view, runs=[]), queue_list=lambda _: m.Queues(queues=[view]))
    path = daemon(script).path
    assert called(path, "queue show build") == 0
    assert "      State: paused\n" in capfd.readouterr().out
    assert called(path, "queue list --no-legend") == 0
    assert capfd.readouterr().out.split()[2:] == ["paused", "4", "0", "0", "1", "0", "-"]


def test_words_of_neighbours_lead_to_the_verb_of_queue(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    path = daemon(SCRIPT).path
    for typed, meant in {**QUEUE_NEIGHBOURS, "pasue": "pause"}.items():
        assert (typed in VERBS, meant in VERBS) == (False, True)
        assert called(path, f"queue {typed} build") == 2
        assert capfd.readouterr().err == f"jobctl: unknown verb of queue {typed!r}; did you mean {meant!r}?\n"


def test_pages_of_runs_are_shown_one_after_the_other(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    def show(request: m.Request) -> m.QueueDetail:
        assert isinstance(request, m.QueueShow)
        at = int(request.after or 0)
        more = str(at + 1) if at < 2 else ""
        return m.QueueDetail(view=QUEUES.queues[2], runs=[RUNS[at]], more=more)

    assert called(daemon(table(queue_show=show)).path, "queue show build") == 0
    out = capfd.readouterr().out
    assert [out.count(f"make-4{n}#1") for n in (1, 4, 5)] == [1, 1, 1]
    assert out.count("WEIGHT") == 1


@pytest.mark.parametrize(
    ("line", "settings", "hold"),
    [
        ("run --queue build true", {"queue": "build"}, False),
        ("run --queue=x --priority -5 --hold -p weight=2 -- a", {"queue": "x", "priority": "-5", "weight": "2"}, True),
        ("run --hold true", {}, True),
    ],
)
def test_run_says_how_it_waits(
    daemon: Make, line: str, settings: dict[str, str], hold: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    fake = daemon(SCRIPT)
    assert called(fake.path, line) == 0
    request = next(each for each in fake.requests if isinstance(each, m.Run))
    assert (request.settings, request.hold) == (settings, hold)
    assert capfd.readouterr() == ("true-1\n", "")  # nobody looks: a script reads the name, and cron mails nothing


def test_help_tells_of_the_verbs_of_queue(capfd: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["help", "queue"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "pause NAME...: begin nothing." in out
