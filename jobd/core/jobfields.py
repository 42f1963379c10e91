"""The values of a job file as fields of JobSpec: row by row of the table of keys, and what is made of several keys."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from jobd.core import jobwords, listreaders, service
from jobd.core.jobkeys import COMMAND, ENVIRONMENT, KEYS, TABLES, Key
from jobd.core.spec import JobSpec
from jobd.core.tomlread import ReadError, Table, listed

if TYPE_CHECKING:
    from jobd.core.tomlplace import Path
    from jobd.core.tomlread import Said

MAX_TOLD: Final = 50  # keys of somebody else's section
HERE: Final = "-"  # before the path of an environment file: it may be missing
_UNIT_SUFFIXES: Final = (".service", ".target", ".socket", ".timer", ".mount", ".path", ".slice")
_DEFAULTS: Final = JobSpec(argv=(), cwd=b"")


class Place(Protocol):
    """Where a job file is, and whose it is."""

    def expand(self, text: str) -> str:
        """The text with what its % stand for. Raises ReadError."""

    def directory(self, path: Path) -> bytes:
        """The directory that a relative path at this place is meant from; empty if there is none."""

    def home(self) -> bytes:
        """The owner's."""


class Found(Struct, frozen=True):
    """What was read: fields of JobSpec, but `argv` and `cwd` only if they are there, and the environment."""

    fields: dict[str, object]
    environment: dict[str, str]
    given: frozenset[str]  # the keys that are there


def read(values: dict[str, object], said: Said, place: Place, whole: bool = True) -> Found:
    """Read all values; what is wrong with them is said. Those of a `whole` job have to say what is run."""
    return _Fields(values, said, place).read(whole)


