"""Instances of templates that nobody has written down: how many are made for whoever asks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from jobd.core import records
from jobd.core import spec as specs
from jobd.runtime import instances, together
from jobd.runtime.instances import Instances
from jobd.runtime.slots import LimitReached
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_catalog import SPEC, definition

if TYPE_CHECKING:
    from jobd.core.records import JobRow

OWNER = 0


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_who_has_had_too_many_made_is_told_and_has_more_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    rows = {(OWNER, "web@"): definition("web@")[0], (1, "web@"): replace(definition("web@")[0], owner=1)}
    found = Instances(lambda owner, name: rows.get((owner, name)))

    def make(row: JobRow, name: str) -> tuple[JobRow, tuple[tuple[bytes, bytes], ...]]:
        clock.now += 0.3
        return replace(row, job=name), ()

    found.make = make
    for i in range(2):
        assert found.row(OWNER, f"web@{i}", within_means=True) is not None
    with pytest.raises(LimitReached, match="uid 0"):
        found.row(OWNER, "web@2", within_means=True)
    assert found.row(OWNER, "web@1", within_means=True) is not None  # it is remembered
    assert found.row(OWNER, "web@x", within_means=False) is not None  # what is needed for what runs is made
    assert found.row(1, "web@1", within_means=True) is not None
    clock.now += 10
    assert found.row(OWNER, "web@y", within_means=True) is not None


async def test_two_lines_that_ask_for_endless_jobs_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "BURST_SEC", 0.01)
    monkeypatch.setattr(instances, "RATE", 0.0)
    async with serving(Bed()) as bed:
        catalog, graphs = bed.registry.catalog, bed.registry.catalog.graphs
        row, blobs = definition("web@")
        await catalog.write(row, records.DEFINED, ROOT, blobs).wait()

        def make(template: JobRow, name: str) -> tuple[JobRow, tuple[tuple[bytes, bytes], ...]]:
            short = name.partition("@")[2]
            spec = specs.encode_spec(replace(SPEC, wants=(f"web@a{short}", f"web@b{short}")))
            return replace(template, job=name, spec=specs.digest(spec)), ((specs.digest(spec), spec),)

        catalog.instances.make = make
        for name in ("web@x", "web@y"):
            with pytest.raises(LimitReached):
                together.start(bed.registry, OWNER, {name: b"r" * 16}, together.Act(ROOT))
        assert not bed.registry.runs
        assert list(graphs.tidied(OWNER)) == []  # nothing is kept of what was only met
