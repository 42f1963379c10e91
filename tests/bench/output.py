"""A GiB of 100-byte lines through a job's stdout, against the same writer through `cat` into a file; then out again."""

from __future__ import annotations

import subprocess
from pathlib import Path

from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program
from tests.system.raw import Raw, started

LINE_BYTES = 100
LINES = measure.quick((1 << 30) // LINE_BYTES, (64 << 20) // LINE_BYTES)
SIZE = LINES * LINE_BYTES
ROUNDS = measure.quick(5, 3)


def shell(script: str, *args: str) -> float:
    return measure.timed(lambda: subprocess.run(["/bin/sh", "-c", script, "sh", *args], check=True))


def measure_all(root: Path) -> list[Figure]:
    lines = str(measure.compiled(Path(__file__).with_name("lines.c"), root))
    jobd = Program(root / "jobd")
    copies: list[
        Path
    ] = []  # a new file each time, as a run has; one written again would leave out half of the disk's work

    def through_jobd() -> float:
        with Raw(jobd.socket) as raw:

            def all_of_it() -> None:
                run = started(raw.run([lines.encode(), str(LINES).encode()], name="writer")).run
                raw.wait(run)
                for _ in raw.items(m.Logs(id=raw.next_id(), jobs=["writer"], follow=True, stdout=False)):
                    pass  # it ends when the last byte is in the file, which may be a moment after the exit
                answer = raw.ask(m.Resolve(id=raw.next_id(), job="writer"))
                assert isinstance(answer, m.Reply)
                assert isinstance(answer.body, m.Runs)
                view = answer.body.runs[0]
                assert (view.run, view.exit_code, view.out_bytes) == (run, 0, SIZE), view

            return measure.timed(all_of_it)

    def through_cat() -> float:
        copies.append(root / f"copy-{len(copies)}")
        took = shell('"$1" "$2" | cat > "$3"', lines, str(LINES), str(copies[-1]))
        assert copies[-1].stat().st_size == SIZE
        return took

    def logs_out(command: str, *args: str) -> float:
        script = f'test "$({command} | wc -c)" = {SIZE}'
        return shell(f'JOBD_SOCKET="{jobd.socket}"; export JOBD_SOCKET; {script}', *args)

    with jobd:
        written = measure.medians(ROUNDS, {"jobd": through_jobd, "cat": through_cat})
        read = measure.medians(
            ROUNDS,
            {
                "jobd": lambda: logs_out('"$1" logs -o cat writer', measure.JOBCTL),
                "cat": lambda: logs_out('cat "$1"', str(copies[-1])),
            },
        )
    return [
        _figure(
            f"{round(SIZE / (1 << 20))} MiB through a job's stdout", written, 0.9, "the same writer into cat > file"
        ),
        _figure(f"logs -o cat of {round(SIZE / (1 << 20))} MiB into a pipe", read, 0.5, "cat file"),
    ]


def _figure(name: str, found: dict[str, float], reach: float, against: str) -> Figure:
    return Figure(
        name=name,
        value=found["cat"] / found["jobd"],
        unit=f"x {against}",
        reach=reach,
        higher_is_better=True,
        ours=f"{SIZE / found['jobd'] / 1e6:.0f} MB/s",
        yardstick=f"{SIZE / found['cat'] / 1e6:.0f} MB/s",
    )
