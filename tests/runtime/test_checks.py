"""One question to a service, asked over real sockets; commands and Unix sockets by a keeper that answers as told."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from jobd.core import service
from jobd.core.service import Check
from jobd.runtime import checks
from tests.runtime.fakes import HELPER, Bed, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REFUSED = os.strerror(errno.ECONNREFUSED)


async def ask(kind: str, target: str = "", argv: tuple[bytes, ...] = (), bed: Bed | None = None) -> str:
    async with serving(bed or Bed()) as at:
        run = at.submit()
        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            return await checks.ask(Check(kind, target, argv), run, at.registry)


@asynccontextmanager
async def answering(answer: bytes | None, host: str = "127.0.0.1") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers so, None being not at all: its port, and what it was asked."""
    asked: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if answer is None:
                await trio.sleep_forever()
            asked.append(await stream.receive_some(4096))
            with suppress(trio.BrokenResourceError):  # he has seen enough
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=host)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


def free_port() -> int:
    """A port that nobody has; bound and let go a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(("host", "target"), [("127.0.0.1", "localhost"), ("::1", "localhost"), ("::1", "[::1]")])
async def test_tcp_is_good_when_somebody_accepts(host: str, target: str) -> None:
    async with answering(None, host) as (port, _):
        assert await ask(service.TCP, f"{target}:{port}") == ""


async def test_tcp_says_why_not() -> None:
    port = free_port()
    assert await ask(service.TCP, str(port)) == REFUSED
    assert await ask(service.TCP, f"127.0.0.1:{port}") == REFUSED
    assert "port" in await ask(service.TCP, "no port")


async def test_a_name_is_looked_up_in_a_thread_and_each_of_its_addresses_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(host: str, port: None, *, type: int, flags: int = 0) -> list[tuple[object, ...]]:  # noqa: A002
        assert (host, port, type) == ("db.example.org", None, socket.SOCK_STREAM)
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [(socket.AF_INET6, type, 6, "", ("::1", 0, 0, 0)), (socket.AF_INET, type, 6, "", ("127.0.0.1", 0))]

    async with answering(None) as (port, _):
        monkeypatch.setattr(socket, "getaddrinfo", found)
        assert await ask(service.TCP, f"db.example.org:{port}") == ""


async def test_a_name_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    assert await ask(service.TCP, "nowhere.invalid:80") == "Name or service not known"


async def test_a_connection_to_itself_is_none() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())  # TCP allows it, and the kernel may choose it
        with pytest.raises(ConnectionRefusedError):
            checks._refuse_myself(trio.socket.from_stdlib_socket(sock))
        assert sock.fileno() == -1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 204\n", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://nowhere.invalid/\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "it answered 404"),
        (b"HTTP/1.1 503 \r\n\r\n", "it answered 503"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "it answered 100"),
        (b"HTTP/1.1 2000 OK\r\n", "its answer is not HTTP: 'HTTP/1.1 2000 OK'"),
        (b"SSH-2.0-x\x1b\r\n", "its answer is not HTTP: 'SSH-2.0-x\\x1b'"),
        (b"", "it said nothing"),
        (b"x" * 100_000, "its answer is not HTTP: '" + "x" * 40 + "'"),
    ],
)
async def test_http(answer: bytes, why: str) -> None:
    async with answering(answer) as (port, asked):
        assert await ask(service.HTTP, f"http://localhost:{port}/healthz?a=b#c") == why
    assert asked[0].startswith(f"GET /healthz?a=b HTTP/1.1\r\nHost: localhost:{port}\r\n".encode())
    assert asked[0].endswith(b"\r\n\r\n")


async def test_http_without_a_server() -> None:
    assert await ask(service.HTTP, f"http://127.0.0.1:{free_port()}/") == REFUSED


async def test_who_says_nothing_is_waited_for_by_the_caller() -> None:
    async with answering(None) as (port, _):
        with trio.move_on_after(0.05) as scope:
            await ask(service.HTTP, f"http://localhost:{port}/")
        assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ({"status": 0}, ""),
        ({"status": 3 << 8}, "it exited with 3"),
        ({"status": 9}, "it was ended by SIGKILL"),
        ({"status": -1}, "nobody could see how it ended"),
        ({"step": "exec", "errno": 2}, "it cannot be started: exec: No such file or directory"),
    ],
)
async def test_command(end: dict[str, object], why: str) -> None:
    bed = Bed()
    bed.keeper.script["helper"] = [("helper-done", {**HELPER, "done": True, **end})]
    assert await ask(service.COMMAND, argv=(b"curl", b"-f"), bed=bed) == why
    opid = bed.keeper.sent[-1][1]["o"]
    assert isinstance(opid, str)
    assert opid.startswith("check-")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ECONNRESET])
async def test_what_the_keeper_cannot_ask_is_no_answer(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    bed = Bed()
    bed.keeper.script["helper"] = [("helper-done", {**HELPER, "done": True, "step": "spawn", "errno": errno.EAGAIN})]

    async def crowded(*_: object) -> int:
        return number

    monkeypatch.setattr(bed.keeper, "check_unix", crowded)
    for kind, target, argv in ((service.COMMAND, "", (b"curl",)), (service.UNIX, "/run/x", ())):
        with pytest.raises((checks.NotAsked, ExceptionGroup)) as caught:
            await ask(kind, target, argv, bed=bed)
        assert caught.group_contains(checks.NotAsked) if isinstance(caught.value, ExceptionGroup) else True


def test_what_a_check_is_called() -> None:
    assert checks.describe(Check(service.TCP, "localhost:8000")) == "tcp 8000"
    assert checks.describe(Check(service.TCP, "db:5432")) == "tcp db:5432"
    assert checks.describe(Check(service.COMMAND, argv=(b"/bin/x", b"y"))) == "command /bin/x"
    assert checks.describe(Check(service.DELAY, delay_usec=1)) == "its delay"
