"""Every key of a job file: what it takes, and what is said of what it does not."""

from __future__ import annotations

import pytest

from jobd.core import service
from jobd.core.jobkeys import KEYS
from jobd.core.spec import RLIMITS
from jobd.core.units import USEC_PER_SEC as SEC
from tests.core.test_jobfile import ALICE, GUEST, ROOT, check_outcome, load, problems, spec, why

CHECKS = ("tcp", "http", "unix", "log", "command", "delay")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('description = ""', "description", ""),
        ('restart_delay = "1min 30s"', "restart_delay_usec", 90 * SEC),
        ("restart_delay = 1.5", "restart_delay_usec", 1_500_000),
        ("restart_delay = 0", "restart_delay_usec", 0),
        ('restart_delay = "5min"', "restart_max_delay_usec", 300 * SEC),
        ('restart_delay = 1\nrestart_max_delay = "1s"', "restart_max_delay_usec", SEC),
        ('start_limit = "3/1min"', "start_limit", (3, 60 * SEC)),
        ('start_limit = " 3 / 60 "', "start_limit", (3, 60 * SEC)),
        ('start_limit = "infinity"', "start_limit", (0, 0)),
        ("start_limit = 0", "start_limit", (0, 0)),
        ('start_limit = "5/0"', "start_limit", (0, 0)),
        ("success_exit_status = 75", "success_codes", (0, 75)),
        ('success_exit_status = [1, "3", "TEMPFAIL", "EX_USAGE", 1]', "success_codes", (0, 1, 3, 64, 75)),
        ('success_exit_status = ["SIGKILL", "term"]', "success_signals", (9, 15)),
        ('restart_prevent_exit_status = [255, "SEGV"]', "restart_prevent_codes", (255,)),
        ('restart_prevent_exit_status = [255, "SEGV"]', "restart_prevent_signals", (11,)),
        ('after = ["b", "a", "b"]', "after", ("b", "a")),
        ("after = []", "after", ()),
        ('stop.signal = "RTMIN+3"', "stop_signal", 37),
        ("stop.signal = 2", "stop_signal", 2),
        ("stop.timeout = 0", "stop_timeout_usec", 0),
        ('stop.timeout = "infinity"', "stop_timeout_usec", None),
        ("stop.command = \"sh -c 'a b' c\\\\ d\"", "stop_command", (b"sh", b"-c", b"a b", b"c d")),
        ('reload.command = ["a", ""]', "reload_command", (b"a", b"")),
        ("watchdog.interval = 0", "watchdog_usec", None),
        ('watchdog.interval = "infinity"', "watchdog_usec", None),
        ('ready.timeout = "infinity"', "ready_timeout_usec", None),
        ('type = "oneshot"', "ready_timeout_usec", None),
        ('type = "oneshot"\nready.timeout = "5s"', "ready_timeout_usec", 5 * SEC),
        ("ready.delay = 0", "ready", service.Check(kind="delay")),
        ('ready.delay = "2s"', "ready", service.Check(kind="delay", delay_usec=2 * SEC)),
        ("ready.tcp = 80", "ready", service.Check(kind="tcp", target="localhost:80")),
        ('ready.tcp = "80"', "ready", service.Check(kind="tcp", target="localhost:80")),
        ('ready.tcp = "db.example:5432"', "ready", service.Check(kind="tcp", target="db.example:5432")),
        ('ready.tcp = "[::1]:80"', "ready", service.Check(kind="tcp", target="[::1]:80")),
        ('ready.unix = "%t/x"', "ready", service.Check(kind="unix", target="/run/user/1000/x")),
        ("ready.log = 'up \\d+'", "ready", service.Check(kind="log", target="up \\d+")),
        ('ready.command = "true x"', "ready", service.Check(kind="command", argv=(b"true", b"x"))),
        ('limits.memory = "infinity"', "memory_max", None),
        ('limits.memory = "1.5G"', "memory_max", 3 << 29),
        ("limits.memory = 2097152", "memory_max", 2 << 20),
        ('limits.cpu = "150%"', "cpu_percent", 150),
        ('limits.cpu = "infinity"', "cpu_percent", None),
        ('limits.tasks = "infinity"', "tasks_max", None),
        ("limits.tasks = 1", "tasks_max", 1),
        ('limits.nofile = "infinity"', "rlimits", {"nofile": (-1, -1)}),
        ('limits.nofile = "10:20"\nlimits.core = "1M"', "rlimits", {"nofile": (10, 20), "core": (1 << 20, 1 << 20)}),
        ('limits.core = "0:infinity"', "rlimits", {"core": (0, -1)}),
        ("limits.oom_score_adjust = -1000", "oom_score_adjust", -1000),
        ('limits.runtime = "infinity"', "runtime_usec", None),
        ('limits.umask = "0077"', "umask", 0o77),
        ('logs.max_size = "infinity"', "log_max_size", None),
        ("logs.keep_runs = 20", "keep_runs", 20),
        ('logs.keep_runs = "infinity"', "keep_runs", -1),
        ('logs.keep_for = "30d"', "keep_for_usec", 30 * 86_400 * SEC),
        ('logs.keep_for = "infinity"', "keep_for_usec", -1),
        ('queue = " shared/build "', "queue", "shared/build"),
        ('queue = ""', "queue", ""),
        ("priority = -5", "priority", -5),
        ("weight = 3", "weight", 3),
        ('schedule = " Mon..Fri   03:00"', "schedule", ("Mon..Fri 03:00",)),
        ('schedule = ["daily", "0 3 * * 1-5"]', "schedule", ("daily", "0 3 * * 1-5")),
        ("schedule = []", "schedule", ()),
        ('[schedule]\ncalendar = "daily"\njitter = "1h"', "schedule_jitter_usec", 3600 * SEC),
        ('schedule = { calendar = "daily", overlap = "replace" }', "schedule_overlap", "replace"),
    ],
)
def test_what_is_taken(text: str, field: str, value: object) -> None:
    assert getattr(spec(text), field) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("description = 5", '"description" must be a string, not a number'),
        ('description = "a\\u0000b"', '"description" has a NUL, which no program can be given'),
        ('shell = "y"', '"command" and "shell" do not go together: the one is run as it is, the other by /bin/sh'),
        ('working_directory = ""', '"working_directory" is empty'),
        ("environment = []", '"environment" is a table, such as { PORT = "8000" }, not a list'),
        ("environment = { A = true }", '"environment" has strings alone, and A is true or false; write A = "true"'),
        ("environment = { A = {} }", '"environment" has strings alone, and A is a table'),
        ('environment_file = ["-"]', '"environment_file" has an empty path'),
        ('environment_file = "a"', '"environment_file" must be a list of strings, not a string; write ["a"]'),
        ("remain_after_exit = 1", '"remain_after_exit" must be true or false, not 1'),
        (
            'remain_after_exit = "true"',
            '"remain_after_exit" must be true or false, not "true"; write it without quotes: true',
        ),
        ('restart_delay = "infinity"', '"restart_delay" cannot be "infinity": it has to end'),
        ("restart_delay = true", '"restart_delay" must be a duration, such as "1min 30s", not true'),
        ("restart_delay = inf", '"restart_delay" must be a duration, such as "1min 30s"; write "infinity"'),
        ("restart_delay = -5", '"restart_delay" must be a duration, such as "1min 30s", not -5: it is less than 0'),
        (
            "restart_delay = 2\nrestart_max_delay = 1",
            '"restart_max_delay" is less than "restart_delay", from which the delay grows',
        ),
        (
            "start_limit = 5",
            '"start_limit" must be starts in a time, such as "5/10s", or "infinity", not 5; write "5/10s"',
        ),
        ('start_limit = "x/1s"', '"start_limit" must be starts in a time, such as "5/10s", or "infinity", not "x/1s"'),
        (
            'start_limit = "5/infinity"',
            '"start_limit" cannot be "infinity": nobody remembers for ever; write a long time, such as "1y"',
        ),
        ('start_limit = "1001/1y"', '"start_limit" must be at most 1000 starts, or "infinity", not "1001/1y"'),
        ("success_exit_status = [256]", '"success_exit_status" must be exit codes from 0 to 255, not 256'),
        (
            "success_exit_status = [true]",
            '"success_exit_status" must be exit codes and signals, such as [75, "SIGKILL"], not true',
        ),
        ('after = ["web"]', '"after" names the job itself, "web"'),
        ('on_failure = ["%n"]', '"on_failure" names the job itself, "web"'),
        ('after = ["a"]\nbefore = ["a"]', '"before" has "a", which "after" has too'),
        ('wants = ["a"]\nconflicts = ["a"]', '"conflicts" has "a", which "wants" has too'),
        (
            'after = ["*"]',
            "\"after\" has no name of a job: job name '*' has '*'; letters, digits and _ . @ - are allowed",
        ),
        ('after = [""]', '"after" has no name of a job: a job name cannot be empty'),
        (
            'type = "oneshot"\nrestart = "on-success"',
            '"restart" cannot be "on-success" with type = "oneshot": it would run again and again',
        ),
        (
            'type = "oneshot"\nready.log = "x"',
            '"ready.log" does not go with type = "oneshot": that is ready when it has ended',
        ),
        (
            'type = "oneshot"\nhealth.tcp = 1',
            '"health.tcp" does not go with type = "oneshot": that has ended when it is ready',
        ),
        ('type = "oneshot"\nwatchdog.interval = 1', '"watchdog.interval" does not go with type = "oneshot"'),
        ('reload = { signal = 1, command = "x" }', '"reload.signal" and "reload.command" do not go together'),
        ("stop.signal = 0", '"signal" must be a signal, such as "SIGTERM": unknown signal \'0\''),
        ('stop.command = ""', '"command" is empty'),
        ('stop.command = [""]', '"command" has an empty word for the program'),
        ('stop.command = "a \\\\"', '"command" cannot be split into words: a backslash is the last character'),
        ("ready.timeout = 0", '"timeout" cannot be 0: that leaves no time; "infinity" is no limit'),
        ('ready.delay = "infinity"', '"delay" cannot be "infinity": the job would never be ready'),
        ("ready.tcp = 0", '"tcp" must be a port from 1 to 65535, or "HOST:PORT", not 0'),
        ('ready.tcp = "localhost"', '"tcp" must be a port from 1 to 65535, or "HOST:PORT", not "localhost"'),
        ('ready.tcp = "::1:80"', '"tcp" must be a port, or "HOST:PORT"; write an IPv6 address in brackets: "[::1]:80"'),
        ("ready.http = 80", '"http" must be a URL; write "http://localhost:80/"'),
        (
            'ready.http = "https://x/"',
            '"http" must begin with http://; for https write command = ["curl", "-fsS", URL]',
        ),
        ('ready.unix = "x"', '"unix" must be an absolute path, not "x"'),
        (f'ready.unix = "/{"x" * 107}"', '"unix" is longer than the 107 bytes that a socket\'s path may have'),
        ('ready.log = ""', '"log" is empty, and so found in every line'),
        ('ready.log = "(a"', '"log" must be a regular expression: missing ), unterminated subpattern at position 0'),
        (
            "ready.log = '(?i)" + r"[a-\uffff]" * 17 + "'",
            '"log" has more than 16 ranges of characters that are not ASCII',
        ),
        ('ready = "x"', '"ready" is a table, written [ready], not a string'),
        ("health = {}", "[health] needs one check: tcp or http or unix or command"),
        ('health = { log = "x", tcp = 1 }', 'unknown key "log"; it belongs in [ready]'),
        ("health = { tcp = 1, interval = 0 }", '"interval" cannot be 0: it would never rest'),
        ('health = { tcp = 1, interval = "infinity" }', '"interval" cannot be "infinity": leave [health] out'),
        ("health = { tcp = 1, timeout = 0 }", '"timeout" cannot be 0: that leaves no time'),
        ("health = { tcp = 1, failures = 0 }", '"failures" must be from 1 to 1000000, not 0'),
        ("limits.memory = 0", '"memory" cannot be 0: 0 bytes are less than 1048576; nothing runs in that'),
        ("limits.memory = 512", '"memory" cannot be 512: 512 bytes are less than 1048576; did you mean "512M"?'),
        (
            'limits.memory = "512 megs"',
            '"memory" must be a size, such as "512M", not "512 megs": unknown unit \'megs\' (K, M, G, T, P, E)',
        ),
        ('limits.memory = "5E"', '"memory" cannot be "5E": that is more than there is; write "infinity"'),
        ('limits.cpu = "819201%"', '"cpu" must be from "1%" to "819200%", not "819201%"'),
        ('limits.memory = "max"', '"memory" must be a size, such as "512M", not "max"; write "infinity"'),
        (
            "limits.cpu = 50",
            '"cpu" must be a percentage of one processor, such as "50%", not 50; write "50%"',
        ),
        (
            'limits.cpu = "50"',
            '"cpu" must be a percentage of one processor, such as "50%", not "50"; write "50%"',
        ),
        ('limits.cpu = "0%"', '"cpu" must be from "1%" to "819200%", not "0%"'),
        ("limits.tasks = 0", '"tasks" must be from 1 to 4194304, not 0'),
        ('limits.nofile = "20:10"', '"nofile" has a soft limit above the hard one: "20:10"'),
        (
            'limits.core = "x"',
            '"core" must be a limit, such as 1024, "1024:4096" or "infinity", not "x": it does not begin with a number',
        ),
        ("limits.runtime = 0", '"runtime" cannot be 0: that leaves no time; "infinity" is no limit'),
        ("limits.umask = 18", '"umask" must be octal digits in quotes, such as "022", not 18; write "022"'),
        ("logs.max_size = 1", '"max_size" cannot be 1: 1 bytes are less than 4096'),
        ("logs.keep_runs = 0", '"keep_runs" must be from 1 to 4194304, not 0'),
        ('logs.keep_for = "0"', '"keep_for" cannot be 0: no run could be looked at'),
        (
            'queue = "a b"',
            '"queue" must be the name of a queue, such as "build" or "shared/build", not "a b"',
        ),
        ('queue = "/build"', '"queue" must be the name of a queue, such as "build" or "shared/build", not "/build"'),
        ("priority = 1.5", '"priority" must be a whole number from -1000000 to 1000000, not 1.5'),
        ("weight = 0", '"weight" must be from 1 to 1000000, not 0'),
        (
            'schedule = "soon"',
            (
                '"calendar" must be a calendar expression, such as "Mon..Fri 03:00" or "0 3 * * 1-5", not "soon": '
                "'soon' is no date; write YEAR-MONTH-DAY or MONTH-DAY, each a number or *"
            ),
        ),
        ("schedule = 5", '"calendar" must be a list of strings, not a number'),
        (
            '[schedule]\ncalendar = ["daily", "*/2:00"]',
            (
                '"calendar" must be a calendar expression, such as "Mon..Fri 03:00" or "0 3 * * 1-5", not "*/2:00": '
                "'*/2' is not understood; for every so many write \"0/2\""
            ),
        ),
        ("schedule.jitter = '1h'", '"schedule.jitter" says nothing without "schedule.calendar"'),
        (
            "schedule.overlap = 'skip'\nschedule.persistent = true",
            '"schedule.persistent" says nothing without "schedule.calendar"',
        ),
        (
            "schedule = { calendar = 'daily', overlap = 'forbid' }",
            '"overlap" must be one of "skip", "queue" and "replace", not "forbid"; did you mean "skip"?',
        ),
        (
            "schedule = { calendar = 'daily', jitter = 'infinity' }",
            '"jitter" cannot be "infinity": it would never start',
        ),
        ('user = "alice"', '"user" cannot be said: all jobs of this jobd run as its own user'),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    assert why(text) == said


