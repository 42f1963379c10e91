"""What -H may name, and what ssh is then told."""

from __future__ import annotations

import pytest

from jobctl import __main__ as entry
from jobctl import hosts, remote_ssh
from jobctl.exits import UsageError


@pytest.mark.parametrize(
    ("word", "destination", "port"),
    [
        ("build", "build", ""),
        ("alice@build", "alice@build", ""),
        ("alice@build:2222", "alice@build", "2222"),
        ("[::1]:22", "::1", "22"),
        ("bob@[fe80::1%eth0]", "bob@fe80::1%eth0", ""),
        ("::1", "::1", ""),
        ("DOMAIN+user@x@build", "DOMAIN+user@x@build", ""),
    ],
)
def test_a_host_with_user_and_port(word: str, destination: str, port: str) -> None:
    found = hosts.parse(word)
    assert (found.word, found.destination, found.port) == (word, destination, port)


@pytest.mark.parametrize(
    "word",
    ["-x", "alice@-x", "-oProxyCommand=id", "@build", "build:", "build:0", "build:65536", "build:x", "[::1", "[::1]x",
     "a b", "a\nb", "a;id", "$(id)", "a`id`", "\x1b[1m", "[]:22", "[::1]:", "build:٣"],
)  # fmt: skip
def test_no_host(word: str) -> None:
    with pytest.raises(UsageError, match="cannot read the host"):
        hosts.parse(word)


def test_several_hosts() -> None:
    assert hosts.split("a,b,a") == ["a", "b"]
    for words in ("", ",", "a,", "a,,b"):
        with pytest.raises(UsageError, match="-H needs the name of a host"):
            hosts.split(words)
    with pytest.raises(UsageError, match="257 hosts"):
        hosts.split(",".join(f"h{i}" for i in range(257)))


def test_where_a_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCTL_HOST", "build")
    assert entry.target_of({}).host == "build"
    assert entry.target_of({"host": "other"}).host == "other"
    assert entry.target_of({"user": True}).host == "build"
    assert entry.target_of({"socket": "/s"}).host == ""
    monkeypatch.setenv("JOBCTL_HOST", "")
    assert entry.target_of({}).host == ""
    assert entry.target_of({"host": "h", "socket": "/far/s"}).socket == "/far/s"
    with pytest.raises(UsageError, match="absolute path with -H"):
        entry.target_of({"host": "h", "socket": "s"})


def test_the_command_line_of_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
    monkeypatch.delenv("JOBCTL_SSH", raising=False)
    monkeypatch.delenv("JOBCTL_BRIDGE", raising=False)
    line = remote_ssh.command(hosts.parse("a@b:7"), batch=False, again=False)
    assert line == ["ssh", "-T", *alive, "-p", "7", "--", "a@b", "jobd-stdio-bridge"]
    monkeypatch.setenv("JOBCTL_SSH", "myssh -F x")
    monkeypatch.setenv("JOBCTL_BRIDGE", ".local/bin/jobd-stdio-bridge")
    line = remote_ssh.command(hosts.parse("b"), batch=True, again=False)
    assert line == ["myssh", "-F", "x", "-T", *alive, "-o", "BatchMode=yes", "--", "b", ".local/bin/jobd-stdio-bridge"]
    assert "ConnectTimeout=10" in remote_ssh.command(hosts.parse("b"), batch=False, again=True)


def test_the_first_line_in_whatever_came_before_it() -> None:
    assert remote_ssh.magic_line(b"JOBD1 0.1\nrest") == (b"0.1", b"rest")
    assert remote_ssh.magic_line(b"hello\nno newlineJOBD1 0.1\n") == (b"0.1", b"")
    assert remote_ssh.magic_line(b"JOBD1 0.1") is None
    assert remote_ssh.magic_line(b"JOBD") is None


def test_what_ssh_says_is_shown_a_line_later(capfd: pytest.CaptureFixture[str]) -> None:
    voice = remote_ssh.Voice()
    voice.take(b"Warning: one\r\nssh: two\nthr")
    assert capfd.readouterr().err == "Warning: one\n"
    voice.take(b"ee \x1b[1m\n")
    assert capfd.readouterr().err == "ssh: two\n"
    assert voice.end() == "three \x1b[1m"
    voice.show()
    voice.take(b"x" * 5000)
    assert capfd.readouterr().err == ""
    voice.show()
    assert capfd.readouterr().err == "x" * 5000 + "\n"


@pytest.mark.parametrize(
    ("status", "said", "noise", "words"),
    [
        (255, "", b"", "cannot reach h: ssh failed, and said nothing"),
        (
            255,
            "ssh: connect to host h port 22: No route to host",
            b"",
            "cannot reach h: connect to host h port 22: No r",
        ),
        (69, "jobd-stdio-bridge: cannot connect: x", b"", "cannot reach jobd on h: cannot connect: x"),
        (1, "", b"This account is currently not available.\n", "(exit status 1): This account is currently not avail"),
        (0, "", b"", "did not run jobd-stdio-bridge (exit status 0)"),
        (-9, "", b"", "(signal 9)"),
        (None, "", b"spam\n" * 20000, "write more than 64 KiB; it begins with 'spam'"),
    ],
)
def test_what_an_end_means(status: int | None, said: str, noise: bytes, words: str) -> None:
    assert words in remote_ssh.why_failed("h", status, said, noise)
