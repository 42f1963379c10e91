"""Job files → Definition: pure. All mistakes of all files are found, each with file, line and column.

A definition is made of a job file and its drop-ins, by the table of keys (`jobd.core.jobkeys`). Values are literal but
for `%i %n %h %t %%`. A template, `web@.toml`, is checked with an instance that stands for all; what starts is
`web@8080`, made from the template's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from jobd.core import jobfields, jobrules, names
from jobd.core.jobkeys import KEYS
from jobd.core.joblayers import (
    DROPIN_DIR,
    SUFFIX,
    JobFileError,
    Layers,
    Source,
    decode_sources,
    decode_text,
    encode_sources,
)
from jobd.core.spec import JobSpec
from jobd.core.tomlread import ReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jobd.core.tomlplace import Path

__all__ = [
    "DROPIN_DIR", "SUFFIX", "Definition", "JobFileError", "Owner", "Source", "decode_sources", "decode_text",
    "encode_sources", "instance_of", "is_template", "job_of", "parse", "template_of",
]  # fmt: skip

ANY_INSTANCE: Final = "1"  # what %i is while a template is checked: a port, a uid and a name can all be that
ROOT: Final = 0


class Owner(Struct, frozen=True, kw_only=True):
    """Whose job file it is."""

    uid: int
    home: str  # %h
    runtime_dir: str  # %t; "" when there is none
    shared: bool = False  # the daemon serves all users; only there, only root may say `user`

    @property
    def is_root(self) -> bool:
        """Whether everything is allowed that the daemon can do."""
        return self.uid == ROOT


class Definition(Struct, frozen=True):
    """What a job's files say."""

    spec: JobSpec
    env: tuple[bytes, ...]  # `NAME=value`, sorted; what the keeper adds for the user and of the run is not in it
    warnings: tuple[str, ...] = ()


# --- names --------------------------------------------------------------------------------------------------------
def is_template(name: str) -> bool:
    """`web@`, which is not started itself."""
    return name.endswith("@") and name.index("@") == len(name) - 1


def template_of(name: str) -> str | None:
    """`web@` for `web@8080`; None for what is no instance."""
    stem, at, instance = name.partition("@")
    return stem + at if stem and instance else None


def instance_of(name: str) -> str | None:
    """`8080` for `web@8080`."""
    return name.partition("@")[2] or None


def job_of(file_name: str) -> str | None:
    """`web` for `web.toml`; None for what is no job file. Raises ValueError: it is one, and no job is called so."""
    if not file_name.endswith(SUFFIX) or file_name.startswith("."):
        return None
    name = file_name.removesuffix(SUFFIX)
    if not names.valid_job_name(name):
        raise ValueError(names.why_invalid(name))
    return name


# --- the definition -----------------------------------------------------------------------------------------------
def parse(
    files: Sequence[Source],
    name: str,
    owner: Owner,
    look: Callable[[JobSpec], Iterable[tuple[Path, str]]] | None = None,
) -> Definition:
    """Read a job's files.

    Args:
        files: the job file and then its drop-ins, in their order.
        name: of the job: `web`, `web@8080`; of a template `web@`.
        owner: whose it is.
        look: what it says of a job that can be taken, by key, becomes warnings.

    Raises:
        JobFileError: they cannot be taken; with all reasons.
    """
    layers = Layers(files)
    place = _Place(layers, name, owner)
    found = jobfields.read(layers.values, layers, place)
    fields = dict(found.fields)
    fields.setdefault("argv", (b"?",))
    fields.setdefault("cwd", place.home() if not owner.is_root else b"/")
    spec = JobSpec(**fields)  # type: ignore[arg-type]  # the table of keys has them as JobSpec does; a test compares
    for key, why in (*jobrules.conflicts(spec, name), *_not_allowed(spec, owner)):
        path = tuple(key.split("."))
        layers.mistaken(path, KEYS[key].word if len(path) == 1 else key, why)
    if problems := layers.problems():
        raise JobFileError(problems)
    if is_template(name):
        spec = _as_shown(spec, files, _Place(layers, name, owner, "%i"))
    for where, why in look(spec) if look is not None else ():
        layers.warn(where, why)
    env = tuple(f"{key}={value}".encode() for key, value in sorted(found.environment.items()))
    return Definition(spec, env, tuple(layers.warnings()))


def _as_shown(spec: JobSpec, files: Sequence[Source], place: _Place) -> JobSpec:
    """A template with %i where its instances have what it stands for, in what is shown of it; nobody starts it."""
    again = Layers(files)
    fields = jobfields.read(again.values, again, place).fields
    return replace(spec, **{name: fields[name] for name in ("description", "argv") if name in fields})


def _not_allowed(spec: JobSpec, owner: Owner) -> list[tuple[str, str]]:
    """What others than root may not have."""
    found = []
    if spec.user and not (owner.shared and owner.is_root):
        why = (
            "is for root's job files alone"
            if owner.shared
            else "cannot be said: all jobs of this jobd run as its own user"
        )
        found.append(("user", why))
    if owner.is_root or not owner.shared:
        return found
    if spec.essential:
        found.append(("essential", "is for root's job files alone: jobd would end for everybody"))
    if spec.nice < 0:
        found.append(("limits.nice", "below 0 is for root's job files alone"))
    if spec.oom_score_adjust is not None and spec.oom_score_adjust < 0:
        found.append(("limits.oom_score_adjust", "below 0 is for root's job files alone"))
    return found


class _Place:
    """Where the files are and whose they are (`jobfields.Place`)."""

    def __init__(self, layers: Layers, name: str, owner: Owner, any_instance: str = ANY_INSTANCE) -> None:
        self._layers = layers
        self._owner = owner
        self._name = name
        self._stands_for = {"n": name, "h": owner.home or "/", "t": owner.runtime_dir, "%": "%"}
        self._stands_for["i"] = any_instance if is_template(name) else instance_of(name) or ""

    def expand(self, text: str) -> str:
        """The text with what its % stand for."""
        parts = text.split("%")
        found, at = [parts[0]], 1
        while at < len(parts):
            part = parts[at]
            if not part and at + 1 < len(parts):  # two of them
                found += ["%", parts[at + 1]]
                at += 2
                continue
            found.append(self._value(part[:1]) + part[1:])
            at += 1
        return "".join(found)

    def _value(self, char: str) -> str:
        value = self._stands_for.get(char)
        if value is None:
            what = f'has "%{char}"' if char else "ends with a single %"
            raise ReadError(f"{what}; known are %i %n %h %t, and %% is a percent sign")
        if not value:
            why = f'"{self._name}" is no instance of a template' if char == "i" else "there is no runtime directory"
            raise ReadError(f"has %{char}, and {why}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ReadError(f"has %{char}, which is not UTF-8") from error
        return value

    def directory(self, path: Path) -> bytes:
        """The directory that a relative path there is meant from."""
        return self._layers.directory(path)

    def home(self) -> bytes:
        """The owner's."""
        return self._owner.home.encode("utf-8", "surrogateescape") or b"/"
