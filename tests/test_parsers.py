"""Every parser of what others write: any text is a value or the parser's own error, and neither takes long.

What is said of a value (that it reads back, what it means) is tested beside each parser. This is the table of all of
them, with one grammar of texts that are nearly right: words, numbers and signs of all our formats, put together.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl import bridge, hosts, names, signals, timespec
from jobctl.exits import UsageError
from jobd import config
from jobd.core import (
    after,
    arrays,
    configfile,
    globs,
    listreaders,
    mounts,
    readers,
    spec,
    tomlplace,
    units,
)
from jobd.core import names as job_names
from jobd.core.calendartext import parse as parse_calendar
from jobd.core.tomlread import ReadError
from jobd.host import usage
from jobd.rpc import people
from jobd.rpc.context import Refused
from jobd.rpc.handlers import jobfiles, look, timers
from tests.fault.mutations import ODD_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_700_000_000_123_456_789
LONGEST_SEC = 1.0  # of one text; what it is about takes microseconds, and the machine may be busy
PIECES = (
    *ODD_TEXTS, "-", "+", ".", ",", ":", "/", "%", "@", "#", "=", "~", " ", "\t", "\n", "T", "Z", "UTC", "ago", "now",
    "today", "fri", "Mon..Fri", "noon", "tomorrow", "2026-11-22", "18:17:16", "24:61", "02:30", "*-02-30", "@reboot",
    "daily", "0 3 * * *", "*/0", "infinity", "1.5", ".5", "1.", "9" * 5000, "٣" * 30, "²", "sec", "month", "K", "MiB",
    "SIG", "RTMIN+", "SIGTERM", "TERM", "KILL", "http://", "[::1]", "::", "localhost", "65536", "unix:", "user@host",
    "--user", "--socket", "--socket=/x", "--", "-n", "--log-level=debug", "--idle-exit", "--state-dir", "\udcff",
    "\x7f", "\x1f",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=30)


class Parser(NamedTuple):
    read: Callable[[str], object]
    errors: tuple[type[Exception], ...] = ()


class Nobody:
    """A machine without users."""

    def uid(self, _: str) -> int | None:
        return None

    gid = uid


CONFIG = st.lists(st.sampled_from((
    "[limits]", "[limits.per-user]", "[[allow]]", "[retention]", "[limits.rlimits]", "[log]", "running = ", "queued = ",
    "actions = ", "users = ", "owners = ", "jobs = ", "keep_for = ", "keep_runs = ", "log_size = ", '["*"]',
    '["@read"]',
    "[1]", '"1G"', "-1", "1e400", "9" * 30, '"infinity"', "true", "{}", '"x"', "[[1]]", "nofile = ", '"soft:hard"', "",
)), max_size=12).map(lambda pieces: "".join(piece + "\n" * (not piece.endswith("= ")) for piece in pieces))  # fmt: skip
MOUNTS = st.lists(st.sampled_from((
    "36 35 0:30 / /", "1 1 0:1 / /a\\040b", "/\\9", "\\", " rw - ext4 /dev/x rw", " - ", " -", "nfs4", "\n", "x", " ",
)), max_size=10).map("".join)  # fmt: skip
PARSERS: dict[str, Parser] = {
    "durations": Parser(units.parse_duration, (ValueError,)),
    "sizes": Parser(units.parse_size, (ValueError,)),
    "calendars": Parser(parse_calendar, (ValueError,)),
    "arrays": Parser(arrays.parse, (arrays.ArrayError,)),
    "indices": Parser(arrays.index_of),
    "needs": Parser(after.parse, (ValueError,)),
    "signals": Parser(spec.parse_signal, (spec.SpecError,)),
    "toml": Parser(tomlplace.read, (tomlplace.TomlError,)),
    "owners": Parser(job_names.split_owner),
    "names": Parser(job_names.valid_job_name),
    "names, why": Parser(lambda text: job_names.valid_job_name(text) or job_names.why_invalid(text)),
    "templates": Parser(job_names.template_of),
    "globs": Parser(globs.sql_glob),
    "uids": Parser(people.uid_in),
    "cursors of lists": Parser(look._cursor, (Refused,)),
    "cursors of files": Parser(jobfiles._cursor, (Refused,)),
    "cursors of timers": Parser(timers._cursor, (Refused,)),
    "flat keyed files": Parser(usage.keyed),
    "io.stat": Parser(usage.transferred),
    "times": Parser(lambda text: timespec.parse_time(text, NOW), (UsageError,)),
    "starts": Parser(lambda text: timespec.parse_start(text, NOW), (UsageError,)),
    "delays": Parser(timespec.parse_delay, (UsageError,)),
    "signals of jobctl": Parser(signals.signal_number, (UsageError,)),
    "counts": Parser(lambda text: names.check_count(text, "-n"), (UsageError,)),
    "runs": Parser(names.split_run),
    "hosts": Parser(lambda text: list(map(hosts.parse, hosts.split(text))), (UsageError,)),
    "the bridge's words": Parser(lambda text: bridge.parse(text.split("\n")), (bridge.UsageError,)),
    "jobd's words": Parser(lambda text: config.parse(text.split("\n")), (config.UsageError,)),
    **{
        f"keys: {name}": Parser(read, (ReadError,))
        for name, read in {
            "text": readers.text, "full text": readers.full_text, "boolean": readers.boolean,
            "number": readers.number(0, 10), "choice": readers.choice(("a", "b")), "duration": readers.duration(),
            "zero is off": readers.zero_is_off, "size": readers.size(0), "percentage": readers.percentage,
            "count": readers.count, "limit": readers.resource_limit(readers.plain_limit),
            "start limit": readers.start_limit, "signal": readers.signal_number, "umask": readers.umask,
            "user": readers.user, "queue": readers.queue, "address": readers.address, "url": readers.url,
            "socket": readers.socket_path, "pattern": readers.pattern, "strings": listreaders.strings,
            "files": listreaders.file_names, "command": listreaders.command, "jobs": listreaders.job_names,
            "calendar": listreaders.calendar, "statuses": listreaders.statuses, "environment": listreaders.environment,
        }.items()
    },
}  # fmt: skip


def read_or_refuse(name: str, text: str) -> None:
    parser = PARSERS[name]
    began = time.process_time()
    with suppress(*parser.errors):
        parser.read(text)
    assert time.process_time() - began < LONGEST_SEC


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=30)
@given(text=TEXTS)
def test_any_text_is_a_value_or_a_typed_error(name: str, text: str) -> None:
    read_or_refuse(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("signals", "9" * 5000),
        ("signals", "RTMIN+" + "9" * 5000),
        ("signals of jobctl", "9" * 5000),
        ("signals of jobctl", "RTMIN+" + "9" * 5000),
        ("keys: signal", "9" * 5000),
        ("keys: statuses", "0\x1f"),
        ("keys: statuses", "9" * 5000),
        ("keys: pattern", "a = [[[ab]"),
    ],
)
def test_what_was_once_another_error_is_none_now(name: str, text: str) -> None:
    read_or_refuse(name, text)


@pytest.mark.slow
@settings(max_examples=200)
@given(text=CONFIG)
def test_any_jobd_toml_is_a_policy_or_a_typed_error(text: str) -> None:
    with suppress(configfile.ConfigError):
        configfile.parse(text, "jobd.toml", Nobody())


@pytest.mark.slow
@settings(max_examples=200)
@given(text=MOUNTS)
def test_any_mountinfo_names_a_file_system_or_none(text: str) -> None:
    assert isinstance(mounts.filesystem(text, "/a b"), str)


def test_another_error_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARSERS, "durations", Parser(int, (UsageError,)))
    with pytest.raises(ValueError, match="invalid literal"):
        read_or_refuse("durations", "soon")
