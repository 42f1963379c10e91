"""The light parser: the command line as people type it, without importing typer.

It takes a line only when typer would make the same call of it, and gives up (None) on anything else: help, mistakes,
abbreviations, verbs it does not know. typer then decides. A test draws random lines and compares the two.
"""

from __future__ import annotations

from jobctl.spellings import ALIASES, DEFAULT_VERB, GLOBAL_DEFAULTS, GLOBALS, OPERANDS_END_OPTIONS, OPTIONS, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Value: TypeAlias = bool | str | tuple[str, ...] | None
    Verb: TypeAlias = Callable[..., int]


class Call:
    """What is to be called with what."""

    __slots__ = ("operands", "options", "target", "verb")

    def __init__(
        self, verb: str, target: dict[str, Value], operands: tuple[str, ...] | None, options: dict[str, Value]
    ) -> None:
        self.verb = verb
        self.target = target
        self.operands = operands  # None for a verb that takes none
        self.options = options

    def key(self) -> tuple[object, ...]:
        """For comparing two."""
        return self.verb, self.target, self.operands, self.options


def load(verb: str) -> Verb:
    """The function of a verb."""
    module, name = VERBS[verb]
    function: Verb = getattr(__import__(module, fromlist=(name,)), name)
    return function


def parse(args: list[str]) -> Call | None:
    """The call that `args` (without the program's name) mean, or None to leave it to typer."""
    found = before_verb(args)
    if found is None:
        return None
    target, words = found
    verb, *rest = words or [DEFAULT_VERB]
    verb = ALIASES.get(verb, verb)
    return _parse_verb(verb, rest, target) if verb in VERBS else None


def before_verb(
    args: list[str], spelled: Mapping[str, tuple[str, ...]] | None = None, options: dict[str, Value] | None = None
) -> tuple[dict[str, Value], list[str]] | None:
    """What is said of the daemon before the verb, and the words from the verb on; None when it is not understood.

    Args:
        args: without the program's name.
        spelled: further switches to take.
        options: where to note those.
    """
    target: dict[str, Value] = {}
    switches = spelled or {}
    scan = _Scan(args, switches, GLOBALS, {**dict.fromkeys(switches, False), **GLOBAL_DEFAULTS}, ends=True)
    if not scan.run({} if options is None else options, target) or scan.dashes:
        return None
    return target, scan.operands


def _parse_verb(verb: str, rest: list[str], target: dict[str, Value]) -> Call | None:
    function = load(verb)
    defaults: dict[str, object] = function.__kwdefaults__ or {}
    options: dict[str, Value] = {}
    scan = _Scan(rest, OPTIONS, GLOBALS, {**GLOBAL_DEFAULTS, **defaults}, ends=verb in OPERANDS_END_OPTIONS)
    if not scan.run(options, target):
        return None
    if function.__code__.co_argcount == 1:  # the client alone
        return None if scan.operands else Call(verb, target, None, options)
    if not scan.operands and not function.__defaults__:
        return None
    return Call(verb, target, tuple(scan.operands), options)


class _Scan:
    """One pass over the words, as click's parser does it."""

    def __init__(
        self,
        words: list[str],
        spelled: Mapping[str, tuple[str, ...]],
        spelled_global: Mapping[str, tuple[str, ...]],
        defaults: dict[str, object],
        ends: bool,
    ) -> None:
        self.words = words
        self.defaults = defaults
        self.ends = ends  # at the first operand
        self.operands: list[str] = []
        self.dashes = False  # a "--" was seen
        self.names = {s: name for name in defaults if name in spelled for s in spelled[name]}
        self.names.update((s, name) for name in spelled_global for s in spelled_global[name])

    def run(self, options: dict[str, Value], target: dict[str, Value]) -> bool:
        """Read all words; False when one is not understood."""
        words, at = self.words, 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                self.dashes = True
                self.operands += words[at:]
                return True
            if len(word) < 2 or word[0] != "-":
                if self.ends:
                    self.operands = words[at - 1 :]
                    return True
                self.operands.append(word)
                continue
            pairs = self._long(word) if word[1] == "-" else self._cluster(word)
            if pairs is None:
                return False
            for name, value in pairs:
                if value is None:
                    if at == len(words):
                        return False
                    value = words[at]
                    at += 1
                self._set(target if name in GLOBALS else options, name, value)
        return True

    def _long(self, word: str) -> list[tuple[str, str | bool | None]] | None:
        spelling, equals, value = word.partition("=")
        name = self.names.get(spelling)
        if name is None:
            return None
        if self.defaults[name] is False:
            return None if equals else [(name, True)]
        return [(name, value if equals else None)]

    def _cluster(self, word: str) -> list[tuple[str, str | bool | None]] | None:
        if word == "-HUP":
            return None  # of kill it is the signal, and not -H with a host UP
        pairs: list[tuple[str, str | bool | None]] = []
        for i in range(1, len(word)):
            name = self.names.get("-" + word[i])
            if name is None:
                return None
            if self.defaults[name] is False:
                pairs.append((name, True))
                continue
            pairs.append((name, word[i + 1 :] or None))
            break
        return pairs

    def _set(self, options: dict[str, Value], name: str, value: str | bool) -> None:
        if self.defaults[name] == ():
            assert isinstance(value, str)
            earlier = options.get(name, ())
            assert isinstance(earlier, tuple)
            options[name] = (*earlier, value)
        else:
            options[name] = value