class _Fields:
    """One reading."""

    def __init__(self, values: dict[str, object], said: Said, place: Place) -> None:
        self._place = place
        top = Table(values, (), "", said, TABLES, jobwords.hint)
        self._tables = {"": top, **{name: top.table(name) for name in TABLES if name and name in values}}
        self._fields: dict[str, object] = {}

    def read(self, whole: bool) -> Found:
        self._look_into_sections()
        given = frozenset(name for name in KEYS if self._has(name))
        for name, key in KEYS.items():
            if key.field:
                self._take(name, key.field)
        self._program(whole)
        self._paths()
        self._take("success_exit_status", "success_codes", "success_signals")
        self._take("restart_prevent_exit_status", "restart_prevent_codes", "restart_prevent_signals")
        if "success_codes" in self._fields:
            self._fields["success_codes"] = tuple(sorted({0, *self._codes()}))
        self._limits()
        self._checks()
        self._defaults(given)
        for name in service.DEPENDENCIES + service.HOOKS:
            self._look_at_names(name)
        for key in KEYS.values():
            if key.kind == COMMAND and self._has(key.name):
                self._look_at_command(key)
        environment = self._value(ENVIRONMENT) if self._has(ENVIRONMENT) else None
        assert environment is None or isinstance(environment, dict)
        return Found(self._fields, environment or {}, given)

    # --- one key ------------------------------------------------------------------------------------------------
    def _has(self, name: str) -> bool:
        table, _, word = name.rpartition(".")
        return table in self._tables and word in self._tables[table].values

    def _value(self, name: str) -> object:
        """The value of a key that is there; None when it is wrong, which was said, or infinity."""
        key = KEYS[name]
        return self._tables[key.table].take(key.word, lambda value: self._read(key, value), None)

    def _right(self, name: str) -> bool:
        """Whether nothing was said against a key that was read."""
        return not self._tables[KEYS[name].table].wrong(KEYS[name].word)

    def _take(self, name: str, *fields: str) -> None:
        """The value of a key into its field, or its parts into theirs."""
        if not self._has(name):
            return
        value = self._value(name)
        if self._right(name):
            parts = value if len(fields) > 1 and isinstance(value, tuple) else (value,)
            self._fields.update(zip(fields, parts, strict=True))

    def _read(self, key: Key, value: object) -> object:
        """What the key's reader makes of the value, with what % stands for. Raises ReadError, of all its mistakes."""
        if key.literal:
            return key.read(value)
        if key.kind == COMMAND:
            value = listreaders.split(value)
        if isinstance(value, str):
            return key.read(self._place.expand(value))
        value, wrong = self._expanded(value)
        try:
            found = key.read(value)
        except ReadError as error:
            places = {at for _, at in wrong}
            wrong += [mistake for mistake in error.all if mistake[1] not in places]
        if wrong:
            raise ReadError(*wrong[0], more=wrong[1:])
        return found

    def _expanded(self, value: object) -> tuple[object, list[tuple[str, str | int | None]]]:
        """A list or table with its strings expanded; and what is wrong in it."""
        wrong: list[tuple[str, str | int | None]] = []

        def expand(at: str | int, item: object) -> object:
            try:
                return self._place.expand(item) if isinstance(item, str) else item
            except ReadError as error:
                wrong.append((str(error), at))
                return item

        if isinstance(value, list | dict) and len(value) > listreaders.MAX_ITEMS:
            return value, wrong  # which its reader refuses
        if isinstance(value, list):
            value = [expand(at, item) for at, item in enumerate(value)]
        elif isinstance(value, dict):
            value = {at: expand(at, item) for at, item in value.items()}
        return value, wrong

    # --- what is made of several --------------------------------------------------------------------------------
    def _program(self, whole: bool) -> None:
        top = self._tables[""]
        if self._has("command") and self._has("shell"):
            top.problem(
                "shell", '"command" and "shell" do not go together: the one is run as it is, the other by /bin/sh'
            )
        if self._has("command"):
            self._take("command", "argv")
        elif self._has("shell"):
            script = self._value("shell")
            if isinstance(script, str):
                self._fields["argv"], self._fields["shell"] = (script.encode(),), True
        elif whole and not top.wrong("command") and not top.wrong("shell"):
            top.problem("", 'nothing is to be run: "command" is missing, or "shell"')

    def _paths(self) -> None:
        top = self._tables[""]
        if self._has("working_directory"):
            value = top.take("working_directory", lambda value: self._path(KEYS["working_directory"], value), b"")
            if value:
                self._fields["cwd"] = value
        if self._has("environment_file"):
            self._take("environment_file", "env_files")
            words = self._fields.pop("env_files", [])
            assert isinstance(words, list)
            found = []
            for at, word in enumerate(words):
                try:
                    path = self._resolved(word.removeprefix(HERE), ("environment_file", at))
                except ReadError as error:
                    top.problem(("environment_file", at), f'"environment_file" {error}')
                else:
                    found.append((path, word.startswith(HERE)))
            self._fields["env_files"] = tuple(found)

    def _path(self, key: Key, value: object) -> bytes:
        word = self._read(key, value)
        assert isinstance(word, str)
        if word == "~" or word.startswith("~/"):
            return posixpath.join(self._place.home(), word[2:].encode()) if word[2:] else self._place.home()
        return self._resolved(word, (key.name,))

    def _resolved(self, word: str, where: Path) -> bytes:
        if not word:
            raise ReadError("has an empty path")
        if len(word.encode()) > 4000:
            raise ReadError("has a path of more than 4000 bytes")
        base = self._place.directory(where)
        if not word.startswith("/") and not base:
            raise ReadError(f'has a relative path, "{word:.60}", and it is not known from where')
        return posixpath.normpath(posixpath.join(base, word.encode())) if not word.startswith("/") else word.encode()

    def _codes(self) -> tuple[int, ...]:
        codes = self._fields["success_codes"]
        assert isinstance(codes, tuple)
        return codes

    def _limits(self) -> None:
        found = {}
        for name in ("nofile", "core"):
            if self._has(f"limits.{name}") and (value := self._value(f"limits.{name}")) is not None:
                found[name] = value
        if found:
            self._fields["rlimits"] = found

    def _checks(self) -> None:
        ready = self._check("ready", service.READY_CHECKS)
        if ready is not None:
            self._fields["ready"] = ready
        if "health" not in self._tables or self._tables[""].wrong("health"):
            return
        check = self._check("health", service.HEALTH_CHECKS)
        table = self._tables["health"]
        if check is None:
            if not any(self._has(f"health.{kind}") or table.wrong(kind) for kind in service.HEALTH_CHECKS):
                table.problem("", f"[health] needs one check: {' or '.join(service.HEALTH_CHECKS)}")
            check = service.Check(kind=service.COMMAND)
        fields: dict[str, object] = {"check": check}
        for word, field in (
            ("interval", "interval_usec"), ("timeout", "timeout_usec"), ("failures", "failures"), ("action", "action"),
        ):  # fmt: skip
            value = self._value(f"health.{word}") if self._has(f"health.{word}") else None
            if value is not None:
                fields[field] = value
        self._fields["health"] = service.Health(**fields)  # type: ignore[arg-type]  # as the table of keys has them

    def _check(self, name: str, kinds: tuple[str, ...]) -> service.Check | None:
        """The one check of [ready] or [health]."""
        there = [kind for kind in kinds if self._has(f"{name}.{kind}")]
        if len(there) > 1:
            self._tables[name].problem(there[1], f"[{name}] has one check, and here are {listed(there)}")
        found = None
        for kind in there:
            value = self._value(f"{name}.{kind}")
            if not self._right(f"{name}.{kind}") or found is not None:
                continue
            if kind == service.COMMAND:
                assert isinstance(value, tuple)
                found = service.Check(kind=kind, argv=value)
            elif kind == service.DELAY:
                assert isinstance(value, int)
                found = service.Check(kind=kind, delay_usec=value)
            else:
                assert isinstance(value, str)
                found = service.Check(kind=kind, target=value)
        return found

    def _defaults(self, given: frozenset[str]) -> None:
        """What follows from other keys, if nothing is said of it."""
        if self._fields.get("type") == service.ONESHOT and "ready.timeout" not in given:
            self._fields["ready_timeout_usec"] = None  # systemd.service(5), TimeoutStartSec: it may take its time
        delay = self._fields.get("restart_delay_usec", 0)
        assert isinstance(delay, int)
        if "restart_max_delay" not in given and delay > _DEFAULTS.restart_max_delay_usec:
            self._fields["restart_max_delay_usec"] = delay

    def _look_into_sections(self) -> None:
        """What the keys of somebody else's sections are called here."""
        top = self._tables[""]
        for name, section in top.values.items():
            if isinstance(section, dict) and name not in TABLES and jobwords.plainest(name) in jobwords.SECTIONS:
                for word in list(section)[:MAX_TOLD]:
                    if word in KEYS:
                        continue  # nothing is wrong with it but the table, which is told
                    found = jobwords.hint(word, name)
                    top.problem((name, word), f'unknown key "{word:.60}"{found[0] if found is not None else ""}')

    def _look_at_command(self, key: Key) -> None:
        table = self._tables[key.table]
        word = listreaders.looks_like_shell(table.values[key.word])
        if word:
            hint = 'see "shell"' if key.name == "command" else 'write ["sh", "-c", "..."]'
            table.warn(key.word, f'no shell reads a command: "{word:.60}" goes to the program as it is; {hint}')

    def _look_at_names(self, key: str) -> None:
        value = self._tables[""].values.get(key)
        for at, word in enumerate(value if isinstance(value, list) else ()):
            if isinstance(word, str) and word.endswith(_UNIT_SUFFIXES):
                why = f'"{word:.60}" looks like a unit of systemd; jobd knows its own jobs alone'
                self._tables[""].warn((key, at), why)
