from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from jobd.core import paths
from jobd.wire import endpoint, errors
from jobd.wire.endpoint import Endpoint, EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Python = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of his own, with no daemon yet; and no system daemon."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "JOBD_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", str(tmp_path / "system"))
    return tmp_path


@pytest.fixture
def listen() -> Iterator[Callable[[str], None]]:
    opened = []

    def begin(path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        opened.append(sock)
        sock.bind(path)
        sock.listen(64)

    yield begin
    for sock in opened:
        sock.close()


def reached(path: str | None = None, mode: str = "") -> str:
    sock = endpoint.connect_socket(path, mode)
    try:
        return str(sock.getpeername())
    finally:
        sock.close()


def test_codes_are_those_of_errors() -> None:
    assert (endpoint.UNAVAILABLE, endpoint.DENIED) == (errors.UNAVAILABLE, errors.DENIED)


# --- which one ---
def test_option_beats_environment_beats_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(path: str | None = None, mode: str = "") -> list[str]:
        return [candidate.path for candidate in endpoint.candidates(path, mode)]

    system, user = str(home / "system"), str(home / "run/jobd/jobd.sock")
    assert tried() == [system, user]
    monkeypatch.setenv("JOBD_SOCKET", "/named")
    assert tried() == ["/named"]
    assert tried("/given") == ["/given"]
    assert tried(mode="system") == [system]
    assert tried(mode="user") == [user]


def test_system_daemon_comes_first_when_it_is_there(home: Path, listen: Callable[[str], None]) -> None:
    listen(str(home / "run/jobd/jobd.sock"))
    assert reached() == str(home / "run/jobd/jobd.sock")
    listen(str(home / "system"))
    assert reached() == str(home / "system")
    assert reached(mode="user") == str(home / "run/jobd/jobd.sock")


@pytest.mark.parametrize("make", ["nothing", "deaf", "file"])
def test_named_socket_is_never_started_for(home: Path, make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "s"
    if make == "deaf":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    elif make == "file":
        path.touch()
    monkeypatch.setattr(os, "posix_spawn", lambda *_args, **_more: pytest.fail("started a daemon"))
    words = "No such file or directory" if make == "nothing" else "Connection refused"
    with pytest.raises(EndpointError, match=f"cannot connect to jobd at {path}: {words}") as info:
        reached(str(path))
    assert info.value.code == errors.UNAVAILABLE


def test_longer_path_than_the_kernel_takes(home: Path) -> None:
    folder = home / ("x" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        at = os.open(folder, os.O_PATH)
        sock.bind(f"/proc/self/fd/{at}/s")
        os.close(at)
        sock.listen()
        assert reached(str(folder / "s"))
    with pytest.raises(EndpointError, match="No such file or directory"):
        reached(str(folder / "gone" / "s"))
    with pytest.raises(EndpointError, match="File name too long"):
        reached(str(home / ("x" * 300) / "s"))


def test_stranger_is_not_trusted(home: Path, listen: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(home / "s")
    listen(path)
    for us, them, fine in [(1000, 4_294_967_295, False), (1000, 1001, False), (1000, 1000, True), (1000, 0, True)]:
        monkeypatch.setattr(os, "geteuid", lambda us=us: us)
        monkeypatch.setattr(endpoint, "unpack", lambda *_args, them=them: (1, them, 1))
        if fine:
            assert reached(path)
            continue
        with pytest.raises(
            EndpointError, match=f"cannot trust the daemon at {path}: it belongs to user {them}"
        ) as info:
            reached(path)
        assert info.value.code == errors.DENIED


def test_root_may_name_anybodys_socket_and_finds_only_his_own(
    home: Path, listen: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(str(home / "s"))
    listen(str(home / "system"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(endpoint, "unpack", lambda *_args: (1, 1000, 1))
    assert reached(str(home / "s"))
    with pytest.raises(EndpointError, match="cannot trust"):
        reached()


def test_socket_that_does_not_let_us_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def __init__(self, *_args: int) -> None: ...

        def connect(self, path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

        def close(self) -> None: ...

    monkeypatch.setattr(endpoint, "socket", Closed)
    with pytest.raises(EndpointError, match="Permission denied") as info:
        reached(str(home / "s"))
    assert info.value.code == errors.DENIED


# --- starting the user's own ---
DAEMON = """
    import os, socket, sys
    assert sys.argv[1:] == ["-I", "-m", "jobd", "--user", "--daemonize"], sys.argv
    path = os.environ["XDG_RUNTIME_DIR"] + "/jobd/jobd.sock"
    with open(os.environ["HOME"] + "/starts", "a") as starts:
        starts.write("started\\n")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(64)
    if os.fork() == 0:
        os.setsid()
        os.dup2(0, 2)
        sock.settimeout(20)
        for _ in range(CLIENTS):
            sock.accept()[0].close()
        os._exit(0)
"""


@pytest.fixture
def python(home: Path, monkeypatch: pytest.MonkeyPatch) -> Python:
    """Make sys.executable a program of the test's."""

    def become(text: str, CLIENTS: int = 1) -> None:  # noqa: N803
        program = home / "python"
        program.write_text(f"#!{sys.executable} -I\nCLIENTS = {CLIENTS}\n{textwrap.dedent(text)}")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return become


def test_own_daemon_is_started_once(home: Path, python: Python) -> None:
    python(DAEMON)
    assert reached() == str(home / "run/jobd/jobd.sock")
    state = paths.user_paths().state_dir
    assert os.stat(state).st_mode & 0o777 == 0o700
    assert (home / "starts").read_text() == "started\n"


@pytest.mark.slow
def test_twenty_clients_at_once_start_one(home: Path, python: Python) -> None:
    python(DAEMON, CLIENTS=20)
    found: list[str] = []
    together = threading.Barrier(20)

    def client() -> None:
        together.wait(20)
        found.append(reached(mode="user"))

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [str(home / "run/jobd/jobd.sock")] * 20
    assert (home / "starts").read_text() == "started\n"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (
            "import sys; sys.exit('jobd: warning\\njobd: cannot open state.db: full')",
            "daemon: cannot open state.db: full$",
        ),
        ("import sys; sys.exit('Segmentation fault')", r"daemon: Segmentation fault \(exit status 1\)"),
        ("import os; os.kill(os.getpid(), 9)", r"it said nothing \(signal 9\)"),
        ("", "cannot use your daemon: nobody listens on /.*"),
    ],
)
def test_failed_start_says_why(python: Python, program: str, why: str) -> None:
    python(program)
    with pytest.raises(EndpointError, match=why) as info:
        reached(mode="user")
    assert info.value.code == errors.UNAVAILABLE


def test_start_without_an_interpreter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(home / "gone"))
    with pytest.raises(EndpointError, match=r"cannot start your daemon: .*No such file"):
        reached(mode="user")
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EndpointError, match="does not know its own path"):
        reached(mode="user")


def test_state_directory_that_cannot_be_made(home: Path) -> None:
    (home / ".local").touch()
    with pytest.raises(EndpointError, match=r"cannot start your daemon: .*\.local.*: Not a directory"):
        reached(mode="user")


def test_start_leaves_no_descriptors_behind(python: Python) -> None:
    python(DAEMON)
    before = os.listdir("/proc/self/fd")
    reached()
    assert os.listdir("/proc/self/fd") == before


def test_failed_connection_leaves_no_descriptor(home: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(EndpointError):
            Endpoint(str(home / "s")).connect()
    assert os.listdir("/proc/self/fd") == before


def test_client_without_sigchld_can_start_it(home: Path, python: Python) -> None:
    """Where SIGCHLD is ignored the kernel keeps no exit status: the socket tells."""
    real = sys.executable
    python(DAEMON)
    code = """
        import os, signal, sys
        sys.executable = sys.argv[1]
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from jobd.wire import endpoint
        print(endpoint.connect_socket(mode="user").getpeername())
    """
    argv = [real, "-I", "-W", "ignore", "-c", textwrap.dedent(code), str(home / "python")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == f"{home}/run/jobd/jobd.sock\n"
