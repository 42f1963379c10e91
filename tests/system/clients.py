"""jobctl in the foreground, on pipes, and the lines of shell that it is part of."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from tests.system.program import DEADLINE_SEC

if TYPE_CHECKING:
    from tests.system.program import Program

    Popen = subprocess.Popen[bytes]

MIB = 1 << 20


class Clients:
    """Starts jobctl on pipes; what is left of them is killed with the test, by pid."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.made: list[Popen] = []

    def start(self, *args: str, stdin: int | IO[bytes] = subprocess.PIPE, **options: object) -> Popen:
        usual: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        command = self.program.jobctl_command(*args)
        client: Popen = subprocess.Popen(command, env=self.program.env, stdin=stdin, **{**usual, **options})  # type: ignore[call-overload]
        self.made.append(client)
        return client

    def close(self) -> None:
        for client in self.made:
            client.kill()
            for file in (client.stdin, client.stdout, client.stderr):
                if file is not None:
                    file.close()
            client.wait()


def shell(program: Program, line: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """A line for bash, with `jobctl` in it; PIPESTATUS is the last line of stdout."""
    path = f"{os.path.dirname(str(program.jobctl_command()[0]))}:{os.environ['PATH']}"
    usual: dict[str, object] = {
        "env": {**program.env, "PATH": path}, "stdin": subprocess.DEVNULL, "capture_output": True,
        "timeout": DEADLINE_SEC, "check": False,
    }  # fmt: skip
    script = f'{line}\necho "${{PIPESTATUS[@]}}"'
    result: subprocess.CompletedProcess[bytes] = subprocess.run(["bash", "-c", script], **{**usual, **options})  # type: ignore[call-overload]
    return result


def write_all(file: IO[bytes], data: bytes) -> threading.Thread:
    """Write in a thread, and close."""

    def write() -> None:
        with file:
            view = memoryview(data)
            while view:
                view = view[file.write(view[:MIB]) :]

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def read(file: IO[bytes] | None, count: int) -> bytes:
    """So many bytes, or all that there are."""
    assert file is not None
    pieces: list[bytes] = []
    while count:
        assert select.select([file], [], [], DEADLINE_SEC)[0], f"nothing comes behind {b''.join(pieces)[-500:]!r}"
        piece = file.read(count)
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
