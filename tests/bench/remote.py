"""jobctl -H through a real sshd on loopback, as it is and with 50 ms of round trip, beside ssh itself."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

from tests.bench import measure
from tests.bench.measure import Figure
from tests.system import sshd as sshds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.sshd import Sshd

ROUNDS: Final = measure.quick(15, 5)
RPCS: Final = measure.quick(200, 30)
DELAY_SEC: Final = 0.025  # each way
CHUNK_BYTES: Final = 1 << 16
SIZE: Final = measure.quick(256 << 20, 32 << 20)


def measure_all(_root: Path) -> list[Figure]:
    if why := sshds.missing():
        raise measure.CannotMeasureError(why)
    with sshds.running_sshd() as far:
        near = _first_reply(far, "one", "a login over loopback")
        with _slow(far.port) as port:
            (far.root / "slow").write_text(
                (far.root / "ssh_config").read_text().replace(f"Port {far.port}\n", f"Port {port}\n")
            )
            slow = {**far.env, "JOBCTL_SSH": f"ssh -F {far.root}/slow"}
            return [near, _first_reply(far, "one", "a login at 50 ms", slow), _rpc(far), _bulk(far)]


def _first_reply(far: Sshd, host: str, what: str, env: dict[str, str] | None = None) -> Figure:
    """From the command to the end of an answer, all in, beside ssh with a command that does nothing."""
    env = env or far.env
    ssh = [*env["JOBCTL_SSH"].split(), "-o", "BatchMode=yes", host, "true"]
    found = measure.medians(
        ROUNDS,
        {
            "ssh": lambda: measure.timed(lambda: _run(ssh, env)),
            "jobd": lambda: measure.timed(lambda: _run([measure.JOBCTL, "-H", host, "list"], env)),
            "local": lambda: measure.timed(lambda: _run([measure.JOBCTL, "list"], far.jobd.env)),
        },
    )
    return Figure(
        name=f"jobctl -H, first answer: {what}",
        value=found["jobd"] / found["ssh"],
        unit="x ssh true",
        reach=1.7,
        ours=f"{found['jobd'] * 1e3:.0f} ms; here {found['local'] * 1e3:.0f} ms",
        yardstick=f"{found['ssh'] * 1e3:.0f} ms",
    )


def _run(command: list[str], env: dict[str, str], check: bool = True) -> None:
    subprocess.run(command, env=env, check=check, stdin=subprocess.DEVNULL, capture_output=True)


def _rpc(far: Sshd) -> Figure:
    """One request on a connection that is open."""
    from jobctl.client import Client
    from jobctl.connect import FAR, Target

    def asker(target: Target) -> Callable[[], float]:
        client = Client(target)
        client.call({"type": "get", "names": ["x"]})
        return lambda: measure.timed(lambda: client.call({"type": "get", "names": ["x"]}))

    os.environ["JOBCTL_SSH"] = far.env["JOBCTL_SSH"]
    try:
        local, remote = asker(Target("", str(far.jobd.socket))), asker(Target("", "", "one", True))
    finally:
        del os.environ["JOBCTL_SSH"]
    turns = measure.rounds(RPCS, {"local": local, "remote": remote})
    found = {name: statistics.median(values) for name, values in turns.items()}
    assert FAR.remote is not None
    FAR.remote.end()
    FAR.remote = None
    return Figure(
        name="jobctl -H, a request on an open connection",
        value=(found["remote"] - found["local"]) * 1e3,
        unit="ms more than here",
        reach=1.0,
        ours=f"{found['remote'] * 1e3:.2f} ms",
        yardstick=f"{found['local'] * 1e3:.2f} ms",
    )


def _bulk(far: Sshd) -> Figure:
    """What a job writes, as it comes here, beside the same through ssh alone."""
    ssh = far.env["JOBCTL_SSH"].split()

    def through(*command: str) -> float:
        script = f"'{chr(39).join(command)}' > /dev/null" if len(command) == 1 else '"$@" | cat > /dev/null'
        return measure.timed(lambda: _run(["/bin/sh", "-c", script, "sh", *command], far.env))

    zeros = f"head -c {SIZE} /dev/zero"
    found = measure.medians(
        3,
        {
            "ssh": lambda: through(*ssh, "one", zeros),
            "jobd": lambda: through(measure.JOBCTL, "-H", "one", "run", "-qP", "--", "sh", "-c", zeros),
        },
    )
    return Figure(
        name=f"{SIZE >> 20} MiB of output through jobctl -H run --pipe",
        value=found["ssh"] / found["jobd"],
        unit="x ssh",
        reach=0.5,
        higher_is_better=True,
        ours=f"{SIZE / found['jobd'] / 1e6:.0f} MB/s",
        yardstick=f"{SIZE / found['ssh'] / 1e6:.0f} MB/s",
    )


# --- a network with a delay -------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _slow(port: int) -> Iterator[int]:
    """A port that leads to `port`, each byte a while later."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, port))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, port: int) -> None:
    threads = []
    while True:
        try:
            one, _ = listener.accept()
        except OSError:
            break
        two = socket.create_connection(("127.0.0.1", port))
        thread = threading.Thread(target=_relay, args=(one, two))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


def _relay(one: socket.socket, two: socket.socket) -> None:
    """Both ways until either ends."""
    with one, two:
        for sock in (one, two):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        others = {one: two, two: one}
        waiting: list[tuple[float, socket.socket, bytes]] = []
        while True:
            left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for sock in select.select([one, two], [], [], left)[0]:
                data = sock.recv(CHUNK_BYTES)
                if not data:
                    return
                waiting.append((time.monotonic() + DELAY_SEC, others[sock], data))
            while waiting and waiting[0][0] <= time.monotonic():
                _, to, data = waiting.pop(0)
                to.sendall(data)