def test_what_only_root_may_say() -> None:
    text = "essential = true\nlimits = { nice = -1, oom_score_adjust = -1 }"
    assert [problem.partition('"')[2] for problem in problems(f'command = "x"\nuser = "x"\n{text}', owner=GUEST)] == [
        "user\" is for root's job files alone",
        "essential\" is for root's job files alone: jobd would end for everybody",
        "limits.nice\" below 0 is for root's job files alone",
        "limits.oom_score_adjust\" below 0 is for root's job files alone",
    ]
    assert spec(text, ALICE).essential
    assert spec(f'user = "www-data"\n{text}', ROOT).user == "www-data"
    assert spec("user = 33", ROOT).user == "33"
    assert why('user = "0day"', ROOT) == '"user" must be the name of a user, or a uid, not "0day"'


def test_warnings() -> None:
    unread = 'no shell reads a command: "$MAINPID" goes to the program as it is'
    found = load('command = "cd /x && make"\nafter = ["network.target"]\n[reload]\ncommand = "kill -HUP $MAINPID"\n')
    assert list(found.warnings) == [
        '/j/web.toml:1:1: warning: no shell reads a command: "&&" goes to the program as it is; see "shell"',
        '/j/web.toml:2:10: warning: "network.target" looks like a unit of systemd; jobd knows its own jobs alone',
        f'/j/web.toml:4:1: warning: {unread}; write ["sh", "-c", "..."]',
    ]  # fmt: skip
    assert load('command = ["awk", "{print $1}"]').warnings == ()
    assert len(load('command = ["echo", "${HOME}"]').warnings) == 1


