"""What more output of a run costs, to take and to read."""

from __future__ import annotations

from pathlib import Path

from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.peers.supervisor import bytes_on_disk
from tests.bench.scale.line import Line, Lines, memory, verb
from tests.system.program import Program
from tests.system.raw import Raw, started

SIZES = (1, 4, 16, 64, 256, 1024) if not measure.QUICK else (1, 4, 16, 64)  # MiB
LINE_BYTES = 100
FULL_READS = 3
ONE = "0000000777 "  # is in one of the lines


def written(jobd: Program, lines: str, mib: int) -> float:
    """Milliseconds of a run that writes so much, until all of it is in its log."""
    name = f"writer-{mib}"

    def all_of_it() -> None:
        with Raw(jobd.socket) as raw:
            count = str((mib << 20) // LINE_BYTES).encode()
            raw.wait(started(raw.run([lines.encode(), count], name=name)).run)
            for _ in raw.items(m.Logs(id=raw.next_id(), jobs=[name], follow=True, stdout=False)):
                pass

    return measure.timed(all_of_it) * 1000


def sizes(root: Path) -> list[Line]:
    found = Lines("MiB of output")
    lines = str(measure.compiled(Path(__file__).parents[1] / "lines.c", root))
    with Program(root / "jobd") as jobd:
        written(jobd, lines, SIZES[0])
        for mib in SIZES:
            logs, name = jobd.state_dir / "logs", f"writer-{mib}"
            before = bytes_on_disk(logs)
            found.add("a run that writes it", "ms", "linear", mib, written(jobd, lines, mib))
            if mib != SIZES[0]:  # its log has been written twice
                found.add("on disk", "MiB", "linear", mib, (bytes_on_disk(logs) - before) / (1 << 20))
            found.add("logs -n 20", "ms", "flat", mib, verb(jobd, "logs", "-n", "20", name, count=15))
            found.add("logs, all of it", "ms", "linear", mib, verb(jobd, "logs", "-o", "cat", name, count=FULL_READS))
            found.add("logs --grep, one line", "ms", "linear", mib, verb(jobd, "logs", "-g", ONE, name, count=2))
            found.add("memory of keeper and daemon", "MiB", "flat", mib, memory(jobd))
    return found.all()
