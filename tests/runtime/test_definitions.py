"""Definitions from directories and from requests, on a store in memory: what counts, what changes, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from jobd.core import paths, plan, records
from jobd.core.configfile import ConfigError
from jobd.core.jobfile import JobFileError, Source
from jobd.core.spec import JobSpec
from jobd.runtime.boot import Boot, is_kept_alive
from jobd.runtime.definitions import Definitions
from jobd.runtime.homes import Homes
from jobd.runtime.jobfiles import JobFiles, Read
from jobd.runtime.journal import NotDurable
from jobd.runtime.keeperlink import Listing
from tests.runtime.fakes import ROOT, WELCOME, Bed, serving
from tests.runtime.test_registry import ended

if TYPE_CHECKING:
    from jobd.runtime.definitions import Change

TEXT = 'command = "sleep 1"\n'
UID = os.geteuid()


class Desk:
    """Definitions on fakes, with real directories: three, of which the first counts."""

    def __init__(self, bed: Bed, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bed = bed
        self.root = root
        self.unanswered = False
        monkeypatch.setattr(paths, "SYSTEM_JOB_DIRS", (str(root / "run"), str(root / "lib")))
        for name in ("etc", "run", "lib"):
            (root / name / "jobs").mkdir(parents=True)
        bed.keeper.list_config, bed.keeper.open_config = self._list, self._open  # type: ignore[attr-defined]  # of a double
        self.files = JobFiles(bed.keeper, paths.SYSTEM, str(root / "etc"))  # type: ignore[arg-type]  # as above
        self.definitions = Definitions(bed.registry, self.files, Homes(shared=False), UID)

    async def _list(self, path: str, root: int = 0) -> Listing:
        if self.unanswered:
            raise ConnectionResetError
        directory = Path(("etc", "run", "lib")[root], path)
        info = (self.root / directory).stat()
        entries = sorted((entry.name, entry.is_dir()) for entry in (self.root / directory).iterdir())
        return Listing(info.st_uid, info.st_gid, info.st_mode, entries)

    async def _open(self, path: str, root: int = 0) -> int:
        return os.open(self.root / ("etc", "run", "lib")[root] / path, os.O_RDONLY)

    def write(self, name: str, text: str = TEXT, root: str = "etc") -> Path:
        path = self.root / root / "jobs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    async def reload(self, *only: str, dry: bool = False) -> dict[str, Change]:
        changes, _ = await self.definitions.reload(only or None, ROOT, dry=dry)
        return {change.job: change for change in changes if change.change != plan.UNCHANGED}

    def spec(self, name: str) -> JobSpec:
        return self.bed.registry.spec(self.bed.store.jobs[UID, name].spec)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


async def test_of_two_files_the_first_counts_and_dropins_of_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        desk.write("web.toml", TEXT + 'description = "lib"\n', "lib")
        desk.write("web.toml", TEXT + 'description = "run"\n', "run")
        desk.write("web.toml.d/20.toml", "[limits]\nnice = 3\n", "lib")
        desk.write("web.toml.d/10.toml", "[limits]\nnice = 1\ntasks = 9\n", "etc")
        desk.write("web.toml.d/20.toml", "[limits]\nnice = 2\n", "run")  # in the place of that of lib
        desk.write("alone.toml.d/x.toml", "[limits]\nnice = 2\n")  # of no job
        desk.write("no job.toml")
        changes, warnings = await desk.definitions.reload(None, ROOT)
        assert [change.job for change in changes] == ["web"]
        assert "no job.toml: warning: ignored" in warnings[0]
        spec = desk.spec("web")
        assert (spec.description, spec.nice, spec.tasks_max) == ("run", 2, 9)
        desk.write("web.toml", TEXT + 'description = "etc"\n')
        assert (await desk.reload())["web"].keys == ["description"]
        row = bed.store.jobs[UID, "web"]
        assert row.file == str(root / "etc/jobs/web.toml")
        assert bed.replayed().jobs == bed.store.jobs


async def test_what_is_in_the_way_of_a_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        await desk.definitions.define(UID, "stored", Read((Source("stored.toml", TEXT, b"/"),)), ROOT)
        spec = JobSpec(argv=(b"true",), cwd=b"/")
        run = bed.registry.submit(UID, "running", b"r" * 16, spec, b"\x90", ROOT)
        await wait_all_tasks_blocked()
        for name in ("stored", "running", "other"):
            desk.write(f"{name}.toml")
        found = await desk.reload()
        assert {name: change.change for name, change in found.items()} == {
            "stored": plan.BROKEN, "running": plan.BROKEN, "other": plan.ADDED,
        }  # fmt: skip
        assert "jobctl rm stored" in found["stored"].text
        assert bed.store.jobs[UID, "stored"].file == records.STORED
        assert bed.store.jobs[UID, "running"].transient
        await ended(bed, run)
        assert (await desk.reload())["running"].change == plan.ADDED  # a finished one gives its name away
        assert not bed.store.jobs[UID, "running"].transient
        assert bed.store.jobs[UID, "running"].runs == 1
        assert bed.replayed().jobs == bed.store.jobs


async def test_only_some_jobs_and_only_a_look(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        for name in ("a", "b", "t@"):
            desk.write(f"{name}.toml")
        assert (await desk.reload("a", dry=True)).keys() == {"a"}
        assert bed.store.jobs == {}
        assert (await desk.reload("a")).keys() == {"a"}
        assert bed.store.jobs.keys() == {(UID, "a")}
        await desk.reload()
        instance = bed.registry.catalog.row(UID, "t@x")
        assert instance is not None
        bed.registry.catalog.write(replace(instance, enabled=True), records.ENABLED, ROOT)
        desk.write("t@.toml", 'command = "sleep %i"\n')
        assert (await desk.reload("t@")).keys() == {"t@", "t@x"}
        assert desk.spec("t@x").argv == (b"sleep", b"x")
        (root / "etc/jobs/t@.toml").unlink()
        assert (await desk.reload("t@"))["t@x"].change == plan.REMOVED
        assert bed.store.jobs[UID, "t@x"].load == records.NOT_FOUND  # it is enabled
        assert (UID, "t@") not in bed.store.jobs


async def test_a_template_takes_its_instances_along(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        await desk.definitions.define(UID, "t@", Read((Source("t@.toml", TEXT, b"/"),)), ROOT)
        runs = []
        for number, name in enumerate(("t@idle", "t@on", "t@runs")):
            row = bed.registry.catalog.row(UID, name)
            assert row is not None
            runs.append(bed.registry.rerun(row, bytes(15) + bytes([number]), ROOT))
            await wait_all_tasks_blocked()
        for run in runs[:2]:
            bed.pump.end(run.id)
            bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        row = replace(bed.store.jobs[UID, "t@on"], enabled=True)
        bed.registry.catalog.write(row, records.ENABLED, ROOT)
        await desk.definitions.forget_instances(UID, "t@", ROOT)
        assert {name: row.load for (_, name), row in bed.store.jobs.items()} == {
            "t@": "loaded", "t@on": "not-found", "t@runs": "not-found",
        }  # fmt: skip
        await ended(bed, runs[2])
        assert (UID, "t@runs") not in bed.store.jobs
        assert bed.replayed().jobs == bed.store.jobs


async def test_a_directory_that_cannot_be_read_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        desk.write("a.toml")
        await desk.reload()
        desk.unanswered = True
        with pytest.raises(ConfigError, match="the keeper does not answer"):
            await desk.reload()
        assert desk.definitions.error
        assert await desk.definitions.changed(["a"]) == set()
        desk.unanswered = False
        (root / "run" / "jobs").chmod(0o777)
        with pytest.raises(ConfigError, match="everybody may write to it"):
            await desk.reload()
        (root / "run" / "jobs").chmod(0o755)
        assert await desk.reload() == {}
        assert desk.definitions.error == ""
        assert bed.store.jobs[UID, "a"].load == records.LOADED


async def test_a_full_disk_is_told_and_the_next_reload_takes_the_rest(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        for name in ("a", "b"):
            desk.write(f"{name}.toml")
        bed.store.full = True
        with pytest.raises(NotDurable):
            await desk.reload()
        assert bed.registry.jobs == {}
        assert bed.store.jobs == {}
        bed.store.full = False
        assert (await desk.reload()).keys() == {"a", "b"}


async def test_of_a_cycle_those_that_are_in_force_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        desk.write("a.toml", TEXT + 'after = ["b"]\n')
        desk.write("b.toml", TEXT + 'after = ["a"]\n')
        found = await desk.reload()
        assert {change.change for change in found.values()} == {plan.BROKEN}
        desk.write("b.toml")
        assert {name: change.change for name, change in (await desk.reload()).items()} == {
            "a": plan.CHANGED, "b": plan.CHANGED,
        }  # fmt: skip
        desk.write("b.toml", TEXT + 'after = ["a"]\n')
        found = await desk.reload("b")
        assert "a after b after a" in found["b"].text
        assert (bed.store.jobs[UID, "a"].load, bed.store.jobs[UID, "b"].load) == ("loaded", "bad-setting")
        await desk.definitions.define(UID, "c", Read((Source("c.toml", TEXT + 'after = ["d"]\n', b"/"),)), ROOT)
        with pytest.raises(JobFileError, match="c after d after c"):
            await desk.definitions.define(UID, "d", Read((Source("d.toml", TEXT + 'after = ["c"]\n', b"/"),)), ROOT)
        assert (UID, "d") not in bed.store.jobs


async def test_enabled_jobs_start_once_in_the_life_of_a_keeper(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        for name in ("on", "off", "hidden"):
            desk.write(f"{name}.toml")
        await desk.reload()
        assert not is_kept_alive(bed.registry)
        for name, masked in (("on", False), ("hidden", True)):
            row = replace(bed.store.jobs[UID, name], enabled=True, masked=masked)
            bed.registry.catalog.write(row, records.ENABLED, ROOT)
        assert is_kept_alive(bed.registry)
        welcome = replace(WELCOME, state_dir=str(root))
        boot = Boot(bed.registry, desk.definitions, welcome)
        assert boot.is_due()
        boot.start()
        await wait_all_tasks_blocked()
        assert [run.row.job for run in bed.registry.runs.values()] == ["on"]
        (run,) = bed.registry.runs.values()
        assert (run.row.cause, run.row.by_uid) == ("enabled", UID)
        await ended(bed, run)
        Boot(bed.registry, desk.definitions, welcome).start()  # of a daemon that was killed before `done`
        await wait_all_tasks_blocked()
        assert bed.registry.runs == {}
        await boot.done()
        assert not boot.is_due()
        assert Boot(bed.registry, desk.definitions, replace(welcome, keeper="another")).is_due()
        assert not Boot(bed.registry, desk.definitions, replace(welcome, keeper="another", heir=True)).is_due()


async def test_who_changes_many_definitions_keeps_others_waiting_for_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(Bed()) as bed:
        desk = Desk(bed, root, monkeypatch)
        done: list[str] = []

        async def define(owner: int, name: str) -> None:
            await desk.definitions.define(owner, name, Read((Source("web.toml", TEXT, b"/"),)), ROOT)
            done.append(name)

        async with trio.open_nursery() as nursery:
            for at in range(5):
                nursery.start_soon(define, 61101, f"many-{at}")
                await trio.lowlevel.checkpoint()
            nursery.start_soon(define, 61102, "one")
        assert done.index("one") <= 2, done
        assert sorted(done) == [*(f"many-{at}" for at in range(5)), "one"]
        assert desk.definitions._in_line == {}