@pytest.mark.parametrize("first", CHECKS)
@pytest.mark.parametrize("second", CHECKS)
def test_there_is_one_check(first: str, second: str) -> None:
    values = {"tcp": "1", "http": '"http://x/"', "unix": '"/x"', "log": '"x"', "command": '"x"', "delay": "1"}
    text = f"[ready]\n{first} = {values[first]}\n"
    if first == second:
        assert spec(text).ready is not None
        return
    both = f"{text}{second} = {values[second]}"
    here = [kind for kind in CHECKS if kind in (first, second)]
    assert why(both) == f'[ready] has one check, and here are "{here[0]}" and "{here[1]}"'


@pytest.mark.parametrize("key", KEYS)
def test_no_value_breaks_a_key(key: str) -> None:
    words = (
        "",
        "x",
        "0",
        "-1",
        "infinity",
        "%",
        "%i",
        "9" * 400,
        "\\u0000",
        "a b",
        "[",
        "1/1s",
        "é",
        ":",
        "1:2",
        "nan%",
    )
    values = [f'"{word}"' for word in words] + [f'["{word}", 1]' for word in words]
    values += ["0", "-1", "9" * 400, "1.5", "nan", "-inf", "true", "[]", "{}", "{ x = 1 }", "2020-01-01", "[[1], {}]"]
    for value in values:
        check_outcome([f'command = "x"\n{key} = {value}\n'], "web")


def test_limits_that_have_keys_are_limits() -> None:
    assert {"nofile", "core"} <= set(RLIMITS)
