"""list-dependencies: which jobs a job needs, or which need it, as a tree with systemctl's bullets."""

from __future__ import annotations

from jobctl import names, terminal
from jobctl.escape import escape
from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client import Client
    from jobctl.options import (
        AllBranches,
        JsonOutput,
        OptionalJobs,
        OrderAfter,
        OrderBefore,
        PlainTree,
        ReverseTree,
    )
    from jobctl.shapes import Body, JobView, Json, Link

NO_SUCH_JOB = 4  # DESIGN.md, section 9, as of cat
BACKWARDS = ("before", "part_of")  # of these the job that is named has the other below it
BRANCH, LAST, ON, OFF = "├─", "└─", "│ ", "  "  # systemd's
MORE = " …"  # what is below was shown above
GLYPHS = {  # systemctl's, by ActiveState
    "active": (terminal.GLYPH, terminal.GREEN),
    "reloading": ("↻", terminal.GREEN),
    "inactive": ("○", ""),
    "failed": (terminal.FAILED_GLYPH, terminal.RED),
}


def list_dependencies(
    client: Client,
    jobs: OptionalJobs = (),
    *,
    reverse: ReverseTree = False,
    order_after: OrderAfter = False,
    order_before: OrderBefore = False,
    plain: PlainTree = False,
    every: AllBranches = False,
    output: JsonOutput = None,
) -> int:
    """Show what jobs need: what is started with them.

    Without a job: of all that are enabled.
    """
    if order_after and order_before:
        raise UsageError("cannot combine --after and --before")
    if output is not None:
        from jobctl import rows

        rows.is_json(output)
    backwards = reverse != order_before  # what comes after a job is on the way back from it
    found = names.expand(client, jobs) if jobs else _enabled(client)
    bodies = []
    status = 0
    for word in found:
        request = {"names": [word], "reverse": backwards, "order": order_after or order_before}
        body = client.call({"type": "list-dependencies", **request})
        if body["jobs"] and body["jobs"][0].get("load") == "not-found" and not body["links"]:
            if not jobs:
                continue  # it is enabled, and its file has gone
            meant = names.meant(client, word)
            terminal.warn(f"cannot find job {word!r}" + (f"; did you mean {meant!r}?" if meant else ""))
            status = NO_SUCH_JOB
        else:
            bodies.append(body)
    if output is not None:
        rows.print_json([row for body in bodies for row in _json(body, backwards)], output)
    else:
        trees = [Tree(body, backwards, plain, every, client.uid) for body in bodies]
        terminal.say("".join(f"{line}\n" for tree in trees for line in tree.lines()))
    return status


def _enabled(client: Client) -> list[str]:
    from jobctl.verb_files import fetch

    return [names.shown_name(file["job"], file["owner"], client.uid) for file in fetch(client, (), ["enabled"])]


def _ends(link: Link, backwards: bool) -> tuple[str, str]:
    """The job that is above, and the one below it."""
    there = link["job"], link["other"]
    return there if (link["kind"] in BACKWARDS) == backwards else there[::-1]


def _json(body: Body, backwards: bool) -> Iterator[dict[str, Json]]:
    views: dict[str, JobView] = {view["job"]: view for view in body["jobs"]}
    for link in body["links"]:
        view: JobView | dict[str, str] = views.get(_ends(link, backwards)[1], {})
        yield {
            "job": link["job"],
            "kind": link["kind"],
            "other": link["other"],
            "load": view.get("load", "loaded"),
            "active": view.get("active", "inactive"),
            "sub": view.get("sub", "dead"),
        }


class Tree:
    """What is reached from the first of the jobs in an answer."""

    def __init__(self, body: Body, backwards: bool, plain: bool, every: bool, uid: int) -> None:
        self._views: dict[str, JobView] = {view["job"]: view for view in body["jobs"]}
        self._uid = uid
        self._root = body["jobs"][0]["job"] if body["jobs"] else ""
        self._plain, self._every = plain, every
        self._below: dict[str, dict[str, None]] = {}
        for link in body["links"]:
            above, below = _ends(link, backwards)
            self._below.setdefault(above, {})[below] = None

    def lines(self) -> Iterator[str]:
        """The job, and below it what it needs. A job that was shown is not unfolded again, unless that is asked for."""
        if not self._root:
            return
        yield self._shown(self._root)
        shown: set[str] = set()
        stack: list[tuple[str, Iterator[str], str]] = [(self._root, iter(sorted(self._below.get(self._root, {}))), "")]
        shown.add(self._root)
        while stack:
            above, rest, lead = stack[-1]
            name = next(rest, None)
            if name is None:
                stack.pop()
                continue
            last = name == max(self._below[above])
            again = name in shown
            unfolds = bool(self._below.get(name)) and name not in (path[0] for path in stack)
            unfolds = unfolds and (self._every or not again)
            if not (self._plain and again):
                yield self._line(name, lead, last, bool(self._below.get(name)) and not unfolds)
            shown.add(name)
            if unfolds:
                stack.append((name, iter(sorted(self._below[name])), lead + (OFF if last else ON)))

    def _shown(self, name: str) -> str:
        """As the caller names it: all in a tree are of one owner."""
        return escape(names.shown_name(name, self._views[self._root]["owner"], self._uid))

    def _line(self, name: str, lead: str, last: bool, cut: bool) -> str:
        view: JobView | dict[str, str] = self._views.get(name, {})
        load = view.get("load", "loaded")
        text = self._shown(name) + (f" ({escape(load)})" if load != "loaded" else "")
        if self._plain:
            return f"  {text}"
        glyph, colour = GLYPHS.get(view.get("active", "inactive"), (terminal.GLYPH, ""))
        if colour and terminal.use_colour():
            glyph = f"{colour}{glyph}{terminal.PLAIN}"
        return f"{glyph} {lead}{LAST if last else BRANCH}{text}{MORE if cut else ''}"
