"""What a run has used, from the keeper's word to its row; and the end that the kernel's lack of memory makes."""

from __future__ import annotations

from trio.testing import MockClock, wait_all_tasks_blocked

from tests.runtime.fakes import ROOT, Bed, serving

USED = {"cpu_user": 700, "cpu_system": 70, "memory_peak": 4096, "tasks_peak": 5, "io_read": 8, "io_write": 9}
LATER = {**USED, "cpu_user": 900, "io_write": 10}
KIB = 1 << 10


def exited(bed: Bed, run: bytes, status: int, used: object, empty: bool = True, rss: int = 3) -> None:
    bed.keeper.say(run, "exited", status=status, rusage=[1, 2, rss], at=5, mono=5, empty=empty, usage=used)


async def test_the_control_groups_word_is_of_all_of_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.pump.end(run.id)
        exited(bed, run.id, 0, USED)
        await wait_all_tasks_blocked()
        row = bed.row(run)
        assert (row.cpu_user_usec, row.cpu_system_usec, row.max_rss_bytes) == (700, 70, 4096)
        assert (row.io_read_bytes, row.io_write_bytes, row.tasks_peak) == (8, 9, 5)


async def test_what_its_rest_uses_after_the_main_process_counts(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        exited(bed, run.id, 0, USED, empty=False)
        await wait_all_tasks_blocked()
        assert bed.row(run).cpu_user_usec == 700
        bed.pump.end(run.id)
        bed.keeper.say(run.id, "empty", usage=LATER)
        await wait_all_tasks_blocked()
        assert (bed.row(run).cpu_user_usec, bed.row(run).io_write_bytes, bed.row(run).result) == (900, 10, "success")
        assert bed.replayed().runs == {(0, run.id): bed.row(run)}


async def test_without_a_control_group_it_is_the_main_process_above_the_keepers_size(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.registry.rss_floor_bytes = 100 * KIB
        for rss, peak in ((100, None), (101, 101 * KIB)):
            run = bed.submit()
            await wait_all_tasks_blocked()
            bed.pump.end(run.id)
            exited(bed, run.id, 0, None, rss=rss)
            await wait_all_tasks_blocked()
            row = bed.row(run)
            assert (row.cpu_user_usec, row.cpu_system_usec, row.max_rss_bytes) == (1, 2, peak)
            assert (row.io_read_bytes, row.tasks_peak) == (None, None)


async def test_no_memory_left_is_the_result_however_the_main_process_took_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        for status in (9, 0, 1 << 8):
            run = bed.submit()
            await wait_all_tasks_blocked()
            bed.pump.end(run.id)
            exited(bed, run.id, status, {**USED, "oom_kills": 2})
            await wait_all_tasks_blocked()
            assert bed.row(run).result == "oom-kill"
            assert (run.job.row.active, run.job.row.result) == ("failed", "oom-kill")


async def test_what_was_stopped_was_stopped_though_memory_ran_out(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        bed.pump.end(run.id)
        exited(bed, run.id, 9, {"oom_kills": 1})
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "stopped"
