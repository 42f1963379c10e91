"""Names and counts as they are typed and shown: globs to be expanded here, owners, run ids, `JOB#N`."""

from __future__ import annotations

from jobctl.connect import FAR
from jobctl.exits import Fault, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobctl.client import Client
    from jobctl.shapes import Body, JobView, RunView

SHORT_ID = 8  # characters of a run id that are shown; DESIGN.md, section 9
ID_BYTES = 16
MAX_DIGITS = 12  # of a count of lines; messages.Logs allows 2**40
AT_ONCE = 1000  # names in a request; the daemon takes 4096, and a frame holds the answers about more than these
TOO_LARGE = "too-large"  # of jobd.wire.errors
_users: dict[int, str] = {}
ACTIVE_STATES = ("active", "reloading")
NO_FILE = "not-found"  # UnitFileState of a name that no job has


def expand(
    client: Client, words: tuple[str, ...], *, begun: bool = False, fits: Callable[[JobView], bool] = lambda _: True
) -> list[str]:
    """The names that `words` mean, each once, in order: globs become the existing jobs they match, maybe none.

    `begun`: of these jobs only those that have had a run; `fits`: only those.

    None is no error, as with systemctl, and is told to a person only: cron would send it by mail.
    """
    from jobctl import terminal
    from jobd.core.names import is_glob

    found: dict[str, None] = {}
    for word in words:
        if not is_glob(word):
            found[word] = None
            continue
        there = (view for view in views(client, [word]) if not is_missing(view) or view.get("enabled"))
        matches = [view for view in there if fits(view)]
        if begun:
            matches = [view for view in matches if view.get("run")]
        for view in matches:
            found[shown_name(view["job"], view["owner"], client.uid)] = None
        if not matches and terminal.is_terminal(terminal.STDERR):
            terminal.note(f"no job matches {word!r}")
    return list(found)


def is_missing(view: JobView) -> bool:
    """Whether there is no such job. One whose file has gone is there while it runs or has failed, as for systemctl."""
    return view.get("load", "loaded") == NO_FILE and view.get("active", "inactive") == "inactive"


def views(client: Client, words: Sequence[str], tree: bool = False) -> list[JobView]:
    """The jobs that names and globs mean as they are now, `tree`: with their processes.

    In one request when the answer fits a frame; thousands of jobs take more.
    """
    found: list[JobView] = []
    for at in range(0, len(words), AT_ONCE):
        found += _views(client, list(words[at : at + AT_ONCE]), tree)
    return found


def _views(client: Client, words: list[str], tree: bool) -> list[JobView]:
    from jobd.core.names import is_glob

    try:
        return client.call({"type": "get", "names": words, "tree": tree})["jobs"]
    except Fault as fault:
        if fault.code != TOO_LARGE or (len(words) == 1 and not is_glob(words[0])):
            raise
    if len(words) > 1:
        half = len(words) // 2
        return _views(client, words[:half], tree) + _views(client, words[half:], tree)
    found: list[JobView] = []
    after: str | None = ""
    while after is not None:
        body = client.call({"type": "list", "patterns": words, "all": True, "after": after})
        found += body["jobs"]
        after = body.get("more") or None
    return views(client, [f"{view['owner']}/{view['job']}" for view in found], tree) if tree else found


def check_count(text: str, option: str) -> int | None:
    """The number of `-n N`; None for `all`.

    Raises:
        UsageError: it is neither.
    """
    if text == "all":
        return None
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        raise UsageError(f"cannot read {option} {text!r}: it is a number or all")
    return int(text)


def owner_name(uid: int) -> str:
    """The user's name, safe to show; the number where there is none. Looked up once: a list has thousands."""
    name = _users.get(uid)
    if name is None:
        name = _safe(FAR.remote.name("uids", uid)) if FAR.remote is not None else _user_name(uid)
        _users[uid] = name
    return name


def _user_name(uid: int) -> str:
    from pwd import getpwuid

    try:
        return _safe(getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The group's name, safe to show; the number where there is none."""
    if FAR.remote is not None:
        return _safe(FAR.remote.name("gids", gid))
    from grp import getgrgid

    try:
        return _safe(getgrgid(gid).gr_name)
    except KeyError:
        return str(gid)


def _safe(name: str) -> str:
    """A name from a directory that others may fill (LDAP), as it can be shown."""
    from jobctl.escape import escape

    return escape(name)


def shown_name(job: str, owner: int, caller: int) -> str:
    """`web` for one's own job, `alice/web` for another's."""
    return job if owner == caller else f"{owner_name(owner)}/{job}"


SHARED = -1  # the owner of a queue that is everybody's


def change_name(change: Body, caller: int) -> str:
    """The job that a change is about, or the queue; `jobd` for one of the daemon itself."""
    if change["job"]:
        return shown_name(change["job"], change["owner"], caller)
    if queue := change.get("queue"):
        return f"queue {queue if change['owner'] == SHARED else shown_name(queue, change['owner'], caller)}"
    return "jobd"


def view_name(view: JobView, client: Client) -> str:
    """The name of a job as it is shown to the caller."""
    return shown_name(view["job"], view["owner"], client.uid)


def file_state(view: JobView) -> str:
    """UnitFileState: whether it is started with jobd, or what is in the way."""
    if view.get("enabled"):
        return view["enabled"]
    if view.get("load", "loaded") == "not-found":
        return NO_FILE
    return "transient" if view.get("transient", True) else "disabled"


def full_id(run: bytes) -> str:
    """A run id as UUIDs are written."""
    h = run.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def short_id(run: bytes) -> str:
    """The end of a run id, as lists show it; any unique end selects a run."""
    return run.hex()[-SHORT_ID:]


def split_run(word: str) -> tuple[str, str]:
    """`JOB#N` gives (JOB, N); a whole run id gives ("", id); a name gives (name, "")."""
    job, hash_, selector = word.partition("#")
    if hash_:
        return job, plain_selector(selector)
    digits = plain_selector(word)
    return ("", digits) if len(digits) == 2 * ID_BYTES and _is_hex(digits) else (word, "")


def plain_selector(selector: str) -> str:
    """A run's id as UUIDs are written, as plain digits; any other selector as it is."""
    digits = selector.replace("-", "").lower()
    return digits if len(digits) > SHORT_ID and _is_hex(digits) else selector


def end_of_id(word: str) -> str:
    """The word, if it could be the end of a run's id as lists show it; a job of that name comes first."""
    digits = plain_selector(word)
    return digits if len(digits) >= SHORT_ID and _is_hex(digits) else ""


def meant(client: Client, job: str) -> str:
    """What was probably meant by the name of a job that is not there; "" where nothing is like it."""
    try:
        resolve(client, job)
    except Fault as fault:
        return fault.details.get("meant", "")
    return ""


def _is_hex(word: str) -> bool:
    return set(word) <= set("0123456789abcdef")


def resolve(client: Client, word: str, selector: str | None = None) -> RunView:
    """The run that a word means: a job's newest or the one that `selector` picks, `JOB#N`, an id or the end of one.

    Raises:
        Fault: there is none, or there are several.
    """
    job, run = split_run(word)
    if run and selector is not None:
        raise UsageError(f"cannot pick a run: {word} names one, and so does --run")
    wanted: list[tuple[str, str]] = [(job, run or plain_selector(selector or "0"))]
    if not run and end_of_id(word):
        wanted.append(("", end_of_id(word)))
    while True:
        job, run = wanted.pop(0)
        try:
            return client.call({"type": "resolve", "job": job, "run": run})["runs"][0]
        except Fault as fault:
            if not wanted or fault.code != "not-found":
                raise
