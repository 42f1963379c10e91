"""Says a field's type and bounds in words, from its annotation: what man/jobd-protocol.7 has to say of it."""

from __future__ import annotations

import types
from typing import Annotated, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from jobd.wire import messages as m

VIEWS: Final[dict[str, type[Struct]]] = {
    "job view": m.JobView,
    "run view": m.RunView,
    "process": m.Process,
    "definition": m.Definition,
    "source file": m.SourceFile,
    "link": m.Link,
    "planned change": m.Planned,
    "file view": m.FileView,
    "reason": m.Reason,
    "member": m.Member,
    "queue view": m.QueueView,
    "timer view": m.TimerView,
    "stats view": m.StatsView,
    "rule": m.RuleView,
}
SCALARS: Final[dict[object, str]] = {int: "int", bool: "bool", str: "str", bytes: "bin"}


def tag_of(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag)


def fields_of(kind: type[Struct]) -> dict[str, str]:
    """Each field of a message in the order of the wire, with its type, bounds and default in words."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: words(hints[field.name]) + default_of(field) for field in msgspec.structs.fields(kind)}


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    if field.default is msgspec.NODEFAULT or field.default in ("", b"", None):
        return ", optional"
    return f", default {str(field.default).lower() if isinstance(field.default, bool) else field.default}"


def words(hint: object, bounds: Meta | None = None) -> str:
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        return words(arguments[0], arguments[1])
    if origin in (Union, types.UnionType):
        if m.Ok in arguments:
            return "body"
        return words(next(part for part in arguments if part is not type(None)), bounds) + " or nil"
    if origin is Literal:
        return "str: " + " or ".join(arguments)
    if origin is list:
        return f"list of {_count(bounds)}{words(arguments[0])}"
    if origin is dict:
        return f"map of {_count(bounds)}{words(arguments[0])} to {words(arguments[1])}"
    if origin is tuple:
        return f"list of {len(arguments)} {words(arguments[0])}"
    for name, view in VIEWS.items():
        if hint is view:
            return name
    return SCALARS[hint] + _bounds(hint, bounds)


def _count(bounds: Meta | None) -> str:
    if bounds is None:
        return ""
    return f"{bounds.min_length} to {bounds.max_length} " if bounds.min_length else f"at most {bounds.max_length} "


def _bounds(hint: object, bounds: Meta | None) -> str:
    if bounds is None:
        return ""
    if hint is int:
        return f" {bounds.ge} to {bounds.le}" if bounds.le is not None else f" from {bounds.ge}"
    unit = "characters" if hint is str else "bytes"
    if bounds.min_length == bounds.max_length:
        return f" of {bounds.max_length} {unit}"
    return (
        f" of {bounds.min_length} to {bounds.max_length} {unit}"
        if bounds.min_length
        else (f" of at most {bounds.max_length} {unit}")
    )
