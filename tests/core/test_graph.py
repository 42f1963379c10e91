"""What a start pulls in, what a stop takes along, what comes first: small graphs by hand, then all there are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.core import graph as g
from jobd.core.cycles import cycles, describe_cycle
from jobd.core.service import DEPENDENCIES
from jobd.core.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def spec(**named: list[str]) -> JobSpec:
    return JobSpec(argv=(b"true",), cwd=b"/", **{kind: tuple(names) for kind, names in named.items()})  # type: ignore[arg-type]


def graph_of(**jobs: dict[str, list[str]]) -> g.Graph:
    return g.Graph.of({name: spec(**named) for name, named in jobs.items()})


def lack_of(graph: g.Graph, **lacks: str) -> Callable[[str], g.Lack | None]:
    def lack(name: str) -> g.Lack | None:
        if name in lacks:
            return g.Lack(lacks[name])
        return None if name in graph else g.Lack("does not exist", g.MISSING)

    return lack


def plan(graph: g.Graph, *names: str, **lacks: str) -> g.StartPlan:
    return g.plan_start(graph, names, lack_of(graph, **lacks))


# --- by hand ------------------------------------------------------------------------------------------------------
def test_a_start_pulls_in_what_is_required_bound_to_and_wanted_and_what_comes_first_is_first() -> None:
    graph = graph_of(
        web={"requires": ["api"], "after": ["api", "log"], "wants": ["mail"]},
        api={"binds_to": ["db"], "after": ["db"]},
        db={"before": ["mail"]},
        mail={},
        log={},
    )
    found = plan(graph, "web")
    assert found.start == {
        "db": ("binds_to", "api"),
        "api": ("requires", "web"),
        "web": None,
        "mail": ("wants", "web"),
    }
    order = list(found.start)
    assert order.index("db") < order.index("api") < order.index("web")
    assert order.index("db") < order.index("mail")
    assert not found.stop
    assert not found.refused


def test_a_missing_requirement_is_named_with_the_way_to_it() -> None:
    graph = graph_of(web={"requires": ["api"]}, api={"binds_to": ["db"]})
    refused = plan(graph, "web").refused["web"]
    assert str(refused) == "it requires api, which is bound to db, which does not exist"
    assert refused.kind == g.MISSING


def test_a_masked_requirement_is_no_missing_one() -> None:
    graph = graph_of(web={"requires": ["db"]}, db={})
    refused = plan(graph, "web", db="is masked").refused["web"]
    assert str(refused) == "it requires db, which is masked"
    assert refused.kind == ""


def test_what_is_wanted_in_vain_is_left_out_whole() -> None:
    graph = graph_of(web={"wants": ["api", "log", "gone"]}, api={"requires": ["x", "gone"]}, x={}, log={})
    found = plan(graph, "web")
    assert set(found.start) == {"web", "log"}
    assert found.ignored == {"api": "it requires gone, which does not exist", "gone": "it does not exist"}


def test_one_of_several_that_is_refused_does_not_keep_the_others() -> None:
    graph = graph_of(a={"requires": ["gone"]}, b={})
    found = plan(graph, "a", "b")
    assert list(found.start) == ["b"]
    assert list(found.refused) == ["a"]


def test_one_that_is_asked_for_and_required_counts_as_asked_for() -> None:
    graph = graph_of(a={"requires": ["b"]}, b={})
    assert plan(graph, "a", "b").start == {"a": None, "b": None}


def test_a_conflict_is_stopped_with_what_needs_it() -> None:
    graph = graph_of(a={"conflicts": ["b", "gone"]}, b={}, c={"requires": ["b"]}, d={"conflicts": ["a"]})
    found = plan(graph, "a")
    assert found.stop == {
        "b": ("conflicts", "a"),
        "gone": ("conflicts", "a"),  # nothing is known of it, and it may run all the same
        "c": ("requires", "b"),
        "d": ("conflicts", "a"),
    }


def test_jobs_that_conflict_are_not_started_together() -> None:
    graph = graph_of(a={"requires": ["b"]}, b={"conflicts": ["c"]}, c={}, w={"wants": ["b", "c"]})
    assert str(plan(graph, "c", "a").refused["a"]) == (
        "it requires b, which conflicts with c, which is to be started as well"
    )
    found = plan(graph, "w")
    assert set(found.start) == {"w", "b"}
    assert set(found.ignored) == {"c"}
    assert set(found.stop) == {"c"}


def test_a_cycle_is_named_and_refuses_those_that_need_it() -> None:
    graph = graph_of(a={"after": ["b"]}, b={"after": ["c"]}, c={"before": ["b"], "after": ["a"]}, d={"requires": ["b"]})
    found = cycles(graph)
    assert {describe_cycle(way) for way in found.values()} == {"a after b after c after a"}
    assert set(found) == {"a", "b", "c"}
    refused = plan(graph, "d").refused["d"]
    assert str(refused) == "it requires b, which comes after itself (a after b after c after a)"
    assert refused.kind == g.CYCLIC


def test_a_cycle_far_away_refuses_nobody_else() -> None:
    graph = graph_of(a={"after": ["b"]}, b={"after": ["c"]}, c={"after": ["b"]})
    assert list(plan(graph, "a").start) == ["a"]


def test_a_job_that_comes_after_itself_is_a_cycle() -> None:
    graph = graph_of(a={"after": ["a"]})
    assert describe_cycle(cycles(graph)["a"]) == "a after a"


def test_what_requires_each_other_without_order_starts() -> None:
    graph = graph_of(a={"requires": ["b"]}, b={"requires": ["a"]})
    assert set(plan(graph, "a").start) == {"a", "b"}


def test_a_stop_takes_along_what_requires_is_bound_to_or_part_of_it() -> None:
    graph = graph_of(
        db={}, api={"requires": ["db"]}, web={"binds_to": ["api"]}, job={"part_of": ["web"]}, x={"wants": ["db"]}
    )
    assert g.stopped_with(graph, ["db"]) == {
        "db": None,
        "api": ("requires", "db"),
        "web": ("binds_to", "api"),
        "job": ("part_of", "web"),
    }


def test_reach_has_each_edge_once_and_goes_one_way() -> None:
    graph = graph_of(
        web={"requires": ["db"], "wants": ["gone"], "after": ["db"]}, db={"after": ["net"]}, w={"part_of": ["web"]}
    )
    assert set(g.reach(graph, ["web"])) == {
        ("web", "requires", "db"), ("web", "wants", "gone"), ("w", "part_of", "web"),
    }  # fmt: skip
    assert g.reach(graph, ["db"], reverse=True) == [("web", "requires", "db")]
    assert g.reach(graph, ["w"], reverse=True) == [("w", "part_of", "web")]
    assert g.reach(graph, ["web"], order=True) == [("web", "after", "db"), ("db", "after", "net")]
    assert g.reach(graph, ["net"], order=True, reverse=True) == [("db", "after", "net"), ("web", "after", "db")]


def test_a_job_that_changes_or_goes_leaves_no_edge_behind() -> None:
    graph = graph_of(a={"after": ["b"], "requires": ["b"]}, b={})
    graph.put("a", spec(wants=["c"]))
    assert graph.is_alone("b")
    assert graph.named_by("c", "wants") == ("a",)
    graph.remove("a")
    assert graph.is_alone("a")
    assert graph.is_alone("c")
    assert "a" not in graph


@pytest.mark.parametrize("count", [5000])
def test_a_long_chain_overflows_nothing(count: int) -> None:
    jobs = {f"j{i}": spec(after=[f"j{i + 1}"], requires=[f"j{i + 1}"]) for i in range(count)}
    jobs[f"j{count}"] = spec()
    graph = g.Graph.of(jobs)
    assert next(iter(plan(graph, "j0").start)) == f"j{count}"
    assert not cycles(graph)
    graph.put(f"j{count}", spec(after=["j0"]))
    assert len(cycles(graph, ["j0"])["j0"]) == count + 1


# --- all orders of three jobs -------------------------------------------------------------------------------------
def test_every_order_of_three_jobs_has_a_cycle_or_is_kept() -> None:
    pairs = [*itertools.permutations("abc", 2), ("a", "a")]
    for bits in itertools.product((False, True), repeat=len(pairs)):
        edges = [pair for pair, bit in zip(pairs, bits, strict=True) if bit]
        graph = g.Graph.of({name: spec(after=[b for a, b in edges if a == name]) for name in "abc"})
        found = cycles(graph)
        closure = set(edges)
        for _ in "abc":
            closure |= {(a, d) for a, b in closure for c, d in closure if b == c}
        assert set(found) == {name for name in "abc" if (name, name) in closure}
        for name, way in found.items():
            assert way[0] == name
            assert all((a, b) in edges for a, b in zip(way, (*way[1:], way[0]), strict=True))
        started = list(plan(graph, *"abc").start)
        assert set(started) == set("abc") - set(found)
        assert all(started.index(b) < started.index(a) for a, b in edges if a in started and b in started)


# --- any graph ----------------------------------------------------------------------------------------------------
NAMES = ("a", "b", "c", "d", "e", "f")
others = st.lists(st.sampled_from((*NAMES, "gone")), max_size=2)
graphs = st.dictionaries(
    st.sampled_from(NAMES), st.fixed_dictionaries(dict.fromkeys(DEPENDENCIES, others)), min_size=1
).map(lambda jobs: graph_of(**jobs))


@settings(max_examples=150, deadline=None)
@given(graphs, st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
def test_a_plan_is_whole_and_has_no_contradiction(graph: g.Graph, names: list[str]) -> None:
    found = plan(graph, *names)
    start = list(found.start)
    assert set(names) == {name for name in names if name in found.start} | set(found.refused)
    for name in start:
        assert name in graph
        for _, other in graph.demands(name):
            assert other in found.start, "what is required is started"
        for other in graph.earlier(name):
            assert other not in found.start or start.index(other) < start.index(name), "what comes first is first"
        assert not [other for other in graph.opponents(name) if other in found.start and other != name]
        for other in graph.opponents(name):
            assert other in found.stop or other == name, "what conflicts is stopped"
        for other in graph.named(name, "wants"):
            assert other in found.start or other in found.ignored
        cause = found.start[name]
        assert (cause is None) == (name in names)
        assert cause is None or cause[1] in found.start
    assert not found.start.keys() & found.stop.keys()
    for name in found.stop:
        for by, _, _ in graph.dependents(name):
            assert by in found.stop or by in found.start


@settings(max_examples=150, deadline=None)
@given(graphs)
def test_putting_and_removing_leaves_the_graph_as_if_it_were_made_anew(graph: g.Graph) -> None:
    for name in list(graph):
        edges = {kind: list(graph.named(name, kind)) for kind in DEPENDENCIES}
        graph.remove(name)
        assert all(name not in graph.named_by(other, kind) for other in NAMES for kind in DEPENDENCIES)
        graph.put(name, spec(**edges))
        assert all(name in graph.named_by(other, kind) for kind in DEPENDENCIES for other in edges[kind])
