"""The names that a TAB wants: `jobctl [--user …] __complete KIND ARG... PREFIX`, for the files in completions/.

The rules: it starts no daemon, waits a second at most, has nothing to say on stderr and always ends with 0: a TAB that
finds nothing shows nothing. It prints one name a line, with a word on it behind a tab, and plain names only: what a
daemon says is on its way into somebody's command line.

    jobs FILTER PREFIX    names of jobs, others' as alice/web; FILTER is one of FILTERS. Of "runs" a PREFIX with a #
                          wants the job's: web#3
    runs JOB PREFIX       what --run takes for that job
    queues PREFIX         names of queues
"""

from __future__ import annotations

import os

from jobctl import terminal
from jobctl.exits import Fault
from jobctl.names import view_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jobctl.argv import Value
    from jobctl.client import Client
    from jobctl.shapes import Body, JobView

PATIENCE_SEC = 1.0  # a TAB that takes longer is worse than one that shows nothing
RUNS = 20  # of one job; who wants an older one knows its number
REST = ("inactive", "failed")
WAITING = ("queued", "held")
SELECTORS = (("0", "the newest"), ("-1", "the one before"), ("all", "all of them"))

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-/#")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz-() ")


def _is_template(view: JobView) -> bool:
    """Whether it is started under the name of an instance alone."""
    return view["job"].endswith("@")


FILTERS: dict[str, Callable[[JobView], bool]] = {
    "any": lambda _: True,
    "runs": lambda _: True,
    "rest": lambda view: view.get("active", "inactive") in REST and not _is_template(view),
    "live": lambda view: view.get("active", "inactive") not in REST,
    "waiting": lambda view: view.get("sub") in WAITING,
    "held": lambda view: view.get("held", False),
    "failed": lambda view: view.get("active", "inactive") == "failed",
    "frozen": lambda view: view.get("frozen", False),
    "reloads": lambda view: view.get("active", "inactive") not in REST and view.get("can_reload", False),
    "files": lambda view: bool(view.get("file")),
    "enabled": lambda view: view.get("enabled") == "enabled",
    "disabled": lambda view: view.get("enabled") == "disabled",
    "masked": lambda view: view.get("enabled") == "masked",
}


def complete(wanted: Mapping[str, Value], words: list[str]) -> int:
    """Print what fits; 0."""
    from jobctl.__main__ import target_of
    from jobctl.client import Client

    _limit_time()
    try:
        target = target_of(wanted)
        if target.host:
            return 0  # each TAB would be a login over there
        client = Client(target, start=False)
        client.patient = False
        found = _found(client, words)
        lines = [f"{name}\t{word}\n" for name, word in found if name.startswith(words[-1]) and _is_plain(name, word)]
        terminal.say("".join(lines))
    except Exception:
        return 0  # no daemon, no such job, answers of another version, stdout closed: there is nothing to offer
    return 0


def _limit_time() -> None:
    """End, without a word, when the time is up, wherever we are then: connecting, asking or writing."""
    import _signal  # type: ignore[import-not-found]  # the C module; `signal` builds enums

    _signal.signal(_signal.SIGALRM, lambda *_: os._exit(0))
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGALRM])  # whoever started us may have blocked it
    _signal.setitimer(_signal.ITIMER_REAL, PATIENCE_SEC)


def _found(client: Client, words: list[str]) -> Iterable[tuple[str, str]]:
    match words:
        case ["jobs", "runs", prefix] if "#" in prefix:
            job = prefix.partition("#")[0]
            return ((f"{job}#{number}", word) for number, word in _runs(client, job))
        case ["jobs", kind, prefix] if kind in FILTERS:
            return _jobs(client, kind, prefix)
        case ["runs", job, _]:
            return (*SELECTORS, *(_runs(client, job) if job else ()))
        case ["queues", _]:
            return _queues(client)
    return ()


def _jobs(client: Client, kind: str, prefix: str) -> Iterable[tuple[str, str]]:
    """One's own jobs, and those of others that the usual list has; all of an owner's once he is named."""
    if prefix and not _is_plain(prefix):
        return ()
    owner, named, _ = prefix.rpartition("/")
    pages: list[dict[str, object]]
    if named:
        pages = [{"type": "get", "names": [f"{prefix}*"]}]
    elif kind in (
        "live",
        "waiting",
        "held",
        "failed",
        "frozen",
    ):  # the usual list has them all, and a page of it is more than enough
        pages = [{"type": "list"}]
    else:
        pages = [{"type": "get", "names": [f"{prefix}*"]}, {"type": "list"}]
    found: dict[str, str] = {}
    for body in _bodies(client, pages):
        for view in body["jobs"]:
            name = f"{owner}/{view['job']}" if named else view_name(view, client)
            if FILTERS[kind](view):
                found[name] = view.get("sub", "dead")
    return found.items()


def _bodies(client: Client, pages: list[dict[str, object]]) -> Iterator[Body]:
    """The answers; where those of everybody fill a page, one's own besides."""
    for answer in client.gather(pages, lambda: None):
        if isinstance(answer, Fault):
            continue
        yield answer[0]
        if len(pages) == 1 and answer[0].get("more"):
            yield client.call({"type": "list", "patterns": [f"{client.uid}/*"]}, repeat=False)


def _runs(client: Client, job: str) -> Iterable[tuple[str, str]]:
    if not _is_plain(job):
        return ()
    rows = client.call({"type": "history", "jobs": [job], "limit": RUNS}, repeat=False)["runs"]
    return ((str(row["number"]), row.get("result") or row["state"]) for row in rows)


def _queues(client: Client) -> Iterable[tuple[str, str]]:
    """One's own queues and the shared ones."""
    from jobctl.verb_queue import shown_queue

    views = client.call({"type": "queue-list"}, repeat=False)["queues"]
    own = {view["name"] for view in views if view.get("owner") == client.uid}
    for view in views:
        name = shown_queue(view["name"], view.get("owner"), client.uid, view["name"] in own)
        yield name, view.get("state", "open")


def _is_plain(name: str, word: str = "") -> bool:
    """Whether `name` can stand in a command line as it is, and a shell can show `word`."""
    is_option = name.startswith("-") and not name[1:].isdecimal()
    return name != "" and _NAME.issuperset(name) and not is_option and _WORD.issuperset(word)
