"""The command line."""

from __future__ import annotations

import os

import pytest

import jobd
from jobd.config import Config, UsageError, parse
from jobd.core import paths


def parsed(*argv: str) -> Config:
    config = parse(argv)
    assert isinstance(config, Config)
    return config


def test_own_paths() -> None:
    config = parsed("--socket", "/a/s", "--state-dir=/b", "--daemonize", "--log-level", "debug")
    assert (config.mode, config.socket, config.state_dir, config.config_dir) == ("socket", "/a/s", "/b", "/b/config")
    assert config.daemonize
    assert config.log_level == "debug"
    assert config.shared is (os.geteuid() == 0)
    assert parsed("--socket", "s", "--state-dir", "b", "--config-dir", "c").config_dir == os.path.abspath("c")


def test_user_mode_serves_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    config = parsed("--user")
    assert config.mode == paths.USER
    assert config.state_dir == f"/s/jobd/{paths.machine_id()}"
    assert not config.shared


def test_system_mode_is_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (parsed("--system").socket, parsed("--system").shared) == (paths.SYSTEM_SOCKET, True)
    assert parsed().mode == paths.SYSTEM
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert parsed().mode == paths.USER
    with pytest.raises(UsageError, match="--system is for root"):
        parse(["--system"])


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--nonsense"], "no such option: --nonsense"),
        (["run"], "no such option: run"),
        (["--socket"], "--socket needs a value"),
        (["--socket", "/s"], "go together"),
        (["--state-dir", "/s"], "go together"),
        (["--user", "--system"], "do not go together"),
        (["--user", "--socket", "/s"], "do not go together"),
        (["--user=yes"], "no such option"),
        (["--user", "--log-level", "loud"], "is one of"),
    ],
)
def test_mistakes(argv: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        parse(argv)


def test_idle_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ("--socket", "/a/s", "--state-dir", "/b")
    monkeypatch.delenv("JOBD_IDLE_EXIT", raising=False)
    assert parsed("--user").idle_exit_sec == 900
    assert parsed(*own).idle_exit_sec == 0
    monkeypatch.setenv("JOBD_IDLE_EXIT", "1min 30s")
    assert parsed("--user").idle_exit_sec == 90
    assert parsed("--user", "--idle-exit=0.25").idle_exit_sec == 0.25
    assert parsed("--user", "--idle-exit", "infinity").idle_exit_sec == 0
    assert parsed(*own).idle_exit_sec == 0  # the variable is for the daemon that jobctl starts
    assert parsed(*own, "--idle-exit", "5").idle_exit_sec == 5
    monkeypatch.setenv("JOBD_IDLE_EXIT", "soon")
    with pytest.raises(UsageError, match="JOBD_IDLE_EXIT: cannot read duration 'soon'"):
        parse(["--user"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match="not for --system"):
        parse(["--system", "--idle-exit", "5"])


def test_log_level_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBD_LOG_LEVEL", "WARNING")
    assert parsed("--user").log_level == "warning"
    assert parsed("--user", "--log-level", "debug").log_level == "debug"
    monkeypatch.setenv("JOBD_LOG_LEVEL", "loud")
    with pytest.raises(UsageError, match="JOBD_LOG_LEVEL is one of"):
        parse(["--user"])


def test_help_and_version() -> None:
    assert parse(["--version"]) == f"jobd {jobd.__version__}\n"
    assert "--daemonize" in str(parse(["--help"]))


def test_a_config_survives_as_plain_values() -> None:
    config = parsed("--socket", "/a/s", "--state-dir", "/b")
    config.daemon_argv = ["x"]
    fields = config.plain()
    del fields["log_level"]  # an older version might not have had it
    assert Config.load(fields).plain() == {**fields, "log_level": ""}
