"""What a control group tells of a run: the kernel's formats, and what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.host import usage
from jobd.keeper import cgroup

if TYPE_CHECKING:
    from pathlib import Path

FILES = {  # as Linux 6.12 writes them
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnice_usec 0\nnr_periods 0\nnr_throttled 0\n",
    "memory.peak": "123456789\n",
    "memory.current": "4096\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n",
    "pids.peak": "12\n",
    "pids.current": "3\n",
    "io.stat": "8:0 rbytes=4096 wbytes=100 rios=1 wios=1 dbytes=0 dios=0\n253:1 \n259:0 rbytes=1 wbytes=2 rios=1\n",
}


def group(path: Path, **files: str) -> str:
    for name, text in files.items():
        (path / name).write_text(text)
    return str(path)


def test_all_that_a_group_tells(tmp_path: Path) -> None:
    path = group(tmp_path, **FILES)
    final = {
        "cpu_user": 1000, "cpu_system": 500, "memory_peak": 123456789, "tasks_peak": 12, "oom_kills": 2,
        "io_read": 4097, "io_write": 102,
    }  # fmt: skip
    assert usage.of_group(path) == final
    assert usage.of_live_group(path) == {**final, "memory": 4096, "tasks": 3}
    assert usage.is_sound(final)  # type: ignore[arg-type]  # a mapping is not contravariant in its keys


def test_what_is_not_there_is_not_told(tmp_path: Path) -> None:
    assert usage.of_group(str(tmp_path)) == usage.of_live_group(str(tmp_path / "gone")) == {}
    path = group(tmp_path, **{"cpu.stat": FILES["cpu.stat"], "io.stat": ""})
    assert usage.of_group(path) == {"cpu_user": 1000, "cpu_system": 500, "io_read": 0, "io_write": 0}


@pytest.mark.parametrize("text", ["max\n", "", "-1\n", "²", "12 13", None])
def test_what_is_no_number_is_none(text: str | None) -> None:
    assert usage.number(text) is None


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill x\n", "\0\n", "a b c\n"])
def test_lines_of_another_form_are_passed_over(text: str) -> None:
    assert usage.keyed(text) == {}
    assert usage.transferred(text) == (0, 0)


@pytest.mark.parametrize("found", [{"cpu_user": -1}, {"cpu_user": True}, {"cpu_user": 1 << 63}, {1: 1}, {"other": 1}])
def test_what_others_say_must_be_an_answer_of_ours(found: dict[object, object]) -> None:
    assert not usage.is_sound(found)


@pytest.mark.skipif(not cgroup.own_cgroup(), reason="no cgroup v2 hierarchy here")
def test_the_kernel_tells_the_processor_time_of_any_group() -> None:
    found = usage.of_group(cgroup.own_cgroup())
    assert found["cpu_user"] >= 0
    assert found["cpu_system"] >= 0
